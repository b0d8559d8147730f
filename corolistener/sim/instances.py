"""An instance of a VM in a virtual hypervisor, and the definition that it is started from."""

import hashlib
from dataclasses import dataclass, replace

from corolistener.core.capacity import Vm
from corolistener.core.events import Copied, Defined, Pause
from corolistener.core.reports import VmState
from corolistener.core.shelf import TEXT_MOST
from corolistener.ids import VmName
from corolistener.wire import values

UUID = "uuid-of-"
BULKY, BULK = "bulky-", TEXT_MOST
"""What a definition is called that is too long to be kept, and by how many bytes it is longer than others."""


@dataclass(slots=True, eq=False)
class Instance:
    """A copy of a VM. `generation` is the label written on it, 0 where there is none. `arriving`: its memory is coming.
    `making`: it is there, and its label is about to be written. `pause`, since when: why it is suspended; `labelled`: as its
    user's pause. `let_go`: its user took it out of the cluster's care."""

    vm: Vm
    running: bool = False
    generation: int = 0
    arriving: bool = False
    making: bool = False
    pause: Pause = Pause.CALL
    labelled: bool = False
    let_go: bool = False
    since: int = 0
    ending: bool = False

    def copied(self, hidden: bool = False) -> Copied:
        why = "its metadata says manage no" if self.let_go else "the settings say so" if hidden else ""
        vm = replace(self.vm, definition="") if why else self.vm
        state = VmState.RUNNING if self.running else VmState.SUSPENDED
        pause = Pause.OTHER if self.running else Pause.BUSY if self.arriving else self.pause
        labelled = self.labelled and pause in (Pause.OTHER, Pause.CALL)
        return Copied(vm, state, self.generation, why, self.let_go, Pause.USER if labelled else pause, self.ending)


def image_of(vm: Vm) -> VmName:
    """What executes: the VM of a UUID, whatever it is called. Each UUID has the name that its VM had first (`uuid_of`)."""
    return VmName(vm.uuid.removeprefix(UUID)) if vm.uuid else vm.name


def uuid_of(name: str) -> str:
    """The UUID of the VM that was first called so."""
    return UUID + name


def definition(vm: Vm) -> bytes:
    """The text that a VM is started from: everything that is said of it, its sets in one order in every process."""
    return values.dump_line(replace(vm, definition="")).encode()


def known_as(vm: Vm) -> Vm:
    """The VM with the name of its definition."""
    return replace(vm, definition=hashlib.sha256(definition(vm)).hexdigest()[:16])


def defined(vm: Vm) -> Defined:
    bulk = b" " * BULK if vm.definition.startswith(BULKY) else b""
    return Defined(vm.name, vm.definition, definition(vm) + bulk)
