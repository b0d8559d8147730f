"""Cold starts: all nodes lose power and get it back at the same moment, and their machines need different times to boot."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.ids import NodeId
from corolistener.sim.fault import Fault, Undo

if TYPE_CHECKING:
    from corolistener.sim.world import World

BOOTS_MS = (0, 0, 300, 1500, 3000, 8000, 15_000, 30_000)
DAEMON_LATER_MS = (0, 0, 0, 1000, 5000, 12_000)


def boot(world: "World", node: NodeId, boots_ms: int, later_ms: int = 0) -> None:
    """The machine gets power now. Its corosync starts after `boots_ms`, its daemon `later_ms` after corosync."""
    if world.machines[node].powered:
        return
    world.power_on(node, corosync=False, daemon=False)
    machine = world.machines[node]
    machine.booting = True

    def start(what: str, boot_number: int) -> None:
        if machine.boot != boot_number or not machine.powered:
            return
        if what == "corosync":
            world.start_corosync(node)
        else:
            machine.booting = False
            world.start_daemon(node)

    world.heap.after(boots_ms, partial(start, "corosync", machine.boot))
    world.heap.after(boots_ms + later_ms, partial(start, "daemon", machine.boot))


def cold_start(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """All nodes lose power. When it is back, each word says how a machine boots: `n3+8000`, or `n3+8000+2000` where the
    daemon comes 2 s after corosync."""
    for other in world.machines:
        world.power_off(other)

    def back() -> None:
        for word in words:
            other, boots, later = (word.removeprefix("n") + "+0+0").split("+")[:3]
            boot(world, NodeId(int(other)), int(boots), int(later))

    return back


def _cold_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    """Most machines boot in nearly the same time; one or two need much longer."""
    slow = set(dice.sample(nodes, dice.choice((1, 1, 2)) if len(nodes) > 2 else 1))
    return tuple(
        f"n{node}+{dice.choice(BOOTS_MS[3:] if node in slow else BOOTS_MS[:4])}+{dice.choice(DAEMON_LATER_MS)}"
        for node in nodes
    )


START_FAULTS: dict[str, Fault] = {"cold-start": Fault(cold_start, 2, (100, 3000, 10_000), _cold_words)}
"""A fault's name, as stories and seeds say it."""
