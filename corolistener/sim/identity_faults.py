"""What users and administrators do to the identity of VMs: settings that hide them, VMs let go, renamed, undefined, and twins.

Each word `vN` names a VM as the other faults of VMs do; `its` is one of the node that is hit.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from corolistener.core.events import Departure
from corolistener.ids import NodeId, VmName
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.hypervisor import Hypervisor
from corolistener.sim.instances import BULKY, known_as, uuid_of
from corolistener.sim.vm_faults import LONG, _named, _vm_words

if TYPE_CHECKING:
    from corolistener.sim.vms import Estate
    from corolistener.sim.world import World

RENAMED_MS = 700


def _restart(world: "World", node: NodeId) -> None:
    world.daemon_ends(node, Departure.PROCDOWN)
    world.heap.after(300, partial(world.start_daemon, node))


def _hides(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """This node's settings would not have the VM adopted any more, and its daemon is restarted with them."""
    if world.estate is None:
        return None
    name, hidden = _named(world, node, words[0]), world.estate.nodes[node].hypervisor.hidden
    hidden.add(name)
    world.estate.users.let_go.add(name)
    _restart(world, node)

    def end() -> None:
        hidden.discard(name)
        _restart(world, node)

    return end


def _lets_go(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """Its user takes it out of the cluster's care where it runs, by its metadata; and gives it back."""
    if world.estate is None:
        return None
    name = _named(world, node, words[0])
    found = [each.hypervisor for each in world.estate.nodes.values() if name in each.hypervisor.copies]

    def say(let_go: bool) -> None:
        for hypervisor in found:
            if (copy := hypervisor.copies.get(name)) is not None:
                copy.let_go = let_go
                hypervisor.changed(name)

    world.estate.users.let_go.add(name)
    say(True)
    return partial(say, False)


def _twin(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """Another VM of the same name is made and started on this node."""
    estate, name = world.estate, _named(world, node, words[0])
    if estate is None or name not in estate.users.vms or not _able(estate, world, node):
        return None
    hypervisor = estate.nodes[node].hypervisor
    if name in hypervisor.copies or name in hypervisor.defined:
        return None
    twin = known_as(replace(estate.users.vms[name], uuid=uuid_of(f"{name}-twin-on-n{node}")))
    hypervisor.start_by_hand(twin, stray=False)

    def end() -> None:
        if estate is not None:
            estate.users.ended.add(twin.uuid)
        end_twin(hypervisor, name, twin.uuid)

    return end


def end_twin(hypervisor: Hypervisor, name: VmName, uuid: str) -> None:
    """Its user shuts it down and undefines it."""
    if (copy := hypervisor.copies.get(name)) is not None and copy.vm.uuid == uuid:
        hypervisor.end_by_hand(name)
    if hypervisor.defined.get(name) == uuid:
        hypervisor.define(name, "")


def _renamed(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """Its user shuts it down where it runs, renames it and starts it there again."""
    estate, name = world.estate, _named(world, node, words[0])
    runs = sorted(estate.executions.now.get(name, {})) if estate is not None else []
    if estate is None or name not in estate.users.vms or len(runs) != 1 or not _able(estate, world, runs[0]):
        return
    hypervisor, new = estate.nodes[runs[0]].hypervisor, VmName(f"{name}-renamed")
    if name not in hypervisor.copies:
        return
    vm = known_as(replace(estate.users.vms[name], name=new))
    estate.users.shut_down.add(name)
    estate.users.began.pop(name, None)
    estate.users.wanted[name] = False
    hypervisor.end_by_hand(name)
    hypervisor.define(name, "")
    hypervisor.define(new, vm.uuid)

    def again() -> None:
        if estate is not None and _able(estate, world, runs[0]) and hypervisor.defined.get(new) == vm.uuid:
            estate.users.vms[new] = vm
            estate.start(new, runs[0])

    world.heap.after(RENAMED_MS, again)


def _undefined(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """Its user undefines it wherever it is, while it runs."""
    name = _named(world, node, words[0])
    if world.estate is not None:
        for at in world.estate.nodes.values():
            at.hypervisor.define(name, "")


def _grows(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """Its user makes its definition too long to be kept; and shorter again."""
    estate, name = world.estate, _named(world, node, words[0])
    if estate is None or name not in estate.users.vms:
        return None

    def write(definition: str) -> None:
        for each in estate.nodes.values() if estate is not None else ():
            if (copy := each.hypervisor.copies.get(name)) is not None and copy.vm.uuid == uuid_of(name):
                copy.vm = replace(copy.vm, definition=definition)
                each.hypervisor.changed(name)

    before = estate.users.vms[name].definition
    write(BULKY + before)
    return partial(write, before)


def _able(estate: "Estate", world: "World", node: NodeId) -> bool:
    hypervisor = estate.nodes[node].hypervisor
    return world.machines[node].powered and hypervisor.answers and not hypervisor.frozen


IDENTITY_FAULTS: dict[str, Fault] = {
    "vm-hidden": Fault(_hides, 3, LONG, _vm_words),
    "vm-let-go": Fault(_lets_go, 2, LONG, _vm_words),
    "vm-twin": Fault(_twin, 3, LONG, _vm_words),
    "vm-renamed": Fault(_renamed, 1, (), _vm_words),
    "vm-grows": Fault(_grows, 1, LONG, _vm_words),
    "vm-undefined": Fault(_undefined, 1, (), _vm_words),
}
