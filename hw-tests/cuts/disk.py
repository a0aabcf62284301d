"""A disk that is taken forth along a log of writes, and back from a point at which the power was cut."""

from __future__ import annotations

import os
import pathlib

from points import Point
from writelog import DISCARD, MARK, Entry


class Disk:
    """`path` is the disk as it was when the log began; it is changed. Only writes that touch `parts` are carried out."""

    def __init__(self, path: pathlib.Path, log_path: pathlib.Path, log: list[Entry]) -> None:
        self.file = open(path, "r+b", buffering=0)
        self.content = open(log_path, "rb", buffering=0)
        self.log = log
        # Everything before this entry is on the disk.
        self.at = 0
        # What the open writes of a point have replaced, the last one first.
        self.undo: list[tuple[int, bytes]] = []

    def close(self) -> None:
        """Lets go of both files."""
        self.file.close()
        self.content.close()

    def data(self, entry: Entry, size: int) -> bytes:
        """What it wrote."""
        return os.pread(self.content.fileno(), size, entry.data)

    def settle(self, until: int) -> list[Entry]:
        """Carries out the log up to `until`, for good; what was carried out."""
        assert not self.undo, "a point is open"
        assert until >= self.at, "the log goes one way"
        done = [e for e in self.log[self.at:until] if e.size and not e.flags & (DISCARD | MARK)]
        for entry in done:
            self.write(entry.start, self.data(entry, entry.size))
        self.at = until
        return done

    def write(self, start: int, data: bytes) -> None:
        """Whole."""
        if os.pwrite(self.file.fileno(), data, start) != len(data):
            raise OSError(f"could not write {len(data)} bytes at {start}")

    def open_point(self, point: Point) -> list[Entry]:
        """What is on the disk at a point, until `close_point`; the open entries that it kept."""
        kept = [self.log[i] for i in point.kept]
        for entry in kept:
            size = point.torn if point.torn >= 0 and entry is kept[-1] else entry.size
            self.undo.append((entry.start, os.pread(self.file.fileno(), size, entry.start)))
            self.write(entry.start, self.data(entry, size))
        return kept

    def close_point(self) -> None:
        """Back to what is settled."""
        while self.undo:
            self.write(*self.undo.pop())
