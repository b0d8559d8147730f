"""The world of a run: nodes with machines and daemons over a virtual corosync, in virtual time.

The daemons are the real engine (Pump, lanes, journal) over the real core; their messages are really encoded, their files
really edited by coroconf. Only neighbours are virtual. After everything that happens the `checkers` look.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from corolistener.core.actions import (
    Answer,
    KeepDefinitions,
    KillNode,
    KillService,
    Record,
    ReloadConfig,
    StartService,
    StopService,
    TellExpected,
    TicketedAction,
)
from corolistener.core.config import CloudAddress, Config, OnTakeover, Serving, Timing
from corolistener.core.events import (
    ChangeAsked,
    Configured,
    CorosyncLost,
    Departure,
    Event,
    Found,
    LeaveAsked,
    Outcome,
    Result,
)
from corolistener.core.families import Family, family_of
from corolistener.core.messages import Change, Heartbeat, Message
from corolistener.core.notes import Note
from corolistener.engine.ports import Cancel, Effect, Finish
from corolistener.engine.speech import Heard
from corolistener.ids import Instant, NodeId
from corolistener.sim import checkers, corosync_lane, serving
from corolistener.sim.conffile import Disk
from corolistener.sim.conffile import read as file_read
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.machines import CONFIG_MS, LATENCY_MS, Machine, Port, do, fault_of
from corolistener.sim.rings import decoded
from corolistener.sim.totem import Totem
from corolistener.sim.vms import Estate, VmOptions
from corolistener.sim.votequorum import FileRead, QuorumOptions
from corolistener.sim.watched import Watched

FAMILIES: tuple[Family, ...] = ("address", "lock", "service", "config", "store", "corosync")
CONNECT_MS = (5, 1, 100)
STARTED_AGAIN_MS = (10_000, 1000, 30_000)
CLOUD = CloudAddress("192.0.2.10", 32, "vmbr0")
ALWAYS_LOOKED_AT = 12
"""Worlds of at most so many nodes are looked at after everything that happens."""
PULSE_MS = 10
"""Heartbeats that say nothing new change nothing that could be seen, but time passes: so often they are looked at."""
JOURNAL_MOST = 20_000
"""Steps in a segment of a daemon's journal. Each begins with a copy of the state, which costs more than all of them."""

Predicate = Callable[["World"], NodeId | None]
"""A state of affairs: the node it is about, or None while it is not so."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Somebody waits for a state of affairs."""

    predicate: Predicate
    call: Callable[[NodeId], None]


class Crash(BaseException):
    """The daemon dies in the middle of whatever it was doing."""


@dataclass(slots=True)
class Options:
    """What all nodes of a world have in common."""

    timing: Timing = field(default_factory=Timing)
    cloud: CloudAddress | None = CLOUD
    on_takeover: OnTakeover = OnTakeover.SWAP
    database: bool = False
    two_node: bool = False
    quorum: QuorumOptions = field(default_factory=QuorumOptions)
    vms: VmOptions | None = None
    serving: Serving = Serving()


class Daemon:
    """One process: a pump, what waits for it while it is stopped, and its timer."""

    def __init__(self, world: "World", machine: Machine, incarnation: str) -> None:
        self.world, self.machine = world, machine
        self.alive, self.paused, self.connected = True, False, False
        self.queue: deque[Callable[[], None]] = deque()
        self.wake_at: int | None = None
        self.armed: Instant | None = None
        options = world.options
        cluster, _ = machine.disk.load()
        boot = f"boot-{machine.id}-{machine.boot}"
        self.config = Config(
            machine.id, boot, incarnation, cluster, options.timing, options.cloud, options.on_takeover, options.database
        )
        ports: dict[Family, Effect] = {family: Port(self._begin) for family in FAMILIES}
        self.config = replace(self.config, serving=world.serving.get(machine.id, options.serving), pid=int(incarnation[4:]))
        if world.estate is not None:
            self.config = world.estate.configured(self.config)
            ports |= world.estate.ports(self)
        self.pump = Watched(self, ports)
        self.pump.journal.most = JOURNAL_MOST
        self.pump.speech.decode = decoded
        self.crash_after: int | None = None
        self.crashed = False
        self.asked = self.poisoned = False
        """It was asked to leave; it met a message on which the decision fails."""

    @property
    def responsive(self) -> bool:
        return self.alive and not self.paused

    # What drives the pump

    def take(self, *events: Heard) -> None:
        """News for this daemon, handled at once unless it is stopped."""
        self.do(partial(self._post, events))

    def _post(self, events: tuple[Heard, ...]) -> None:
        for event in events:
            self.pump.post(event)

    def do(self, call: Callable[[], None]) -> None:
        if not self.alive:
            return
        if self.paused:
            self.queue.append(call)
            return
        turns = self.pump.core.turns
        try:
            call()
            self.pump.run(self.now())
        except Crash:
            self.world.daemon_ends(self.machine.id, Departure.PROCDOWN)
        if self.alive:
            self._arm()
        self.world.changed(pulse=self.alive and self.pump.core.turns == turns)

    def now(self) -> Instant:
        return self.world.clock(self.machine.id)

    def _arm(self) -> None:
        deadline = self.pump.deadline()
        if deadline == self.armed and self.wake_at is not None:
            return
        self.armed = deadline
        when = None if deadline is None else self.world.time_of(self.machine.id, deadline)
        if when != self.wake_at:
            self.wake_at = when
            if when is not None:
                self.world.heap.at(when, lambda: self._wake(when))

    def _wake(self, when: int) -> None:
        if self.wake_at == when and self.responsive:
            self.wake_at = None
            self.do(lambda: self.pump.pass_time(self.now()))

    def resume(self) -> None:
        """Goes on after a stop: first what its descriptors have, then its timer."""
        self.paused, self.wake_at = False, None
        while self.queue:
            self.do(self.queue.popleft())
        self.do(lambda: self.pump.pass_time(self.now()))

    # Ports of the engine: ring, teller, effects

    def count(self) -> None:
        """Everything that leaves the core passes here, so that a crash can happen between any two actions."""
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crashed = True
                raise Crash

    def send(self, data: bytes, message: Message | None) -> bool:
        if not isinstance(message, Heartbeat):
            self.count()
        if not self.connected:
            return True
        taken = self.world.totem.say(self.machine.id, data)
        if taken and message is not None:
            if self.world.checker.vms is not None:
                self.world.checker.vms.said(self.machine.id, message)
            self.world.sent[type(message)] = (self.world.heap.now, self.machine.id)
        return taken

    def note(self, note: Note) -> None:
        self.world.tell(self.machine.id, note)

    def answer(self, answer: Answer) -> None:
        self.world.tell(self.machine.id, answer)

    def leave(self) -> None:
        self.world.tell(self.machine.id, "leaves")
        self.world.heap.after(0, lambda: self.world.daemon_ends(self.machine.id, Departure.LEAVE, self))

    def _begin(self, action: TicketedAction, finish: Finish) -> Cancel:
        self.count()
        world, machine, boot = self.world, self.machine, self.machine.boot
        if isinstance(action, KillService):
            machine.kills, machine.jobs_until = machine.kills + 1, 0
        kills = machine.kills
        world.tell(machine.id, action)
        over = False

        def carry_out() -> Outcome:
            world.checker.before(machine, action)
            text, file = machine.disk.text, machine.disk.load()[0].id if family_of(action) == "config" else None
            if isinstance(action, KillNode | TellExpected):
                return corosync_lane.carry_out(world, machine.id, action)
            outcome = do(machine, action, lambda: world.reload(machine.id))
            if file is not None and machine.disk.text != text:
                world.checker.after(machine, action, file)
            return outcome

        def end() -> None:
            nonlocal over
            if over or machine.boot != boot or not machine.powered:
                return
            if machine.kills != kills and isinstance(action, StartService | StopService):  # it was killed
                return
            over = True
            survives = isinstance(action, StartService | StopService | KillService | Record | KeepDefinitions)
            if not self.alive and not (survives and world.chance.happens(0.5)):
                return
            if not self.alive and family_of(action) == "store" and machine.id in world.daemons:
                return  # what a killed process had not written to its end was rolled back when the next one opened the file
            outcome = carry_out() if not self._lives_on(action) else Outcome(Result.FAILED, "it runs elsewhere")
            if not (isinstance(action, ReloadConfig) and "reload-answer" in machine.hung):
                self.do(lambda: finish(outcome))

        def cancel() -> None:
            nonlocal over
            if not over and self.alive and world.chance.happens(0.5) and not machine.hung & {fault_of(action)}:
                carry_out()
            over = True

        if fault_of(action) not in machine.hung:
            takes_ms = world.chance.vary(*LATENCY_MS.get(type(action), CONFIG_MS))
            when = world.heap.now + (machine.stop_ms or takes_ms if isinstance(action, StopService) else takes_ms)
            if isinstance(action, StartService | StopService):  # systemd does one thing after the other, whoever asked
                when = machine.jobs_until = max(when, machine.jobs_until + 1)
            world.heap.at(when, end)
        return cancel

    def _lives_on(self, action: TicketedAction) -> bool:
        """The service cannot be killed, and the others wait for it: else an administrator would have lied to them."""
        return isinstance(action, KillService) and 0 < self.machine.unkillable_ms < self.pump.core.state.serves_ms


class World:
    """Nodes by id, and what can happen to them. `told` is everything said and done: (time, node, what)."""

    def __init__(self, texts: dict[NodeId, bytes], options: Options, seed: int | None = None) -> None:
        self.options = options
        self.heap, self.chance = Heap(), Chance(seed)
        self.totem = Totem(self.heap, self.chance, self._news, self._refused)
        self.machines = {node: Machine(node, Disk(text)) for node, text in sorted(texts.items())}
        self.daemons: dict[NodeId, Daemon] = {}
        self.estate: Estate | None = None
        self.drift = {node: self.chance.vary(0, -400, 400) for node in self.machines}
        self.offset = {node: 1_000_000 * node for node in self.machines}
        self.told: list[tuple[int, NodeId, Note | Answer | TicketedAction | str]] = []
        self.checker = checkers.Checker(self)
        self.looked = -PULSE_MS
        self.moments: list[Moment] = []
        self.sent: dict[type[Message], tuple[int, NodeId]] = {}
        """When the newest message of each kind was said, and by whom: it reaches nobody in that same millisecond."""
        self.struck: list[tuple[int, str]] = []
        """The faults that happened: (time, what)."""
        self.requests = 0
        self.serving: dict[NodeId, Serving] = {}  # where the settings of a node do not say what all say
        self.edited = False
        """A file was edited by hand: corosync may not have read it, and nobody asks it to before the next change."""
        self._incarnations = 0
        if options.vms is not None:
            self.take_in(options.vms)

    def take_in(self, options: VmOptions) -> None:
        """There are VMs in this world, from before it begins."""
        self.estate = Estate(self, options)
        self.checker = checkers.Checker(self)

    def clock(self, node: NodeId) -> Instant:
        """The node's own CLOCK_BOOTTIME, which drifts by parts per million."""
        return Instant(self.offset[node] + self.heap.now + self.heap.now * self.drift[node] // 1_000_000)

    def time_of(self, node: NodeId, instant: Instant) -> int:
        """When the node's clock shows `instant`, not before."""
        when = max(self.heap.now, (instant - self.offset[node]) * 1_000_000 // (1_000_000 + self.drift[node]) - 2)
        while self.offset[node] + when + when * self.drift[node] // 1_000_000 < instant:
            when += 1
        return when

    def pass_time(self, ms: int) -> None:
        self.heap.run(self.heap.now + ms)

    def tell(self, node: NodeId, what: Note | Answer | TicketedAction | str) -> None:
        self.told.append((self.heap.now, node, what))

    def changed(self, pulse: bool = False) -> None:
        """Something has happened: the checkers look, and what waits for a state of affairs may have its moment.

        `pulse`: it was a heartbeat or the like, without news. After these, and in a large world after anything, it is enough to
        look now and then, for each look costs as much as there are nodes: what is said and done is looked at all the same.
        """
        seldom = pulse or len(self.machines) > ALWAYS_LOOKED_AT
        if not seldom or self.heap.now >= self.looked + PULSE_MS:
            self.looked = self.heap.now
            self.checker.look()
        for moment in list(self.moments):
            if (node := moment.predicate(self)) is not None:
                self.moments.remove(moment)
                self.heap.after(0, partial(moment.call, node))

    def wait(self, predicate: Predicate, call: Callable[[NodeId], None]) -> None:
        """Call once, at the first instant at which the predicate names a node; other news of that instant may come first."""
        self.moments.append(Moment(predicate, call))

    # Machines

    def power_on(self, node: NodeId, pull: bool = True, daemon: bool = True, corosync: bool = True) -> None:
        machine = self.machines[node]
        if machine.powered or machine.disk.load()[0].node(node) is None:  # nothing is installed there yet
            return
        machine.powered, machine.boot = True, machine.boot + 1
        self.offset[node] = 1_000_000 * node + 5_000 * machine.boot - self.heap.now
        if corosync:
            self.start_corosync(node, pull)
        if daemon:
            self.start_daemon(node)

    def power_off(self, node: NodeId) -> None:
        """Everything on the node ends at once."""
        machine = self.machines[node]
        if machine.powered:
            self.daemon_ends(node, None)
            self.totem.stop(node, clean=False)
            machine.power_off()
            if self.estate is not None:
                self.estate.power_off(node)
            self.changed()

    def freeze(self, node: NodeId, frozen: bool) -> None:
        """The whole machine stands still (a paused virtual machine, a stuck kernel), or goes on."""
        self.totem.freeze(node, frozen)
        self.machines[node].frozen = frozen
        if self.estate is not None:
            self.estate.freeze(node, frozen)
        self.pause(node) if frozen else self.go_on(node)

    # corosync

    def start_corosync(self, node: NodeId, pull: bool = True) -> None:
        machine = self.machines[node]
        if not machine.powered or machine.frozen or node in self.totem.nodes:
            return
        if pull:
            self._pull(machine)
        self.totem.strangers.discard(node)
        self.totem.start(node, self.read(node))
        self.connect_later(node)

    def _pull(self, machine: Machine) -> None:
        """`corolistener config pull`: the newest file of any daemon that answers."""
        there = [n for n, daemon in self.daemons.items() if daemon.responsive and self.totem.hears(machine.id, n)]
        for other in sorted(there):
            cluster, text = self.machines[other].disk.load()
            listed = cluster.node(machine.id) is not None  # else it is refused, as by the real one
            if listed and cluster.id.version > machine.disk.load()[0].id.version and not machine.disk.full:
                machine.disk.install(cluster.id, text, machine.id)

    def read(self, node: NodeId) -> FileRead:
        """What corosync takes from a node's file."""
        return file_read(self.machines[node].disk.text)

    def reload(self, node: NodeId) -> None:
        if node in self.totem.nodes:
            self.totem.reload(node, self.read)

    def stop_corosync(self, node: NodeId, clean: bool = True) -> None:
        self.totem.stop(node, clean)
        self._disconnected(node)

    def kill(self, node: NodeId, other: NodeId) -> None:
        """corosync ends on another member of the ring; its unit starts it again a while later."""
        if node in self.totem.nodes and other in self.totem.nodes[node].ring.nodes and other in self.totem.nodes:
            self.tell(other, f"corosync exits: node {node} has ended it")
            self.stop_corosync(other, clean=False)
            self.heap.after(self.chance.vary(*STARTED_AGAIN_MS), lambda: self.start_corosync(other))

    def _refused(self, node: NodeId) -> None:
        self.tell(node, "corosync exits: its config_version is lower than the others'")
        self._disconnected(node)

    def _disconnected(self, node: NodeId) -> None:
        daemon = self.daemons.get(node)
        if daemon is not None and daemon.connected:
            daemon.connected = False
            daemon.take(CorosyncLost())

    def connect_later(self, node: NodeId) -> None:
        daemon = self.daemons.get(node)
        if daemon is None or node not in self.totem.nodes:
            return
        corosync = self.totem.nodes[node]

        def connect() -> None:
            if self.daemons.get(node) is daemon and self.totem.nodes.get(node) is corosync and not daemon.connected:
                if daemon.paused:
                    self.heap.after(100, connect)
                    return
                daemon.connected = True
                self.configure(node)  # `config pull` may have fetched a file before corosync started
                daemon.take(self.totem.runs(node))
                self.totem.connect(node, daemon.config.pid)

        self.heap.after(self.chance.vary(*CONNECT_MS), connect)

    def _news(self, node: NodeId, events: list[Heard]) -> None:
        daemon = self.daemons.get(node)
        if daemon is not None and daemon.connected:
            daemon.take(*events)

    # Daemons

    def start_daemon(self, node: NodeId) -> None:
        machine = self.machines[node]
        if not machine.powered or machine.barred or machine.frozen or node in self.daemons:
            return
        self._incarnations += 1
        daemon = self.daemons[node] = Daemon(self, machine, f"run-{self._incarnations}")
        daemon.take(machine.memory.recalled())
        runs = machine.service is not machine.status_lies
        daemon.take(Found(machine.address, tuple(sorted(machine.locks, key=lambda lock: lock.value)), runs))
        serving.probe_later(self, node)
        if self.estate is not None:
            self.estate.daemon_started(daemon)
        self.connect_later(node)

    def daemon_ends(self, node: NodeId, reason: Departure | None, only: Daemon | None = None) -> None:
        """The process is gone. `reason` None where its corosync is gone with it."""
        daemon = self.daemons.get(node)
        if daemon is None or (only is not None and daemon is not only):
            return
        del self.daemons[node]
        daemon.alive = False
        if self.estate is not None:
            self.estate.daemon_ended(node)
        if reason is not None and daemon.connected:
            self.totem.disconnect(node, reason)
        self.changed()

    def pause(self, node: NodeId) -> None:
        if node in self.daemons:
            self.daemons[node].paused = True
            self.changed()

    def go_on(self, node: NodeId) -> None:
        if node in self.daemons and self.daemons[node].paused and not self.machines[node].frozen:
            self.daemons[node].resume()

    def ask_to_leave(self, node: NodeId) -> None:
        if node in self.daemons:
            self.daemons[node].asked = True
            self.daemons[node].take(LeaveAsked())

    def ask(self, node: NodeId, change: Change) -> int:
        """An operator's request at this node; returns its number."""
        self.requests += 1
        if node in self.daemons:
            self.daemons[node].take(ChangeAsked(self.requests, change))
        return self.requests

    def observe(self, node: NodeId, event: Event) -> None:
        if node in self.daemons:
            self.daemons[node].take(event)

    def configure(self, node: NodeId, **changes: object) -> None:
        """SIGHUP: the settings and the file are read again."""
        daemon = self.daemons[node]

        def read() -> None:
            daemon.config = replace(daemon.config, cluster=daemon.machine.disk.load()[0], **changes)  # type: ignore[arg-type]
            daemon.pump.post(Configured(daemon.config))

        daemon.do(read)
