"""Records every write of a virtual box's disk while it writes events, takes an update, restarts and commits it."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "box"))

from bench import Bench, check  # noqa: E402
from verify import squashfs_sum  # noqa: E402
from virtual import Virtual, partitions  # noqa: E402


class Marks:
    """Notes, on a thread of its own, which events the box has shown and how long the log was then: whatever the power does after
    that, they must be there. An event is shown once its transaction is on the disk (events.sqlite: synchronous=FULL)."""

    def __init__(self, box: Virtual, file: pathlib.Path) -> None:
        self.box, self.file = box, file
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self) -> None:
        """Until it is stopped. A box that restarts shows nothing for a while."""
        seen: set[str] = set()
        while not self.stop.wait(2):
            try:
                page = self.box.api("/api/v1/events?limit=200")
            except (OSError, ValueError, AssertionError, subprocess.SubprocessError):
                continue
            shown = {e["id"].replace("-", "").lower() for e in page["events"]} - seen
            if shown:
                seen |= shown
                with open(self.file, "a") as file:
                    file.write(json.dumps({"log_bytes": self.box.record.stat().st_size, "events": sorted(shown)}) + "\n")


def bundle_sum(bundle: pathlib.Path) -> str:
    """The sum of the system in a bundle."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-force", "-dest", f"{folder}/x", str(bundle), "root.squashfs"],
                       check=True, capture_output=True)
        slot = pathlib.Path(folder, "x/root.squashfs")
        return squashfs_sum(slot, 0, slot.stat().st_size)


def record(bench: Bench, folder: pathlib.Path, restarts: int = 3) -> None:
    """`bench.machine` is a virtual box with cameras, switched off. Leaves `base.img`, `writes.log`, `marks.jsonl`, `record.json`."""
    box = bench.machine
    assert box.process is None, "the power is on"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["cp", "--sparse=always", str(box.disk), str(folder / "base.img")], check=True)
    parts = partitions(box.disk)
    bundle = bench.bundles.good()
    sums = {bundle_sum(bundle)}
    sums |= {found for name in ("root_a", "root_b") if (found := squashfs_sum(box.disk, *parts[name]))}
    box.record = folder / "writes.log"
    box.record.touch()
    marks = Marks(box, folder / "marks.jsonl")
    try:
        box.start()
        marks.thread.start()
        box.ready(900)
        running = box.slot()
        bench.gate()
        # Each start of the daemon tells of its cameras: events, and a database that is opened and closed.
        for _ in range(restarts):
            box.until("every camera", bench.cameras_online)
            box.ssh("sleep 8; systemctl restart synoptic", timeout=120)
        start = box.boot_id()
        doc = bench.install(bundle)
        check.assertEqual(doc["state"], "reboot_pending", doc)
        box.post("/api/v1/update/reboot", {})
        box.another_start(start, 1800)
        check.assertNotEqual(box.slot(), running)
        bench.gate()
        box.until("the commit", lambda: box.ssh("test -e /data/update/pending || echo committed") == "committed", 900)
        # The box ends in good order, and QEMU with it, which completes the log.
        box.ssh("systemctl --no-block poweroff", check=False)
        box.process.wait(timeout=600)
        box.process = None
    finally:
        marks.stop.set()
        if marks.thread.is_alive():
            marks.thread.join()
        box.cut()
        box.record = None
    (folder / "record.json").write_text(json.dumps({"systems": sorted(sums), "parts": parts, "from": running}, indent=1) + "\n")
