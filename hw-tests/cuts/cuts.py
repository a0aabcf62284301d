#!/usr/bin/env python3
"""Power cuts in bulk: the box's writes are recorded once, and the disk made anew at every instant that counts.

    sudo hw-tests/cuts/cuts.py record                    10 to 20 min of emulation, with the disk of the last `make test-box`
    sudo hw-tests/cuts/cuts.py replay --points 1000      a second or two each; goes on where it was stopped
    hw-tests/cuts/cuts.py report

At each point: the slot that the boot loader takes is a whole system, e2fsck replays the journal and mends the rest unasked, the
daemon finds its database sound, events that the box had shown are in it, and settings are whole. Ends with 1 if one is not.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.path.insert(1, str(HERE.parent / "box"))

from disk import Disk  # noqa: E402
from points import Point, all_points, spread  # noqa: E402
from verify import Bad, Box  # noqa: E402
from writelog import Entry, read  # noqa: E402

# The same points in each run.
SEED = 20261122
OPEN_EACH = 3


def touched(entries: list[Entry], part: tuple[int, int]) -> bool:
    """Whether some of them change a partition."""
    start, size = part
    return any(e.start < start + size and start < e.start + e.size for e in entries)


class Replay:
    """One recording, taken forth once from its beginning to its end."""

    def __init__(self, folder: pathlib.Path, synoptic: pathlib.Path, work: pathlib.Path) -> None:
        self.folder, self.work = folder, work
        self.facts = json.loads((folder / "record.json").read_text())
        self.parts = {name: tuple(where) for name, where in self.facts["parts"].items()}
        self.sector, self.log = read(folder / "writes.log")
        marks = folder / "marks.jsonl"
        self.marks = [json.loads(line) for line in marks.read_text().splitlines()] if marks.exists() else []
        work.mkdir(parents=True, exist_ok=True)
        image = work / "disk.img"
        subprocess.run(["cp", "--sparse=always", str(folder / "base.img"), str(image)], check=True)
        self.disk = Disk(image, folder / "writes.log", self.log)
        self.box = Box(image, self.parts, set(self.facts["systems"]), synoptic, work / "box")
        # What was found last, as long as nothing that it depends on has changed.
        self.known: dict[str, object] = {}

    def look(self, what: str, parts: tuple[str, ...], open_entries: list[Entry], ask):
        """A look at some partitions, taken again only where one of them has changed."""
        if any(touched(open_entries, self.parts[p]) for p in parts):
            return ask()
        if what not in self.known:
            self.known[what] = ask()
        return self.known[what]

    def judge(self, point: Point) -> dict:
        """What became of the box at a point."""
        done = self.disk.settle(point.settled)
        for what, parts in (("boot", ("bootstate", "root_a", "root_b")), ("data", ("data",))):
            if any(touched(done, self.parts[p]) for p in parts):
                self.known.pop(what, None)
        for name, part in self.parts.items():
            if touched(done, part):
                self.box.sums.pop(name, None)
        settled_sums = self.box.sums
        kept = self.disk.open_point(point)
        self.box.sums = {name: found for name, found in settled_sums.items() if not touched(kept, self.parts[name])}
        found = {"order": point.order, "kind": point.kind, "until": point.until}
        problems = []
        try:
            try:
                found["slot"] = self.look("boot", ("bootstate", "root_a", "root_b"), kept, self.box.boot)
            except Bad as bad:
                problems.append(f"boot: {bad}")
            try:
                events, left = self.look("data", ("data",), kept, self.box.data)
                found["left"] = left
                found["events"] = len(events)
                lost = self.promised(point) - events
                if lost:
                    problems.append(f"events: {len(lost)} that the box had shown are lost: {', '.join(sorted(lost)[:3])}")
            except Bad as bad:
                problems.append(f"data: {bad}")
        finally:
            self.disk.close_point()
            # What was found while the point was open holds after it where the point did not touch it.
            settled_sums.update({name: s for name, s in self.box.sums.items() if not touched(kept, self.parts[name])})
            self.box.sums = settled_sums
        found["problems"] = problems
        return found

    def promised(self, point: Point) -> set[str]:
        """The events that the box had shown before the first request that this point may have lost."""
        settled_bytes = self.log[point.settled - 1].end if point.settled else 0
        return {e for mark in self.marks if mark["log_bytes"] <= settled_bytes for e in mark["events"]}


def replay(folder: pathlib.Path, synoptic: pathlib.Path, work: pathlib.Path, wanted: int, say=print, first: int = 0) -> list[dict]:
    """All verdicts from point `first` on, those of earlier runs among them."""
    results = folder / "results.jsonl"
    done = {r["order"]: r for r in map(json.loads, results.read_text().splitlines())} if results.exists() else {}
    run = Replay(folder, synoptic, work)
    every = all_points(run.log, run.sector, OPEN_EACH, SEED)
    picked = spread(every[first:], wanted)
    say(f"{len(run.log)} requests, {sum(e.flush for e in run.log)} flushes, {len(every)} points, {len(picked)} of them to judge, {len(done)} judged before")
    began, fresh = time.monotonic(), 0
    try:
        with open(results, "a") as file:
            for point in picked:
                if point.order in done:
                    continue
                verdict = run.judge(point)
                done[point.order] = verdict
                file.write(json.dumps(verdict) + "\n")
                file.flush()
                fresh += 1
                for problem in verdict["problems"]:
                    say(f"point {point.order} ({point.kind}): {problem}")
                if fresh % 50 == 0:
                    say(f"{fresh} judged, {(time.monotonic() - began) / fresh:.2f} s each")
    finally:
        run.disk.close()
        shutil.rmtree(work, ignore_errors=True)
    return [done[p.order] for p in picked]


def summary(verdicts: list[dict]) -> dict[str, object]:
    """The figures."""
    bad = [v for v in verdicts if v["problems"]]
    first = collections.Counter(p.split(":", 1)[0] for v in bad for p in v["problems"])
    return {"points": len(verdicts), "kinds": dict(collections.Counter(v["kind"] for v in verdicts)), "lost boots": first["boot"],
            "broken databases or file systems": first["data"], "lost events": first["events"],
            "file systems with something left for a forced check": sum(bool(v.get("left")) for v in verdicts),
            "slots": dict(collections.Counter(v.get("slot", "none") for v in verdicts)),
            "most events in the database": max((v.get("events", 0) for v in verdicts), default=0)}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("record", "replay", "report"))
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--box", type=pathlib.Path, default=target / "box", help="folder of `make box`")
    parser.add_argument("--folder", type=pathlib.Path, help="of the recording (BOX/cuts)")
    parser.add_argument("--work", type=pathlib.Path, help="for copies; memory is quicker (FOLDER/work)")
    parser.add_argument("--points", type=int, default=1000, help="0: all")
    parser.add_argument("--first", type=int, default=0, help="the number of the first point, to look at one part of the recording")
    options = parser.parse_args()
    folder = options.folder or options.box / "cuts"
    if options.step == "record":
        from bench import Bench
        from bundles import Built
        from record import record
        from virtual import Virtual

        test = options.box / "test"
        if not (test / "disk.img").exists():
            parser.error(f"there is no box in {test}: make test-box")
        folder.parent.mkdir(parents=True, exist_ok=True)
        disk = options.box / "cuts.img"
        subprocess.run(["cp", "--sparse=always", str(test / "disk.img"), str(disk)], check=True)
        run = options.box / "cuts-run"
        run.mkdir(exist_ok=True)
        shutil.copy(test / "vars.fd", run / "vars.fd")
        record(Bench(Virtual(disk, run, test / "id"), run, Built(options.box, run), "10.0.2.2"), folder)
        disk.unlink()
        return 0
    if options.step == "replay":
        verdicts = replay(folder, options.box / "synoptic", options.work or folder / "work", options.points, first=options.first)
    else:
        verdicts = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    print(json.dumps(summary(verdicts), indent=1))
    return 1 if any(v["problems"] for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
