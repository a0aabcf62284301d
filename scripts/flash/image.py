#!/usr/bin/env python3
"""Bytes of an image: sums, its partition table, its block map, the pump with progress, the comparison after writing.

    image.py sum FILE                        SHA-256 in hex
    image.py esp [FILE]                      offset, size and sector of the ESP in bytes (without FILE: stdin's beginning)
    image.py measure [--bmap FILE]           size and mapped size in bytes of stdin (the image), held against its map
    image.py pump --total BYTES              stdin to stdout
    image.py write DEVICE --bmap FILE        the mapped ranges of stdin (the image) to a device or file
    image.py compare DEVICE [--bmap FILE]    stdin (the image) against a device or file

Progress goes where FLASH_PROGRESS says: `tty` to stderr for people, `json` to descriptor 3 as events, else nowhere.
Python 3.9, nothing but its standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import stat
import struct
import sys
import time
import uuid
import xml.etree.ElementTree as xml
import zlib

WRONG = 6  # the image is not one that fits
DIFFERS = 10
CHUNK = 1 << 20  # bytes
SYNC_EVERY = 64 << 20  # bytes
# UEFI specification 2.10, section 5.3: the header lies in the second logical block.
ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
SECTORS = (512, 4096)
# Partition tables have 128 entries of 128 bytes as a rule; more than this is no table of ours.
MAX_TABLE = 1 << 20


class Unfit(Exception):
    """The image or its block map is not one that can be used."""


class Progress:
    """Says how far a step is, four times a second at most."""

    def __init__(self, step: str, total: int) -> None:
        self.step, self.total, self.done = step, total, 0
        self.how = os.environ.get("FLASH_PROGRESS", "")
        self.begin = self.last = time.monotonic()

    def add(self, count: int) -> None:
        """So many bytes more."""
        self.done += count
        now = time.monotonic()
        if self.how and now - self.last >= 0.25:
            self.last = now
            self.show(now)

    def show(self, now: float) -> None:
        """Now."""
        seconds = max(now - self.begin, 1e-3)
        speed = self.done / seconds
        if self.how == "json":
            event = {"event": "progress", "step": self.step, "bytes": self.done, "total": self.total or None}
            os.write(3, (json.dumps(event) + "\n").encode())
        elif self.how == "tty":
            rest = f"{max(self.total - self.done, 0) / max(speed, 1):.0f} s left" if self.total else ""
            share = f"{100 * self.done / self.total:5.1f} %" if self.total else f"{self.done / 1e6:.0f} MB"
            sys.stderr.write(f"\r  {self.step}  {share}  {speed / 1e6:.0f} MB/s  {rest}\033[K")
            sys.stderr.flush()

    def end(self) -> None:
        """The step is through."""
        if self.how:
            self.show(time.monotonic())
        if self.how == "tty":
            sys.stderr.write("\r\033[K")


def file_sum(path: str) -> str:
    """SHA-256 of a file."""
    digest, progress = hashlib.sha256(), Progress("checking", os.path.getsize(path))
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress.add(len(chunk))
    progress.end()
    return digest.hexdigest()


def find_esp(head: bytes) -> tuple[int, int, int]:
    """Offset, size and sector in bytes of the EFI system partition, from the first MiB of a disk."""
    for sector in SECTORS:
        header = head[sector : sector + 92]
        if header[:8] != b"EFI PART":
            continue
        (size, crc) = struct.unpack_from("<II", header, 12)
        if not 92 <= size <= sector:
            raise Unfit("its partition table is damaged: the header's length is impossible")
        whole = bytearray(head[sector : sector + size])
        whole[16:20] = bytes(4)
        if zlib.crc32(whole) != crc:
            raise Unfit("its partition table is damaged: the header's checksum is wrong")
        first, count, length = struct.unpack_from("<QII", header, 72)
        if length < 128 or count * length > MAX_TABLE:
            raise Unfit("its partition table has an impossible size")
        table = head[first * sector : first * sector + count * length]
        for at in range(0, len(table) - 127, length):
            if uuid.UUID(bytes_le=table[at : at + 16]) == ESP_TYPE:
                begin, end = struct.unpack_from("<QQ", table, at + 32)
                return begin * sector, (end - begin + 1) * sector, sector
        raise Unfit("it has no EFI system partition")
    raise Unfit("it has no GPT partition table: is it a disk image?")


class Range:
    """A mapped range of bytes: [first, past), and the SHA-256 that the map gives it, if it does."""

    def __init__(self, first: int, past: int, digest: str | None) -> None:
        self.first, self.past, self.digest = first, past, digest


def read_bmap(path: str) -> tuple[int, list[Range]]:
    """A block map (format 2 of bmap-tools): image size in bytes and the mapped ranges."""
    try:
        root = xml.parse(path).getroot()
        version = (root.get("version") or "").split(".")[0]
        size, block = int(root.findtext("ImageSize", "0")), int(root.findtext("BlockSize", "0"))
        summed = root.findtext("ChecksumType", "").strip() == "sha256"
        ranges = []
        for element in root.findall("BlockMap/Range"):
            first, _, last = (element.text or "").strip().partition("-")
            past = min((int(last or first) + 1) * block, size)
            ranges.append(Range(int(first) * block, past, element.get("chksum") if summed else None))
    except (xml.ParseError, ValueError) as error:
        raise Unfit(f"{path} is no block map: {error}") from error
    if version != "2" or size <= 0 or block <= 0 or not ranges:
        raise Unfit(f"{path} is no block map of version 2")
    if any(r.first >= r.past for r in ranges) or any(x.past > y.first for x, y in zip(ranges, ranges[1:])):
        raise Unfit(f"{path} has ranges out of order")
    return size, ranges


def chunks(progress: Progress | None = None):
    """stdin as (offset, bytes)."""
    at = 0
    while chunk := sys.stdin.buffer.read(CHUNK):
        yield at, chunk
        at += len(chunk)
        if progress:
            progress.add(len(chunk))
    if progress:
        progress.end()


def pieces(ranges: list[Range], at: int, chunk: bytes):
    """The parts of a chunk of the image that are mapped, as (range, offset in the image, bytes)."""
    while ranges and ranges[0].past <= at:
        ranges.pop(0)
    for one in ranges:
        a, b = max(one.first, at), min(one.past, at + len(chunk))
        if a >= b:
            return
        yield one, a, chunk[a - at : b - at]


def measure(bmap: str | None) -> tuple[int, int]:
    """Size and mapped size in bytes. What the map leaves out must be zeros: it is not written."""
    said, ranges = read_bmap(bmap) if bmap else (0, [])
    size, mapped, digests = 0, 0, {}
    for at, chunk in chunks():
        size = at + len(chunk)
        if not bmap:
            continue
        zeros = at
        for one, begin, data in pieces(ranges, at, chunk):
            if chunk[zeros - at : begin - at].strip(b"\0"):
                raise Unfit(f"{bmap} is of another image: it leaves out data between bytes {zeros} and {begin}")
            zeros = begin + len(data)
            mapped += len(data)
            if one.digest:
                digest = digests.setdefault(one.first, hashlib.sha256())
                digest.update(data)
                if zeros == one.past and digests.pop(one.first).hexdigest() != one.digest:
                    raise Unfit(f"{bmap} is of another image: the range from byte {one.first} has another sum")
        if chunk[zeros - at :].strip(b"\0"):
            raise Unfit(f"{bmap} is of another image: it leaves out data after byte {zeros}")
    if bmap and size != said:
        raise Unfit(f"{bmap} is of another image: it says {said} bytes, there are {size}")
    return size, mapped if bmap else size


def pump(total: int) -> None:
    """stdin to stdout."""
    for _, chunk in chunks(Progress("writing", total)):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def write(device: str, bmap: str, total: int) -> None:
    """The mapped ranges of the image to a device, which nobody else may have open for itself, or to a file."""
    size, ranges = read_bmap(bmap)
    block = stat.S_ISBLK(os.stat(device).st_mode)
    descriptor = os.open(device, os.O_WRONLY | (os.O_EXCL if block and platform.system() == "Linux" else 0))
    unsynced = 0
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, size)
        for at, chunk in chunks(Progress("writing", total)):
            for _, begin, data in pieces(ranges, at, chunk):
                while data:
                    done = os.pwrite(descriptor, data, begin)
                    begin, data, unsynced = begin + done, data[done:], unsynced + done
            if unsynced >= SYNC_EVERY:
                # Else memory fills, the progress lies, and the end takes minutes.
                os.fsync(descriptor)
                unsynced = 0
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def compare(device: str, bmap: str | None, total: int) -> tuple[int, int | None]:
    """Reads the image from stdin and the device beside it: how many bytes were compared, and where they first differ."""
    ranges = read_bmap(bmap)[1] if bmap else [Range(0, 1 << 62, None)]
    compared = 0
    descriptor = os.open(device, os.O_RDONLY)
    try:
        if platform.system() == "Linux":
            # What the page cache remembers is not what the disk holds.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for at, chunk in chunks(Progress("reading back", total)):
            for _, begin, there in pieces(ranges, at, chunk):
                here = os.pread(descriptor, len(there), begin)
                if here != there:
                    near = next((i for i, (x, y) in enumerate(zip(here, there)) if x != y), min(len(here), len(there)))
                    return compared, begin + near
                compared += len(there)
    finally:
        os.close(descriptor)
    return compared, None


def main() -> int:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sum").add_argument("file")
    commands.add_parser("esp").add_argument("file", nargs="?")
    commands.add_parser("measure").add_argument("--bmap")
    commands.add_parser("pump").add_argument("--total", type=int, default=0)
    for name in ("write", "compare"):
        one = commands.add_parser(name)
        one.add_argument("device")
        one.add_argument("--bmap", required=name == "write")
        one.add_argument("--total", type=int, default=0)
    a = parser.parse_args()
    try:
        if a.command == "sum":
            print(file_sum(a.file))
        elif a.command == "esp":
            with open(a.file, "rb") if a.file else sys.stdin.buffer as file:
                print(*find_esp(file.read(CHUNK)))
        elif a.command == "measure":
            print(*measure(a.bmap))
        elif a.command == "pump":
            pump(a.total)
        elif a.command == "write":
            write(a.device, a.bmap, a.total)
        else:
            compared, differs = compare(a.device, a.bmap, a.total)
            if differs is not None:
                print(f"{a.device} differs from the image at byte {differs}")
                return DIFFERS
            print(compared)
    except Unfit as error:
        print(error)
        return WRONG
    except OSError as error:
        sys.stderr.write(f"{error.filename or a.command}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
