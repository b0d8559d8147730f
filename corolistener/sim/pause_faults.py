"""Pauses of VMs that no node has asked for: a full storage, something that takes a while, a guest that has crashed."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.events import Pause
from corolistener.ids import NodeId
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.vm_faults import named, vm_words

if TYPE_CHECKING:
    from corolistener.sim.world import World


def _full(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """The storage has no room left, seen from this node, or (`all`) from everywhere."""
    if world.estate is None:
        return None
    places = [at.hypervisor for other, at in world.estate.nodes.items() if words or other == node]
    for each in places:
        each.full = True
        for name in sorted(each.copies):
            world.heap.after(world.chance.vary(10, 1, 3000), partial(each.stumble, each.copies[name]))

    def end() -> None:
        for each in places:
            each.full = False

    return end


def _busy(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """Somebody has a VM dumped or saved to a file: it is paused for a while and goes on by itself."""
    if world.estate is not None:
        for at in world.estate.nodes.values():
            at.hypervisor.be_busy(named(world, node, words[0]), world.chance.vary(5000, 100, 50_000))


def _panics(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """Its system crashes, and its definition says on_crash=preserve."""
    if world.estate is not None:
        for at in world.estate.nodes.values():
            at.hypervisor.suspend_by_hand(named(world, node, words[0]), Pause.PANICKED)


def _where(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return ("all",) if dice.random() < 0.5 else ()


PAUSE_FAULTS: dict[str, Fault] = {
    "datastore-full": Fault(_full, 2, (3000, 12_000, 30_000), _where),
    "vm-busy": Fault(_busy, 2, (), vm_words),
    "vm-panics": Fault(_panics, 2, (), vm_words),
}
