"""The log of a disk's writes as QEMU's blklogwrites and Linux's dm-log-writes make it.

Little-endian. A super block {magic, version, entries: u64; sector size: u32} in the first sector; then for each request a sector
with {sector, sectors, flags, data length: u64} and the data that was written. Source: Linux
Documentation/admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c; QEMU block/blklogwrites.c.
"""

from __future__ import annotations

import dataclasses
import pathlib
import struct
from collections.abc import Iterator

MAGIC, VERSION = 0x6A736677736872, 1
SUPER, ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
KNOWN = FLUSH | FUA | DISCARD | MARK
# dm-log-writes has one flag more, which changes nothing here.
METADATA = 16


class Broken(ValueError):
    """The log is no log, or not of a kind that is known; the message says where."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One request. `start` and `size` are bytes of the disk, `data` is where in the log its content lies (-1: it has none), `end`
    where the next entry begins."""

    start: int
    size: int
    flags: int
    data: int
    end: int

    @property
    def flush(self) -> bool:
        """What was written before it is on the disk when it is done."""
        return bool(self.flags & FLUSH)


def read(path: pathlib.Path) -> tuple[int, list[Entry]]:
    """Sector size in bytes, and all entries in order. A log whose last entry was cut off ends before it."""
    length = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(SUPER.size)
        if len(head) < SUPER.size:
            raise Broken(f"{path}: too short for a log of writes")
        magic, version, count, sector = SUPER.unpack(head)
        if magic != MAGIC:
            raise Broken(f"{path}: no log of writes: it begins with {magic:#x}")
        if version != VERSION:
            raise Broken(f"{path}: version {version}, known is {VERSION}")
        if sector < 512 or sector & (sector - 1):
            raise Broken(f"{path}: a sector of {sector} bytes")
        return sector, list(entries(file, sector, count, length, path))


def entries(file, sector: int, count: int, length: int, path: pathlib.Path) -> Iterator[Entry]:
    """One after the other."""
    at = sector
    for number in range(count):
        file.seek(at)
        head = file.read(ENTRY.size)
        if len(head) < ENTRY.size:
            return
        where, sectors, flags, _ = ENTRY.unpack(head)
        if flags & ~(KNOWN | METADATA):
            raise Broken(f"{path}: entry {number} at byte {at} has flags {flags:#x}, which nobody knows")
        size = sectors * sector
        has_data = size > 0 and not flags & DISCARD
        end = at + sector + (size if has_data else 0)
        if end > length:
            return
        yield Entry(where * sector, size, flags, at + sector if has_data else -1, end)
        at = end
