"""What must never be with leases: the argument on which everything else rests (safety.md, "Lease, grace, watchdog").

"No later quorate view without me is older than the heartbeat my lease runs from": so wherever a quorate line has been without
a node for as long as a lease lasts, that node has none.
"""

from collections import Counter
from typing import TYPE_CHECKING

from corolistener.core.state import State
from corolistener.core.view import NO_RING
from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World

SLACK_MS = 50


class LeaseChecker:
    """`without`: since when there is a quorate line without a node, and the lease that it counts with for that node."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.without: dict[NodeId, tuple[int, int]] = {}

    def look(self, able: dict[NodeId, State]) -> str | None:
        """The first violation, seen from these nodes, or None."""
        self._account(able)
        for node, daemon in self.world.daemons.items():
            without, ends = self.without.get(node), daemon.pump.core.state.lease.ends
            if without is None or ends is None or self.world.options.two_node:
                continue
            (since, lease_ms), until = without, self.world.time_of(node, ends)
            if until > since + lease_ms + SLACK_MS:
                return f"node {node} has a lease until {until}, and since {since} there is a quorate line without it"
        return None

    def _account(self, able: dict[NodeId, State]) -> None:
        """A line is one that more than half of all nodes are in and know of; whether others go on nobody can tell."""
        seen = [s for s in able.values() if s.quorate and s.group.settled and s.me in s.group.peers]
        half = len(self.world.machines) / 2
        ring, many = Counter(s.group.ring for s in seen).most_common(1)[0] if seen else (NO_RING, 0)
        there = [s for s in seen if s.group.ring == ring] if many > half else []
        all_nodes = self.world.machines.keys()
        missing = Counter(node for s in there for node in all_nodes - s.group.peers.keys() - s.group.pending.keys())
        for node in self.world.machines:
            if missing[node] > half:
                self.without.setdefault(node, (self.world.heap.now, self._counted(node, there)))
            else:
                self.without.pop(node, None)

    def _counted(self, node: NodeId, there: list[State]) -> int:
        """The lease that the newest ledger of these gives that node; where it knows of none, all have the same settings."""
        newest = max((s.keeping for s in there), key=lambda keeping: keeping.version, default=None)
        known = newest.ledger.known.get(node) if newest is not None else None
        return known.lease_ms if known is not None else self.world.options.timing.lease_ms
