"""What operators ask of VMs and nodes: asked at any node, decided by the master or done by the node that has the VM."""

from dataclasses import replace
from typing import assert_never

from corolistener.core.actions import Answer, EditVm, Multicast
from corolistener.core.events import OrderAsked, Outcome, Pause, Result
from corolistener.core.instance import SHUT_DOWN_MS, Copy
from corolistener.core.ledger import EMPTY, Excused, Placed, Rows
from corolistener.core.messages import Granted, Ordered, Refused, Report
from corolistener.core.moves import due, move, released, report_of, resting
from corolistener.core.notes import NoteCode
from corolistener.core.placing import choose, fits, shown
from corolistener.core.presence import called, here
from corolistener.core.state import State
from corolistener.core.wishes import ExcuseOrder, FenceOrder, ForgetOrder, MoveOrder, StartOrder, StopOrder, WishOrder
from corolistener.ids import Instant, NodeId, Ticket, VmName

QUEUE_MOST = 64


class Refusal(Exception):
    """The order is not carried out. `code` is stable, the text is not. Never leaves this module."""

    def __init__(self, code: str, why: str) -> None:
        self.code, self.why = code, why
        super().__init__(why)


def asked(s: State, event: OrderAsked, now: Instant) -> None:
    """At the operator's node."""
    if not s.quorate or s.master is None:
        why = "this partition has no quorum" if not s.quorate else "no node is master"
        s.out.do(Answer(event.request, True, "no-master", (("why", f"{why}; nothing was changed"),)))
        return
    s.desk.asked[event.request] = Instant(now + s.config.timing.request_ms)
    s.out.do(Multicast(Ordered(event.request, event.order, event.by)))


def answered(s: State, message: Granted | Refused) -> None:
    """The answer, at the operator's node."""
    if message.node != s.me or s.desk.asked.pop(message.request, None) is None:
        return
    match message:
        case Granted(where=where):
            s.out.do(Answer(message.request, True, "ok", (("node", str(where)),) if where else ()))
        case Refused(code=code, why=why):
            s.out.do(Answer(message.request, True, code, (("why", why),)))
        case _:
            assert_never(message)


def expire(s: State, now: Instant) -> None:
    """What nobody answered in time."""
    for number in [number for number, until in s.desk.asked.items() if now >= until]:
        del s.desk.asked[number]
        why = "no answer in time; look at `corolistener vm list` before asking again"
        s.out.do(Answer(number, True, "timed-out", (("why", why),)))


def deadline(s: State) -> list[Instant]:
    return [*s.desk.asked.values(), *due(s)] if s.acting else list(s.desk.asked.values())


# -- delivered


def delivered(s: State, sender: NodeId, message: Ordered, now: Instant) -> None:
    """To all: the node that has the VM does what is for it, the master takes the rest."""
    order = message.order
    if isinstance(order, StopOrder | WishOrder) or (isinstance(order, StartOrder) and _sleeps(s, order)):
        row = s.keeping.ledger.placements.get(order.name)
        if row is not None and row.node in s.group.present and s.keeping.ledger.panic is None and not row.to:
            if row.node == s.me:
                _here(s, sender, message, row, now)
            return
    if s.master != s.me:
        return
    if not s.acting or len(s.desk.queue) >= QUEUE_MOST:
        why = "the master has no right to act now" if not s.acting else "too many orders are waiting"
        s.out.do(Multicast(Refused(sender, message.request, "busy", f"{why}; ask again in a moment")))
    else:
        s.desk.queue.append((sender, message))


def _sleeps(s: State, order: StartOrder) -> bool:
    """It is suspended by its user: every member knows that from its node's report, and its node ends the pause."""
    row = s.keeping.ledger.placements.get(order.name)
    if row is None or not row.on or row.frozen or order.node not in (NodeId(0), row.node):
        return False
    copy = report_of(s, order.name, row.node)
    return copy is not None and copy.pause == Pause.USER.value


def _here(s: State, sender: NodeId, message: Ordered, row: Placed, now: Instant) -> None:
    copy = s.copies.vms.setdefault(row.vm.name, Copy(row.vm, definition=row.vm.definition))
    s.copies.turn += 1
    match message.order:
        case StopOrder(force=force):
            _stop(copy, row, force, now)
            s.out.do(Multicast(Granted(sender, message.request, s.me)))
        case StartOrder():
            copy.woken, copy.pause = True, Pause.CALL
            s.out.do(Multicast(Granted(sender, message.request, s.me)))
        case WishOrder(name, wishes):
            ticket = s.out.ticket()
            s.desk.edits[ticket] = sender, message.request
            s.out.do(EditVm(ticket, name, wishes, row.vm.uuid))


def _stop(copy: Copy, row: Placed, force: bool, now: Instant) -> None:
    if copy.state is None and not copy.risky:
        copy.ended = row.on
        return
    copy.stopping = True
    if force:
        copy.asked_at = Instant(now - SHUT_DOWN_MS)


def finished(s: State, ticket: Ticket, outcome: Outcome) -> bool:
    """A wish was written, or was not; False where it was none."""
    found = s.desk.edits.pop(ticket, None)
    if found is None:
        return False
    if outcome.result is Result.DONE:
        s.out.do(Multicast(Granted(*found, s.me)))
    else:
        s.out.do(Multicast(Refused(*found, "failed", outcome.why or outcome.result.value)))
    return True


# -- the master's


def next_rows(s: State) -> Rows:
    """What the next order changes in the ledger; orders that change nothing are answered on the way."""
    while s.desk.queue:
        sender, message = s.desk.queue.pop(0)
        try:
            rows, where = _decided(s, sender, message)
        except Refusal as refusal:
            s.out.do(Multicast(Refused(sender, message.request, refusal.code, refusal.why)))
            continue
        s.out.do(Multicast(Granted(sender, message.request, where)))
        if rows:
            return rows
    return EMPTY


def _decided(s: State, sender: NodeId, message: Ordered) -> tuple[Rows, NodeId]:
    """The rows of an order, and the node that it is about. Raises Refusal."""
    order = message.order
    if isinstance(order, ExcuseOrder):
        return _excused(s, order, message.by), order.node
    if s.keeping.ledger.panic is not None:
        raise Refusal("panic", "nothing is decided about vms until `corolistener recover`")
    if isinstance(order, FenceOrder):
        return _fenced(s, order.node), order.node
    row = s.keeping.ledger.placements.get(order.name)
    if row is None:
        raise _unknown(s, order.name)
    if row.frozen and not isinstance(order, ForgetOrder) and not (isinstance(order, StartOrder) and not here(s, row.node)):
        raise Refusal("frozen", f"{order.name} is frozen: it {row.frozen}")
    if row.to:
        raise Refusal("moves", f"{order.name} is on its way from node {row.node} to node {row.to}")
    s.desk.again.pop(order.name, None)
    match order:
        case StartOrder(node=node):
            row = _started(s, row, node)
        case MoveOrder(to=to, live=live):
            row = _moved(s, row, to, live)
        case StopOrder():
            row = replace(row, on=False)
        case ForgetOrder():
            return _forgotten(s, row, message.by), row.node
        case WishOrder():
            raise Refusal("node-lost", f"{order.name} is on node {row.node}, which is not here")
    return Rows(placed=(row,)), row.to or row.node


def _started(s: State, row: Placed, node: NodeId) -> Placed:
    name, copy = row.vm.name, report_of(s, row.vm.name, row.node)
    anew = replace(row, on=True, tried=(), generation=row.generation + 1)
    if not here(s, row.node):
        return _started_elsewhere(s, anew, node)
    if node in (NodeId(0), row.node):
        return replace(row, on=True) if copy is not None else anew
    if copy is not None and copy.unmanaged:
        raise _unmanaged(s, name, row.node, copy)
    if copy is not None or not released(s, row, node=row.node):
        raise Refusal("runs", f"{name} is on node {row.node}: `corolistener vm migrate` or `relocate` moves it")
    if why := fits(s, row.vm, node):
        raise Refusal("no-room", f"{name} does not fit on node {node}: {why}")
    return replace(anew, node=node)


def _started_elsewhere(s: State, anew: Placed, node: NodeId) -> Placed:
    """The row of a VM whose node is lost: it may be frozen or shut down, and an operator wants it to run on `node`."""
    name, lost = anew.vm.name, called(s, anew.node)
    if node in (NodeId(0), anew.node):
        if anew.frozen:
            raise Refusal(
                "frozen", f"{name} is frozen: it {anew.frozen}; `corolistener vm start {name} --on NODE` after a proof"
            )
        return anew  # it is started elsewhere when there is a proof
    if s.keeping.ledger.proven(anew.node) is None:
        why = f"{name} is on {lost}, which is lost, and nothing proves yet that it runs nothing; see `corolistener status`"
        raise Refusal("no-proof", why)
    for other in s.group.present:
        if s.group.peers[other].inventory.instance_of(anew.vm) is not None:
            raise Refusal("runs", f"{name} is on {called(s, other)} as well: it has to be destroyed there first")
    if why := fits(s, anew.vm, node):
        raise Refusal("no-room", f"{name} does not fit on {called(s, node)}: {why}")
    return replace(anew, node=node, frozen="")


def _unknown(s: State, name: VmName) -> Refusal:
    for node in s.group.present:
        report = s.group.peers[node].inventory.by_name.get(name)
        if report is not None and report.unmanaged:
            return _unmanaged(s, name, node, report)
    return Refusal("unknown-vm", f"no managed vm is named {name}; see `corolistener vm list`")


def _unmanaged(s: State, name: VmName, node: NodeId, report: Report) -> Refusal:
    return Refusal("unmanaged", f"{name} is not managed; runs on {called(s, node)}: {report.unmanaged}")


def _forgotten(s: State, row: Placed, by: str) -> Rows:
    """The ledger knows the VM no more. One that is to be adopted and runs would be known again at once."""
    for node in s.group.present:
        report = s.group.peers[node].inventory.instance_of(row.vm)
        if report is not None and not report.unmanaged:
            why = f"{row.vm.name} is on {called(s, node)}, and would be adopted again"
            raise Refusal("runs", f"{why}: `corolistener vm set {row.vm.name} --manage no` lets it go")
    s.out.note(NoteCode.VM_FORGOTTEN, vm=row.vm.name, node=row.node, why=f"asked for by {by}" if by else "asked for")
    return Rows(forgotten=(row.vm.name,))


def _moved(s: State, row: Placed, to: NodeId, live: bool) -> Placed:
    name = row.vm.name
    if not row.on:
        raise Refusal("not-running", f"{name} does not run: `corolistener vm start {name} --on NODE` starts it elsewhere")
    if row.node not in s.group.present:
        raise Refusal("node-lost", f"{name} is on node {row.node}, which is not here: it is started elsewhere after a proof")
    copy = report_of(s, name, row.node)
    if copy is not None and copy.unmanaged:
        raise _unmanaged(s, name, row.node, copy)
    if live and (why := resting(s, row)):
        raise Refusal("suspended", f"{name} is not migrated now: {why}; `vm start` or `vm relocate`, which loses its memory")
    if to == row.node:
        raise Refusal("there-already", f"{name} is on node {to} already")
    if to:
        if why := fits(s, row.vm, to):
            raise Refusal("no-room", f"{name} does not fit on node {to}: {why}")
        return move(s, row, to, live)
    planned = choose(s, [row], {row.node})
    if planned.owed:
        raise Refusal("no-room", f"no other node takes {name}: {shown(planned.owed[0].refusals)}")
    return move(s, row, planned.placements[0].node, live)


def _excused(s: State, order: ExcuseOrder, by: str) -> Rows:
    node, peer = order.node, s.group.peers.get(order.node)
    if s.entry(node) is None and node not in s.keeping.ledger.excused:
        raise Refusal("unknown-node", f"no node of the nodelist has the id {node}")
    if not order.on:
        if node not in s.keeping.ledger.excused:
            raise Refusal("not-excused", f"node {node} is not in maintenance")
        s.out.note(NoteCode.READMITTED, node=node, by=by)
        return Rows(recalled=(node,))
    if order.leaving and node in s.keeping.ledger.excused and not s.keeping.ledger.excused[node].incarnation:
        return Rows(excused=(replace(s.keeping.ledger.excused[node], drained=True),)) if order.drain else EMPTY
    incarnation = peer.incarnation if order.leaving and peer is not None else ""
    for name in s.keeping.ledger.at.get(node, ()):
        s.desk.again.pop(name, None)
    s.out.note(NoteCode.EXCUSED, node=node, drained=order.drain, by=by)
    return Rows(excused=(Excused(node, order.drain, by, incarnation),))


def _fenced(s: State, node: NodeId) -> Rows:
    if node in s.group.peers or node in s.group.ring_nodes:
        raise Refusal("member", f"node {node} is here: only a node that is lost is fenced")
    if node not in s.config.care.agents:
        raise Refusal("no-agent", f"no fence agent is configured for node {node}")
    if node not in s.keeping.ledger.known:
        raise Refusal("unknown-node", f"node {node} never was part of this cluster's quorum")
    s.desk.fences.add(node)
    if (attempt := s.fencing.attempts.get(node)) is not None:
        attempt.retry_at = Instant(0)
    return EMPTY


def orphaned(s: State) -> None:
    """The master is another one now: what was not answered is asked again by whoever asked."""
    s.desk.queue.clear()
