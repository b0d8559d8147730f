"""Who leaves leaves no locks (safety.md, rule 8)."""

from typing import TYPE_CHECKING

from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World


def locked_at_farewell(world: "World", node: NodeId) -> str | None:
    """A VM that the others may start after this farewell, and whose image an instance on this node still has open."""
    estate, corosync = world.estate, world.totem.nodes.get(node)
    if estate is None or corosync is None or len(corosync.group) < 2:
        return None
    if node in world.daemons and world.daemons[node].pump.core.state.group.ring != corosync.ring.id:
        return None  # it was not told of this ring yet: no member listens to it before its Hello
    ledger = estate.newest()
    mine = world.daemons[node].pump.core.state.keeping.ledger.placements if node in world.daemons else {}
    if ledger.panic is not None:
        return None
    for row in ledger.on(node):
        name = row.vm.name
        copy = estate.nodes[node].hypervisor.copies.get(name)
        known = name in mine and node in mine[name].holders and mine[name].on and not mine[name].frozen
        theirs = copy is None or copy.arriving or row.frozen or not row.on or name in estate.users.doubled
        if not theirs and known and row.node == node and not row.to:
            return f"node {node} says farewell and keeps the image of {name} open, which the others may start now"
    return None
