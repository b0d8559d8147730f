"""What checkers count by themselves: majorities of votes, and where a VM fits. Nothing here asks the core what is right.

A checker that asks the core's own planner or majority excuses exactly the core that has it wrong: a planner that refuses
everything would leave every VM rightly down.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from corolistener.core.capacity import Vm
from corolistener.core.ledger import Ledger, Placed
from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.vms import Estate
    from corolistener.sim.world import World

CPU_OVERCOMMIT = 16
"""Virtual cpus for each real one, as the settings have it by default."""


def votes(world: "World", nodes: Iterable[NodeId]) -> int:
    """The votes that these nodes have in the file with which the world began."""
    return sum(world.options.quorum.votes_of(node - 1) for node in nodes)


def voters(world: "World") -> frozenset[NodeId]:
    """The nodes that a newest file on any disk lists."""
    files = {machine.disk.load()[0] for machine in world.machines.values()}
    newest = max(file.id.version for file in files)
    return frozenset(entry.id for file in files if file.id.version == newest for entry in file.nodes) & world.machines.keys()


def kept(world: "World", nodes: Iterable[NodeId]) -> bool:
    """These nodes have more than half of all nodes' votes."""
    every = voters(world)
    return 2 * votes(world, every & set(nodes)) > votes(world, every)


def durable(world: "World", disks: Collection[NodeId], asked: NodeId) -> bool:
    """Whatever is on these disks is known to every majority: of the nodes that their newest ledger knows, and of these together
    with the nodes of a list that one of them has, or the node that is `asked`. No more can be said while the list changes."""
    if not disks:
        return False
    known = set(max((world.machines[node].memory for node in disks), key=lambda memory: memory.version).ledger.known)
    lists = [known | {entry.id for entry in world.machines[node].disk.load()[0].nodes} for node in (asked, *disks)]
    alone = 2 * votes(world, known & set(disks)) > votes(world, known)
    return alone and any(2 * votes(world, each & set(disks)) > votes(world, each) for each in lists)


def most(world: "World", nodes: Iterable[NodeId], device: bool, every: frozenset[NodeId] | None = None) -> bool:
    """These nodes, with the quorum device or without, have more than half of the votes of `every` node, or of all voters."""
    more, every = world.options.quorum.device, voters(world) if every is None else every
    return 2 * (votes(world, every & set(nodes)) + more * device) > votes(world, every) + more


def in_most(world: "World", node: NodeId) -> bool:
    """This node is in a ring that lasts and has more than half of all votes; whom its ledger knows counts, listed or not."""
    corosync = world.totem.nodes.get(node)
    if corosync is None or not world.totem.lives(corosync.ring):
        return False
    every, own = voters(world), frozenset(entry.id for entry in world.machines[node].disk.load()[0].nodes)
    device = world.totem.arbiter.holder is corosync.ring
    # While a change of one node is under way either list will do: their majorities have a node in common.
    lists = (every, own) if len(every ^ own) == 1 else (every,)
    known = frozenset(world.machines[node].memory.ledger.known)
    return any(most(world, corosync.ring.nodes, device, each | known) for each in lists)


def taker(estate: "Estate", members: Collection[NodeId], ledger: Ledger, row: Placed) -> NodeId | None:
    """A member that could take this lost VM, with those that must share its node; None where they fit nowhere.

    Every row that is `on` counts at each of its holders. A VM that is lost as well counts nowhere.
    """
    rows = [each for each in ledger.placements.values() if each.on]
    unit = _unit(row, [each for each in rows if _lost(each, members)])
    names = {vm.name for vm in unit}
    there = [(each.vm, node) for each in rows if each.vm.name not in names for node in each.holders if node in members]
    groups = [group for vm in unit for group in vm.apart]
    if len(set(groups)) < len(groups):
        return None  # two that must share a node and must not
    able = (node for node in sorted(members) if node not in ledger.excused)
    return next((node for node in able if _takes(estate, node, unit, there)), None)


def _lost(row: Placed, members: Collection[NodeId]) -> bool:
    return row.node not in members and not row.frozen and not row.to


def _unit(row: Placed, lost: list[Placed]) -> list[Vm]:
    """The VM and every other lost one that must share its node, directly or through a third."""
    unit, rest = [row.vm], [each.vm for each in lost if each.vm.name != row.vm.name]
    for vm in unit:  # it grows while it is walked
        near = [each for each in rest if each.together & vm.together]
        unit += near
        rest = [each for each in rest if each not in near]
    return unit


def _takes(estate: "Estate", node: NodeId, unit: list[Vm], there: list[tuple[Vm, NodeId]]) -> bool:
    options, mine = estate.options, [vm for vm, at in there if at == node]
    together = frozenset[str]().union(*(vm.together for vm in unit))
    if any(at != node and vm.together & together for vm, at in there):
        return False
    if any(vm.nodes is not None and node not in vm.nodes for vm in unit):
        return False
    if any(not vm.storages <= estate.nodes[node].hypervisor.storages for vm in unit):
        return False
    if any(vm.apart & other.apart for vm in unit for other in mine):
        return False
    every = [*mine, *unit]
    within_limit = options.vm_limit is None or len(every) <= options.vm_limit
    enough_cpus = sum(vm.cpus for vm in every) <= options.cpus * CPU_OVERCOMMIT
    return within_limit and enough_cpus and sum(vm.memory_kib for vm in every) <= options.memory_of(node)
