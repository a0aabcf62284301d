"""From one slot to the other: a release that is well, one that is not, one that dies."""

from __future__ import annotations

import time

from away import Away
from bench import Bench, check
from choice import scenario


def goes_back(bench: Bench, reason: str, running: str, release: str, doc: dict) -> None:
    """The box is back in the old slot, knows why, and says so."""
    box = bench.machine
    other = "B" if running == "A" else "A"
    check.assertEqual((box.slot(), box.release()), (running, release))
    check.assertRegex(box.ssh("cat /data/update/rollback-reason"), reason)
    check.assertEqual(bench.slot_state(other)["boot_status"], "bad", "the slot is marked bad")
    check.assertRegex(doc["reason"], reason)
    check.assertRegex(box.update()["rollback_reason"], reason)


@scenario("a release whose daemon dies goes back by itself, with the reason", needs=("rauc", "bundles"), changes="update")
def broken_release(bench: Bench) -> None:
    box = bench.machine
    running, release, start = box.slot(), box.release(), box.boot_id()
    bundle = bench.bundles.broken()
    # By an address on this host's network; the box restarts by itself.
    with Away(box.page_answers) as away:
        answer = box.post("/api/v1/update", {"url": bench.serve(bundle), "reboot": True})
        box.another_start(start, 2400)
        # The broken one may have been seen; what counts is the old one.
        doc = box.until("the way back", lambda: (lambda d: d if d["state"] == "rolled_back" else None)(box.update()), 2400)
    # The broken system has no page: one gap, from the restart into it until the old one is back.
    bench.note("broken release: no page until the box is back", away.seconds(), "s")
    check.assertEqual((doc["job"], doc["slot"], doc["new_version"]), (answer["job"], running, bench.bundles.version(bundle)))
    goes_back(bench, "the daemon ended", running, release, doc)


@scenario("the command `update` over MQTT: a good release is written, started, committed, and told by the new version",
          needs=("rauc", "bundles", "broker"), changes="update")
def update_by_command(bench: Bench) -> None:
    box = bench.machine
    if not bench.broker:
        bench.tell_broker()
        box.until("the daemon", lambda: box.status()["mqtt"])
    running, start = box.slot(), box.boot_id()
    other = "B" if running == "A" else "A"
    bundle = bench.bundles.good()
    version = bench.bundles.version(bundle)
    topic, began = bench.topic(), time.monotonic()
    with Away(box.page_answers) as away:
        bench.command(topic, "update", "good-1", {"url": bench.serve(bundle), "version": version, "reboot": True})
        box.another_start(start, 2400)
    bench.note("update: no page over its restart", away.seconds(), "s", 75)
    said = bench.outcome(topic, "update", "good-1", 1800)
    bench.note("update by command: from the request to its commit", time.monotonic() - began, "s")
    check.assertEqual(said["state"], "successful", said)
    check.assertEqual((said["result"]["version"], said["result"]["slot"]), (version, other))
    check.assertEqual((box.slot(), box.release()), (other, version))
    check.assertEqual(box.ssh("test -e /data/update/pending || echo committed"), "committed")
    if grub := bench.grub():
        check.assertEqual((grub[f"{other}_OK"], grub[f"{other}_TRY"]), ("1", "0"))
    check.assertIsNone(box.update()["rollback_reason"])
    box.until("every camera", bench.cameras_online)
    # Given twice it updates once.
    bench.command(topic, "update", "good-2", {"url": "http://192.0.2.1/none.raucb", "version": version})
    said = bench.outcome(topic, "update", "good-2", 300)
    check.assertEqual((said["state"], said["result"]["updated"]), ("successful", False), said)


@scenario("the command `update` over MQTT: a release whose camera gives no frames goes back, and the old version tells why",
          needs=("rauc", "bundles", "broker", "fresh"), changes="update")
def unwell_release(bench: Bench) -> None:
    box = bench.machine
    if not bench.broker:
        bench.tell_broker()
    box.until("every camera", bench.cameras_online)
    running, release = box.slot(), box.release()
    topic = bench.topic()
    bundle = bench.bundles.unwell()
    bench.command(topic, "update", "unwell-1", {"url": bench.serve(bundle), "version": bench.bundles.version(bundle), "reboot": True})
    said = bench.outcome(topic, "update", "unwell-1", 3600)
    box.ready(900)
    check.assertEqual(said["state"], "failed", said)
    goes_back(bench, "camera left", running, release, {"reason": said["reason"]})
    box.until("every camera", bench.cameras_online)
