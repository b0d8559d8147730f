"""What operators asked for and is not done yet: at the node where they asked, and at the master."""

from dataclasses import dataclass, field

from corolistener.core.messages import Ordered
from corolistener.ids import Instant, NodeId, Ticket, VmName


@dataclass(slots=True)
class Desk:
    """`asked`: my operators' orders, and until when they are waited for. `queue`: the master's, with who sent each.

    `edits`: wishes that are being written here, and whom that is to be told. `again`: when the master may next try a VM that
    could not be moved or kept running. `limbo`: since when a VM has left one node and runs on none. `fences`: lost nodes whose
    agents an operator wants tried.
    """

    asked: dict[int, Instant] = field(default_factory=dict)
    queue: list[tuple[NodeId, Ordered]] = field(default_factory=list)
    edits: dict[Ticket, tuple[NodeId, int]] = field(default_factory=dict)
    again: dict[VmName, Instant] = field(default_factory=dict)
    limbo: dict[VmName, Instant] = field(default_factory=dict)
    fences: set[NodeId] = field(default_factory=set)
