"""What must never be with VMs and the ledger, seen across nodes and against the truth of hypervisors and disks.

Each method is a sentence of safety.md, "What the invariants say". What a user did by hand is nobody's violation, but it has
to be put right within `BY_HAND_MS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from corolistener.core import keeping
from corolistener.core.actions import FeedWatchdog, Fence, ResumeVm, StartVm, TicketedAction, Until
from corolistener.core.events import Pause
from corolistener.core.ledger import Ledger, Placed, Rows, Version, same_chapter
from corolistener.core.lifecycle import Mode
from corolistener.core.messages import Chapter, Entries, Farewell, Message, OpenLedger
from corolistener.core.reports import Inventory
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId, VmName
from corolistener.sim import accounts, identity_checkers
from corolistener.sim.end_checkers import started_again
from corolistener.sim.executions import Interval
from corolistener.sim.hypervisor import kind_of, name_of
from corolistener.sim.instances import image_of
from corolistener.sim.leaving_checkers import locked_at_farewell
from corolistener.sim.machines import Machine
from corolistener.sim.pause_checkers import Pauses
from corolistener.sim.promises import Promises
from corolistener.sim.start_checkers import StartChecker

if TYPE_CHECKING:
    from corolistener.sim.vms import Estate
    from corolistener.sim.world import Daemon, World

BY_HAND_MS = 5000
NEWS_MS = 1000
"""How long news of a hypervisor may take to reach a daemon and be acted upon."""
SLACK_MS = 100
FEW, SELDOM = 12, 16
"""With more nodes than that the whole ledger is compared at every so-manieth change only: it is larger, too."""


class VmChecker:
    """Looks at a world with VMs. `wrong` is the first violation found; `Checker.look` raises it."""

    def __init__(self, world: "World", estate: "Estate") -> None:
        self.world, self.estate = world, estate
        self.wrong: str | None = None
        self.lease_until: dict[NodeId, int] = {}
        self.unlicensed: dict[NodeId, int] = {}
        self.history: dict[Version, Rows] = {Version(): Rows()}
        self.parents: dict[Version, Version] = {}
        self.versions: dict[NodeId, tuple[object, Version]] = {}
        self.suspect: dict[Version, tuple[Entries, str]] = {}
        """Proposals that must not come into force, by the version that they would make."""
        self.top = Version()
        self.sure: dict[NodeId, int] = {}
        """Since when each node's ledger is open and stable: before that nothing can be said to be started by hand."""
        self.vague: dict[tuple[VmName, NodeId], int] = {}
        """When a node's row of a VM that executes twice last was none to act by: a change that is not stable yet."""
        self.looked_at = -1
        self.promises = Promises(world)
        self.named: set[VmName] = set()
        """The VMs that any ledger has ever named."""
        self.leased: dict[NodeId, Daemon] = {}
        self.nobodys: dict[tuple[NodeId, VmName], int] = {}
        """When a node's instance was last in nobody's care, rightly."""
        """The daemon of each node that has had a lease."""
        self.starts = StartChecker(world)
        self.pauses = Pauses(world, estate)

    def found(self, why: str | None) -> None:
        if self.wrong is None:
            self.wrong = why

    def look(self) -> None:
        """Everything that can be wrong at any time."""
        self.starts.look()
        self._runs_once()
        self._only_under_a_lease()
        for node, daemon in self.world.daemons.items():
            self._equal_versions(node, daemon)
        if self.looked_at != self.world.heap.now:
            self.looked_at = self.world.heap.now
            for node, daemon in self.world.daemons.items():
                self._stable_for_good(node, daemon.pump.core.state)

    # -- what executes

    def _runs_once(self) -> None:
        """No VM executes on two nodes at the same instant."""
        for name in self.estate.executions.twice:
            where = self.estate.executions.now[name].values()
            lawful = [each for each in where if not each.stray and not self._astray(each)]
            if len(lawful) > 1:
                self.found(f"{name} runs on nodes {', '.join(str(each.node) for each in where)}")
            for each in where:
                sure = max(self._known_since(name, each), self.sure.get(each.node, self.world.heap.now))
                if each.stray and self.world.heap.now > sure + BY_HAND_MS:
                    self.found(f"{name}, started by hand on node {each.node}, still runs there beside its other copy")

    def _astray(self, each: Interval) -> bool:
        """Its user started two of it, and the ledger has it where this one is not."""
        if not each.by_hand or each.vm not in self.estate.users.doubled:
            return False
        copy = identity_checkers.instance(self.estate, each.node, each.vm)
        row = self.estate.newest().row_of(copy.vm) if copy is not None else None
        return row is not None and each.node not in row.holders

    def _known_since(self, name: VmName, each: Interval) -> int:
        """Since when it could be known that this copy is one too many: where the ledger does not say so, from the others'
        nodes; not in a panic, in which nothing comes into its care."""
        daemon = self.world.daemons.get(each.node)
        ledger = daemon.pump.core.state.keeping.ledger if daemon is not None else Ledger()
        row = ledger.placements.get(name)
        if row is None and ledger.panic is not None:
            self.vague[name, each.node] = self.world.heap.now
            return self.world.heap.now
        if daemon is not None and not self._on_disks(daemon.pump.core.state, name):
            self.vague[name, each.node] = self.world.heap.now
        others = () if row is not None and each.node not in row.holders else self.estate.executions.now[name].values()
        return max(self.vague.get((name, each.node), 0), *map(self._able_since, (each, *others)))

    def _able_since(self, each: Interval) -> int:
        """Since when the daemon of its node could have done something about it; now where it still cannot."""
        node, now = each.node, self.world.heap.now
        daemon, hypervisor = self.world.daemons.get(node), self.estate.nodes[node].hypervisor
        if daemon is None or not daemon.responsive or hypervisor.listener is None or hypervisor.frozen:
            return now
        if any(kind_of(job.action) in ("vm-suspend", "vm-stop") for job in hypervisor.jobs.get(each.vm, ())):
            return now
        if any(fault.startswith(("vm-suspend", "vm-stop")) for fault in self.world.machines[node].hung):
            return now
        able = max(each.since, self.world.checker.back.get(node, 0), hypervisor.able_at)
        s = daemon.pump.core.state
        if s.mode in (Mode.ADOPTING, Mode.RUNNING) and not s.leased and s.adopt_until is not None:
            able = max(able, self._time(node, s.adopt_until))
        return able

    def _time(self, node: NodeId, instant: Instant) -> int:
        """The world's time at which a node's clock shows, or showed, `instant`."""
        return (instant - self.world.offset[node]) * 1_000_000 // (1_000_000 + self.world.drift[node])

    def _only_under_a_lease(self) -> None:
        """Without a lease a VM executes for grace_ms at most; where that fails, until the watchdog bites."""
        now, timing = self.world.heap.now, self.world.options.timing
        for node, daemon in self.world.daemons.items():
            ends = daemon.pump.core.state.lease.ends
            if ends is not None:
                self.leased[node] = daemon
                until = self.lease_until[node] = max(self.lease_until.get(node, 0), self._time(node, ends))
                if until > now:
                    self.unlicensed.pop(node, None)
                    continue
            self.unlicensed.setdefault(node, now)
        suspects = {node for node in self.estate.nodes if self.lease_until.get(node, 0) <= now or node in self.unlicensed}
        for node in sorted(suspects):
            for each in self.estate.executions.on(node):
                if self.unheard_of(each) or identity_checkers.strange(self.estate, node, each.vm):
                    self.nobodys[node, each.vm] = now
                    continue
                watchdog = self.estate.nodes[node].watchdog
                begun = max(self.lease_until.get(node, 0), each.since, watchdog.armed_at)
                over = begun + timing.grace_ms + timing.margin_ms + SLACK_MS
                true = not self.world.machines[node].suspended  # its watchdog measures true time
                if true and watchdog.armed and watchdog.works and now > over + watchdog.timeout_ms:
                    self.found(f"{each.vm} runs on node {node} without a lease, and the watchdog does not bite")
                able = max(self._able_since(each), self.unlicensed.get(node, 0), self.nobodys.get((node, each.vm), 0))
                if now > able + timing.grace_ms + NEWS_MS + SLACK_MS:
                    self.found(f"{each.vm} runs on node {node} without a lease and is not suspended")

    def unheard_of(self, each: Interval) -> bool:
        """No ledger has ever named it, and its node's daemon has had no lease; or that daemon is new, and a quorum has heard of
        it for less than a lease: nobody starts it elsewhere yet (rule 13). What its user starts by hand on such a node, though
        others know it, that node cannot know."""
        copy, daemon = self.estate.nodes[each.node].hypervisor.copies.get(each.vm), self.world.daemons.get(each.node)
        unlabelled = copy is not None and copy.generation == 0
        mine = daemon.pump.core.state.keeping.ledger if daemon is not None else self.world.machines[each.node].memory.ledger
        named = each.vm in (mine.placements if each.by_hand else self.named)
        blind = each.node in self.estate.blind  # a daemon that sees no VMs has told nobody of any
        unknown = not named and (daemon is None or blind or self.leased.get(each.node) is not daemon)
        return unlabelled and (unknown or self.world.checker.installed.just_heard(each.node, each.since))

    # -- what is done

    def before(self, machine: Machine, action: TicketedAction) -> None:
        """An action is about to be given to a neighbour."""
        self.found(identity_checkers.touches(self.estate, machine.id, action))
        match action:
            case StartVm() | ResumeVm():
                self.found(self.promises.broken(machine.id, action))
                self.found(started_again(self.world, self.estate, machine.id, action))
                self.found(self.pauses.broken(machine.id, action))
                self._former_holders_stopped(machine.id, name_of(action), type(action).__name__)
                self._placed_for_good(machine.id, name_of(action), type(action).__name__)
            case Fence(node=node):
                self.found(self.starts.fenced(machine.id, node))
            case FeedWatchdog(until=Until(not_after=not_after)):
                ends = self.world.daemons[machine.id].pump.core.state.lease.ends
                if ends is None or not_after > ends:
                    self.found(f"node {machine.id} feeds its watchdog under a lease that it has not")
            case FeedWatchdog(until=None) if machine.id not in self.world.checker.away:  # else it is just going on
                for each in self.estate.executions.on(machine.id):
                    if self.unheard_of(each) or identity_checkers.strange(self.estate, machine.id, each.vm):
                        continue
                    told = max(
                        each.since,
                        self.world.checker.back.get(machine.id, 0),
                        self.estate.nodes[machine.id].hypervisor.able_at,
                    )
                    if machine.id not in self.world.checker.away and self.world.heap.now > told + NEWS_MS:
                        self.found(f"node {machine.id} feeds its watchdog without a lease while {each.vm} runs there")

    def created(self, node: NodeId, action: StartVm) -> None:
        """A copy is created suspended: it runs after another look at the lease. One by hand has no label."""
        name, copy = action.vm.name, self.estate.nodes[node].hypervisor.copies.get(action.vm.name)
        runs = self.estate.executions.now.get(image_of(action.vm), {}).get(node)
        ours = copy is not None and copy.generation == action.generation
        if ours and runs is not None and runs.since == self.world.heap.now:
            self.found(f"{name} was created running on node {node}")

    def _former_holders_stopped(self, node: NodeId, name: VmName, what: str) -> None:
        """No start without a proof for every former holder: in truth it does not execute it, nor is about to."""
        row = self.world.daemons[node].pump.core.state.keeping.ledger.placements.get(name)
        for other, each in self.estate.executions.now.get(image_of(row.vm) if row is not None else name, {}).items():
            if other != node and not each.stray and not self._astray(each):
                self.found(f"{what}({name}) on node {node} while it runs on node {other}")
        for other, at in self.estate.nodes.items():
            resumes = [job for job in at.hypervisor.jobs.get(name, ()) if isinstance(job.action, ResumeVm)]
            if other != node and resumes:
                self.found(f"{what}({name}) on node {node} while it is being resumed on node {other}")

    def _placed_for_good(self, node: NodeId, name: VmName, what: str) -> None:
        """A node starts a VM only for a placement with itself as target that is on the disks of a majority. What its user has
        let go, and nobody has in his care, it may let run on."""
        s = self.world.daemons[node].pump.core.state
        copy, ledger = self.estate.nodes[node].hypervisor.copies.get(name), s.keeping.ledger
        row = ledger.row_of(copy.vm) if copy is not None else ledger.placements.get(name)
        if row is None and copy is not None and name in self.estate.users.let_go and what == ResumeVm.__name__:
            return
        if row is None or node not in row.holders:
            self.found(f"{what}({name}) on node {node}, where it is not placed")
            return
        name = row.vm.name  # the ledger may still have its former one
        if not self._on_disks(s, name):
            disks = self._disks(_version_of(s, name))
            self.found(f"{what}({name}) on node {node} by a placement that is on the disks of {disks} only")

    def said(self, node: NodeId, message: Message) -> None:
        """A daemon says something to the group."""
        match message:
            case Inventory():
                self.promises.said(node, message)
            case Farewell():
                self.found(locked_at_farewell(self.world, node))
            case Chapter():
                self._opens(message)
            case OpenLedger():
                self.top = Version()  # an operator has said that nothing newer exists; that may be wrong

    def decided(self, node: NodeId, message: Message) -> None:
        """What a master proposes: an obligation ends only by being met, and no placement is where it cannot be.

        It is looked at as things are now, and counts when it comes into force: who wakes up in the last moment of its lease may
        propose by what was so in a ring that is gone, and nobody listens.
        """
        if not isinstance(message, Entries):
            return
        s = self.world.daemons[node].pump.core.state
        wrong, self.wrong = self.wrong, None
        self._proposed(s, node, message)
        if self.wrong is not None:
            self.suspect[replace(message.at, index=message.at.index + 1)] = message, self.wrong
        self.wrong = wrong

    def _proposed(self, s: State, node: NodeId, message: Entries) -> None:
        after = Ledger()
        after.take(s.keeping.ledger.rows())
        after.take(message.rows)
        self.found(identity_checkers.forgets(self.estate, s.keeping.ledger, message.rows))
        for row in message.rows.placed:
            before = s.keeping.ledger.placements.get(row.vm.name)
            if before is not None:
                self._row(s, before, row, after)

    def _row(self, s: State, before: Placed, row: Placed, after: Ledger) -> None:
        name = row.vm.name
        users = self.estate.users
        if before.on and not row.on and row.vm.uuid not in users.ended:
            self.found(users.contradicts(name, before.holders, self.world.heap.now))
        for node in set(before.holders) - set(row.holders):
            runs = self.estate.executions.now.get(image_of(before.vm), {}).get(node)
            proof = after.proven(node)
            machine = self.world.machines[node]
            same = proof is not None and machine.powered and proof.boot == f"boot-{node}-{machine.boot}"
            if runs is not None and not runs.stray and not self.estate.executions.overtaken(runs, self.world.heap.now):
                self.found(f"{name} is moved from node {node} to {row.node} while it runs there")
            daemon = self.world.daemons.get(node)
            leased = daemon is not None and daemon.pump.core.state.lease.valid(self.world.clock(node))
            leaving = daemon is not None and daemon.pump.core.state.mode in (Mode.LEAVING, Mode.LEFT)
            if same and leased and not leaving:
                self.found(f"{name} is moved from node {node}, which has a lease, by proof {proof}")
        for node in sorted(set(row.holders) - set(before.holders)):
            self._fits(s, row, node, after)

    def _fits(self, s: State, row: Placed, node: NodeId, after: Ledger) -> None:
        options = self.estate.options
        peer = s.group.peers.get(node)
        if node not in s.group.present or peer is None or peer.disallowed:
            self.found(f"{row.vm.name} is placed on node {node}, which is no admitted member")
        there = [each.vm for each in after.placements.values() if node in each.holders and each.on]
        if sum(vm.memory_kib for vm in there) > options.memory_of(node):
            self.found(f"{row.vm.name} is placed on node {node}, which has no memory left for it")
        if options.vm_limit is not None and len(there) > options.vm_limit:
            self.found(f"{row.vm.name} is placed on node {node}, which has too many VMs")
        for group in row.vm.apart:
            if sum(group in vm.apart for vm in there) > 1:
                self.found(f"{row.vm.name} is placed on node {node} together with another of group {group}")

    # -- the ledger

    def _opens(self, message: Chapter) -> None:
        base = message.base
        seq = max(base.seq, message.line.seq)
        opened = Version(seq, base.chapter + 1 if base.seq == seq else 0, 0, message.opener)
        if self.parents.setdefault(opened, base) != base:
            self.found(f"chapter {opened} continues {self.parents[opened]} and {base}")
        if message.whole and self.history.get(base, message.rows) != message.rows:
            self.found(f"chapter {opened} says that version {base} has another content than it has")

    def _equal_versions(self, node: NodeId, daemon: "Daemon") -> None:
        """Equal versions mean equal content."""
        kept = daemon.pump.core.state.keeping
        if self.versions.get(node) == (daemon, kept.version):
            return
        self.versions[node] = daemon, kept.version
        self.named |= kept.ledger.placements.keys()
        message, why = self.suspect.get(kept.version, (None, ""))
        if message is not None and all(kept.ledger.placements.get(row.vm.name) == row for row in message.rows.placed):
            self.found(why)
        if len(self.world.machines) > FEW and kept.version.index % SELDOM:
            return
        rows = kept.ledger.rows()
        if self.history.setdefault(kept.version, rows) != rows:
            self.found(f"version {kept.version} has two contents: node {node} has {_differ(rows, self.history[kept.version])}")

    def line_of(self, version: Version) -> Iterator[Version]:
        """A version, the one its chapter goes on from, and so on."""
        yield version
        while (version := replace(version, index=0)) in self.parents:
            version = self.parents[version]
            yield version

    def contains(self, later: Version, earlier: Version) -> bool:
        """`later` was made from `earlier`, or is it."""
        chapter = replace(earlier, index=0)
        return any(each.index >= earlier.index for each in self.line_of(later) if replace(each, index=0) == chapter)

    def _disks(self, version: Version) -> list[NodeId]:
        """On which disks a version is, or one made from it. A disk that had it and went back counts, because it is no witness
        of anything older: no majority of witnesses is without the version."""
        kept = {node: machine.memory for node, machine in self.world.machines.items()}
        return [
            n for n, m in kept.items() if self.contains(m.version, version) or (m.was.seq and self.contains(m.was, version))
        ]

    def _kept(self, version: Version, node: NodeId) -> bool:
        """It is on the disks of nodes with more than half of all nodes' votes, as far as this node can tell."""
        return accounts.durable(self.world, self._disks(version), node)

    def _on_disks(self, s: State, name: VmName) -> bool:
        """The row of this VM, as a node knows it, is on the disks of a majority of all nodes, or was before the list grew."""
        version = _version_of(s, name)
        return s.keeping.open and (self.contains(self.top, version) or self._kept(version, s.me))

    def _stable_for_good(self, node: NodeId, s: State) -> None:
        """What is stable is on the disks of a majority, and whatever is stable later was made from it."""
        upto = keeping.stable(s)
        if upto < 0:
            self.sure.pop(node, None)
            return
        self.sure.setdefault(node, self.world.heap.now)
        if upto == self.top.index and same_chapter(s.keeping.version, self.top):
            return
        version = replace(s.keeping.version, index=upto)
        if self.contains(version, self.top):
            if not self._kept(version, node):
                self.found(f"node {node} takes version {version} to be stable: it is on the disks of {self._disks(version)}")
            self.top = version
        elif not self.contains(self.top, version):
            self.found(f"version {self.top} was stable and is lost: now {version} is, on node {node}")


def _version_of(s: State, name: VmName) -> Version:
    """The version that gave this VM the row that a node knows."""
    return replace(s.keeping.version, index=s.keeping.changed.get(name, 0))


def _differ(mine: Rows, other: Rows) -> str:
    """What is in one and not in the other, in short."""
    parts = []
    for name in ("placed", "known", "proven", "panic"):
        one, two = getattr(mine, name), getattr(other, name)
        if one != two:
            parts.append(f"{name}: {one} / {two}")
    return "; ".join(parts)


# -- in the end


def unsettled(world: "World", estate: "Estate", states: dict[NodeId, State]) -> str | None:
    """Why the VMs are not yet as they should be for good, seen from these nodes, which are one quorate line."""
    first = next(iter(states.values())).keeping
    for node, s in states.items():
        if not s.keeping.open or s.keeping.version != first.version or s.keeping.ledger.rows() != first.ledger.rows():
            return f"node {node}: ledger {s.keeping.version}, open {s.keeping.open}, not as {first.version}"
        if keeping.stable(s) != first.version.index and not world.machines[node].memory.full:
            return f"node {node}: stable up to {keeping.stable(s)} of {first.version}"
        if s.copies.held or not s.copies.known or any(copy.doubt or copy.ticket for copy in s.copies.vms.values()):
            return f"node {node}: copies held {s.copies.held}, known {s.copies.known}, or in doubt"
        if estate.options.watchdog_ms and not (estate.nodes[node].watchdog.armed and s.watchdog_ms):
            return f"node {node}: its watchdog is not armed"
    if first.ledger.panic is not None:
        return None
    for name, row in first.ledger.placements.items():
        why = _vm_unsettled(estate, states, first.ledger, name, row)
        if why is not None:
            return why
    for name, wanted in estate.users.wanted.items():
        runs = estate.executions.now.get(name, {})
        let_go = any(identity_checkers.strange(estate, node, name) for node in runs)
        if wanted and runs and not let_go and all(image_of(row.vm) != name for row in first.ledger.placements.values()):
            return f"{name} runs on {sorted(runs)} and is in nobody's care"
    return None


def _vm_unsettled(estate: "Estate", states: dict[NodeId, State], ledger: Ledger, name: VmName, row: Placed) -> str | None:
    copies = {node: at.hypervisor.copies[name] for node, at in estate.nodes.items() if name in at.hypervisor.copies}
    running = sorted(estate.executions.now.get(image_of(row.vm), {}))
    if row.frozen:
        return f"{name} is frozen and runs on {running}" if len(running) > 1 else None
    if row.to:
        return f"{name} is on its way from node {row.node} to node {row.to}"
    if not row.on:
        return f"{name} is shut down and runs on {running}" if running else None
    proven = all(ledger.proven(node) is not None for node in row.holders if node not in states)  # `undone` asks for the proof
    if (
        estate.users.wanted.get(name)
        and row.node not in states
        and proven
        and (taker := accounts.taker(estate, states, ledger, row))
    ):
        return f"{name} is placed on node {row.node}, which is not here, and fits on node {taker}"
    if row.node not in states:
        return None
    stale = sorted(node for node in copies if node != row.node and node in states)
    if stale:
        return f"{name} has stale copies on {stale}"
    if not running and _rests(estate, name, row):
        return None
    if running != [row.node]:
        return f"{name} runs on {running}, and is placed on node {row.node}"
    label = copies[row.node].generation
    return f"{name} has label {label}, and is generation {row.generation}" if label != row.generation else None


def _rests(estate: "Estate", name: VmName, row: Placed) -> bool:
    """Its user has suspended this very instance, and nobody has ended that; whatever else is suspended in the end is wrong."""
    rest = estate.users.paused.get(name)
    copy = estate.nodes[row.node].hypervisor.copies.get(name)
    return rest is not None and copy is not None and rest.instance is copy and copy.pause is Pause.CALL


def undone(estate: "Estate", states: dict[NodeId, State], absent: Sequence[NodeId]) -> str | None:
    """A VM that is to run, fits somewhere and is still placed on a node that is off for good."""
    ledger = next(iter(states.values())).keeping.ledger
    unproven = [node for node in absent if ledger.proven(node) is None and any(each.on for each in ledger.on(node))]
    if unproven:
        return f"there is no proof about node {unproven[0]}, which operators have confirmed to be off"
    lost = [row for row in ledger.placements.values() if row.node in absent and row.on and not row.frozen]
    members = states.keys() - set(absent)
    forgotten = [row.vm.name for row in lost if accounts.taker(estate, members, ledger, row)]
    return f"{forgotten[0]} is not started elsewhere, and fits" if forgotten else None
