"""What stops time: machines that are suspended together with their watchdog; and operators who speak too early."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.ids import NodeId
from corolistener.sim.fault import Fault, Undo

if TYPE_CHECKING:
    from corolistener.sim.world import World

LOOK_MS = 100
SPOKEN_MS = (500, 2000, 4000)
"""Shorter than the shortest lease with its grace: in this time nobody may believe an operator."""


def _suspend_machine(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """A virtual machine stands still with its clock, its timers and its watchdog, and goes on as if no time had passed."""
    daemon = world.daemons.get(node)
    if world.estate is None or not world.estate.options.weak or daemon is None or daemon.paused:
        return None
    watchdog, since = world.estate.nodes[node].watchdog, world.heap.now
    boot = world.machines[node].boot
    watchdog.hold()
    world.freeze(node, True)
    world.machines[node].suspended = True

    def end() -> None:
        if watchdog.held is not None and world.machines[node].boot == boot:
            world.offset[node] -= world.heap.now - since
        world.freeze(node, False)

    return end


def _confirms_early(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """corosync hangs on a node, so it goes on under its lease and others lose it. An operator says that it is off, and pulls
    its plug some seconds after that."""
    estate, machine = world.estate, world.machines[node]
    daemon = world.daemons.get(node)
    if estate is None or daemon is None or not daemon.responsive or machine.hung or not estate.nodes[node].hypervisor.answers:
        return None  # a node that cannot let go by itself would need more than the promised wait
    if node not in world.totem.nodes or not world.totem.quorate(node):
        return None
    world.totem.freeze(node, True)

    def speak(left: int) -> None:
        witness = [n for n, d in sorted(world.daemons.items()) if n != node and d.responsive and world.totem.nodes.get(n)]
        lost = [n for n in witness if world.totem.quorate(n) and node not in world.daemons[n].pump.core.state.group.ring_nodes]
        if lost:
            for each in lost:
                estate.confirm(each, node)
            world.heap.after(int(words[0]), partial(world.power_off, node))
        elif left:
            world.heap.after(LOOK_MS, partial(speak, left - 1))
        else:
            world.power_off(node)

    speak(80)

    def end() -> None:
        world.totem.freeze(node, False)
        world.power_on(node)

    return end


def _early_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return (str(dice.choice(SPOKEN_MS)),)


TIME_FAULTS: dict[str, Fault] = {
    "machine-suspended": Fault(_suspend_machine, 4, (3000, 9000, 25_000, 40_000)),
    "operator-confirms-early": Fault(_confirms_early, 2, (15_000, 25_000), _early_words),
}
"""A fault's name, as stories and seeds say it."""
