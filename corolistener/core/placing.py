"""Where VMs may go, as the master sees it: the planner's input from the ledger and from what members say of themselves."""

from collections.abc import Collection
from dataclasses import replace

from corolistener.core.capacity import Capacity, Refusal, Vm
from corolistener.core.ledger import Placed
from corolistener.core.messages import Inventory
from corolistener.core.relocation import Placement, Plan, plan
from corolistener.core.state import State
from corolistener.ids import NodeId, VmName


def takers(s: State, without: Collection[NodeId] = ()) -> list[Capacity]:
    """The members that may be given VMs now."""
    found = []
    for node in s.group.present:
        peer = s.group.peers[node]
        able = peer.capacity is not None and not peer.disallowed and peer.inventory.complete
        if able and peer.capacity is not None and node not in s.keeping.ledger.excused and node not in without:
            taken = _taken(s, peer.inventory)
            found.append(replace(peer.capacity, taken=taken) if taken else peer.capacity)
    return found


def _taken(s: State, said: Inventory) -> frozenset[VmName]:
    """The names of the ledger's VMs that other VMs have on a member."""
    rows = s.keeping.ledger.placements
    running = (each.vm for each in said.copies)
    taken = {vm.name for vm in running if vm.name in rows and not rows[vm.name].vm.is_same(vm.uuid)}
    return frozenset(taken.union(name for name, _ in said.blocked))


def occupied(s: State, without: Collection[VmName] = ()) -> list[Placement]:
    """Every VM that has its memory on a node or will; one that moves, on both."""
    rows = s.keeping.ledger.placements
    there = [row for name, row in sorted(rows.items()) if row.on and name not in without]
    return [Placement(row.vm, node) for row in there for node in row.holders]


def choose(s: State, rows: Collection[Placed], without: Collection[NodeId] = ()) -> Plan:
    """Nodes for these VMs, as if they were nowhere; none of `without`."""
    names = {row.vm.name for row in rows}
    return plan(takers(s, without), occupied(s, names), [row.vm for row in sorted(rows, key=lambda row: row.vm.name)])


def fits(s: State, vm: Vm, node: NodeId) -> str:
    """Why a VM cannot go to this node; '' where it can."""
    if not any(each.node == node for each in takers(s)):
        return f"node {node} takes no vms now"
    allowed = frozenset({node}) if vm.nodes is None else vm.nodes & {node}
    planned = plan([each for each in takers(s) if each.node == node], occupied(s, {vm.name}), [replace(vm, nodes=allowed)])
    return shown(planned.owed[0].refusals) if planned.owed else ""


def what_if(s: State, lost: Collection[NodeId]) -> Plan:
    """Where the VMs of these nodes would go, were they lost now, or drained: what `corolistener plan` shows."""
    rows = [row for _, row in sorted(s.keeping.ledger.placements.items()) if row.on and not row.frozen and row.node in lost]
    return choose(s, rows, lost)


def shown(refusals: Collection[Refusal]) -> str:
    """Why no node takes a VM: obstacle, what it is about, and how many nodes it closes."""
    words = [f"{each.obstacle.value}{f'({each.subject})' if each.subject else ''}:{each.nodes}" for each in refusals]
    return " ".join(words) or "no-nodes"
