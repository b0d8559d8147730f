"""Which VM is which for a virtual hypervisor."""

from typing import TYPE_CHECKING

from corolistener.core.capacity import Vm
from corolistener.sim.instances import uuid_of

if TYPE_CHECKING:
    from corolistener.sim.hypervisor import Hypervisor


def barred(hypervisor: "Hypervisor", vm: Vm) -> str:
    """Why this VM cannot be started here, whoever asks for it; '' if nothing bars it."""
    if vm.name in hypervisor.hidden:
        return "it would not be ours: the settings say so"
    if hypervisor.defined.get(vm.name, vm.uuid) != vm.uuid:
        return "another VM of this name is defined here"
    if any(each.vm.uuid == vm.uuid != "" and each.vm.name != vm.name for each in hypervisor.copies.values()):
        return "it runs here under another name"
    return ""


def put_right(hypervisor: "Hypervisor") -> set[str]:
    """Settings and metadata hide nothing any more, and twins are shut down and undefined by their users; the twins' UUIDs."""
    ended = set()
    hypervisor.hidden.clear()
    for copy in list(hypervisor.copies.values()):
        copy.let_go = False
        if copy.vm.uuid != uuid_of(copy.vm.name.removesuffix("-renamed")):
            ended.add(copy.vm.uuid)
            hypervisor.end_by_hand(copy.vm.name)
            hypervisor.define(copy.vm.name, "")
    if hypervisor.listener is not None:
        hypervisor.connect(hypervisor.listener)
    return ended
