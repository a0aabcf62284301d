"""How long a page was away: from its last answer before a restart to its first one after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# So long one question waits: the answer's time is known no better than this. A box that is away takes the connection at
# times (user networking does), and then never answers.
ASK_S = 4.0
EVERY_S = 0.5


def longest_gap(answers: list[float]) -> float:
    """The longest time between two answers that follow each other, in s; 0 of fewer than two."""
    return max((b - a for a, b in zip(answers, answers[1:])), default=0.0)


class Away:
    """Asks for the page on a thread of its own, all the time within `with`, and nothing else: whoever waits for a shell of a
    box that restarts may wait for minutes. A restart is the longest gap of all: a busy box misses seconds, not starts."""

    def __init__(self, ask: Callable[[float], bool]) -> None:
        self.ask = ask
        self.answers: list[float] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self) -> None:
        """Until it is stopped."""
        while not self.stop.is_set():
            if self.ask(ASK_S):
                self.answers.append(time.monotonic())
            self.stop.wait(EVERY_S)

    def __enter__(self) -> Away:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def seconds(self) -> float:
        """The longest gap so far."""
        return longest_gap(self.answers)
