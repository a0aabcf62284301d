"""At which instants the power is cut, and what is on the disk then.

A disk with a volatile cache keeps what was written before the last flush that came to its end. Of what came after it, it may
have kept anything: all of it so far (`prefix`), all of it with the last request torn at a sector (`torn`), or any part in any
order (`some`). A flush itself is the point at which nothing is open (`flush`).
"""

from __future__ import annotations

import dataclasses
import random

from writelog import DISCARD, FUA, MARK, Entry


@dataclasses.dataclass(frozen=True)
class Point:
    """Everything before entry `settled` is on the disk; of the rest up to `until` (not included) the entries `kept`; the last of
    those with its first `torn` bytes only (-1: whole). `order` numbers the points."""

    order: int
    kind: str
    settled: int
    until: int
    kept: tuple[int, ...] = ()
    torn: int = -1


def writes(log: list[Entry], begin: int, end: int) -> list[int]:
    """The entries of a stretch that change the disk."""
    return [i for i in range(begin, end) if log[i].size and not log[i].flags & (DISCARD | MARK)]


def epochs(log: list[Entry]) -> list[tuple[int, int]]:
    """Stretches between flushes: from the first entry that is open to the flush that settles it (not included)."""
    found, begin = [], 0
    for i, entry in enumerate(log):
        if entry.flush:
            found.append((begin, i))
            begin = i + 1
    if begin < len(log):
        found.append((begin, len(log)))
    return found


def all_points(log: list[Entry], sector: int, open_each: int, seed: int) -> list[Point]:
    """Every flush, and of each stretch between two flushes `open_each` points at which it is open; the same for the same seed."""
    chance = random.Random(seed)
    points: list[Point] = []

    def add(kind: str, settled: int, until: int, kept: tuple[int, ...] = (), torn: int = -1) -> None:
        points.append(Point(len(points), kind, settled, until, kept, torn))

    for begin, end in epochs(log):
        changed = writes(log, begin, end)
        for n in range(open_each if changed else 0):
            cut = chance.randint(1, len(changed))
            so_far = changed[:cut]
            last = log[so_far[-1]]
            kind = ("prefix", "torn", "some")[n % 3]
            if kind == "torn" and last.size > sector:
                add(kind, begin, so_far[-1] + 1, tuple(so_far), sector * chance.randrange(1, last.size // sector))
            elif kind == "some" and cut > 1:
                # What was written through the cache (FUA) is there.
                some = tuple(i for i in so_far if log[i].flags & FUA or chance.random() < 0.5)
                add(kind, begin, so_far[-1] + 1, some)
            else:
                add("prefix", begin, so_far[-1] + 1, tuple(so_far))
        if changed:
            add("flush", end, end)
    return points


def spread(points: list[Point], wanted: int) -> list[Point]:
    """`wanted` of them, evenly over the time; all where there are no more."""
    if wanted <= 0 or wanted >= len(points):
        return points
    return [points[i * len(points) // wanted] for i in range(wanted)]
