"""What a world does about the service outside its daemons: the small program, settings, and the look at what a master needs."""

from typing import TYPE_CHECKING

from corolistener.core.config import Serving
from corolistener.core.events import Departure, Probed
from corolistener.core.messages import Vacated
from corolistener.ids import NodeId
from corolistener.wire import ring as wire

if TYPE_CHECKING:
    from corolistener.sim.world import World

PROBE_MS = (2000, 100, 5000)
LET_GO_PID = 80_000
SAYING_MS = 30
"""How long the small program stays in the group."""


def let_go(world: "World", node: NodeId) -> None:
    """The small program: the daemon has ended for good, so it lets go of what that one held, and says so."""
    machine = world.machines[node]
    if not machine.powered or not machine.barred or node in world.daemons:
        return
    world.tell(node, "lets go")
    machine.let_go()
    world.changed()
    if node not in world.totem.nodes:
        return
    corosync = world.totem.nodes[node]
    world.totem.connect(node, LET_GO_PID)
    world.totem.say(node, wire.encode(Vacated(LET_GO_PID)))

    def leave() -> None:
        if world.totem.nodes.get(node) is corosync:
            world.totem.disconnect(node, Departure.LEAVE)

    world.heap.after(SAYING_MS, leave)


def serve(world: "World", node: NodeId, serving: Serving) -> None:
    """The settings say this of the service from now on."""
    world.serving[node] = serving
    if node in world.daemons:
        world.configure(node, serving=serving)


def probe_later(world: "World", node: NodeId) -> None:
    """A while from now the daemon of this node looks whether it could hold what a master has."""
    daemon, machine = world.daemons.get(node), world.machines[node]

    def look() -> None:
        if daemon is not None and world.daemons.get(node) is daemon:
            daemon.take(Probed(machine.problems(world.options.cloud is not None)))

    if not machine.problems(world.options.cloud is not None):
        machine.able_since = world.heap.now
    world.heap.after(world.chance.vary(*PROBE_MS), look)
