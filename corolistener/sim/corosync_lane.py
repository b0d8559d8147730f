"""What daemons ask of the virtual corosync itself (the lane `corosync`)."""

from typing import TYPE_CHECKING

from corolistener.core.actions import KillNode, TellExpected
from corolistener.core.events import Outcome, Result
from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World


def carry_out(world: "World", node: NodeId, action: KillNode | TellExpected) -> Outcome:
    """At this instant."""
    match action:
        case KillNode():
            world.kill(node, action.node)
        case TellExpected() if not world.totem.expect(node, action.votes):
            return Outcome(Result.FAILED, "too few votes are there, or too many are expected")
    return Outcome(Result.DONE)
