"""A member that was left behind and cannot destroy its outdated copies: in the end the master ends corosync there.

While it is a member nobody may fence it, and the VMs that are placed on it wait for a verdict that cannot come. Once it is
lost, its agent, its watchdog or an operator can prove what it could not do itself (safety.md, "Coming back").
"""

from corolistener.core import keeping, recovery
from corolistener.core.actions import KillNode, Until
from corolistener.core.config import Unreconciled
from corolistener.core.notes import NoteCode
from corolistener.core.reports import Report, VmState
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId


def outdated(s: State, node: NodeId) -> list[Report]:
    """Its copies of VMs that are placed elsewhere. What a user started there, and is suspended, is not for us to destroy."""
    copies, rows = s.group.peers[node].inventory.copies, s.keeping.ledger.placements
    placed = [(each, rows[each.vm.name]) for each in copies if each.vm.name in rows]
    return [each for each, row in placed if node not in row.holders and not (each.stray and each.state is VmState.SUSPENDED)]


def may_be_ended(s: State, node: NodeId) -> bool:
    """The others are a quorum without it, no agent is at work on it, and nobody has excused it: an operator may be at it."""
    others = [other for other in s.group.present if other != node]
    excused = node in s.keeping.ledger.excused or recovery.in_flight(s, node)
    return node != s.me and s.quorum.holds(others) and s.keeping.ledger.panic is None and not excused


def end(s: State, now: Instant) -> None:
    """Count the time of each, and end the corosync of whoever had it: one at a time, for then the ring is another one."""
    if not s.acting or s.config.care.disallowed is Unreconciled.HOLD:
        s.unreconciled.clear()
        return
    if not s.group.settled or keeping.stable(s) < 0:
        return
    late = [node for node in s.group.present if s.group.peers[node].disallowed and outdated(s, node)]
    s.unreconciled = {node: s.unreconciled.get(node, now) for node in late}
    for node, since in s.unreconciled.items():
        if now >= since + s.config.timing.reconcile_ms and may_be_ended(s, node) and s.lease.ends is not None:
            s.unreconciled[node] = now
            names = ",".join(each.vm.name for each in outdated(s, node))
            s.out.note(NoteCode.KILLED, node=node, vms=names, why="its copies are outdated, and it cannot destroy them")
            s.out.do(KillNode(s.out.ticket(), node, Until(s.group.ring, s.lease.ends)))
            return


def deadline(s: State) -> list[Instant]:
    """When one of them has had its time."""
    return [Instant(since + s.config.timing.reconcile_ms) for since in s.unreconciled.values()]
