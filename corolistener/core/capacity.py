"""What fits where: nodes, VMs, and the account of what is left on the nodes while a plan is made.

Memory is never overcommitted: a VM that was promised memory and does not get it takes its neighbours with it. Cpus are,
because VMs rarely want all of theirs at once, and after a failure a slow VM is better than one that stays down: they are a
limit only at a multiple of what the node has. 16 is what OpenStack's scheduler took for granted for years; ordinary hosting
stays below it, and it still keeps a small node with much memory from getting everything.
"""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from corolistener.ids import NodeId, VmName

UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Capacity:
    """A member that may be given VMs. It keeps `reserved_memory_percent` for itself; `vm_limit` None is any number.

    `taken`: names of VMs of the ledger that other VMs have there, running or merely defined.
    """

    node: NodeId
    memory_kib: int
    cpus: int
    storages: frozenset[str] = frozenset()
    reserved_memory_percent: int = 0
    cpu_overcommit_percent: int = 1600
    vm_limit: int | None = None
    taken: frozenset[VmName] = frozenset()


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM as the planner sees it. Higher `priority` is placed first, lower `start_order` started first.

    `storages` have to be reached from its node. It shares its node with every member of the groups in `together` and with
    no other member of the groups in `apart`. `nodes` are those it may run on, None for any. `definition` is the SHA-256 of the
    text that a hypervisor starts it from. `uuid` is what tells VMs apart, '' where it is not known: a name is what people call
    one (safety.md, rule 9).
    """

    name: VmName
    memory_kib: int
    cpus: int = 1
    priority: int = 0
    start_order: int = 0
    storages: frozenset[str] = frozenset()
    together: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    nodes: frozenset[NodeId] | None = None
    definition: str = ""
    uuid: str = ""

    def is_same(self, uuid: str) -> bool:
        """Whether an instance with this UUID can be this VM; an unknown UUID can be any."""
        return not self.uuid or not uuid or self.uuid == uuid


class Obstacle(Enum):
    """Why a node cannot take a VM, what lasts longest first: of several only the first is told."""

    CONTRADICTION = "together-and-apart"
    FORBIDDEN = "node-not-allowed"
    NAME = "name-taken"
    STORAGE = "storage-not-reached"
    TOGETHER = "together"
    APART = "apart"
    LIMIT = "vm-limit"
    CPUS = "not-enough-cpus"
    MEMORY = "not-enough-memory"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How many nodes an obstacle closes. `subject`: the storage, the VM to be with or apart from, or the group; else ''."""

    obstacle: Obstacle
    nodes: int
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """VMs that go to one node or stay, all of them. `homes`: the running VMs they have to be with, by name, and their nodes."""

    vms: tuple[Vm, ...]
    names: tuple[VmName, ...]
    priority: int
    memory_kib: int
    cpus: int
    storages: frozenset[str]
    nodes: frozenset[NodeId] | None
    apart: tuple[str, ...]
    contradiction: str
    homes: tuple[tuple[VmName, NodeId], ...]


@dataclass(slots=True)
class Room:
    """What is left on a node. Negative where it has more than it should."""

    node: NodeId
    memory_kib: int
    cpus: int
    vms: int
    storages: frozenset[str]
    taken: frozenset[VmName] = frozenset()

    def take(self, memory_kib: int, cpus: int, vms: int) -> None:
        """So much less is left."""
        self.memory_kib -= memory_kib
        self.cpus -= cpus
        self.vms -= vms


def _freest(room: Room) -> tuple[int, NodeId]:
    return -room.memory_kib, room.node


class Account:
    """What is left where, and which groups are where; made for one plan, and poorer with every unit placed."""

    def __init__(self, nodes: Sequence[Capacity]) -> None:
        self._rooms = {each.node: _room(each) for each in nodes}
        self._taken = frozenset[VmName]().union(*(each.taken for each in nodes))
        self._order: list[Room] = []
        self._refused: dict[Hashable, tuple[Refusal, ...]] = {}
        self._apart: dict[tuple[str, NodeId], VmName] = {}
        self._together: dict[str, dict[NodeId, VmName]] = {}

    def hold(self, vm: Vm, node: NodeId) -> None:
        """`vm` is on `node`. Only before the first `place`."""
        if (room := self._rooms.get(node)) is not None:
            room.take(vm.memory_kib, vm.cpus, 1)
        for group in vm.apart:
            self._keep_apart(group, node, vm.name)
        for group in vm.together:
            known = self._together.setdefault(group, {})
            known[node] = min(vm.name, known.get(node, vm.name))

    def unit(self, vms: Iterable[Vm]) -> Unit:
        """`vms` as one, with what the groups they are in already have where."""
        vms = tuple(sorted(vms, key=lambda vm: vm.name))
        apart = Counter(group for vm in vms for group in vm.apart)
        allowed = [vm.nodes for vm in vms if vm.nodes is not None]
        homes = {(name, node) for vm in vms for group in vm.together for node, name in self._together.get(group, {}).items()}
        return Unit(
            vms=vms,
            names=tuple(vm.name for vm in vms),
            priority=max(vm.priority for vm in vms),
            memory_kib=sum(vm.memory_kib for vm in vms),
            cpus=sum(vm.cpus for vm in vms),
            storages=frozenset().union(*(vm.storages for vm in vms)),
            nodes=frozenset.intersection(*allowed) if allowed else None,
            apart=tuple(sorted(apart)),
            contradiction=min((group for group, members in apart.items() if members > 1), default=""),
            homes=tuple(sorted(homes)),
        )

    def place(self, unit: Unit) -> tuple[Room | None, tuple[Refusal, ...]]:
        """The node with the most memory left that takes the unit, and why those with more did not; (None, why no node does)."""
        order = self._order = self._order or sorted(self._rooms.values(), key=_freest)
        shape = self._shape(unit)
        if (known := self._refused.get(shape)) is not None:
            return None, known
        met: Counter[tuple[Obstacle, str]] = Counter()
        for at, room in enumerate(order):
            obstacle = self._obstacle(unit, room)
            if obstacle is None:
                del order[at]
                self._take(unit, room)
                insort(order, room, key=_freest)
                return room, _refusals(met)
            met[obstacle] += 1
        self._refused[shape] = _refusals(met)
        return None, self._refused[shape]

    def _shape(self, unit: Unit) -> Hashable:
        """Units of one shape meet the same obstacles, as long as nothing is placed: not their memory counts, but for how many
        nodes it is too much. Without it a full cluster would be asked node by node for every VM."""
        fits = bisect_right(self._order, (-unit.memory_kib, UNLIMITED), key=_freest)
        names = tuple(name for name in unit.names if name in self._taken)
        wants = unit.storages, unit.nodes, unit.apart, unit.homes, unit.contradiction, names
        return fits, unit.cpus, len(unit.vms), wants

    def _obstacle(self, unit: Unit, room: Room) -> tuple[Obstacle, str] | None:
        if unit.contradiction:
            return Obstacle.CONTRADICTION, unit.contradiction
        if unit.nodes is not None and room.node not in unit.nodes:
            return Obstacle.FORBIDDEN, ""
        if room.taken and (name := next((name for name in unit.names if name in room.taken), None)) is not None:
            return Obstacle.NAME, name
        if not unit.storages <= room.storages:
            return Obstacle.STORAGE, min(unit.storages - room.storages)
        for name, node in unit.homes:
            if node != room.node:
                return Obstacle.TOGETHER, name
        for group in unit.apart:
            if (other := self._apart.get((group, room.node))) is not None:
                return Obstacle.APART, other
        if room.vms < len(unit.vms):
            return Obstacle.LIMIT, ""
        if room.cpus < unit.cpus:
            return Obstacle.CPUS, ""
        return (Obstacle.MEMORY, "") if room.memory_kib < unit.memory_kib else None

    def _take(self, unit: Unit, room: Room) -> None:
        self._refused.clear()
        room.take(unit.memory_kib, unit.cpus, len(unit.vms))
        for vm in unit.vms:
            for group in vm.apart:
                self._keep_apart(group, room.node, vm.name)

    def _keep_apart(self, group: str, node: NodeId, name: VmName) -> None:
        self._apart[group, node] = min(name, self._apart.get((group, node), name))


def _room(capacity: Capacity) -> Room:
    return Room(
        node=capacity.node,
        memory_kib=capacity.memory_kib * (100 - capacity.reserved_memory_percent) // 100,
        cpus=capacity.cpus * capacity.cpu_overcommit_percent // 100,
        vms=UNLIMITED if capacity.vm_limit is None else capacity.vm_limit,
        storages=capacity.storages,
        taken=capacity.taken,
    )


def _refusals(met: Mapping[tuple[Obstacle, str], int]) -> tuple[Refusal, ...]:
    """Most nodes first."""
    found = (Refusal(obstacle, nodes, subject) for (obstacle, subject), nodes in met.items())
    return tuple(sorted(found, key=lambda each: (-each.nodes, each.obstacle.value, each.subject)))
