"""Other processes in the daemons' group, and a daemon whose leave comes after the next one has joined."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.events import Departure
from corolistener.ids import NodeId
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.rings import Item

if TYPE_CHECKING:
    from corolistener.sim.world import World

FIRST_PID = 90_000
SAYS_MS = 300
REMEMBERED = 60
"""Messages of the ring, the newest, of which it says one again."""
STARTS_MS = 200


def _second_process(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """A program on this node joins the group, and says noise and what it has heard there."""
    corosync, pid = world.totem.nodes.get(node), FIRST_PID + world.heap.now % 10_000
    there = [corosync is not None]

    def say() -> None:
        if corosync is None or not there[0] or world.totem.nodes.get(node) is not corosync:
            return
        heard = [item.data for item in corosync.ring.log[-REMEMBERED:] if item.data is not None]
        data = heard[world.chance.vary(len(heard) - 1, 0, len(heard) - 1)] if heard else b"CL"
        world.totem.other(Item(node, data if not world.chance.happens(0.2) else data[:-3], pid=pid))
        world.heap.after(SAYS_MS, say)

    def leave() -> None:
        if there[0] and world.totem.nodes.get(node) is corosync:
            world.totem.other(Item(node, reason=Departure.PROCDOWN, pid=pid))
        there[0] = False

    if there[0]:
        world.totem.other(Item(node, life=-1, pid=pid))
        world.heap.after(SAYS_MS, say)
    return leave


def _late_leave(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """The daemon is killed and started again, and corosync notices its end only then."""
    if node in world.daemons and world.daemons[node].connected:
        world.totem.late[node] = int(words[0])
        world.daemon_ends(node, Departure.PROCDOWN)
        world.heap.after(STARTS_MS, partial(world.start_daemon, node))


PROCESS_FAULTS: dict[str, Fault] = {
    "second-process": Fault(_second_process, 2, (2000, 8000, 20_000)),
    "late-leave": Fault(_late_leave, 1, (), lambda dice, nodes: (str(dice.choice((260, 400, 1500))),)),
}
"""A fault's name, as stories and seeds say it."""


Drawn = tuple[int, str, str, tuple[str, ...], int | None]
"""When, what, where, its words, how long."""


def other_processes(seed: int, nodes: Sequence[NodeId], now: int, ends: int, excluded: bool) -> list[Drawn]:
    """Some of these, in half of all runs. `excluded`: no daemon may be killed. With dice of its own, so that all else of a seed
    is what it was before."""
    dice = Random(f"processes {seed}")
    found = []
    for _ in range(dice.choice((0, 0, 0, 1, 2, 4))):
        name = "second-process" if excluded else dice.choice(("second-process", "second-process", "late-leave"))
        fault, at, node = PROCESS_FAULTS[name], dice.randint(now, ends), f"n{dice.choice(nodes)}"
        target = f"master|{node}" if dice.random() < 0.5 else node
        found.append((at, name, target, fault.words(dice, nodes), dice.choice(fault.lasts) if fault.lasts else None))
    return found
