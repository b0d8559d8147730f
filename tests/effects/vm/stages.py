"""One story, told on every hypervisor there is: the simulator's, libvirt's test hypervisor, and real QEMU.

A stage has the effect under test, what it has told so far, and hands that do to VMs what users do.
"""

import asyncio
import contextlib
import itertools
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import libvirt
from lab.hypervisor import Hypervisor as Libvirtd
from lab.hypervisor import domain_xml
from lab.machine import SHARED

from corolistener.core.actions import MarkVm, Reason, ResumeVm, StartVm, StopVm, SuspendVm, Until
from corolistener.core.capacity import Capacity, Vm
from corolistener.core.events import Copied, CopyChanged, Defined, Event, HypervisorLost, Listed, Outcome, Result
from corolistener.core.reports import VmState
from corolistener.core.view import RingId
from corolistener.effects.vm.hypervisor import Hypervisor
from corolistener.effects.vm.settings import Manage, VmSettings
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket, VmName
from corolistener.sim.executions import Executions
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.hypervisor import Hypervisor as Virtual

T = TypeVar("T")
LIMIT_S = 60.0
ME = NodeId(1)
STAGES = itertools.count(1)
"""They share a libvirt: no two may have VMs of one name."""
UNTIL = Until(RingId(7, ME), Instant(1 << 40))
RUNNING, SUSPENDED = VmState.RUNNING, VmState.SUSPENDED
TEST_XML = """\
<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/srv/shared/{name}.img'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""


async def eventually(condition: Callable[[], T], what: object = "", limit_s: float = LIMIT_S) -> T:
    """The first true value of `condition`; fails after a generous limit. `what` is shown then."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, f"it never became true: {what() if callable(what) else what}"
        await asyncio.sleep(0.01)
    return value


class Listener:
    """What was told: the events in their order, and what they add up to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.capacities: list[Capacity | None] = []
        self.copies: dict[VmName, Copied] = {}
        self.ended: dict[VmName, bool | None] = {}
        self.texts: dict[tuple[VmName, str], bytes] = {}
        self.known = False

    def observe(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case Listed(copies=copies):
                assert all((each.vm.name, each.vm.definition) in self.texts for each in copies if each.vm.definition)
                self.copies, self.known = {each.vm.name: each for each in copies}, True
            case CopyChanged(name=name, copy=None, by_user=by_user):
                if self.copies.pop(name, None) is not None or by_user or self.ended.get(name, False) is None:
                    self.ended[name] = by_user
            case CopyChanged(name=name, copy=copy):
                assert copy is not None
                self.copies[name] = copy
            case HypervisorLost():
                self.known = False
            case Defined(name=name, definition=definition, text=text):
                self.texts[name, definition] = text

    def note(self, code: str, fields: Any) -> None:
        self.notes.append((code, dict(fields)))

    def state(self, name: VmName) -> tuple[VmState, int] | None:
        """State and generation of a copy; None where there is none."""
        copy = self.copies.get(name)
        return (copy.state, copy.generation) if copy is not None else None


class Stage(ABC):
    """`vm` makes a VM that can be started here. Hands: what a user does, beside us."""

    crashes = True

    def __init__(self) -> None:
        self.told = Listener()
        self._tickets = iter(range(1, 1 << 30))

    @abstractmethod
    def vm(self, word: str) -> Vm: ...

    @abstractmethod
    async def open(self) -> None:
        """A daemon connects; returns when everything has been listed."""

    @abstractmethod
    async def close(self) -> None:
        """The daemon goes."""

    @abstractmethod
    async def do(self, action: Any) -> Outcome:
        """What the lane would be told."""

    @abstractmethod
    def start_by_hand(self, vm: Vm) -> None: ...

    @abstractmethod
    def suspend_by_hand(self, vm: Vm) -> None: ...

    @abstractmethod
    def end_by_hand(self, vm: Vm) -> None: ...

    @abstractmethod
    def crash(self, vm: Vm) -> None: ...

    async def see(self, vm: Vm, state: VmState | None, generation: int = 0) -> None:
        """Wait until the core would believe this."""
        wanted = (state, generation) if state is not None else None
        await eventually(lambda: self.told.state(vm.name) == wanted, lambda: (wanted, self.told.state(vm.name)))

    def ticket(self) -> Ticket:
        return Ticket(next(self._tickets))

    async def start(self, vm: Vm, generation: int = 1) -> Outcome:
        return await self.do(StartVm(self.ticket(), vm, generation, UNTIL, Reason.PLACED))

    async def resume(self, vm: Vm) -> Outcome:
        return await self.do(ResumeVm(self.ticket(), vm.name, UNTIL, Reason.PLACED))

    async def suspend(self, vm: Vm) -> Outcome:
        return await self.do(SuspendVm(self.ticket(), vm.name, Reason.LEASE_ENDED))

    async def stop(self, vm: Vm, reason: Reason = Reason.OUTDATED) -> Outcome:
        return await self.do(StopVm(self.ticket(), vm.name, reason))

    async def mark(self, vm: Vm, generation: int) -> Outcome:
        return await self.do(MarkVm(self.ticket(), vm.name, generation))


class Simulated(Stage):
    """The simulator's: its time passes while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap()
        self.virtual = Virtual(ME, self.heap, Chance(), Executions(), set(), lambda other, anyway: None)

    def vm(self, word: str) -> Vm:
        return Vm(VmName(word), 16384)

    async def open(self) -> None:
        self.virtual.connect(self.told.observe)
        self.heap.run(self.heap.now + 1000)
        assert self.told.known

    async def close(self) -> None:
        self.virtual.disconnect()

    async def do(self, action: Any) -> Outcome:
        ends: list[Outcome] = []
        self.virtual.ask(action, ends.append)
        self.heap.run(self.heap.now + 5000)
        return ends[0]

    def start_by_hand(self, vm: Vm) -> None:
        self.virtual.start_by_hand(vm, stray=False)
        self.heap.run(self.heap.now + 1000)

    def suspend_by_hand(self, vm: Vm) -> None:
        self.virtual.suspend_by_hand(vm.name)
        self.heap.run(self.heap.now + 1000)

    def end_by_hand(self, vm: Vm) -> None:
        self.virtual.end_by_hand(vm.name)
        self.heap.run(self.heap.now + 1000)

    def crash(self, vm: Vm) -> None:
        self.virtual.end_by_hand(vm.name, by_user=False)
        self.heap.run(self.heap.now + 1000)


class Libvirt(Stage):
    """The effect on a libvirt, and a second connection for the hands."""

    def __init__(self, uri: str, storage: str, **options: Any) -> None:
        super().__init__()
        self.uri, self.prefix = uri, f"t{os.getpid()}-{next(STAGES)}-"
        self.settings = VmSettings(**{"uri": uri, "manage": Manage.SHARED, "shared_storage": (storage,)} | options)
        self.hand = libvirt.open(uri)
        self.shelf: dict[tuple[VmName, str], bytes] = {}
        self.effect: Hypervisor | None = None

    def definition(self, name: VmName, definition: str) -> bytes:
        return self.shelf.get((name, definition)) or self.told.texts[name, definition]

    async def open(self) -> None:
        self.kept: list[VmName] = []
        self.effect = Hypervisor(
            self.settings, ME, self.told.observe, self.told.note, self.definition, lambda name, _: self.kept.append(name)
        )
        self.effect.on_capacity = self.told.capacities.append
        self.told.known = False
        await self.effect.open()
        await eventually(lambda: self.told.known, lambda: self.told.notes)

    async def close(self) -> None:
        if self.effect is not None:
            effect, self.effect = self.effect, None
            await effect.close()

    async def do(self, action: Any) -> Outcome:
        assert self.effect is not None
        try:
            return await self.effect.perform(action)
        except EffectError as error:
            return Outcome(Result.FAILED, error.why)

    @property
    def effect_(self) -> Hypervisor:
        assert self.effect is not None
        return self.effect

    def told_vm(self, vm: Vm, definition: str) -> Vm:
        """The VM with another definition."""
        return replace(vm, definition=definition)

    def text(self, name: str) -> str:
        return TEST_XML.format(name=name, uuid=uuid.uuid5(uuid.NAMESPACE_URL, name))

    def vm(self, word: str) -> Vm:
        """A VM that is defined nowhere; the ledger has its definition."""
        name = VmName(self.prefix + word)
        definition = f"definition of {name}"
        self.shelf[name, definition] = self.text(name).encode()
        return Vm(name, 16384, storages=frozenset(self.settings.shared_storage), definition=definition)

    def domain(self, vm: Vm) -> Any:
        return self.hand.lookupByName(vm.name)

    def start_by_hand(self, vm: Vm) -> None:
        try:
            domain = self.domain(vm)
        except libvirt.libvirtError:
            domain = self.hand.defineXML(self.text(vm.name))
        domain.resume() if domain.isActive() else domain.create()

    def suspend_by_hand(self, vm: Vm) -> None:
        self.domain(vm).suspend()

    def end_by_hand(self, vm: Vm) -> None:
        self.domain(vm).destroy()

    def crash(self, vm: Vm) -> None:
        raise NotImplementedError("libvirt's test hypervisor lets nothing crash")

    def clean(self) -> None:
        """Nothing that this stage made is left."""
        for domain in self.hand.listAllDomains():
            if domain.name().startswith(self.prefix):
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                with contextlib.suppress(libvirt.libvirtError):
                    domain.undefine()
        self.hand.close()


class Pretended(Libvirt):
    """libvirt's own, which lives in this process as long as the hand's connection does."""

    crashes = False

    def __init__(self, **options: Any) -> None:
        super().__init__("test:///default", "/srv/shared", **options)


class Qemu(Libvirt):
    """Real QEMU below a real libvirtd, in the namespaces of a lab's node."""

    def __init__(self, libvirtd: Libvirtd, **options: Any) -> None:
        self.libvirtd = libvirtd
        self.options: tuple[str, ...] = ()
        """Words for QEMU's command line."""
        socket = libvirtd.node.path("/run/libvirt/libvirt-sock")
        super().__init__(f"qemu:///system?socket={socket}", SHARED, **options)

    def text(self, name: str) -> str:
        return domain_xml(name, arguments=self.options)

    def vm(self, word: str) -> Vm:
        vm = super().vm(word)
        self.libvirtd.node.cluster.storage.create_image(vm.name)
        return vm

    def count(self, vm: Vm) -> int:
        """It goes up while the VM executes."""
        return self.libvirtd.node.cluster.storage.counts(vm.name).count

    def crash(self, vm: Vm) -> None:
        os.kill(self.libvirtd.processes()[vm.name], 9)


@contextlib.asynccontextmanager
async def opened(stage: Stage) -> AsyncIterator[Stage]:
    """A stage with its daemon connected."""
    await stage.open()
    try:
        yield stage
    finally:
        await stage.close()


def clean(stage: Stage) -> Iterator[Stage]:
    try:
        yield stage
    finally:
        if isinstance(stage, Libvirt):
            stage.clean()
