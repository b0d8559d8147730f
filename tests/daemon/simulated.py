"""A virtual cluster behind a real control server: real Operators over a real core, in whose world time passes while one waits.

Nothing is scripted: what operators ask goes to the core of one node, over the virtual ring to the others, and what they see
is what that core knows. The world and the server live in one thread; commands of stories are given to it from outside.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from corolistener.core.actions import Answer
from corolistener.core.events import OrderAsked
from corolistener.core.status import Status
from corolistener.core.wishes import ExcuseOrder, Order, StartOrder, StopOrder
from corolistener.daemon.operators import Operators
from corolistener.ids import Instant, NodeId, VmName
from corolistener.sim.script import Teller

from .serving import serving

STEP_MS, STEP_S = 20, 0.002
"""So much of the world's time passes in each such pause of the loop."""


class Log:
    """What the daemon would write."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, str]]] = []

    def say(self, level: int, code: str, **fields: str) -> None:
        self.lines.append((code, fields))


class VirtualNode:
    """What Operators need of a daemon.Node, of one daemon of the virtual cluster."""

    unusable = ""

    def __init__(self, teller: Teller, me: NodeId) -> None:
        self.teller, self.me, self.log, self.started_ms = teller, me, Log(), 0
        self.answered: Callable[[Answer], None] = lambda answer: None
        self._heard = 0

    @property
    def daemon(self) -> Any:
        return self.teller.w.daemons[self.me]

    @property
    def pump(self) -> Any:
        return self.daemon.pump

    @property
    def config(self) -> Any:
        return self.daemon.config

    def status(self) -> Status:
        status: Status = self.pump.core.status(Instant(self.daemon.now()))
        return status

    def objection(self, name: VmName, uuid: str, sharing: tuple[VmName, ...]) -> str:
        why: str = self.pump.core.objection(name, self.daemon.now(), uuid, sharing)
        return why

    def take(self, events: list[Any]) -> None:
        """The checkers of the world hold the cluster to what users want, so they have to know of it."""
        for event in events:
            if isinstance(event, OrderAsked):
                self._wanted(event.order)
        self.daemon.take(*events)

    def _wanted(self, order: Order) -> None:
        estate = self.teller.estate
        match order:
            case StopOrder(name):
                estate.users.shut_down.add(name)
                estate.users.wanted[name] = False
            case StartOrder(name) if name in estate.users.vms:
                estate.users.wanted[name] = True
            case ExcuseOrder(node, on):
                estate.excused = (estate.excused | {node}) if on else (estate.excused - {node})

    def pass_time(self, ms: int = STEP_MS) -> None:
        """Time passes, and answers arrive."""
        self.teller.w.pass_time(ms)
        told = self.teller.w.told[self._heard :]
        self._heard += len(told)
        for _, node, what in told:
            if node == self.me and isinstance(what, Answer):
                self.answered(what)


class Scene:
    """The cluster and its operators' node; `play` gives it commands of stories, from any thread."""

    def __init__(self, commands: tuple[str, ...], me: NodeId) -> None:
        self.teller = Teller()
        self.teller.play(list(commands))
        self.node = VirtualNode(self.teller, me)
        self.operators: Operators = None  # type: ignore[assignment]
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]
        self.step_s = STEP_S

    def play(self, *commands: str) -> None:
        """Carried out between two steps of time."""

        async def play() -> None:
            self.teller.play(list(commands))

        asyncio.run_coroutine_threadsafe(play(), self.loop).result(60)

    async def live(self) -> None:
        while True:
            self.node.pass_time()
            await asyncio.sleep(self.step_s)


@contextmanager
def simulated(run_dir: str, *commands: str, me: int = 1) -> Iterator[Scene]:
    """A cluster to which these commands have happened, and a server for node `me` of it."""
    scene = Scene(commands, NodeId(me))
    operators = scene.operators = Operators(scene.node, None)  # type: ignore[arg-type]
    with serving(run_dir, operators) as server:
        scene.loop = server._listeners[0].get_loop()
        living = asyncio.run_coroutine_threadsafe(scene.live(), scene.loop)
        try:
            yield scene
        finally:
            living.cancel()
            if not living.cancelled():
                living.result(60)
