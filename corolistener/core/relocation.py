"""Where lost VMs are started again, and which of them now: functions of values.

Rules. Highest priority first, within it largest first. Of the nodes that fit, the one with the most memory left, as the
vendor's manager chooses. Ties by name and node id. VMs of groups to be kept together are one unit, as urgent as its most
urgent VM and as large as all of them: all are placed on one node, that of the group's running members where there are any,
or none is. What fits nowhere stays owed with the reasons, and is planned again, with whatever else is lost, whenever
capacity changes. Nothing that runs is moved to make room.

The same function answers "what if": a plan for lost nodes leaves them out of `nodes` and has their VMs in `lost`, a drain
does it with one node, a proof for N failures with every N.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from corolistener.core.capacity import Account, Capacity, Refusal, Unit, Vm
from corolistener.ids import NodeId, VmName


class Choice(Enum):
    """Why this node."""

    FREEST = "most-memory-left"
    TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why a VM was given a node.

    `unit`: the VMs placed as one, itself included. `joined`: with Choice.TOGETHER the running VM they have to be with, else ''.
    `left_kib`: free on the node afterwards. `passed`: the nodes with more memory left that could not take them.
    """

    choice: Choice
    unit: tuple[VmName, ...]
    joined: str
    left_kib: int
    passed: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """A VM and its node. `reason` is None where it is not known, or was not ours."""

    vm: Vm
    node: NodeId
    reason: Grounds | None = None


@dataclass(frozen=True, slots=True)
class Owed:
    """A VM for which there is no node, and why; no refusals where there are no nodes. `unit`: those it has to be placed with,
    itself included; the obstacles are the unit's."""

    vm: Vm
    refusals: tuple[Refusal, ...]
    unit: tuple[VmName, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every lost VM once, in the order of decision."""

    placements: tuple[Placement, ...]
    owed: tuple[Owed, ...]


def plan(nodes: Iterable[Capacity], running: Iterable[Placement], lost: Iterable[Vm]) -> Plan:
    """Where the VMs of `lost` go.

    `nodes`: the members that may be given VMs, no others. `running`: every VM that has or will have its memory on a node, so
    suspended and placed ones too, and one that migrates twice; also those on nodes that cannot be given any, for the sake of
    their groups. Raises ValueError where a VM is lost twice or lost and running, so that it could be started twice, and
    where a node is there twice.
    """
    nodes, lost = tuple(nodes), tuple(lost)
    vms = {vm.name: vm for vm in lost}
    if len(vms) < len(lost):
        raise ValueError("a vm is lost twice")
    if len({each.node for each in nodes}) < len(nodes):
        raise ValueError("a node is there twice")
    account = Account(nodes)
    for each in running:
        if each.vm.name in vms:
            raise ValueError(f"vm {each.vm.name} is lost and running")
        account.hold(each.vm, each.node)
    placements: list[Placement] = []
    owed: list[Owed] = []
    for unit in sorted((account.unit(part) for part in _parts(vms)), key=_urgency):
        room, refusals = account.place(unit)
        if room is None:
            owed += (Owed(vm, refusals, unit.names) for vm in unit.vms)
            continue
        choice, joined = (Choice.TOGETHER, unit.homes[0][0]) if unit.homes else (Choice.FREEST, "")
        grounds = Grounds(choice, unit.names, joined, room.memory_kib, refusals)
        placements += (Placement(vm, room.node, grounds) for vm in unit.vms)
    return Plan(tuple(placements), tuple(owed))


def due(placed: Iterable[Placement], starting: Iterable[Placement], parallel_starts: int) -> tuple[Placement, ...]:
    """Which placements may be started now.

    `placed`: those that do not run yet; who is in `starting` may be among them. A VM waits until none of a lower start order,
    on any node, is placed or starting; of the rest at most `parallel_starts` (1 or more) start on a node at once, higher
    priority and larger ones first. Owed VMs, and those whose start has failed until they are placed again, are not in
    `placed`: what cannot start must not keep others from starting.
    """
    starting = tuple(starting)
    begun = {each.vm.name for each in starting}
    waiting = sorted((each for each in placed if each.vm.name not in begun), key=_turn)
    first = min((each.vm.start_order for each in (*waiting, *starting)), default=0)
    busy = Counter(each.node for each in starting)
    found = []
    for each in waiting:
        if each.vm.start_order == first and busy[each.node] < parallel_starts:
            busy[each.node] += 1
            found.append(each)
    return tuple(found)


def _urgency(unit: Unit) -> tuple[int, int, VmName]:
    return -unit.priority, -unit.memory_kib, unit.names[0]


def _turn(each: Placement) -> tuple[int, int, int, VmName]:
    return each.vm.start_order, -each.vm.priority, -each.vm.memory_kib, each.vm.name


def _parts(vms: dict[VmName, Vm]) -> list[list[Vm]]:
    """The VMs that have to be together, directly or through others."""
    members = defaultdict(list)
    for vm in vms.values():
        for group in vm.together:
            members[group].append(vm)
    parts, seen = [], set[VmName]()
    for vm in vms.values():
        if vm.name in seen:
            continue
        part, groups, at = [vm], set[str](), 0
        seen.add(vm.name)
        while at < len(part):
            for group in part[at].together - groups:
                fresh = [other for other in members[group] if other.name not in seen]
                seen.update(other.name for other in fresh)
                part += fresh
                groups.add(group)
            at += 1
        parts.append(part)
    return parts
