"""What must never be with messages: a heartbeat waits for nothing that any node says."""

from typing import TYPE_CHECKING

from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import Daemon, World

LATE_MS = 1000
"""A ring that is well carries a heartbeat in a few ms; a daemon that catches up needs a moment."""


class MessageChecker:
    """`well` says since when each node's ring and daemon have been well: who is heard and listens has its heartbeat back."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.well: dict[NodeId, int] = {}

    def look(self) -> str | None:
        """The first violation, or None."""
        now = self.world.heap.now
        for node, daemon in self.world.daemons.items():
            if not self._well(node, daemon):
                self.well.pop(node, None)
                continue
            since = self.well.setdefault(node, now)
            sent = daemon.pump.core.state.lease.in_flight
            if sent is not None and min(now - since, daemon.now() - sent) > LATE_MS:
                return f"the heartbeat of node {node} has not come back for {daemon.now() - sent} ms, and its ring is well"
        return None

    def _well(self, node: NodeId, daemon: "Daemon") -> bool:
        """Nothing but what nodes say can keep a heartbeat from coming back."""
        corosync = self.world.totem.nodes.get(node)
        if corosync is None or not daemon.responsive or not daemon.connected or not corosync.joined or daemon.queue:
            return False
        if daemon.pump.broken is not None:  # it sends none any more: sim/broken_checkers looks at it
            return False
        ring, nodes = corosync.ring, self.world.totem.nodes
        whole = all(other in nodes and nodes[other].ring is ring and not nodes[other].frozen for other in ring.nodes)
        return ring.limit is None and not ring.held and whole
