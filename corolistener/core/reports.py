"""What a member reports of the VMs on it: in its Hello, and by messages of their own whenever that changes."""

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from corolistener.core.capacity import Vm
from corolistener.core.ledger import Version
from corolistener.ids import VmName


class VmState(Enum):
    """What a hypervisor says of a copy of a VM that it has. SUSPENDED: it has memory and executes nothing."""

    RUNNING = "running"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Report:
    """A copy of a VM on the sender. `state` None: in doubt. `generation` is the one it was started in, 0 where nobody knows.
    `stray`: it was started by hand, though the VM belongs elsewhere. `stuck`: why it did not migrate. `unmanaged`: why the
    sender would not adopt it, '' otherwise; `let_go`: because its own metadata says so. `pause`: the word of the `Pause` for
    which it is suspended, where that is known; a newer member may send a word that this one does not know. `unkept`: why the
    sender cannot keep its definition, so that it cannot be started elsewhere."""

    vm: Vm
    state: VmState | None
    generation: int = 0
    stray: bool = False
    stuck: str = ""
    unmanaged: str = ""
    let_go: bool = False
    pause: str = ""
    unkept: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A VM that the sender cannot keep running, and why. `given_up`: the generation in which it does not try any more;
    `elsewhere`: the one in which it keeps its copy and tries on, and another node should take it."""

    name: VmName
    why: str = ""
    given_up: int = 0
    elsewhere: int = 0


@dataclass(frozen=True)
class Inventory:
    """Every copy of a VM on the sender, by name, the VMs that were shut down by their users (`ended`), and those that it could
    not keep running.

    Of definitions of VMs that do not run: `dormant` are the VMs of the ledger that are defined on the sender, `undefined` those
    that belong there and that a user undefined, `blocked` those of whose name another VM is defined there, with its UUID.
    `complete` False: the hypervisor does not answer, and there may be others. `at`: the sender's ledger when it said so, where
    that was open; what a Hello says is older than the chapter it leads to.
    """

    copies: tuple[Report, ...] = ()
    ended: tuple[VmName, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    complete: bool = False
    at: Version = field(default=Version(), compare=False)
    dormant: tuple[VmName, ...] = ()
    undefined: tuple[VmName, ...] = ()
    blocked: tuple[tuple[VmName, str], ...] = ()

    @cached_property
    def by_name(self) -> dict[VmName, Report]:
        """The copies by the names of their VMs. It is asked for again and again of what seldom changes, and never sent."""
        return {each.vm.name: each for each in self.copies}

    @cached_property
    def by_uuid(self) -> dict[str, Report]:
        """The same by UUID."""
        return {each.vm.uuid: each for each in self.copies if each.vm.uuid}

    def instance_of(self, vm: Vm) -> Report | None:
        """The sender's instance of this VM, whatever it is called there."""
        report = self.by_name.get(vm.name)
        if report is not None and vm.is_same(report.vm.uuid):
            return report
        return self.by_uuid.get(vm.uuid) if vm.uuid else None


NO_INVENTORY = Inventory()
