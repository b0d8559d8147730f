"""Virtual time: what happens when, in one order that never changes between two runs."""

import gc
import heapq
from collections.abc import Callable
from random import Random

Call = Callable[[], None]


class Heap:
    """A heap of calls; `now` is milliseconds of the world's own time, which no node can read."""

    def __init__(self) -> None:
        self.now = 0
        self._calls: list[tuple[int, int, Call]] = []
        self._count = 0

    def at(self, when: int, call: Call) -> None:
        """Equal times keep the order of asking."""
        self._count += 1
        heapq.heappush(self._calls, (max(when, self.now), self._count, call))

    def after(self, delay: int, call: Call) -> None:
        self.at(self.now + delay, call)

    def run(self, until: int) -> None:
        """Let time pass up to and including `until`."""
        while self._calls and self._calls[0][0] <= until:
            self.now, _, call = heapq.heappop(self._calls)
            call()
        self.now = until


def collect_seldom() -> None:
    """For a process that plays one large world: nearly all that there is lives until its end, and looking through it for
    garbage takes a sixth of the time."""
    gc.set_threshold(700, 10, 100_000)


class Chance:
    """Where a run may vary. Without a seed everything takes its usual time and nothing is left to chance."""

    def __init__(self, seed: int | None = None) -> None:
        self.dice = Random(seed) if seed is not None else None

    def vary(self, usual: int, least: int, most: int) -> int:
        if self.dice is None:
            return usual
        return least + int(self.dice.random() * (most - least + 1))  # every delivery asks, and randint takes thrice as long

    def happens(self, share: float) -> bool:
        return self.dice is not None and self.dice.random() < share
