"""The power goes. On a virtual box `kill -9` of QEMU, on a real one somebody's relay."""

from __future__ import annotations

import pathlib
import random
import shutil
import sys
import time

from bench import Bench, check
from choice import scenario

CUTS = pathlib.Path(__file__).resolve().parent.parent.parent / "cuts"
# A second each; all of them are for cuts.py.
REPLAYED = 60


def still_itself(bench: Bench, slot: str, release: str) -> None:
    """The committed release runs, the database is sound, nothing failed."""
    box = bench.machine
    check.assertEqual((box.slot(), box.release()), (slot, release), "a committed release stays")
    bench.gate()
    check.assertEqual(box.failed_units(), "")
    check.assertEqual(box.ssh("runuser -u synoptic -- synoptic db check >/dev/null && echo sound"), "sound")


@scenario("power cuts: while it starts, right after the boot loader noted its try, while it works", needs=("power", "units"), changes="power")
def power_cuts(bench: Bench) -> None:
    box = bench.machine
    slot, release = box.slot(), box.release()
    # The same moments in each run, and on each box.
    chance = random.Random(7)
    survived = 0
    # Twice in a row while it starts: three tries are all that the boot loader has.
    for _ in range(2):
        box.cut()
        box.start()
        if box.name == "virtual":
            # At its worst moment: the boot loader has noted the try, nobody has given it back.
            box.until("the boot loader's choice", lambda: "Booting `Synoptic'" in box.console())
        else:
            time.sleep(chance.uniform(2, 25))
        survived += 1
    # The third start comes up, which gives the tries back; then a cut while the box works.
    box.cut()
    box.start()
    box.ready(900)
    survived += 1
    still_itself(bench, slot, release)
    box.cut()
    box.start()
    box.ready(900)
    survived += 1
    kernel, daemon = bench.in_step(900)
    bench.note("start: kernel to packets of both cameras", kernel, "s")
    bench.note("start: kernel to the daemon's start", kernel - daemon, "s")
    still_itself(bench, slot, release)
    if grub := bench.grub():
        check.assertEqual(grub[f"{slot}_TRY"], "0")
    check.assertGreater(int(box.ssh("journalctl --boot=-1 --output=cat | wc -l")), 0, "one journal over starts")
    bench.note("power cuts survived", survived, "cuts", 4, "higher")


@scenario("power cuts in bulk, in short: an update's writes recorded, the disk made anew at 60 instants", needs=("disk", "bundles"), changes="power")
def replayed_cuts(bench: Bench) -> None:
    box = bench.machine
    sys.path.append(str(CUTS))
    from cuts import replay, summary
    from record import record

    box.cut()
    folder = bench.folder / "cuts"
    record(bench, folder, restarts=1)
    verdicts = replay(folder, bench.bundles.out / "synoptic", folder / "work", REPLAYED, say=lambda text: print(f"   {text}", flush=True))
    problems = [p for v in verdicts for p in v["problems"]]
    check.assertEqual(problems, [], summary(verdicts))
    bench.note("power cuts replayed and survived", len(verdicts), "cuts", REPLAYED, "higher")
    shutil.rmtree(folder)
    box.start()
    box.ready(900)
