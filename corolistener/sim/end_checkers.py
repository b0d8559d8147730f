"""The end of an instance has exactly one cause, whichever news comes first: safety.md, rule 14."""

from typing import TYPE_CHECKING

from corolistener.core.actions import ResumeVm, StartVm
from corolistener.ids import NodeId
from corolistener.sim.executions import NEWS_MS
from corolistener.sim.hypervisor import CAUSE_MS, name_of

if TYPE_CHECKING:
    from corolistener.sim.vms import Estate
    from corolistener.sim.world import World


def started_again(world: "World", estate: "Estate", node: NodeId, action: StartVm | ResumeVm) -> str | None:
    """Why this start must not be: the VM's user has shut it down here, this daemon was listening, and nobody wanted it since.

    What the daemon cannot have heard does not count: the connection was lost before the event came.
    """
    name = name_of(action)
    down = estate.users.downs.get(name)
    if not isinstance(action, StartVm) or down is None or down.node != node or estate.users.wanted.get(name):
        return None
    if down.daemon is not world.daemons.get(node) or action.generation != down.generation:
        return None
    heard_by, hypervisor = down.at + CAUSE_MS[2] + NEWS_MS[2], estate.nodes[node].hypervisor
    if down.at < hypervisor.life_at <= heard_by:
        return None
    return f"StartVm({name}) on node {node}, where its user shut it down {world.heap.now - down.at} ms ago"
