"""Whether a box whose power was cut would come back: boot state, file system, database, settings. On copies of the partitions."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import tomllib

import loader

SQUASHFS_MAGIC, SQUASHFS_BYTES_USED = b"hsqs", 40


def tool(*command: object, ends: tuple[int, ...] = (0,)) -> str:
    """What a tool said; an error of ours unless it ended as it may."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, errors="replace")
    if done.returncode not in ends:
        raise Bad(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-600:]}")
    return done.stdout


class Bad(Exception):
    """What a cut has cost; the message says it."""


def copy_range(source: pathlib.Path, start: int, size: int, to: pathlib.Path) -> None:
    """A stretch of a disk into a file, holes left holes."""
    with open(source, "rb", buffering=0) as disk, open(to, "wb", buffering=0) as file:
        file.truncate(size)
        at, end = start, start + size
        while at < end:
            try:
                at = os.lseek(disk.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            hole = min(os.lseek(disk.fileno(), at, os.SEEK_HOLE), end)
            while at < hole:
                part = os.pread(disk.fileno(), min(4 << 20, hole - at), at)
                os.pwrite(file.fileno(), part, at - start)
                at += len(part)


def squashfs_sum(disk: pathlib.Path, start: int, limit: int) -> str:
    """The sum of a slot's squashfs, as long as its super block says; empty where there is none."""
    with open(disk, "rb", buffering=0) as file:
        head = os.pread(file.fileno(), 96, start)
        if head[:4] != SQUASHFS_MAGIC:
            return ""
        size = struct.unpack_from("<Q", head, SQUASHFS_BYTES_USED)[0]
        if size > limit:
            return ""
        total, at = hashlib.sha256(), start
        while at < start + size:
            part = os.pread(file.fileno(), min(4 << 20, start + size - at), at)
            total.update(part)
            at += len(part)
    return total.hexdigest()


class Box:
    """Judges one disk. `parts` are its partitions (start and size in bytes, by name), `whole` the sums of the systems that start,
    `synoptic` the daemon's binary for its own check of the database."""

    def __init__(self, disk: pathlib.Path, parts: dict[str, tuple[int, int]], whole: set[str], synoptic: pathlib.Path, work: pathlib.Path) -> None:
        self.disk, self.parts, self.whole, self.synoptic, self.work = disk, parts, whole, synoptic, work
        # Sums of slots, half a gigabyte each: whoever changes the disk takes those of what changed out.
        self.sums: dict[str, str] = {}
        work.mkdir(parents=True, exist_ok=True)

    def boot(self) -> str:
        """The slot that the box would start; raises where that is not a whole system."""
        env = loader.environment(self.environment_block())
        slot, _ = loader.choice(env)
        part = f"root_{slot.lower()}"
        if part not in self.sums:
            self.sums[part] = squashfs_sum(self.disk, *self.parts[part])
        if self.sums[part] not in self.whole:
            raise Bad(f"the boot loader starts slot {slot}, which holds no whole system (environment: {env})")
        return slot if env is not None else f"{slot} by default"

    def environment_block(self) -> bytes:
        """GRUB's block, as it is on the partition's file system; empty where it cannot be read, as for GRUB."""
        copy = self.work / "bootstate.vfat"
        copy_range(self.disk, *self.parts["bootstate"], copy)
        done = subprocess.run(["mcopy", "-n", "-i", str(copy), "::/grubenv", "-"], capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else b""

    def data(self) -> tuple[set[str], str]:
        """The ids of the events in the database, and what only a forced check of the file system mends; raises where the data
        partition or what is on it is broken."""
        copy, out = self.work / "data.ext4", self.work / "data"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        copy_range(self.disk, *self.parts["data"], copy)
        # As the box's own start does it: the journal is replayed, and what is not harmless is not mended by itself.
        tool("e2fsck", "-p", copy, ends=(0, 1))
        left = self.left_over(copy)
        for folder in ("synoptic", "etc", "update"):
            tool("debugfs", "-R", f"rdump /{folder} {out}", copy)
        self.settings(out)
        return self.database(out), left

    def left_over(self, copy: pathlib.Path) -> str:
        """What the start's check has left in the file system, and a forced one mends without asking anybody; raises where it
        cannot. Seen where the power goes while the start's own e2fsck lets go of deleted files, which it does without the
        journal: counts of free blocks that are wrong."""
        found = subprocess.run(["e2fsck", "-fn", str(copy)], capture_output=True, text=True, check=False, errors="replace")
        if found.returncode == 0:
            return ""
        tool("e2fsck", "-fp", copy, ends=(0, 1))
        tool("e2fsck", "-fn", copy)
        return next((line for line in found.stdout.splitlines() if "wrong" in line or "?" in line), found.stdout.strip()[-200:])

    def settings(self, out: pathlib.Path) -> None:
        """What a box cannot do without is whole, or not there yet (a first start makes it)."""
        for name in ("etc/device-id", "etc/machine-id", "etc/synoptic/synoptic.toml", "synoptic/web-password", "etc/ssh/ssh_host_ed25519_key"):
            file = out / name
            if file.exists() and not file.read_bytes().strip():
                raise Bad(f"{name} is empty")
        toml = out / "etc/synoptic/synoptic.toml"
        if toml.exists():
            try:
                tomllib.loads(toml.read_text())
            except (ValueError, UnicodeDecodeError) as error:
                raise Bad(f"synoptic.toml is broken: {error}") from error

    def database(self, out: pathlib.Path) -> set[str]:
        """By the daemon's own check, and all its events."""
        folder = out / "synoptic"
        events = folder / "events.sqlite"
        if not events.exists():
            return set()
        config = self.work / "check.toml"
        config.write_text(f'schema_version = 1\n[device]\ndata_dir = "{folder}"\n')
        tool(self.synoptic, "--config", config, "db", "check")
        try:
            with sqlite3.connect(events) as db:
                return {row[0].lower() for row in db.execute("SELECT hex(id) FROM events UNION SELECT hex(id) FROM system_events")}
        except sqlite3.OperationalError as error:
            # Before the first migration was committed there is no table.
            if "no such table" in str(error):
                return set()
            raise Bad(f"events.sqlite: {error}") from error
