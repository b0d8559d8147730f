"""Everything about VMs in a world: hypervisors, watchdogs, fence agents, and the users who own the VMs.

None of it is there in a world without `VmOptions`. What users want is remembered (`wanted`): checkers hold the cluster to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from corolistener.core.actions import (
    DisarmWatchdog,
    EditVm,
    FeedWatchdog,
    Fence,
    MarkVm,
    MigrateVm,
    ResumeVm,
    ShutDownVm,
    Spare,
    StartVm,
    StopVm,
    SuspendVm,
    TicketedAction,
)
from corolistener.core.capacity import Capacity, Vm
from corolistener.core.config import Care, Config, OnShutdown, ProofKind, Unreconciled
from corolistener.core.events import AlarmAsked, Armed, ConfirmAsked, Event, LedgerAsked, OrderAsked, Outcome, Result, Shelved
from corolistener.core.families import Family
from corolistener.core.ledger import Ledger
from corolistener.core.lifecycle import Mode
from corolistener.core.wishes import ExcuseOrder, FenceOrder, Order, StartOrder, StopOrder
from corolistener.engine.ports import Cancel, Effect, Finish
from corolistener.ids import NodeId, VmName
from corolistener.sim import settings
from corolistener.sim.agents import Agent, Manner
from corolistener.sim.executions import Executions
from corolistener.sim.hypervisor import Hypervisor
from corolistener.sim.identity import put_right
from corolistener.sim.instances import known_as, uuid_of
from corolistener.sim.machines import Port
from corolistener.sim.settings import Said
from corolistener.sim.users import Down, Rest, Users
from corolistener.sim.watchdog import Watchdog

if TYPE_CHECKING:
    from corolistener.sim.world import Daemon, World

VM_FAMILIES: tuple[Family, ...] = ("vm", "fence", "watchdog")
GIB = 1024 * 1024
NOTICED_MS = 200
"""After so long a daemon has heard what its hypervisor has told."""
STORAGE = "shared"
LEFT_OFF_MS = 15_000
"""Nobody comes sooner to switch a machine on again; an agent that is just switching it off has ended by then."""


@dataclass(frozen=True, slots=True)
class VmOptions:
    """What all nodes have in common as to VMs. `watchdog_ms` 0: no watchdogs. `agents`: every node can fence every other.

    `boots_after_ms`: when a machine that was reset or fenced has power again; None for never. `memory_kib` is each node's,
    `memories` that of single ones. `weak`: why all watchdogs may stand still with their nodes; `weak_watchdogs`: that is known.
    """

    watchdog_ms: int = 10_000
    agents: bool = False
    proofs: tuple[ProofKind, ...] = Care().proofs
    boots_after_ms: int | None = 20_000
    memory_kib: int = 64 * GIB
    memories: tuple[tuple[NodeId, int], ...] = ()
    cpus: int = 16
    vm_limit: int | None = None
    parallel_starts: int = 4
    on_shutdown: OnShutdown = OnShutdown.MIGRATE
    disallowed: Unreconciled = Unreconciled.KILL
    locks: bool = False
    """A VM cannot be started while another machine has an instance of it: the image is locked."""
    weak: str = ""
    weak_watchdogs: bool = False

    def memory_of(self, node: NodeId) -> int:
        return dict(self.memories).get(node, self.memory_kib)


@dataclass(slots=True)
class Node:
    """One machine's part."""

    hypervisor: Hypervisor
    watchdog: Watchdog
    agent: Agent


class Estate:
    """All of it, for one world."""

    def __init__(self, world: "World", options: VmOptions) -> None:
        self.world, self.options = world, options
        self.executions = Executions()
        self.users = Users()
        self.nodes = {node: self._node(node) for node in world.machines}
        self.off_since: dict[NodeId, int] = {}
        self.said_off: dict[NodeId, int] = {}
        self.excused: set[NodeId] = set()
        self.unmeasured: set[NodeId] = set()
        """Nodes whose hypervisor has not said yet what they have."""
        self.to_fence: set[NodeId] = set()
        """Nodes that an operator ordered to be fenced."""
        self.blind: set[NodeId] = set()
        """Nodes whose settings name no hypervisor."""
        self.other_settings: dict[NodeId, Said] = {}
        """Nodes whose settings are not those of the others."""

    def _node(self, node: NodeId) -> Node:
        world = self.world
        reach = partial(self._reach, node)
        hypervisor = Hypervisor(node, world.heap, world.chance, self.executions, world.machines[node].hung, reach)
        hypervisor.storages.add(STORAGE)
        hypervisor.locked = partial(self._locked, node)
        return Node(
            hypervisor,
            Watchdog(world.heap, self.options.watchdog_ms, partial(self._reset, node, "the watchdog bites")),
            Agent(node, world.heap, world.chance, partial(self._reset, node, "is switched off by its fence agent")),
        )

    def _reach(self, node: NodeId, other: NodeId, anyway: bool) -> Hypervisor | None:
        if other not in self.nodes:
            return None
        there = self.world.machines[other].powered and self.nodes[other].hypervisor.answers
        return self.nodes[other].hypervisor if anyway or (there and self.world.totem.hears(node, other)) else None

    def _locked(self, node: NodeId, vm: Vm) -> bool:
        """Another machine has the image open."""
        others = [each.hypervisor.copies.get(vm.name) for other, each in self.nodes.items() if other != node]
        there = (copy for copy in others if copy is not None and not copy.arriving)
        return self.options.locks and any(copy.vm.is_same(vm.uuid) for copy in there)

    def _reset(self, node: NodeId, why: str) -> None:
        machine = self.world.machines[node]
        if machine.powered:
            self.world.tell(node, why)
            self.world.power_off(node)
        wait, boot = self.options.boots_after_ms, machine.boot
        if wait is not None:
            self.world.heap.after(wait, lambda: self.world.power_on(node) if machine.boot == boot else None)

    # What the world calls

    def care_of(self, node: NodeId) -> Care:
        o = self.options
        measured = Capacity(node, o.memory_of(node), o.cpus, frozenset({STORAGE}), vm_limit=o.vm_limit)
        capacity = None if node in self.unmeasured | self.blind else measured
        agents = tuple(other for other in self.nodes if other != node) if o.agents else ()
        care = Care(node not in self.blind, capacity, o.proofs, agents, o.parallel_starts, o.on_shutdown, o.disallowed)
        care = replace(care, weak=o.weak, weak_watchdogs=o.weak_watchdogs)
        return replace(care, **settings.care_of(self.other_settings.get(node, ())))

    def configured(self, config: Config) -> Config:
        return replace(config, care=self.care_of(config.me), relied_on=self.other_settings.get(config.me, settings.USUAL))

    def ports(self, daemon: "Daemon") -> dict[Family, Effect]:
        return {family: Port(partial(self._begin, daemon)) for family in VM_FAMILIES}

    def daemon_started(self, daemon: "Daemon") -> None:
        node = self.nodes[daemon.machine.id]
        daemon.take(Shelved(tuple(sorted(daemon.machine.memory.definitions))))
        daemon.take(Armed(node.watchdog.open()))
        if node.hypervisor.answers and daemon.machine.id not in self.blind:
            node.hypervisor.connect(daemon.take)

    def daemon_ended(self, node: NodeId) -> None:
        self.nodes[node].hypervisor.disconnect()

    def power_off(self, node: NodeId) -> None:
        self.nodes[node].hypervisor.power_off()
        self.nodes[node].watchdog.disarm()
        self.off_since[node] = self.world.heap.now

    def freeze(self, node: NodeId, frozen: bool) -> None:
        """What the machine's VMs do meanwhile nobody knows: they are taken to go on."""
        hypervisor = self.nodes[node].hypervisor
        hypervisor.frozen = frozen
        if not frozen:
            hypervisor.go_on()
            self.nodes[node].watchdog.go_on()

    def go_on(self, node: NodeId) -> None:
        """A fault of a hypervisor is over."""
        self.nodes[node].hypervisor.go_on()

    # The neighbours of a daemon

    def _begin(self, daemon: "Daemon", action: TicketedAction, finish: Finish) -> Cancel:
        world, machine = self.world, daemon.machine
        daemon.count()
        world.tell(machine.id, action)
        world.checker.before(machine, action)
        node = self.nodes[machine.id]

        def answer(outcome: Outcome) -> None:
            if isinstance(action, StartVm) and world.checker.vms is not None:
                world.checker.vms.created(machine.id, action)
            daemon.do(lambda: finish(outcome))
            world.changed()

        match action:
            case StartVm() | ResumeVm() | SuspendVm() | StopVm() | MarkVm() | MigrateVm() | ShutDownVm() | EditVm():
                node.hypervisor.ask(action, answer)
            case Fence(node=target):
                boot = machine.boot
                return self.nodes[target].agent.start(lambda: machine.boot == boot and machine.powered, answer)
            case Spare():
                world.heap.after(0, lambda: answer(Outcome(Result.DONE)))
            case FeedWatchdog():
                node.watchdog.feed()
                world.heap.after(0, lambda: answer(Outcome(Result.DONE)))
            case DisarmWatchdog():
                node.watchdog.disarm()
                world.heap.after(0, lambda: answer(Outcome(Result.DONE)))
        return lambda: None

    # Users and operators

    def create(self, vm: Vm, node: NodeId) -> None:
        """A user makes a VM on a node, by means of its own: it runs, and nobody was asked."""
        self.users.vms[vm.name] = known_as(vm)
        self.users.wanted[vm.name] = True
        self.start(vm.name, node)

    def start(self, name: VmName, node: NodeId) -> None:
        """A user starts a VM on a node, perhaps a second copy of it. Nothing happens on one without power or libvirtd."""
        vm, hypervisor, row = self.users.vms[name], self.nodes[node].hypervisor, self.newest().placements.get(name)
        if not self.world.machines[node].powered or not hypervisor.answers or not vm.storages <= hypervisor.storages:
            return
        stray = any(each.hypervisor.copies.get(name) for other, each in self.nodes.items() if other != node)
        stray = stray or (row is not None and node not in row.holders)
        if stray:
            self.users.doubled.add(name)
        self.users.wanted[name] = True
        if (rest := self.users.paused.get(name)) is not None and rest.node == node:
            del self.users.paused[name]  # a second instance elsewhere ends no pause of the first one
        hypervisor.start_by_hand(vm, stray)
        self.users.began[name] = node, self.world.heap.now
        self.world.changed()

    def newest(self) -> Ledger:
        """The ledger of the highest version that any node has in memory or on disk."""
        kept = [
            (each.pump.core.state.keeping.version, each.pump.core.state.keeping.ledger) for each in self.world.daemons.values()
        ]
        kept += [(machine.memory.version, machine.memory.ledger) for machine in self.world.machines.values()]
        return max(kept, key=lambda each: each[0])[1]

    def shut_down(self, name: VmName, late_ms: int | None = None) -> None:
        """A user shuts a VM down, wherever it runs. `late_ms`: so much later its node's daemon learns who it was."""
        for number, node in sorted(self.nodes.items()):
            copy = node.hypervisor.copies.get(name)
            if copy is not None and copy.running:
                self.users.wanted[name] = False
                self.users.shut_down.add(name)
                self.users.began.pop(name, None)
                self._seen_down(name, number)
                node.hypervisor.end_by_hand(name, late_ms=late_ms)
        self.world.changed()

    def _seen_down(self, name: VmName, node: NodeId) -> None:
        """Remember what a daemon must have heard."""
        row, heard = self.newest().placements.get(name), self.nodes[node].hypervisor.listener is not None
        self.users.downs.pop(name, None)
        if row is not None and row.node == node and heard and node in self.world.daemons:
            self.users.downs[name] = Down(self.world.heap.now, node, self.world.daemons[node], row.generation)

    def measure(self, node: NodeId) -> None:
        """The hypervisor says what the node has, or, while it is `unmeasured`, that it does not know."""
        daemon, capacity = self.world.daemons.get(node), self.care_of(node).capacity
        if daemon is not None and daemon.config.care.capacity != capacity:
            self.world.configure(node, care=replace(daemon.config.care, capacity=capacity))

    def suspend(self, name: VmName) -> None:
        """A user suspends a VM where it runs. Its daemon must know, if it has the right to run VMs now and a moment later."""
        for node, at in sorted(self.nodes.items()):
            sure = self._watches(node)
            instance, daemon = at.hypervisor.suspend_by_hand(name), self.world.daemons.get(node)
            if instance is not None and daemon is not None:
                rest = self.users.paused[name] = Rest(node, instance, daemon)
                self.world.heap.after(NOTICED_MS, partial(self._noticed, rest, sure))
        self.world.changed()

    def _noticed(self, rest: "Rest", sure: bool) -> None:
        rest.sure = sure and self._watches(rest.node) and self.world.daemons.get(rest.node) is rest.daemon

    def _watches(self, node: NodeId) -> bool:
        """Its daemon hears its hypervisor and has nothing to do but to let VMs run."""
        daemon, hypervisor = self.world.daemons.get(node), self.nodes[node].hypervisor
        if daemon is None or not daemon.responsive or hypervisor.listener is None or hypervisor.frozen or hypervisor.jobs:
            return False
        s, now = daemon.pump.core.state, self.world.clock(node)
        leased = s.lease.valid(now) and s.mode is Mode.RUNNING and s.emptying is None and not s.copies.held
        return leased and now >= s.copies.young_until and hypervisor.life_at + NOTICED_MS < self.world.heap.now

    def stop_hypervisor(self, node: NodeId) -> None:
        self.nodes[node].hypervisor.stop()
        self.world.changed()

    def start_hypervisor(self, node: NodeId) -> None:
        daemon = self.world.daemons.get(node) if node not in self.blind else None
        self.nodes[node].hypervisor.start(daemon.take if daemon is not None else None)

    def confirm(self, at: NodeId, node: NodeId, by: str = "operator") -> int:
        """An operator says at a node that another one runs nothing; only asked where that is true: operators do not lie."""
        self.world.requests += 1
        self._event(at, ConfirmAsked(self.world.requests, node, by))
        return self.world.requests

    def harmless(self, node: NodeId) -> bool:
        """What an operator looks at before confirming: it has no power."""
        return not self.world.machines[node].powered

    def alarm(self, at: NodeId, calm: bool, reason: str = "") -> int:
        """An operator asks for panic or for its end."""
        self.world.requests += 1
        self._event(at, AlarmAsked(self.world.requests, calm, reason, "2026-01-01 00:00:00"))
        return self.world.requests

    def open_ledger(self, at: NodeId) -> int:
        """An operator orders at a node to open the ledger with what is here."""
        self.world.requests += 1
        self._event(at, LedgerAsked(self.world.requests, "operator"))
        return self.world.requests

    def order(self, at: NodeId, order: Order) -> int:
        """An operator asks at a node for something about VMs or nodes. A stop that comes to pass is what users want."""
        self.world.requests += 1
        match order:
            case StopOrder(name):
                self.users.shut_down.add(name)
                self.users.ordered_down.add(name)
                self.users.wanted[name] = False
            case StartOrder(name):
                self.users.wanted[name] = True
                self.users.paused.pop(name, None)
            case FenceOrder(node):
                self.to_fence.add(node)
            case ExcuseOrder(node, on):
                self.excused = (self.excused | {node}) if on else (self.excused - {node})
        self._event(at, OrderAsked(self.world.requests, order, "operator"))
        return self.world.requests

    def _event(self, at: NodeId, event: Event) -> None:
        if at in self.world.daemons:
            self.world.daemons[at].take(event)

    # After all faults

    def heal(self) -> None:
        """Everything that was broken works; who was asked for panic is asked to recover."""
        self.unmeasured.clear()
        for node, at in self.nodes.items():
            at.hypervisor.full = False
            self.world.machines[node].memory.full = False
            self.measure(node)
            at.hypervisor.storages.add(STORAGE)
            at.agent.manner, at.agent.latency_ms = Manner.WORKS, None
            self.users.ended |= put_right(at.hypervisor)
            self.start_hypervisor(node)

    def keep_up(self, absent: Sequence[NodeId] = ()) -> None:
        """What people do while everything settles: a machine that stays without power gets it, one that is absent for good is
        confirmed to be off; a panic is ended."""
        for node in self.nodes:
            if node in absent:
                self._see_off(node)
            elif self.world.heap.now >= self.off_since.get(node, 0) + LEFT_OFF_MS:
                self.world.power_on(node)
            daemon = self.world.daemons.get(node)
            if daemon is None:
                continue
            s = daemon.pump.core.state
            if s.acting:
                self._wake(node)
            if s.keeping.ledger.panic is not None:
                self.alarm(node, calm=True)
            for excused, each in s.keeping.ledger.excused.items():
                if s.acting and excused not in absent and not each.incarnation:
                    self.order(node, ExcuseOrder(excused, on=False))

    def _wake(self, node: NodeId) -> None:
        """Operators end every second pause of a user."""
        for name in sorted(self.users.paused)[::2]:
            if not self.world.daemons[node].queue:
                self.order(node, StartOrder(name))

    def _see_off(self, node: NodeId) -> None:
        """It stays off, whoever switched it on, and operators say so from time to time, everywhere."""
        self.world.power_off(node)
        if self.world.heap.now >= self.said_off.get(node, 0) + LEFT_OFF_MS:
            self.said_off[node] = self.world.heap.now
            for at in sorted(self.world.daemons):
                self.confirm(at, node)


# What stories and seeds say


def read_options(words: Sequence[str]) -> VmOptions:
    """`[watchdog=10s|off] [agents] [proofs=agent,operator] [boots=20s|never] [memory=64G[,64G ...]] [limit=N] [parallel=N]
    [shutdown=migrate|stop|refuse] [disallowed=kill|hold] [locks] [weak[=known]]`.

    Raises ValueError.
    """
    named = dict(word.partition("=")[::2] for word in words)
    known = {"watchdog", "agents", "proofs", "boots", "memory", "limit", "parallel", "shutdown", "disallowed", "locks", "weak"}
    if unknown := sorted(named.keys() - known):
        raise ValueError(f"no option named {unknown[0]!r}")
    usual = VmOptions()
    memory = [gib_kib(text) for text in named.get("memory", "64G").split(",")]
    return VmOptions(
        watchdog_ms=(span_ms(named["watchdog"]) or 0) if "watchdog" in named else usual.watchdog_ms,
        agents="agents" in named,
        proofs=tuple(map(ProofKind, named["proofs"].split(","))) if "proofs" in named else usual.proofs,
        boots_after_ms=span_ms(named["boots"]) if "boots" in named else usual.boots_after_ms,
        memory_kib=memory[0],
        memories=tuple((NodeId(number), kib) for number, kib in enumerate(memory, 1)),
        vm_limit=int(named["limit"]) if "limit" in named else None,
        parallel_starts=int(named.get("parallel", usual.parallel_starts)),
        on_shutdown=OnShutdown(named.get("shutdown", usual.on_shutdown.value)),
        disallowed=Unreconciled(named.get("disallowed", usual.disallowed.value)),
        locks="locks" in named,
        weak="this node is a virtual machine" if "weak" in named else "",
        weak_watchdogs=named.get("weak") == "known",
    )


def read_vm(name: VmName, words: Sequence[str]) -> Vm:
    """`[memory=4G] [cpus=N] [priority=N] [order=N] [together=G,...] [apart=G,...] [nodes=n1,...] [uuid=WORD]`.

    Raises ValueError.
    """
    options = dict(word.split("=", 1) for word in words)

    def names(key: str) -> frozenset[str]:
        return frozenset(options[key].split(",")) if key in options else frozenset()

    return Vm(
        name,
        gib_kib(options.get("memory", "4G")),
        int(options.get("cpus", 1)),
        priority=int(options.get("priority", 0)),
        start_order=int(options.get("order", 0)),
        storages=frozenset({STORAGE}),
        together=names("together"),
        apart=names("apart"),
        nodes=frozenset(NodeId(int(each.removeprefix("n"))) for each in names("nodes")) or None,
        uuid=uuid_of(options.get("uuid", name)),
    )


def span_ms(text: str) -> int | None:
    """ms, or None for `off` and `never`. Raises ValueError for what is not like 300ms or 5s."""
    if text in ("off", "never"):
        return None
    return int(text.removesuffix("ms").removesuffix("s")) * (1 if text.endswith("ms") else 1000)


def gib_kib(text: str) -> int:
    return int(text.removesuffix("G")) * GIB
