"""Bundles that no box takes, and one that breaks while it is written: the slot that runs is not touched."""

from __future__ import annotations

from bench import Bench, check
from bundles import Built
from choice import NotRun, scenario


@scenario("forged, truncated, old, foreign bundles are refused, each with its reason", needs=("rauc", "bundles"), changes="update")
def refused_bundles(bench: Bench) -> None:
    box = bench.machine
    if not isinstance(bench.bundles, Built):
        raise NotRun("refusals are made of the virtual box's own keys and tree")
    slot, before = box.slot(), bench.grub()
    check.assertIsNone(box.update()["unavailable"], "the daemon may use RAUC")
    refused = bench.bundles.refused()
    for bundle, reason in refused:
        doc = bench.install(bundle)
        check.assertEqual((doc["state"], doc["stage"]), ("failed", "preflight"), doc)
        check.assertRegex(doc["reason"], reason)
        check.assertEqual(bench.grub(), before, "the boot loader was told nothing")
    # By RAUC's own command, without the daemon.
    foreign = refused[0][0]
    box.send(foreign, "/data/bundle.raucb")
    said = box.ssh("rauc install /data/bundle.raucb 2>&1; echo ended with $?; rm -f /data/bundle.raucb", timeout=900)
    check.assertNotIn("ended with 0", said)
    check.assertRegex(said, "signature|verif")
    check.assertEqual(box.ssh("ls /data/update /var/lib/synoptic/update"), "/data/update:\n\n/var/lib/synoptic/update:\nstate.json",
                      "nothing of them is left")
    check.assertEqual(box.slot(), slot)


@scenario("a bundle that was changed behind its signature fails while it is written; the slot that runs is not touched",
          needs=("rauc", "bundles"), changes="update")
def flipped_bundle(bench: Bench) -> None:
    box = bench.machine
    if not isinstance(bench.bundles, Built):
        raise NotRun("it is made of the virtual box's own keys")
    running = box.slot()
    other = "B" if running == "A" else "A"
    doc = bench.install(bench.bundles.flipped())
    check.assertEqual((doc["state"], doc["stage"]), ("failed", "installing"), doc)
    check.assertEqual(box.slot(), running)
    check.assertEqual(bench.slot_state(other)["boot_status"], "bad", "what is half written is never started")
    check.assertEqual(bench.slot_state(running)["boot_status"], "good")
