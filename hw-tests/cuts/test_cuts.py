"""Power cuts in bulk without a box: logs made by hand and by qemu-io, a small disk, GRUB's decision."""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import unittest

import cuts
import loader
from disk import Disk
from points import all_points, epochs, spread
from verify import Bad, Box, copy_range, squashfs_sum
from writelog import DISCARD, ENTRY, FLUSH, FUA, MAGIC, SUPER, Broken, read

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECTOR = 512


def log_of(path: pathlib.Path, *requests: tuple[int, bytes, int], count: int | None = None) -> pathlib.Path:
    """A log of (sector, content, flags)."""
    body = b""
    for sector, content, flags in requests:
        body += ENTRY.pack(sector, len(content) // SECTOR, flags, 0).ljust(SECTOR, b"\0")
        body += b"" if flags & DISCARD else content
    path.write_bytes(SUPER.pack(MAGIC, 1, len(requests) if count is None else count, SECTOR).ljust(SECTOR, b"\0") + body)
    return path


def block(letter: str, sectors: int = 1) -> bytes:
    return letter.encode() * SECTOR * sectors


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)


class Logs(Case):
    def test_what_was_written_is_read(self) -> None:
        path = log_of(self.dir / "log", (8, block("a", 2), 0), (0, b"", FLUSH), (4, block("b"), FUA), (16, block("x", 4), DISCARD), (9, block("c"), 0))
        sector, log = read(path)
        self.assertEqual(sector, SECTOR)
        self.assertEqual([(e.start, e.size, e.flags) for e in log], [(4096, 1024, 0), (0, 0, FLUSH), (2048, 512, FUA), (8192, 2048, DISCARD), (4608, 512, 0)])
        self.assertEqual(log[-1].end, path.stat().st_size)
        self.assertEqual(path.read_bytes()[log[4].data:log[4].end], block("c"))

    def test_a_log_that_was_cut_off_ends_before_what_is_not_whole(self) -> None:
        path = log_of(self.dir / "log", (0, block("a"), 0), (1, block("b", 4), 0), count=9)
        self.assertEqual(len(read(path)[1]), 2, "the count is of before")
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        self.assertEqual(len(read(path)[1]), 1)

    def test_what_is_no_log_is_said(self) -> None:
        path = self.dir / "log"
        for content, why in ((b"", "too short"), (b"QFI\xfb" + bytes(60), "no log of writes"), (SUPER.pack(MAGIC, 2, 0, 512), "version 2"),
                             (SUPER.pack(MAGIC, 1, 0, 511), "a sector of 511"), (SUPER.pack(MAGIC, 1, 1, 512).ljust(512, b"\0") + struct.pack("<QQQQ", 0, 0, 1 << 40, 0).ljust(512, b"\0"), "entry 0")):
            path.write_bytes(content)
            with self.assertRaisesRegex(Broken, why):
                read(path)

    def test_a_log_of_qemu_itself(self) -> None:
        if not shutil.which("qemu-io"):
            self.skipTest("qemu-io is missing: apt install qemu-utils")
        disk, path = self.dir / "disk", self.dir / "log"
        disk.write_bytes(bytes(1 << 20))
        path.touch()
        spec = f"driver=blklogwrites,file.driver=file,file.filename={disk},log.driver=file,log.filename={path},log-sector-size=512"
        commands = ("write -P 0x61 4096 1024", "flush", "write -P 0x62 8192 512", "write -f -P 0x63 16384 4096", "write -z 65536 65536", "flush")
        subprocess.run(["qemu-io", "--image-opts", *itertools.chain.from_iterable(("-c", c) for c in commands), spec], check=True, capture_output=True)
        _, log = read(path)
        seen = [(e.start, e.size, bool(e.flags & FLUSH), bool(e.flags & FUA)) for e in log if e.size or e.flush]
        self.assertEqual(seen[:2], [(4096, 1024, False, False), (0, 0, True, False)])
        self.assertIn((8192, 512, False, False), seen)
        # A write through the cache is one with a flush behind it here, elsewhere one with a flag.
        through = next(i for i, s in enumerate(seen) if s[:2] == (16384, 4096))
        self.assertTrue(seen[through][3] or seen[through + 1][2])
        self.assertIn((65536, 65536, False, False), seen)
        # Carried out anew it makes the same disk.
        base = self.dir / "base"
        base.write_bytes(bytes(1 << 20))
        replayed = Disk(base, path, log)
        replayed.settle(len(log))
        replayed.close()
        self.assertEqual(base.read_bytes(), disk.read_bytes())
        self.assertEqual(base.read_bytes()[4096:5120], b"a" * 1024)


class Points(Case):
    def made(self) -> tuple[pathlib.Path, list]:
        path = log_of(self.dir / "log", (0, block("a"), 0), (1, block("b", 4), 0), (0, b"", FLUSH), (8, block("c"), FUA), (9, block("d"), 0), (0, block("e"), 0),
                      (0, b"", FLUSH), (0, b"", FLUSH), (3, block("f"), 0))
        return path, read(path)[1]

    def test_stretches_between_flushes(self) -> None:
        _, log = self.made()
        self.assertEqual(epochs(log), [(0, 2), (3, 6), (7, 7), (8, 9)])

    def test_every_flush_is_a_point_and_the_same_ones_each_time(self) -> None:
        _, log = self.made()
        points = all_points(log, SECTOR, 6, 1)
        self.assertEqual([p.settled for p in points if p.kind == "flush"], [2, 6, 9])
        self.assertEqual(points, all_points(log, SECTOR, 6, 1))
        self.assertNotEqual(points, all_points(log, SECTOR, 6, 2))
        self.assertEqual([p.order for p in points], list(range(len(points))))
        for p in points:
            self.assertTrue(all(p.settled <= i < p.until for i in p.kept), "only what is open may be lost")
            if p.torn >= 0:
                self.assertTrue(0 < p.torn < log[p.kept[-1]].size and p.torn % SECTOR == 0)
            if p.kind == "some" and 3 in range(p.settled, p.until):
                self.assertIn(3, p.kept, "what was written through the cache is there")
        self.assertEqual({p.kind for p in points}, {"flush", "prefix", "torn", "some"})

    def test_spread(self) -> None:
        _, log = self.made()
        points = all_points(log, SECTOR, 6, 1)
        self.assertEqual(spread(points, 0), points)
        some = spread(points, 5)
        self.assertEqual((len(some), some[0]), (5, points[0]))
        self.assertEqual(sorted(some, key=lambda p: p.order), some)

    def test_a_point_is_taken_back(self) -> None:
        path, log = self.made()
        base = self.dir / "base"
        base.write_bytes(bytes(16 * SECTOR))
        disk = Disk(base, path, log)
        last = -1
        for point in all_points(log, SECTOR, 6, 1):
            disk.settle(point.settled)
            self.assertGreaterEqual(point.settled, last)
            last = point.settled
            settled = base.read_bytes()
            disk.open_point(point)
            now = base.read_bytes()
            for n, index in enumerate(point.kept):
                entry = log[index]
                size = point.torn if point.torn >= 0 and n == len(point.kept) - 1 else entry.size
                written = path.read_bytes()[entry.data:entry.data + size]
                # A later request may have gone over it.
                if not any(log[j].start < entry.start + size and entry.start < log[j].start + log[j].size for j in point.kept[n + 1:]):
                    self.assertEqual(now[entry.start:entry.start + size], written)
            disk.close_point()
            self.assertEqual(base.read_bytes(), settled)
        disk.close()
        self.assertEqual(base.read_bytes()[:SECTOR], block("e"))
        self.assertEqual(base.read_bytes()[3 * SECTOR:4 * SECTOR], block("f"))


class Loader(unittest.TestCase):
    """grub.cfg's decision, taken over by hand: the table is what its comments promise."""

    def test_the_decision(self) -> None:
        for order, a, b, slot, tries in (
            ("A B", "1 0", "0 0", "A", "1 0"), ("B A", "1 0", "1 0", "B", "0 1"), ("B A", "1 0", "1 2", "B", "0 3"), ("B A", "1 0", "1 3", "A", "1 3"),
            ("B A", "1 0", "0 0", "A", "1 0"), ("A B", "1 3", "1 3", "B", "0 1"), ("B A", "1 3", "1 3", "A", "1 0"), ("A B", "1 3", "0 0", "A", "1 0"),
            ("A B", "0 0", "0 0", "A", "1 0"), ("", "1 0", "1 0", "A", "1 0"),
        ):
            env = {"ORDER": order, "A_OK": a[0], "A_TRY": a[2], "B_OK": b[0], "B_TRY": b[2]}
            taken, after = loader.choice(env)
            self.assertEqual((taken, f"{after['A_TRY']} {after['B_TRY']}"), (slot, tries), env)
        self.assertEqual(loader.choice(None)[0], "A", "a block that cannot be read")

    def test_grub_s_own_script_has_the_same_words(self) -> None:
        # The decision above is worth what this is: it changes with the script, or this fails.
        text = (ROOT / "systemd/box/boot/grub.cfg").read_text()
        for word in ('set ORDER="A B"', "set A_OK=1", "set B_OK=1", '"$A_TRY" != "3"', '"$B_TRY" != "3"', 'if [ "$slot" = "" ]; then set slot=A; fi'):
            self.assertIn(word, text)
        self.assertEqual(len(re.findall(r"for name in \$ORDER", text)), 2)

    def test_a_block_of_grub_s_own_tool(self) -> None:
        if not shutil.which("grub-editenv"):
            self.skipTest("grub-editenv is missing: apt install grub-common")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "grubenv")
            subprocess.run(["grub-editenv", str(file), "create"], check=True)
            subprocess.run(["grub-editenv", str(file), "set", "ORDER=B A", "B_OK=1"], check=True)
            block_of_tool = file.read_bytes()
        found = loader.environment(block_of_tool)
        self.assertEqual((found["ORDER"], found["B_OK"]), ("B A", "1"))
        self.assertIsNone(loader.environment(block_of_tool[:-1]))
        self.assertIsNone(loader.environment(b"\0" + block_of_tool[1:]))
        self.assertIsNone(loader.environment(b""))


class Verdicts(Case):
    """A disk of two slots, a boot state and a data partition with a database, as a box has them."""

    MIB = 1 << 20

    def setUp(self) -> None:
        super().setUp()
        for tool in ("mkfs.vfat", "mcopy", "mkfs.ext4", "e2fsck", "debugfs", "grub-editenv"):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is missing")
        mib = self.MIB
        self.parts = {"bootstate": (mib, 2 * mib), "root_a": (3 * mib, mib), "root_b": (4 * mib, mib), "data": (8 * mib, 16 * mib)}
        self.disk = self.dir / "disk.img"
        with open(self.disk, "wb") as file:
            file.truncate(24 * mib)
        self.squash("root_a", b"old system")
        self.state("A B", "1", "0")
        tree = self.dir / "tree"
        (tree / "synoptic").mkdir(parents=True)
        (tree / "etc/synoptic").mkdir(parents=True)
        (tree / "update").mkdir()
        (tree / "etc/synoptic/synoptic.toml").write_text("schema_version = 1\n")
        db = sqlite3.connect(tree / "synoptic/events.sqlite")
        db.executescript("CREATE TABLE events (id BLOB); CREATE TABLE system_events (id BLOB);"
                         "INSERT INTO events VALUES (x'ab01'); INSERT INTO system_events VALUES (x'CD02')")
        db.close()
        self.ext4(tree)
        # The daemon's check: its answer is a file's.
        self.synoptic = self.dir / "synoptic"
        self.synoptic.write_text(f"#!/bin/sh\ngrep -q data_dir \"$2\" || exit 9\ncat {self.dir}/says\ngrep -q NOT {self.dir}/says && exit 1 || exit 0\n")
        self.synoptic.chmod(0o755)
        (self.dir / "says").write_text("sound\n")
        self.tree = tree

    def put(self, part: str, content: bytes, at: int = 0) -> None:
        with open(self.disk, "r+b") as file:
            file.seek(self.parts[part][0] + at)
            file.write(content)

    def squash(self, part: str, text: bytes) -> None:
        size = 4096
        head = bytearray(b"hsqs".ljust(96, b"\0"))
        struct.pack_into("<Q", head, 40, size)
        self.put(part, bytes(head) + text.ljust(size - 96, b"."))

    def state(self, order: str, a_ok: str, b_ok: str) -> None:
        env, fat = self.dir / "grubenv", self.dir / "state.vfat"
        fat.unlink(missing_ok=True)
        subprocess.run(["grub-editenv", str(env), "create"], check=True)
        subprocess.run(["grub-editenv", str(env), "set", f"ORDER={order}", f"A_OK={a_ok}", f"B_OK={b_ok}", "A_TRY=0", "B_TRY=0"], check=True)
        fat.write_bytes(bytes(self.parts["bootstate"][1]))
        subprocess.run(["mkfs.vfat", str(fat)], check=True, capture_output=True)
        subprocess.run(["mcopy", "-i", str(fat), str(env), "::/grubenv"], check=True)
        self.put("bootstate", fat.read_bytes())

    def ext4(self, tree: pathlib.Path) -> None:
        file = self.dir / "data.ext4"
        file.write_bytes(bytes(self.parts["data"][1]))
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-d", str(tree), str(file)], check=True, capture_output=True)
        self.put("data", file.read_bytes())

    def box(self) -> Box:
        whole = {squashfs_sum(self.disk, *self.parts["root_a"])}
        return Box(self.disk, self.parts, whole, self.synoptic, self.dir / "work")

    def test_a_box_that_is_well(self) -> None:
        box = self.box()
        self.assertEqual(box.boot(), "A")
        self.assertEqual(box.data(), ({"ab01", "cd02"}, ""))

    def test_a_slot_that_is_not_whole_is_a_lost_boot(self) -> None:
        box = self.box()
        self.squash("root_b", b"half of the new")
        self.assertEqual(box.boot(), "A", "nobody starts it yet")
        self.state("B A", "1", "1")
        with self.assertRaisesRegex(Bad, "slot B, which holds no whole system"):
            box.boot()
        box.sums.clear()
        box.whole.add(squashfs_sum(self.disk, *self.parts["root_b"]))
        self.assertEqual(box.boot(), "B")
        # A boot state that cannot be read: GRUB's defaults.
        self.put("bootstate", bytes(4096))
        self.assertEqual(box.boot(), "A by default")

    def test_a_broken_database_or_setting_is_found(self) -> None:
        box = self.box()
        (self.dir / "says").write_text("events.sqlite: NOT sound\n")
        with self.assertRaisesRegex(Bad, "NOT sound"):
            box.data()
        (self.dir / "says").write_text("sound\n")
        (self.tree / "etc/synoptic/synoptic.toml").write_text("schema_version = \n")
        self.ext4(self.tree)
        with self.assertRaisesRegex(Bad, "synoptic.toml is broken"):
            box.data()
        (self.tree / "etc/synoptic/synoptic.toml").write_text("schema_version = 1\n")
        (self.tree / "etc/device-id").write_text("")
        self.ext4(self.tree)
        with self.assertRaisesRegex(Bad, "etc/device-id is empty"):
            box.data()

    def test_counts_that_a_forced_check_mends_are_told_and_no_loss(self) -> None:
        box = self.box()
        file = self.dir / "data.ext4"
        for change in ("set_bg 0 free_blocks_count 77", "set_bg 0 checksum calc"):
            subprocess.run(["debugfs", "-w", "-R", change, str(file)], check=True, capture_output=True)
        self.put("data", file.read_bytes())
        events, left = box.data()
        self.assertEqual(events, {"ab01", "cd02"})
        self.assertRegex(left, "Free blocks count wrong")

    def test_a_broken_file_system_is_found(self) -> None:
        box = self.box()
        # Its block bitmap and inode table.
        self.put("data", b"\xff" * 65536, at=8192)
        with self.assertRaisesRegex(Bad, "e2fsck ended with"):
            box.data()

    def test_a_replay_finds_the_point_at_which_things_break_and_goes_on_where_it_was_stopped(self) -> None:
        # A slot that becomes first before it is written: every point between the two is a lost boot.
        folder = self.dir / "recording"
        folder.mkdir()
        shutil.copy(self.disk, folder / "base.img")
        before = self.disk.read_bytes()
        systems = [squashfs_sum(self.disk, *self.parts["root_a"])]
        self.state("B A", "1", "1")
        start, size = self.parts["bootstate"]
        state = self.disk.read_bytes()[start:start + size]
        self.squash("root_b", b"new system")
        systems.append(squashfs_sum(self.disk, *self.parts["root_b"]))
        slot = self.disk.read_bytes()[self.parts["root_b"][0]:][:4096]
        changed = [i for i in range(0, size, SECTOR) if state[i:i + SECTOR] != before[start + i:start + i + SECTOR]]
        requests = [((start + i) // SECTOR, state[i:i + SECTOR], 0) for i in changed]
        log_of(folder / "writes.log", *requests, (0, b"", FLUSH), (self.parts["root_b"][0] // SECTOR, slot, 0), (0, b"", FLUSH))
        (folder / "record.json").write_text(json.dumps({"systems": systems, "parts": self.parts, "from": "A"}))
        (folder / "marks.jsonl").write_text(json.dumps({"log_bytes": 0, "events": ["ab01", "ff03"]}) + "\n")
        said: list[str] = []
        verdicts = cuts.replay(folder, self.synoptic, self.dir / "w", 0, said.append)
        figures = cuts.summary(verdicts)
        flushes = [v for v in verdicts if v["kind"] == "flush"]
        self.assertTrue(any(p.startswith("boot:") for p in flushes[0]["problems"]), "settled: the new slot is first and empty")
        self.assertEqual([p for p in flushes[1]["problems"] if p.startswith("boot:")], [])
        self.assertEqual(flushes[1]["slot"], "B")
        self.assertGreater(figures["lost boots"], 0)
        self.assertEqual(figures["lost events"], len(verdicts), "ff03 was shown and is nowhere")
        self.assertEqual(figures["broken databases or file systems"], 0)
        # Stopped in its middle: what was judged stays, the rest is judged as before.
        results = folder / "results.jsonl"
        lines = results.read_text().splitlines()
        results.write_text("\n".join(lines[:2]) + "\n")
        self.assertEqual(cuts.replay(folder, self.synoptic, self.dir / "w", 0, said.append), verdicts)
        self.assertIn("2 judged before", next(s for s in reversed(said) if "judged before" in s))

    def test_holes_stay_holes(self) -> None:
        copy = self.dir / "copy"
        copy_range(self.disk, *self.parts["data"], copy)
        start, size = self.parts["data"]
        self.assertEqual(copy.read_bytes(), self.disk.read_bytes()[start:start + size])


if __name__ == "__main__":
    unittest.main()
