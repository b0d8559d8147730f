"""What must never be with leases: the argument on which everything else rests (safety.md, "Lease, grace, watchdog").

"No later quorate view without me is older than the heartbeat my lease runs from": so wherever a quorate line has been without
a node for as long as a lease lasts, that node has none.
"""

from typing import TYPE_CHECKING

from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim import accounts

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
            if without is None or ends is None or self.world.options.two_node or self.world.machines[node].suspended:
                continue
            (since, lease_ms), until = without, self.world.time_of(node, ends)
            if until > since + lease_ms + SLACK_MS:
                return f"node {node} has a lease until {until}, and since {since} there is a quorate line without it"
        return None

    def _account(self, able: dict[NodeId, State]) -> None:
        """A line is one that nodes with more than half of all votes are in and know of; of others nobody can tell."""
        seen = [s for s in able.values() if s.quorate and s.group.settled and s.me in s.group.peers]
        rings = {s.group.ring: [each for each in seen if each.group.ring == s.group.ring] for s in seen}
        there = max(rings.values(), key=lambda line: accounts.votes(self.world, (s.me for s in line)), default=[])
        holder = self.world.totem.arbiter.holder
        device = bool(there) and holder is not None and holder.id == there[0].group.ring
        for node in self.world.machines:
            missing = [s.me for s in there if node not in s.group.peers and node not in s.group.pending]
            if accounts.most(self.world, missing, device):
                self.without.setdefault(node, (self.world.heap.now, self._counted(node, there)))
            else:
                self.without.pop(node, None)

    def _counted(self, node: NodeId, there: list[State]) -> int:
        """The lease that the newest ledger of these gives that node; where it knows of none, all have the same settings."""
        newest = max((s.keeping for s in there), key=lambda keeping: keeping.version, default=None)
        known = newest.ledger.known.get(node) if newest is not None else None
        return known.lease_ms if known is not None else self.world.options.timing.lease_ms
