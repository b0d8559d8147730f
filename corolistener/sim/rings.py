"""The order of one ring: what nodes have said in it, and how far it was carried to each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from corolistener.core.events import BadMessage, Delivered, Departure, GroupChanged
from corolistener.core.messages import Message
from corolistener.core.view import RingId
from corolistener.engine.speech import Piece, heard
from corolistener.ids import NodeId
from corolistener.sim.votequorum import Counting
from corolistener.wire import ring as wire
from corolistener.wire.parts import Part

Process = tuple[NodeId, int]
"""A process in the group: node and pid."""


def group_news(
    group: Iterable[Process], joined: tuple[NodeId, ...], left: tuple[tuple[NodeId, Departure], ...]
) -> GroupChanged:
    """What CPG says of a change after which these are in the group."""
    return GroupChanged(tuple(sorted({node for node, _ in group})), joined, left, tuple(sorted(group)))


@lru_cache(maxsize=256)
def decoded(data: bytes, sender: NodeId) -> Message | Part:
    """A long message, decoded once for all who have put it together: it is frozen."""
    return wire.decode(data, sender)


@dataclass(slots=True)
class Item:
    """One thing in a ring's order: a message, or a daemon that joined or left the group."""

    node: NodeId
    data: bytes | None = None
    reason: Departure | None = None
    life: int = 0
    pid: int = 0
    """Which process of the node."""
    decoded: Delivered | BadMessage | Piece | None = None

    def read(self) -> Delivered | BadMessage | Piece:
        """The message, decoded once for all who receive it: it is frozen."""
        assert self.data is not None
        if self.decoded is None:
            self.decoded = heard(self.node, self.data, self.pid)
        return self.decoded


@dataclass(slots=True, eq=False)
class Ring:
    """One ring and its order. `done` says how far each node has delivered, `limit` how far it can since the ring broke; `votes`
    are the votequorums of its nodes."""

    id: RingId
    nodes: tuple[NodeId, ...]
    log: list[Item] = field(default_factory=list)
    done: dict[NodeId, int] = field(default_factory=dict)
    limit: dict[NodeId, int] | None = None
    votes: dict[NodeId, Counting] = field(default_factory=dict)
    held: bool = False
    """It carries nothing, and does not break."""
    lost: int | None = None
    """The place in its order of a packet that is too large for a path: the ring waits for it."""

    @property
    def carried(self) -> int:
        """How far in its order the ring carries messages now."""
        return min(self.done.values()) if self.held else len(self.log) if self.lost is None else self.lost
