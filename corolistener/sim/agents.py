"""Virtual fence agents: programs that switch a machine off over a management network that no cut of ours reaches.

They never lie: who says DONE has seen the machine off. They fail, hang, and time out after having worked.
"""

from collections.abc import Callable
from enum import Enum

from corolistener.core.events import Outcome, Result
from corolistener.engine.ports import Cancel, Finish
from corolistener.ids import NodeId
from corolistener.sim.heap import Chance, Heap

AGENT_MS = (1500, 200, 9000)
TIMES_OUT_MS = 20_000


class Manner(Enum):
    """How the agent for a machine behaves."""

    WORKS = "works"
    FAILS = "fails"
    HANGS = "hangs"
    TIMES_OUT = "times-out"
    """It switches the machine off and is not told so: it says that it failed."""


class Agent:
    """For one machine."""

    def __init__(self, node: NodeId, heap: Heap, chance: Chance, switch_off: Callable[[], None]) -> None:
        self.node, self.heap, self.chance, self.switch_off = node, heap, chance, switch_off
        self.manner = Manner.WORKS
        self.latency_ms: int | None = None

    def start(self, alive: Callable[[], bool], finish: Finish) -> Cancel:
        """One run of the program on a machine that is there while `alive` says so. Giving up on it may come too late."""
        over = False
        manner = self.manner

        def end() -> None:
            nonlocal over
            if over or not alive():
                return
            over = True
            match manner:
                case Manner.FAILS:
                    finish(Outcome(Result.FAILED, "exit 1: connection refused"))
                case Manner.WORKS:
                    self.switch_off()
                    finish(Outcome(Result.DONE))
                case Manner.TIMES_OUT:
                    self.switch_off()
                    self.heap.after(TIMES_OUT_MS, lambda: finish(Outcome(Result.FAILED, "exit 1: timed out")))

        def cancel() -> None:
            nonlocal over
            if not over and manner in (Manner.WORKS, Manner.TIMES_OUT) and self.chance.happens(0.5):
                self.heap.after(0, self.switch_off)
            over = True

        if manner is not Manner.HANGS:
            wait = self.latency_ms if self.latency_ms is not None else self.chance.vary(*AGENT_MS)
            self.heap.after(wait, end)
        return cancel
