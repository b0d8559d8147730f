"""What an operator is told about VMs and about the nodes that carry them. Facts only; words live in cli.

Made when somebody asks, from what every member has told: so any node can say it of all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from corolistener.core.capacity import Capacity, Refusal
from corolistener.core.ledger import Excused, Placed
from corolistener.core.placing import choose, takers
from corolistener.core.presence import here
from corolistener.core.reports import Report, Trouble, VmState
from corolistener.core.state import State
from corolistener.ids import NodeId, VmName

IN_DOUBT, UNKEPT, UNPLACED = "in-doubt", "unkept", "unplaced"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which VMs are asked about: these `names`, those that may have their memory on `node`, those `after` a name, so many."""

    names: frozenset[VmName] | None = None
    node: NodeId | None = None
    after: VmName = VmName("")
    most: int = 500


@dataclass(frozen=True, slots=True)
class VmStatus:
    """One VM. `state`: running, suspended, starting, none, in-doubt, or lost with its node.

    `copies` and `troubles`: what members report of it, by node. `owed`: it should run, and nobody is making it; `why` is then
    panic, frozen, no-proof, no-room (`refusals` say more), given-up or soon. `local`: storages it needs that no other member
    reaches. `pause`: why it is suspended, where that is known: a word of `Pause`.
    `unmanaged`: why its node would not adopt it any more. `others`: other VMs of its name, by node, with their UUIDs.
    `unkept`: why its definition cannot be kept: it cannot be started elsewhere.
    """

    placed: Placed
    state: str
    copies: tuple[tuple[NodeId, Report], ...] = ()
    troubles: tuple[tuple[NodeId, Trouble], ...] = ()
    why: str = ""
    refusals: tuple[Refusal, ...] = ()
    local: tuple[str, ...] = ()
    pause: str = ""
    unmanaged: str = ""
    others: tuple[tuple[NodeId, str], ...] = ()
    unkept: str = ""

    @property
    def owed(self) -> bool:
        return bool(self.why)


@dataclass(frozen=True, slots=True)
class CarrierStatus:
    """A node as one that carries VMs. `why` it is given none: left, disallowed, hypervisor-silent, maintenance, settings.

    `free_kib` and `vms`: with everything that has its memory there or will. `capacity` None where it is not known.
    """

    node: NodeId
    name: str
    here: bool
    why: str
    capacity: Capacity | None
    free_kib: int
    vms: int
    excused: Excused | None


@dataclass(slots=True)
class Sight:
    """What members report of the VMs that are asked about; and which VMs of lost nodes fit nowhere, once that is asked."""

    reports: dict[VmName, dict[NodeId, Report]] = field(default_factory=lambda: defaultdict(dict))
    troubles: dict[VmName, dict[NodeId, Trouble]] = field(default_factory=lambda: defaultdict(dict))
    others: dict[VmName, dict[NodeId, str]] = field(default_factory=lambda: defaultdict(dict))
    storages: Counter[str] = field(default_factory=Counter)
    carriers: int = 0
    present: frozenset[NodeId] = frozenset()
    refused: dict[VmName, tuple[Refusal, ...]] | None = None


def vms_of(s: State, wanted: Wanted) -> tuple[tuple[VmStatus, ...], bool]:
    """The VMs that are asked about, by name, and whether there are more."""
    rows = s.keeping.ledger.placements
    there = rows.keys() if wanted.node is None else s.keeping.ledger.at.get(wanted.node, set())
    found = sorted(there if wanted.names is None else wanted.names & there)
    chosen = [name for name in found if name > wanted.after]
    page = chosen[: wanted.most]
    sight = _sight(s, set(page)) if page else Sight()
    return tuple(_status(s, rows[name], sight) for name in page), len(chosen) > len(page)


def counts_of(s: State) -> tuple[Counter[str], Counter[str]]:
    """How many VMs are in which state, and how many wait why."""
    states, waiting = _survey(s)
    return states, Counter({why: len(names) for why, names in waiting.items()})


def waiting(s: State) -> dict[str, list[VmName]]:
    """The VMs that should run and that nobody makes run, by the reason; also those that no other node could start (UNKEPT), and
    those that a member has suspended and that the ledger does not have run (UNPLACED)."""
    return _survey(s)[1]


def _survey(s: State) -> tuple[Counter[str], dict[str, list[VmName]]]:
    rows, found = s.keeping.ledger.placements, defaultdict[str, list[VmName]](list)
    sight, states = _sight(s, set(rows)), Counter[str]()
    for name, row in sorted(rows.items()):
        state = _state(s, row, sight)
        why, _ = _owed(s, row, state, sight)
        states[state if state != "none" else "down" if row.on else "off"] += 1
        if not why and any(report.unkept for node, report in sight.reports[name].items() if node in row.holders):
            why = UNKEPT
        if why:
            found[why].append(name)
    if unplaced := _unplaced(s):
        found[UNPLACED] = unplaced
    return states, dict(found)


def _unplaced(s: State) -> list[VmName]:
    """VMs that began on a node without a lease: the node suspended them, and only a VM that runs is adopted, or counts as
    started again after its user shut it down."""
    found = set[VmName]()
    for node in sorted(s.group.present):
        for report in s.group.peers[node].inventory.copies:
            if report.state is VmState.SUSPENDED and not (report.pause or report.unmanaged):
                row = s.keeping.ledger.row_of(report.vm)
                if row is None or (row.node == node and not (row.on or row.to or row.frozen)):
                    found.add(report.vm.name)
    return sorted(found)


def _status(s: State, row: Placed, sight: Sight) -> VmStatus:
    name, state = row.vm.name, _state(s, row, sight)
    why, refusals = _owed(s, row, state, sight)
    reports, troubles = sorted(sight.reports[name].items()), sorted(sight.troubles[name].items())
    held = [report for node, report in reports if node in row.holders]
    pause = next((each.pause for each in held if each.pause), "")
    unmanaged = next((each.unmanaged for each in held if each.unmanaged), "")
    shown = pause if state == VmState.SUSPENDED.value else ""
    others, local = tuple(sorted(sight.others[name].items())), _local(row, sight)
    unkept = next((each.unkept for each in held if each.unkept), "")
    return VmStatus(row, state, tuple(reports), tuple(troubles), why, refusals, local, shown, unmanaged, others, unkept)


def _sight(s: State, names: set[VmName]) -> Sight:
    sight = Sight(present=frozenset(s.group.present))
    for node in sorted(sight.present):
        peer = s.group.peers[node]
        for report in peer.inventory.copies:
            row = s.keeping.ledger.row_of(report.vm)
            if row is not None and row.vm.name in names:
                sight.reports[row.vm.name][node] = report
            elif report.vm.name in names:
                sight.others[report.vm.name][node] = report.vm.uuid
        for name, uuid in peer.inventory.blocked:
            if name in names:
                sight.others[name][node] = uuid
        for trouble in peer.inventory.troubles:
            if trouble.name in names:
                sight.troubles[trouble.name][node] = trouble
        if peer.capacity is not None:
            sight.carriers += 1
            sight.storages.update(peer.capacity.storages)
    return sight


def _state(s: State, row: Placed, sight: Sight) -> str:
    present = [node for node in row.holders if node in sight.present]
    reports = [sight.reports[row.vm.name][node] for node in present if node in sight.reports[row.vm.name]]
    states = [report.state for report in reports]
    if VmState.RUNNING in states:
        return VmState.RUNNING.value
    if not present:
        gone = s.quorate and not any(here(s, node) for node in row.holders)
        return IN_DOUBT if not gone else "lost" if row.on else "none"
    if VmState.SUSPENDED in states:
        return VmState.SUSPENDED.value
    if not all(s.group.peers[node].inventory.complete for node in present):
        return IN_DOUBT
    if reports:  # something is under way with it; a copy that is just being made has no generation yet
        return "starting" if row.on and not any(report.generation for report in reports) else IN_DOUBT
    ended = any(row.vm.name in s.group.peers[node].inventory.ended for node in present)
    return "starting" if row.on and not row.frozen and not ended and not _given_up(row, sight) else "none"


def _given_up(row: Placed, sight: Sight) -> bool:
    trouble = sight.troubles[row.vm.name].get(row.node)
    return trouble is not None and trouble.given_up == row.generation


def _owed(s: State, row: Placed, state: str, sight: Sight) -> tuple[str, tuple[Refusal, ...]]:
    """Why a VM that should run does not, and nobody is making it; '' for the others."""
    ledger = s.keeping.ledger
    if not row.on or state not in ("lost", "none"):
        return "", ()
    if ledger.panic is not None:
        return "panic", ()
    if row.frozen:
        return "frozen", ()
    if state == "none":
        return ("given-up" if _given_up(row, sight) else ""), ()
    if any(ledger.proven(node) is None for node in row.holders):
        return "no-proof", ()
    if sight.refused is None:
        sight.refused = _refused(s)
    refusals = sight.refused.get(row.vm.name)
    return ("no-room", refusals) if refusals is not None else ("soon", ())


def _refused(s: State) -> dict[VmName, tuple[Refusal, ...]]:
    """What the master decides about VMs of lost nodes that fit nowhere: all of them compete for what room there is."""
    ledger = s.keeping.ledger
    lost = {node for node in ledger.holders() if not here(s, node) and ledger.proven(node) is not None}
    rows = [row for _, row in sorted(ledger.placements.items()) if row.on and not row.frozen and set(row.holders) <= lost]
    return {each.vm.name: each.refusals for each in choose(s, rows).owed}


def _local(row: Placed, sight: Sight) -> tuple[str, ...]:
    """The storages that keep it where it is: no two members reach them, though there are two."""
    alone = sight.carriers > 1 and row.vm.storages
    return tuple(sorted(each for each in row.vm.storages if sight.storages[each] < 2)) if alone else ()


# -- nodes


def carriers_of(s: State) -> tuple[CarrierStatus, ...]:
    """Every node of the nodelist, and those that are not but may have VMs, by id."""
    used, count = Counter[NodeId](), Counter[NodeId]()
    for row in s.keeping.ledger.placements.values():
        for node in row.holders if row.on else ():
            used[node] += row.vm.memory_kib
            count[node] += 1
    open_to = {each.node for each in takers(s)}
    names = {entry.id: entry.name for entry in s.nodes}
    nodes = sorted({*names, *s.keeping.ledger.holders(), *s.keeping.ledger.excused})
    return tuple(_carrier(s, node, names.get(node, ""), node in open_to, used[node], count[node]) for node in nodes)


def _carrier(s: State, node: NodeId, name: str, takes: bool, used_kib: int, vms: int) -> CarrierStatus:
    peer = s.group.peers.get(node)
    capacity = peer.capacity if peer is not None else None
    kept = capacity.memory_kib * (100 - capacity.reserved_memory_percent) // 100 if capacity is not None else 0
    return CarrierStatus(
        node=node,
        name=name,
        here=node in s.group.present,
        why="" if takes else _closed(s, node),
        capacity=capacity,
        free_kib=kept - used_kib,
        vms=vms,
        excused=s.keeping.ledger.excused.get(node),
    )


def _closed(s: State, node: NodeId) -> str:
    """Why a node is given no VMs."""
    peer = s.group.peers.get(node)
    if peer is None or node not in s.group.present:
        return "left"
    if node in s.keeping.ledger.excused:
        return "maintenance"
    if peer.disallowed:
        return "disallowed"
    return "settings" if peer.capacity is None else "hypervisor-silent"


def undecided(s: State, nodes: Iterable[NodeId]) -> tuple[Placed, ...]:
    """The VMs on these nodes that no plan is about, because they are frozen."""
    rows = s.keeping.ledger.placements
    return tuple(rows[name] for name in sorted(s.keeping.ledger.frozen) if rows[name].node in set(nodes))
