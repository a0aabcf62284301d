"""Which scenarios are run on a box, which are not, and why not. What is not run is never passed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable


class NotRun(Exception):
    """A scenario says in its middle that this box cannot show what it is for; the message says why."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`needs` are names of needs.py, `changes` what it does to a box that somebody uses (`update`, `power`, `reset`,
    `configuration`), empty for one that only looks."""

    name: str
    title: str
    body: Callable
    needs: tuple[str, ...] = ()
    changes: str = ""


# In the order of their making: a box lives through them from top to bottom.
ALL: list[Scenario] = []


def scenario(title: str, *, needs: Iterable[str] = (), changes: str = "") -> Callable:
    """Makes a scenario of a function; its name is the function's, with hyphens."""

    def made(body: Callable) -> Callable:
        name = body.__name__.replace("_", "-")
        assert all(s.name != name for s in ALL), f"two scenarios are called {name}"
        ALL.append(Scenario(name, title, body, tuple(needs), changes))
        return body

    return made


class Unknown(ValueError):
    """A name that no scenario has."""


def chosen(every: list[Scenario], only: list[str], without: list[str]) -> list[Scenario]:
    """Those of `only`, or all, less those of `without`, in the order of a box's life whatever order was asked for."""
    names = {s.name for s in every}
    for name in [*only, *without]:
        if name not in names:
            raise Unknown(f"no scenario is called `{name}`; there are: {', '.join(s.name for s in every)}")
    return [s for s in every if (not only or s.name in only) and s.name not in without]


def why_not(one: Scenario, allowed: set[str], lacks: Callable[[str], str | None], broken: str | None) -> str | None:
    """Why a scenario is not run; None if it is. `lacks` says why the box lacks a need, `broken` names a scenario after which
    nobody knows any more what state the box is in."""
    if broken:
        return f"the box did not live through {broken}"
    if one.changes and one.changes not in allowed:
        return f"it changes the box: --allow {one.changes}"
    for need in one.needs:
        if why := lacks(need):
            return why
    return None
