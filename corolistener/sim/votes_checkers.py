"""What must never be where corosync says "quorate" to more than one part of the cluster, or to one that is no majority.

The votes are those of the file with which the world began. Nobody is asked what it takes for a majority.
"""

from itertools import combinations
from typing import TYPE_CHECKING

from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim import accounts

if TYPE_CHECKING:
    from corolistener.sim.world import World

SLACK_MS = 50


class ClaimChecker:
    """`most`: when each node was last in a lasting ring with more than half of all votes, as far as its daemon has heard.
    `both`: since when two nodes act as master beside each other."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.most: dict[NodeId, int] = {}
        self.both: dict[tuple[NodeId, NodeId], int] = {}

    def look(self, able: dict[NodeId, State]) -> str | None:
        """The first violation, or None."""
        return self._small_claim(able) or self._two_masters(able)

    def _small_claim(self, able: dict[NodeId, State]) -> str | None:
        """No lease outlives a majority: what corosync may call a quorum without one is nobody's to act on.

        two_node is by its definition a claim of one of two: there no deadline is a proof, and both wait for each other.
        """
        now = self.world.heap.now
        for node, daemon in self.world.daemons.items():
            if self.world.machines[node].suspended or self.world.options.two_node or accounts.in_most(self.world, node):
                self.most[node] = now
            lease_ms = daemon.pump.core.state.lease_ms
            ends = daemon.pump.core.state.lease.ends
            if node in self.world.totem.strangers and daemon.pump.core.state.acting and daemon.connected:
                return f"node {node} is master in another cluster than its own"
            until = self.world.time_of(node, ends) if ends is not None else now
            if until > max(now, self.most.get(node, 0) + lease_ms + SLACK_MS):
                return f"node {node} has a lease until {until}, and since {self.most.get(node, 0)} no majority of all votes"
        return None

    def _two_masters(self, able: dict[NodeId, State]) -> str | None:
        """Nobody goes on as master beside another one for longer than the lease by which it began."""
        now, timing = self.world.heap.now, self.world.options.timing
        acting = [n for n, s in sorted(able.items()) if s.acting and not self.world.machines[n].suspended]
        pairs = set(combinations(acting, 2))
        self.both = {pair: self.both.get(pair, now) for pair in sorted(pairs)}
        for pair, since in self.both.items():
            longest = max(timing.lease_ms, *(able[node].lease_ms for node in pair))
            if now > since + longest + timing.grace_ms:
                return f"nodes {pair[0]} and {pair[1]} are both master since {since}"
        return None
