"""Whether corosync's links to a node are connected: what a fence agent that says "off" must not be contradicted by, and a sign
of life of a node that has not come yet."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

from corolistener.core.events import Linked
from corolistener.corosync.cmap import Cmap, Map
from corolistener.corosync.errors import CsError, NotExist, TryAgain
from corolistener.effects.detached import detached
from corolistener.errors import EffectError
from corolistener.ids import NodeId

BUSY_S, AGAIN_S = 1.0, 0.01
"""How long corosync may be too busy to answer, and when it is asked again."""
LOOK_S = 1.0


async def linked(node: NodeId) -> bool:
    """Whether a link to the node is connected, as knet sees it; never where another transport is used.

    Raises EffectError where corosync does not say. A corosync that hangs is waited for, in a thread of its own.
    """
    return await detached(lambda: _linked(node))


class Links:
    """Looks once a second whether a link is connected to one of the nodes that the core waits for, and reports changes.
    `awaited` returns these nodes, `observe` takes the report."""

    def __init__(self, awaited: Callable[[], Iterable[NodeId]], observe: Callable[[Linked], None]) -> None:
        self._awaited, self._observe = awaited, observe
        self._told: tuple[NodeId, ...] = ()

    async def watch(self) -> None:
        """Ends by cancellation only. A corosync that gives no answer shows no sign of life."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """One look."""
        found = []
        for node in sorted(self._awaited()):
            with contextlib.suppress(EffectError):
                if await linked(node):
                    found.append(node)
        if tuple(found) != self._told:
            self._told = tuple(found)
            self._observe(Linked(self._told))


def _linked(node: NodeId) -> bool:
    until = time.monotonic() + BUSY_S
    while True:
        try:
            with Cmap(Map.STATS) as counters:
                return any(_connected(counters, key) for key in counters.keys(f"stats.knet.node{node}.link"))
        except TryAgain as error:
            if time.monotonic() >= until:
                raise EffectError(
                    "links", f"corosync does not say whether a link to node {node} is connected: {error}"
                ) from None
            time.sleep(AGAIN_S)
        except CsError as error:
            raise EffectError("links", f"corosync does not say whether a link to node {node} is connected: {error}") from None


def _connected(counters: Cmap, key: str) -> bool:
    if not key.endswith(".connected"):
        return False
    try:
        return bool(counters.get(key))
    except NotExist:  # the node has just been removed
        return False
