"""Faults that concern VMs: of hypervisors, of fence agents, of the disk with the ledger; and what users and operators do.

In a world without VMs they do nothing. VMs of drawn runs are named v1, v2 and so on, as many as `VMS_MOST`; `its` is one of
the node that is hit, and what is on its way from or to that node comes first.
"""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.wishes import ExcuseOrder, MoveOrder, StartOrder, StopOrder
from corolistener.ids import NodeId, VmName
from corolistener.sim.agents import Manner
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.vms import STORAGE, read_vm

if TYPE_CHECKING:
    from corolistener.sim.world import World

VMS_MOST = 60
ITS = "its"


def _named(world: "World", node: NodeId, word: str) -> VmName:
    """The VM that is meant; a name that nobody has where this node has none."""
    if word != ITS or world.estate is None:
        return VmName(word)
    rows = sorted(world.estate.newest().on(node), key=lambda row: not row.to)
    return rows[0].vm.name if rows else VmName(ITS)


def _created(world: "World", node: NodeId, words: Sequence[str]) -> None:
    if world.estate is not None and VmName(words[0]) not in world.estate.users.vms:
        world.estate.create(read_vm(VmName(words[0]), words[1:]), node)


def _user_starts(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """On this node, wherever it belongs."""
    name = _named(world, node, words[0])
    if world.estate is not None and name in world.estate.users.vms:
        world.estate.start(name, node)


def _user_starts_again(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """Where it belongs, after having shut it down."""
    name, estate = _named(world, node, words[0]), world.estate
    row = estate.newest().placements.get(name) if estate is not None else None
    if estate is not None and row is not None and not estate.users.wanted.get(name, True):
        estate.start(name, row.node)


def _user_stops(world: "World", node: NodeId, words: Sequence[str]) -> None:
    name = _named(world, node, words[0])
    if world.estate is not None and name in world.estate.users.vms:
        world.estate.shut_down(name)


def _user_suspends(world: "World", node: NodeId, words: Sequence[str]) -> None:
    name = _named(world, node, words[0])
    if world.estate is not None:
        world.estate.suspend(name)


def _crashes(world: "World", node: NodeId, words: Sequence[str]) -> None:
    name = _named(world, node, words[0])
    if world.estate is not None:
        for at in world.estate.nodes.values():
            at.hypervisor.end_by_hand(name, by_user=False)


def _hangs(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """What is named hangs, or fails (`vm-start-fails`)."""
    hung = world.machines[node].hung
    hung.update(words)

    def end() -> None:
        hung.difference_update(words)
        if world.estate is not None:
            world.estate.go_on(node)

    return end


def _hypervisor(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    if world.estate is None:
        return None
    world.estate.stop_hypervisor(node)
    return partial(world.estate.start_hypervisor, node)


def _memory(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    memory = world.machines[node].memory
    memory.full = True
    return partial(setattr, memory, "full", False)


def _storage(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    if world.estate is None:
        return None
    storages = world.estate.nodes[node].hypervisor.storages
    storages.discard(STORAGE)
    return partial(storages.add, STORAGE)


def _agent(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    if world.estate is None:
        return None
    agent = world.estate.nodes[node].agent
    agent.manner = Manner(words[0])
    return partial(setattr, agent, "manner", Manner.WORKS)


def _confirms(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """An operator at this node confirms all that have no power: operators look before they speak."""
    if world.estate is not None:
        for other in world.estate.nodes:
            if world.estate.harmless(other):
                world.estate.confirm(node, other)


def _panic(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    if world.estate is None:
        return None
    world.estate.alarm(node, calm=False, reason="drill")
    estate = world.estate

    def end() -> None:
        estate.alarm(node, calm=True)

    return end


def _all_power(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """Everything loses power, and comes back in this order, a while after one another."""
    for other in world.machines:
        world.power_off(other)

    def back() -> None:
        for number, word in enumerate(words):
            other = NodeId(int(word.removeprefix("n")))
            world.heap.after(number * 1500, partial(world.power_on, other))

    return back


def _moves(world: "World", node: NodeId, words: Sequence[str]) -> None:
    _order(world, node, MoveOrder(_named(world, node, words[0]), _to(words[1]), words[2] == "live"))


def _starts(world: "World", node: NodeId, words: Sequence[str]) -> None:
    _order(world, node, StartOrder(_named(world, node, words[0]), _to(words[1])))


def _stops(world: "World", node: NodeId, words: Sequence[str]) -> None:
    _order(world, node, StopOrder(_named(world, node, words[0])))


def _order(world: "World", node: NodeId, order: MoveOrder | StartOrder | StopOrder) -> None:
    if world.estate is not None and order.name in world.estate.users.vms:
        world.estate.order(node, order)


def _fills(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """An operator brings so many VMs to this node: it is back, say, and has none."""
    estate = world.estate
    if estate is None:
        return
    rows = [row for _, row in sorted(estate.newest().placements.items()) if node not in row.holders and row.on]
    for row in rows[: int(words[0])]:
        for at in sorted(world.daemons):
            estate.order(at, MoveOrder(row.vm.name, node, live=True))


def _drains(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """An operator wants this node to be empty, and takes that back."""
    estate = world.estate
    if estate is None:
        return None
    at = min((each for each in world.daemons if each != node), default=node)
    estate.order(at, ExcuseOrder(node, drain=words[0] == "drain"))

    def end() -> None:
        for each in sorted(world.daemons):
            estate.order(each, ExcuseOrder(node, on=False))

    return end


def _move_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return (
        *_vm_words(dice, nodes),
        dice.choice(("n0", *(f"n{node}" for node in nodes))),
        dice.choice(("live", "live", "cold")),
    )


def _to(word: str) -> NodeId:
    return NodeId(int(word.removeprefix("n")))


def _vm_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    if dice.random() < 0.25:
        return (ITS,)
    return (f"v{dice.randint(1, dice.choice((2, 4, 4, 8, 8, 12, VMS_MOST)))}",)


def _hang_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    if dice.random() < 0.05:
        return ("vm-mark-lost",)
    deed = dice.choice(("start", "resume", "suspend", "stop", "mark", "migrate", "shutdown"))
    return (f"vm-{deed}{dice.choice(('', '-fails'))}",) if dice.random() < 0.9 else ("vm-migrate-halves",)


named, vm_words = _named, _vm_words
LONG = (500, 2000, 6000, 12_000, 25_000)
VM_FAULTS: dict[str, Fault] = {
    "vm-created": Fault(_created, 0),
    "user-starts": Fault(_user_starts, 2, (), _vm_words),
    "user-starts-again": Fault(_user_starts_again, 3, (), _vm_words),
    "user-stops": Fault(_user_stops, 2, (), _vm_words),
    "user-suspends": Fault(_user_suspends, 2, (), _vm_words),
    "vm-crashes": Fault(_crashes, 3, (), _vm_words),
    "vm-hangs": Fault(_hangs, 3, LONG, _hang_words),
    "hypervisor-stopped": Fault(_hypervisor, 2, LONG),
    "memory-full": Fault(_memory, 2, LONG),
    "storage-lost": Fault(_storage, 1, LONG),
    "agent": Fault(_agent, 2, LONG, lambda dice, nodes: (dice.choice(("fails", "hangs", "times-out")),)),
    "operator-confirms": Fault(_confirms, 3),
    "operator-moves": Fault(_moves, 10, (), _move_words),
    "operator-fills": Fault(_fills, 2, (), lambda dice, nodes: (str(dice.randint(1, 4)),)),
    "operator-starts": Fault(_starts, 2, (), _move_words),
    "operator-stops": Fault(_stops, 1, (), _vm_words),
    "operator-excuses": Fault(_drains, 3, LONG, lambda dice, nodes: (dice.choice(("drain", "drain", "keep")),)),
    "panic": Fault(_panic, 1, LONG),
    "all-power-off": Fault(
        _all_power, 1, (100, 3000, 10_000), lambda dice, nodes: tuple(f"n{node}" for node in dice.sample(nodes, len(nodes)))
    ),
}
"""A fault's name, as stories and seeds say it."""

TRUSTING = frozenset({"daemon-killed", "daemon-crashes", "daemon-paused", "machine-paused", "vm-hangs", "hypervisor-stopped"})
"""What must not happen where nodes are trusted to have suspended by themselves (proof `suspend`)."""
