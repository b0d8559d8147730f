"""What must never be where corosync says "quorate" to more than one part of the cluster, or to one that is no majority.

The votes are those of the file with which the world began. Nobody is asked what it takes for a majority.
"""

from itertools import combinations
from typing import TYPE_CHECKING

from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim import accounts, votequorum

if TYPE_CHECKING:
    from corolistener.sim.rings import Ring
    from corolistener.sim.world import Daemon, World

SLACK_MS = 50
RECOUNTED_MS = 6000
"""A quorum that only votequorum's lost count costs is back so soon, where a daemon goes on all the time."""


class ClaimChecker:
    """`most`: when each node was last in a lasting ring with more than half of all votes, as far as its daemon has heard.
    `both`: since when two nodes act as master beside each other. `had`: the ring in which each node's daemon was quorate last.
    `stuck`: since when its votequorum asks for more votes than it expects, on a ring that was quorate."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.most: dict[NodeId, int] = {}
        self.both: dict[tuple[NodeId, NodeId], int] = {}
        self.had: dict[NodeId, tuple[Daemon, Ring]] = {}
        self.stuck: dict[NodeId, int] = {}

    def look(self, able: dict[NodeId, State]) -> str | None:
        """The first violation, or None."""
        return self._small_claim(able) or self._two_masters(able) or self._lost_count()

    def _lost_count(self) -> str | None:
        """Announcements of a reload have crossed: that is put right by whoever had the quorum and is still there."""
        now, totem = self.world.heap.now, self.world.totem
        for node, daemon in self.world.daemons.items():
            corosync = totem.nodes.get(node)
            if (
                corosync is None
                or not daemon.connected
                or not daemon.responsive
                or daemon.asked
                or not totem.lives(corosync.ring)
            ):
                self.had.pop(node, None)
            elif totem.quorate(node):
                self.had[node] = daemon, corosync.ring
            votes = corosync.ring.votes if corosync is not None else {}
            there = votequorum.total(votes) if votes else 0
            fair = votequorum.half(max(votes[node].expected, there)) if node in votes else 0
            wrong = corosync is not None and self.had.get(node) == (daemon, corosync.ring) and not totem.quorate(node)
            if not (wrong and not votes[node].waits and fair <= there and fair < votequorum.needed(votes, node)):
                self.stuck.pop(node, None)
            elif now > self.stuck.setdefault(node, now) + RECOUNTED_MS:
                return f"node {node} has had no quorum since {self.stuck[node]}, only because votequorum has lost count"
        return None

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
