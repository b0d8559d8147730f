"""VMs and the nodes that carry them in the shapes that wire/control promises, and what operators ask about them as orders."""

import re
from collections.abc import Iterable
from typing import Any

from corolistener.core.capacity import Capacity, Refusal
from corolistener.core.ledger import Placed
from corolistener.core.placing import what_if
from corolistener.core.state import State
from corolistener.core.vm_status import IN_DOUBT, CarrierStatus, VmStatus, Wanted, carriers_of, counts_of, undecided, vms_of
from corolistener.core.wishes import (
    ExcuseOrder,
    FenceOrder,
    ForgetOrder,
    MoveOrder,
    Order,
    StartOrder,
    StopOrder,
    Wishes,
    WishOrder,
)
from corolistener.daemon.asked import shown
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId, VmName

Frame = dict[str, Any]
GROUP = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""What a group of VMs may be called: it is a word in a hypervisor's metadata and on command lines."""
NAME_MOST, UUID_MOST = 255, 64
"""Bytes of a VM's name: hypervisors make the name of a file from it."""
RANK_MOST = 2**31 - 1
MOST = 500
"""VMs in one answer: a frame has an end."""
KIB = 1024


# -- what is asked


def orders(verb: str) -> bool:
    """Whether a verb is an order of core/wishes."""
    return verb in ("vm-start", "vm-stop", "vm-move", "vm-set", "vm-forget", "maintenance", "fence")


def order_of(verb: str, args: Frame, nodelist: Iterable[NodeId]) -> Order:
    """The order an operator gives. Raises RequestRefused `bad-request` or `unknown-node` saying what is wrong with it."""
    match verb:
        case "vm-start":
            return StartOrder(name_in(args), node_in(args, "node", optional=True))
        case "vm-forget":
            return ForgetOrder(name_in(args))
        case "vm-stop":
            return StopOrder(name_in(args), yes_in(args, "force", False))
        case "vm-move":
            return MoveOrder(name_in(args), node_in(args, "to", optional=True), yes_in(args, "live", True))
        case "vm-set":
            return WishOrder(name_in(args), wishes_in(args, nodelist))
        case "maintenance":
            on = yes_in(args, "on")
            return ExcuseOrder(node_in(args, "node"), on, on and yes_in(args, "drain", False))
        case "fence":
            return FenceOrder(node_in(args, "node"))
    raise RequestRefused("unknown-verb", f"{verb}: not known to this daemon")


def wishes_in(args: Frame, nodelist: Iterable[NodeId]) -> Wishes:
    """What shall change of a VM. Raises RequestRefused; also where nothing shall, or a node is none of the nodelist."""
    nodes = args.get("nodes")
    if nodes is not None:
        nodes = frozenset(nodes_in(args, "nodes"))
        if strange := sorted(nodes - set(nodelist)):
            raise RequestRefused("unknown-node", f"no node of the nodelist has the id {strange[0]}")
    wishes = Wishes(
        priority=_rank(args, "priority"),
        start_order=_rank(args, "order"),
        together=_groups(args, "together"),
        apart=_groups(args, "apart"),
        nodes=nodes,
        managed=yes_in(args, "managed") if args.get("managed") is not None else None,
    )
    if wishes == Wishes():
        raise RequestRefused("bad-request", "nothing to change: priority, order, together, apart, nodes or managed is missing")
    return wishes


def name_in(args: Frame) -> VmName:
    """The VM that is meant. Raises RequestRefused."""
    name = args.get("vm")
    if not isinstance(name, str) or not name or len(name.encode()) > NAME_MOST:
        raise RequestRefused("bad-request", f"vm: expected a name, found {shown(name)}")
    return VmName(name)


def start_in(args: Frame) -> tuple[VmName, str, tuple[str, ...]]:
    """The VM that libvirt is about to start, its UUID ('' if a hook of another version asks) and its disks. Raises
    RequestRefused."""
    uuid, disks = args.get("uuid", ""), args.get("disks", [])
    if not isinstance(uuid, str) or len(uuid) > UUID_MOST:
        raise RequestRefused("bad-request", f"uuid: expected a UUID, found {shown(uuid)}")
    if not isinstance(disks, list) or not all(isinstance(each, str) for each in disks):
        raise RequestRefused("bad-request", f"disks: expected a list of places, found {shown(disks)}")
    return name_in(args), uuid, tuple(disks)


def node_in(args: Frame, key: str, optional: bool = False) -> NodeId:
    """A node id; 0 where it may be left out and is. Raises RequestRefused."""
    value = args.get(key)
    if value is None and optional:
        return NodeId(0)
    if type(value) is not int or not 0 < value < 2**32:
        raise RequestRefused("bad-request", f"{key}: expected the id of a node, found {shown(value)}")
    return NodeId(value)


def nodes_in(args: Frame, key: str) -> tuple[NodeId, ...]:
    """A list of node ids. Raises RequestRefused."""
    value = args.get(key)
    if not isinstance(value, list):
        raise RequestRefused("bad-request", f"{key}: expected a list of node ids, found {shown(value)}")
    return tuple(node_in({key: each}, key) for each in value)


def yes_in(args: Frame, key: str, default: bool | None = None) -> bool:
    """True or false. Raises RequestRefused."""
    value = args.get(key, default)
    if not isinstance(value, bool):
        raise RequestRefused("bad-request", f"{key}: expected true or false, found {shown(value)}")
    return value


def _rank(args: Frame, key: str) -> int | None:
    value = args.get(key)
    if value is not None and (type(value) is not int or not -RANK_MOST <= value <= RANK_MOST):
        raise RequestRefused("bad-request", f"{key}: expected a whole number of at most {RANK_MOST}, found {shown(value)}")
    return value


def _groups(args: Frame, key: str) -> frozenset[str] | None:
    value = args.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) and GROUP.fullmatch(each) for each in value):
        raise RequestRefused("bad-request", f"{key}: expected names of letters, digits and .:_- , found {shown(value)}")
    return frozenset(value)


# -- what is answered


def vms_frame(s: State, args: Frame, unmanaged: Iterable[tuple[str, str]]) -> Frame:
    """The answer to `vms`. Raises RequestRefused."""
    names, after = args.get("names"), args.get("after", "")
    if names is not None and not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
        raise RequestRefused("bad-request", f"names: expected a list of names, found {shown(names)}")
    if not isinstance(after, str):
        raise RequestRefused("bad-request", f"after: expected a name, found {shown(after)}")
    most = args.get("most", MOST)
    if type(most) is not int or not 0 <= most <= MOST:
        raise RequestRefused("bad-request", f"most: expected 0 to {MOST}, found {shown(most)}")
    node = node_in(args, "node") if args.get("node") is not None else None
    picked = frozenset(map(VmName, names)) if names is not None else None
    vms, more = vms_of(s, Wanted(picked, node, VmName(after), most))
    first = names is None and not after
    states, owed = counts_of(s) if most == 0 else ({}, {})
    called = {entry.id: entry.name for entry in s.nodes}
    return {
        "vms": [_vm(each, called.get(each.placed.node, "")) for each in vms],
        "more": vms[-1].placed.vm.name if more and vms else None,
        "states": dict(states),
        "owed": dict(owed),
        "nodes": [_carrier(each) for each in carriers_of(s)] if first else [],
        "unmanaged": _let_go(s, unmanaged) if first else [],
    }


def _let_go(s: State, here: Iterable[tuple[str, str]]) -> list[Frame]:
    """What is not cared for: on this node, and what members report though the ledger does not know it."""
    found: list[Frame] = [{"name": name, "why": why, "node": None} for name, why in sorted(here)]
    for node in s.group.present:
        for each in s.group.peers[node].inventory.copies:
            if each.unmanaged and s.keeping.ledger.row_of(each.vm) is None:
                found = [one for one in found if one["name"] != each.vm.name]
                found.append({"name": each.vm.name, "why": each.unmanaged, "node": node})
    return found


def _vm(status: VmStatus, node_name: str) -> Frame:
    row, vm = status.placed, status.placed.vm
    return {
        "name": vm.name,
        "node": row.node,
        "node_name": node_name,
        "to": row.to or None,
        "state": status.state,
        "pause": status.pause,
        "on": row.on,
        "frozen": row.frozen,
        "generation": row.generation,
        "priority": vm.priority,
        "order": vm.start_order,
        "memory_mib": vm.memory_kib // KIB,
        "cpus": vm.cpus,
        "storages": sorted(vm.storages),
        "together": sorted(vm.together),
        "apart": sorted(vm.apart),
        "nodes": None if vm.nodes is None else sorted(vm.nodes),
        "definition": vm.definition,
        "live": row.live,
        "tried": list(row.tried),
        "local": list(status.local),
        "unmanaged": status.unmanaged,
        "unkept": status.unkept,
        "others": [{"node": node, "uuid": uuid} for node, uuid in status.others],
        "uuid": vm.uuid,
        "troubles": [
            {"node": node, "why": each.why, "given_up": each.given_up == row.generation} for node, each in status.troubles
        ],
        "copies": [
            {
                "node": node,
                "state": each.state.value if each.state is not None else IN_DOUBT,
                "generation": each.generation,
                "stray": each.stray,
                "stuck": each.stuck,
            }
            for node, each in status.copies
        ],
        "owed": status.owed,
        "why": status.why,
        "refusals": _refusals(status.refusals),
    }


def _refusals(refusals: Iterable[Refusal]) -> list[Frame]:
    return [{"obstacle": each.obstacle.value, "nodes": each.nodes, "subject": each.subject} for each in refusals]


def _carrier(status: CarrierStatus) -> Frame:
    excused = status.excused
    return {
        "id": status.node,
        "name": status.name,
        "here": status.here,
        "takes": not status.why,
        "why": status.why,
        **_capacity(status.capacity, status.free_kib),
        "vms": status.vms,
        "maintenance": None
        if excused is None
        else {"drained": excused.drained, "by": excused.by, "leaving": bool(excused.incarnation)},
    }


def _capacity(capacity: Capacity | None, free_kib: int) -> Frame:
    if capacity is None:
        return dict.fromkeys(("memory_mib", "reserved_percent", "free_mib", "cpus", "limit", "storages"))
    return {
        "memory_mib": capacity.memory_kib // KIB,
        "reserved_percent": capacity.reserved_memory_percent,
        "free_mib": free_kib // KIB,
        "cpus": capacity.cpus,
        "limit": capacity.vm_limit,
        "storages": sorted(capacity.storages),
    }


def plan_frame(s: State, args: Frame) -> Frame:
    """The answer to `plan`. Raises RequestRefused for a node that nobody knows, and where this node cannot know enough."""
    drained = args.get("drain") is not None
    if drained == (args.get("lose") is not None):
        raise RequestRefused("bad-request", "plan: either lose or drain is wanted")
    nodes = frozenset((node_in(args, "drain"),) if drained else nodes_in(args, "lose"))
    known = {*(entry.id for entry in s.nodes), *s.keeping.ledger.holders()}
    if strange := sorted(nodes - known):
        raise RequestRefused("unknown-node", f"no node of the nodelist has the id {strange[0]}")
    if not s.quorate or not s.keeping.open:
        raise RequestRefused("no-quorum", "this node is in no quorum that agrees on who runs what; nothing can be planned")
    planned, rows = what_if(s, nodes), s.keeping.ledger.placements
    return {
        "placements": [
            {
                "vm": each.vm.name,
                "from": rows[each.vm.name].node,
                "to": each.node,
                "reason": each.reason.choice.value if each.reason is not None else "",
                "joined": each.reason.joined if each.reason is not None else "",
                "left_mib": each.reason.left_kib // KIB if each.reason is not None else 0,
            }
            for each in planned.placements
        ],
        "owed": [
            {"vm": each.vm.name, "from": rows[each.vm.name].node, "refusals": _refusals(each.refusals)} for each in planned.owed
        ],
        "frozen": [_frozen(row) for row in undecided(s, nodes)],
        "quorate": drained or s.quorum.holds(set(s.group.present) - nodes),
    }


def _frozen(row: Placed) -> Frame:
    return {"vm": row.vm.name, "from": row.node, "why": row.frozen}
