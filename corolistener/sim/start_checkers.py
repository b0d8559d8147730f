"""Start of a cluster is no failure: no fence agent switches a machine off that is still booting.

It counts by itself: a life of the cluster begins when no machine has power, and a node was seen in it when its daemon was in
a group with another node's.
"""

from typing import TYPE_CHECKING

from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World

SLACK_MS = 100
"""Clocks drift."""


class StartChecker:
    """`seen`: nodes that somebody has seen in this life. `begun`: when a member had a lease first, in ms."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.seen: set[NodeId] = set()
        self.begun: int | None = None

    def look(self) -> None:
        """Keep the account; costs little while everybody was seen."""
        machines, daemons = self.world.machines, self.world.daemons
        if not any(machine.powered for machine in machines.values()):
            self.seen, self.begun = set(), None
            return
        if len(self.seen) == len(machines) and self.begun is not None:
            return
        for node, daemon in daemons.items():
            s = daemon.pump.core.state
            self.seen |= {node, *s.group.peers, *s.group.here}
            if self.begun is None and s.lease.ends is not None:
                self.begun = self.world.heap.now

    def fenced(self, by: NodeId, node: NodeId) -> str | None:
        """A fence agent begins its work on a node; why it must not, or None."""
        machine, grace_ms = self.world.machines[node], self.world.options.timing.start_grace_ms
        if self.world.estate is not None and node in self.world.estate.to_fence:
            return None  # an operator's order is carried out at once
        if not machine.powered or not machine.booting or node in self.seen:
            return None
        passed = self.world.heap.now - (self.begun if self.begun is not None else self.world.heap.now)
        if passed + SLACK_MS < grace_ms:
            return f"node {by} has node {node} switched off, which boots, {passed} ms after the start"
        if node in self.world.totem.nodes and self.world.totem.hears(by, node) and passed + SLACK_MS < 5 * grace_ms:
            return f"node {by} has node {node} switched off, whose corosync has come"  # waited for, but not for ever
        return None
