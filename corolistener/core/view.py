"""Who is here: the ring of corosync, the group of our daemons, and the view that both give."""

from dataclasses import dataclass

from corolistener.core.config import NodeEntry
from corolistener.ids import NodeId


@dataclass(frozen=True, slots=True, order=True)
class RingId:
    """corosync's name of one membership: sequence and representative. The only honest way to join news from two
    descriptors; `seq` never falls along the quorate line, because any two quorate rings share a node."""

    seq: int
    node: NodeId

    def __str__(self) -> str:
        return f"{self.node}.{self.seq}"


NO_RING = RingId(0, NodeId(0))


@dataclass(frozen=True, slots=True, order=True)
class Epoch:
    """A place on the quorate line: the ring's sequence, and how often the line or its master changed within that ring."""

    seq: int = 0
    step: int = 0

    def __str__(self) -> str:
        return f"{self.seq}.{self.step}"


@dataclass(frozen=True, slots=True)
class View:
    """What every member of a ring agrees on. `members` is ranked, the master's candidate first; `nodes` is the nodelist."""

    ring: RingId
    quorate: bool
    members: tuple[NodeId, ...]
    nodes: tuple[NodeEntry, ...]
