"""A node whose decision is broken keeps its VMs suspended and is not reset for that (safety.md, rule 10)."""

from typing import TYPE_CHECKING

from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World

SETTLED_MS = 3000
"""How long a node may take until everything is confirmed suspended; the watchdog has that long to spare."""


class BrokenChecker:
    """`calm`: since when a broken daemon could do its work and nothing has executed on its node, seen from the world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.calm: dict[NodeId, int] = {}
        self.heard = 0

    def look(self) -> str | None:
        """The first violation, or None."""
        world, estate = self.world, self.world.estate
        if estate is None:
            return None
        told, self.heard = world.told[self.heard :], len(world.told)
        for when, node, what in told:
            if what == "the watchdog bites" and node in self.calm and when - self.calm[node] > SETTLED_MS:
                return f"node {node} is broken with all VMs suspended since {self.calm[node]}, and its watchdog bites"
        for node, at in estate.nodes.items():
            daemon = world.daemons.get(node)
            able = daemon is not None and daemon.poisoned and daemon.responsive and daemon.pump.broken is not None
            reached = at.hypervisor.listener is not None and not at.hypervisor.frozen and not at.hypervisor.jobs
            if able and reached and not estate.executions.on(node):
                self.calm.setdefault(node, world.heap.now)
            else:
                self.calm.pop(node, None)
        return None
