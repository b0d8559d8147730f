"""One seed, a whole run: it draws a cluster, its timing and an explicit list of faults; then everything heals, and it has to
settle.

The drawing ends before the run begins, and the world has dice of its own: so a run with fewer faults is the same run but for
them. That is what `shrink` lives on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from random import Random

from corolistener.core.config import OnTakeover, Timing
from corolistener.core.events import DeviceCame
from corolistener.ids import NodeId
from corolistener.sim import care_faults, checkers, cluster, list_faults, service_faults
from corolistener.sim.conditions import CONDITIONS
from corolistener.sim.episodes import episodes
from corolistener.sim.fault import Fault
from corolistener.sim.faults import ALL_CONDITIONS, ALL_FAULTS, FAULTS, IT, MASTER, MORE_FAULTS, Entry, inject
from corolistener.sim.identity_faults import IDENTITY_FAULTS
from corolistener.sim.list_faults import draw_lists
from corolistener.sim.process_faults import other_processes
from corolistener.sim.seeds_vms import draw_vms
from corolistener.sim.seeds_votes import draw_votes, may_stay_off
from corolistener.sim.vm_faults import VM_FAULTS
from corolistener.sim.vms import read_options
from corolistener.sim.votequorum import QuorumOptions
from corolistener.sim.world import Options, Predicate, World

NODES_LEAST, NODES_MOST = 2, 9
FAULTS_MS = 60_000
HEALED_MS = 150_000
STEADY_MS = 6_000
CREATING_MS = 6_000
LONGER = 0.25
"""With VMs so many faults last five times as long: the deadlines about lost nodes are longer than others."""
PAUSES_MS = (0, 1, 2, 20, 150, 300, 1000, 2500, 4000, 9000)
PACES = (1, 1, 4, 12, 12)
"""With VMs some runs are quieter: what takes long has to be left in peace for as long."""
SHARES = (0.8, 0.8, 0.4, 0.15, 0.07)
"""The share of all kinds of faults that a run has (swarm testing). One with few kinds has each of them often, and nothing in
their way: what needs three of one kind in a row is hardly met where seventy kinds take turns."""
TIMINGS = ((500, 5130), (500, 5130), (500, 5130), (200, 3000), (1000, 8000))
"""heartbeat_ms and lease_ms, as pairs that safety.md allows."""
RECONCILE_MS = (90_000, 15_000, 5000, 1000)
START_GRACE_MS = (60_000, 20_000, 20_000, 5000)
CONDITIONAL = 0.25
INSTALLED = 0.1
"""So many clusters are installed while their VMs run already."""
GOES_BACK = "store-goes-back"
"""One disk that is lost, beside nodes that stay off, that are removed, or that have few votes, may leave no majority of disks:
then the ledger rightly waits for a human."""
IDENTITIES = 0.35
"""In so many runs users and administrators change what their VMs are."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A drawn run. `weights` are those with which its faults were drawn; `boots` is when each node gets power, in ms."""

    seed: int
    options: Options
    priorities: tuple[int | None, ...]
    replication: tuple[str, ...]
    quorum_first: bool
    boots: tuple[tuple[int, NodeId], ...]
    weights: tuple[tuple[str, int], ...]
    entries: tuple[Entry, ...]
    ends: int
    """When everything heals, in ms."""
    vms: tuple[str, ...] = ()
    """The words of the command `vms`; none where there are no VMs."""
    absent: tuple[NodeId, ...] = ()
    """Nodes that are off for good in the end: their VMs have to run elsewhere."""
    later: tuple[NodeId, ...] = ()
    """Nodes that the file does not list at first."""

    def head(self) -> list[str]:
        """What was drawn besides the faults."""
        return [
            f"seed {self.seed}: {len(self.priorities)} nodes, {len(self.entries)} faults until {self.ends} ms, then all heals",
            *self._world(),
            "weights " + " ".join(f"{name}={weight}" for name, weight in self.weights),
        ]

    def story(self, reason: str) -> str:
        """The same run as a story, which `corolistener simulate FILE` plays."""
        absent = "".join(f" n{node}" for node in self.absent)
        ends = [f"until {self.ends}ms", f"heal-everything{absent}", f"settle-for-good{absent}"]
        return "\n".join(
            [*(f"# {line}" for line in reason.splitlines()), "", *self._world(), *map(str, self.entries), *ends, ""]
        )

    def _world(self) -> list[str]:
        o = self.options
        changed = [field for field in fields(Timing) if getattr(o.timing, field.name) != field.default]
        words = [
            "priority=" + ",".join("-" if priority is None else str(priority) for priority in self.priorities),
            "replication=" + ",".join(self.replication),
            f"seed={self.seed}",
            *(f"{field.name}={getattr(o.timing, field.name)}" for field in changed),
            *["keep"] * (o.on_takeover is OnTakeover.KEEP),
            *["database"] * o.database,
            *["two_node"] * o.two_node,
            *o.quorum.words(),
            *[f"later={','.join(f'n{node}' for node in self.later)}"] * bool(self.later),
        ]
        return [
            f"nodes {len(self.priorities)} {' '.join(words)}",
            *[f"vms {' '.join(self.vms)}"] * bool(self.vms),
            *["quorum-first"] * self.quorum_first,
            *(f"power-at {when}ms n{node}" for when, node in self.boots),
        ]


def draw(seed: int, nodes: tuple[int, int] = (NODES_LEAST, 5), faults_ms: int = FAULTS_MS, vms: int = 0) -> Plan:
    """Everything that a run is, from one number. `nodes` are the fewest and the most, 2 to 9 of each; `vms` the most VMs."""
    dice = Random(seed)
    count = dice.randint(*nodes)
    options = Options(
        timing=_timing(dice),
        on_takeover=dice.choice((OnTakeover.SWAP, OnTakeover.SWAP, OnTakeover.SWAP, OnTakeover.KEEP)),
        database=dice.random() < 0.3,
        two_node=count == 2 and dice.random() < 0.5,
    )
    priorities = tuple(dice.choice((None, 10, 20, 30, 40, 50)) for _ in range(count))
    replication = tuple(dice.choice(("on", "on", "off", "-")) for _ in range(count))
    names = [NodeId(number) for number in range(1, count + 1)]
    boots, now = [], 0
    for node in dice.sample(names, count):
        boots.append((now, node))
        now += dice.choice((0, 0, 10, 700, 5000))
    now += dice.choice((50, 500, 4000, 12_000))
    now_first, faults = now, {**FAULTS, **VM_FAULTS, **MORE_FAULTS} if vms else FAULTS
    weights = _weights(dice, faults)
    quorum_first, ends = dice.random() < 0.3, now + faults_ms
    entries: list[Entry] = []
    conditions, words, absent, pace = CONDITIONS, tuple[str, ...](), tuple[NodeId, ...](), 1
    if vms:
        drawn = draw_vms(dice, vms, names, now, ends)
        entries += drawn.created
        now, ends, words, conditions = now + CREATING_MS, ends + CREATING_MS, drawn.words, ALL_CONDITIONS
        absent, pace = drawn.absent, dice.choice(PACES)
        entries += episodes(dice, names, now, ends, drawn.excluded)
        options.vms = read_options(words)
        weights = tuple((name, weight * (name not in drawn.excluded)) for name, weight in weights)
        weights = weights if any(weight for _, weight in weights) else (("cut", 1),)
    while now < ends:
        entry = _entry(dice, now, weights, names, conditions)
        longer = vms and entry.lasts is not None and dice.random() < LONGER
        entries.append(replace(entry, lasts=(entry.lasts or 0) * 5) if longer else entry)
        now += dice.choice(PAUSES_MS) * pace
    if not options.two_node:
        options.quorum, more = draw_votes(seed, names, now_first, ends)
        entries += more
        absent = absent if may_stay_off(options.quorum, names, absent) else ()
    if vms:  # drawn last, so that all else of a seed is what it was before
        reconcile_ms = dice.choice(RECONCILE_MS)
        options.timing = replace(options.timing, reconcile_ms=reconcile_ms, start_grace_ms=dice.choice(START_GRACE_MS))
        if dice.random() < INSTALLED:
            entries += _installation(dice, boots, entries, now)
        if dice.random() < IDENTITIES:
            entries += _identities(dice, names, ends - faults_ms, ends, drawn.excluded)
    entries += [Entry(*each) for each in other_processes(seed, names, now_first, ends, "suspend" in " ".join(words))]
    plain = not options.two_node and options.quorum == QuorumOptions()
    later, comings = draw_lists(seed, names, now_first, ends) if plain else ((), [])
    if comings or options.quorum.votes:
        entries = [each for each in entries if each.fault != GOES_BACK] + [Entry(*each) for each in comings]
    if comings or any(each.fault == GOES_BACK for each in entries):
        absent = ()
    return Plan(
        seed, options, priorities, replication, quorum_first, tuple(boots), weights, tuple(entries), ends, words, absent, later
    )


def _installation(dice: Random, boots: list[tuple[int, NodeId]], entries: list[Entry], now: int) -> list[Entry]:
    created = min((each.at for each in entries if each.fault == "vm-created"), default=now) + CREATING_MS // 2
    return [Entry(at, fault, f"n{node}") for at, fault, node in care_faults.installation(dice, boots, created)]


def _weights(dice: Random, faults: Mapping[str, Fault]) -> tuple[tuple[str, int], ...]:
    share = dice.choice(SHARES)
    drawn = tuple((name, each.weight * dice.choice((1, 1, 1, 3)) * (dice.random() < share)) for name, each in faults.items())
    return drawn if any(weight for _, weight in drawn) else tuple((name, each.weight) for name, each in faults.items())


def _timing(dice: Random) -> Timing:
    heartbeat_ms, lease_ms = dice.choice(TIMINGS)
    return Timing(heartbeat_ms=heartbeat_ms, lease_ms=lease_ms, restart_ms=dice.choice((5000, 5000, 3000)))


def _entry(
    dice: Random, now: int, weights: tuple[tuple[str, int], ...], nodes: list[NodeId], conditions: Mapping[str, Predicate]
) -> Entry:
    """Half of all misfortunes hit whoever matters most at the moment; a quarter waits for its moment."""
    name = dice.choices([name for name, _ in weights], [weight for _, weight in weights])[0]
    fault, node = ALL_FAULTS[name], f"n{dice.choice(nodes)}"
    when = dice.choice(sorted(conditions)) if dice.random() < CONDITIONAL else None
    target = f"{MASTER}|{node}" if dice.random() < 0.5 else IT if when is not None else node
    lasts = dice.choice(fault.lasts) if fault.lasts else None
    return Entry(now, name, target, fault.words(dice, nodes), lasts, when)


def _identities(dice: Random, nodes: list[NodeId], now: int, ends: int, excluded: frozenset[str]) -> list[Entry]:
    """A few changes of what VMs are, beside all else. Hiding a VM restarts a daemon: not where that must not happen."""
    barred = {"vm-hidden"} if "daemon-killed" in excluded else set()
    weights = tuple((name, fault.weight * (name not in barred)) for name, fault in IDENTITY_FAULTS.items())
    return [_entry(dice, dice.randint(now, ends), weights, nodes, CONDITIONS) for _ in range(dice.randint(1, 5))]


class Played:
    """A plan being played. `world` is there to be looked at afterwards; `violation` says what was wrong, and when."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.violation: str | None = None
        self.world: World = cluster.world(plan.priorities, replace(plan.options), plan.replication, plan.seed, plan.later)
        self.world.totem.quorum_first = plan.quorum_first

    def play(self) -> None:
        """To the end, or until something is wrong. Raises checkers.Violated, with the time, for whatever is."""
        try:
            for when, node in self.plan.boots:
                self.world.heap.at(when, lambda node=node: self.world.power_on(node))  # type: ignore[misc]
            for entry in self.plan.entries:
                inject(self.world, entry)
            self.world.heap.run(self.plan.ends)
            heal(self.world, self.plan.absent)
            settle(self.world, self.plan.absent)
        except Exception as error:
            said = str(error) if isinstance(error, checkers.Violated) else f"{type(error).__name__}: {error}"
            self.violation = f"at {self.world.heap.now} ms: {said}"
            raise checkers.Violated(self.violation) from error


def heal(world: World, absent: Sequence[NodeId] = ()) -> None:
    """All that is broken is mended, everything is started but what is absent for good, and no fault waits any more."""
    world.moments.clear()
    world.totem.arbiter.work(True)
    world.totem.crossing = False
    for node in sorted(world.totem.strangers):
        world.totem.strangers.discard(node)
        world.stop_corosync(node)
    world.totem.cut([])
    world.totem.hush([])
    world.totem.mend()
    for node, machine in world.machines.items():
        machine.disk.full = machine.reload_refused = False
        machine.hung.clear()
        service_faults.restore(world, node)
        if world.estate is not None:
            world.estate.go_on(node)  # before anybody looks: from now on it can do what it could not
        if not machine.device:
            machine.device = True
            world.observe(node, DeviceCame())
        world.freeze(node, False)
        if node in absent:
            world.power_off(node)
            continue
        world.power_on(node)
        world.start_corosync(node)
        world.start_daemon(node)
        care_faults.see(world, node)
    if world.estate is not None:
        world.estate.heal()


def settle(world: World, absent: Sequence[NodeId] = ()) -> None:
    """Wait for what must come in the end; and then nothing may change any more. Raises checkers.Violated."""
    steady, asked = 0, world.heap.now
    why: str | None = "not looked"
    for _ in range(HEALED_MS // 500):
        world.pass_time(500)
        if world.estate is not None:
            world.estate.keep_up(absent)
        for node in world.machines:  # corosync's unit starts it again when it was refused, and the daemon's as well
            world.start_corosync(node)
            world.start_daemon(node)
        if world.heap.now - asked >= list_faults.AGAIN_MS:
            asked = world.heap.now
            for node in list_faults.outside(world):
                if node not in absent:
                    list_faults.join(world, node)
        why = checkers.unsettled(world, partly=bool(absent)) or checkers.undone(world, absent)
        steady = 0 if why is not None else steady + 500
        if steady >= STEADY_MS:
            return
    raise checkers.Violated(f"did not settle: {why}")


def play(plan: Plan) -> Played:
    """Play a plan; what was wrong is in `violation`."""
    played = Played(plan)
    try:
        played.play()
    except checkers.Violated:
        assert played.violation is not None
    return played
