"""The master's decisions about VMs: what is proven of lost nodes, where their VMs go, what is adopted, frozen or shut down.

Obligations are not messages: every master derives the same ones from the ledger, the placements on nodes that are not
here. So a master that dies in the middle of anything takes nothing with it.
"""

from dataclasses import replace

from corolistener.core import adoption, keeping, moves, orders, start, waits
from corolistener.core.actions import Answer, Fence, Multicast, Spare, Until
from corolistener.core.config import ProofKind
from corolistener.core.events import AlarmAsked, ConfirmAsked, Outcome, Result
from corolistener.core.fencing import Attempt, proof, proof_due
from corolistener.core.ledger import EMPTY, Panic, Placed, Proven, Rows
from corolistener.core.messages import Alarm, Confirm, Inventory, VmState
from corolistener.core.notes import NoteCode
from corolistener.core.placing import choose, shown
from corolistener.core.presence import here as here
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId, Ticket, VmName

REMIND_MS = 60_000


def out_of_sight(s: State) -> tuple[NodeId, ...]:
    """The nodes that are gone and may have VMs, wanted or not: an operator may want to start one of them elsewhere."""
    return tuple(sorted(node for node, names in s.keeping.ledger.at.items() if names and not here(s, node)))


def owed(s: State) -> tuple[NodeId, ...]:
    """The nodes that are gone and may have VMs that should run: what the cluster still owes."""
    ledger = s.keeping.ledger
    gone = [node for node in ledger.at if not here(s, node)]
    return tuple(sorted(node for node in gone if any(ledger.placements[name].on for name in ledger.at[node])))


def decide(s: State, now: Instant) -> None:
    """One pass: everybody counts deadlines, the master fences and changes the ledger."""
    _count(s, now)
    _spare(s)
    waits.remind(s, now)
    if not s.acting:
        s.fencing.attempts = {node: each for node, each in s.fencing.attempts.items() if each.ticket is not None}
        return
    if s.keeping.ledger.panic is None:
        _fence(s, now)
    if not keeping.may_propose(s):
        return
    rows = _alarm(s) or orders.next_rows(s) or (_changes(s, now) if s.keeping.ledger.panic is None else EMPTY)
    rows = rows or _dismissed(s)
    if rows:
        keeping.propose(s, rows)


def _dismissed(s: State) -> Rows:
    """A node that is not in the list any more, is gone and has nothing counts among all votes until the ledger lets it go.

    One after the other, each when all before is stable: so every majority of what counted before has a node in common with
    every majority of what counts afterwards.
    """
    if keeping.stable(s) < s.keeping.version.index or s.storing.file != s.agreed or not s.rewrite.idle:
        return EMPTY
    listed = {entry.id for entry in s.nodes}
    for node in sorted(s.keeping.ledger.known.keys() - listed):
        if not here(s, node) and node not in s.group.ring_nodes and not s.keeping.ledger.at.get(node):
            s.out.note(NoteCode.DISMISSED, node=node)
            return Rows(dismissed=(node,))
    return EMPTY


def _count(s: State, now: Instant) -> None:
    """Since when each node that owes us VMs is out of sight; only who is part of a quorate line can see that."""
    if s.fencing.missed or s.desk.fences:
        for node in s.group.peers:
            s.fencing.returned(node)
            s.desk.fences.discard(node)
    if s.quorate and s.group.settled and s.me in s.group.peers and not s.lapsed:
        for node in (*out_of_sight(s), *s.desk.fences, *s.unattended):
            s.fencing.gone.setdefault(node, now)
        if s.lease.valid(now):
            start.wait(s, owed(s), now)


def _changes(s: State, now: Instant) -> Rows:
    """Everything the ledger has to say and does not yet."""
    proven = _proofs(s, now)
    placed, forgotten = adoption.reconcile(s)
    stamp = (s.keeping.version, s.group.line, s.news, proven, tuple(at for at in moves.due(s) if now >= at))
    if stamp != s.considered:
        s.considered = stamp
        old = {node for node in s.keeping.ledger.proofs if s.keeping.ledger.proven(node) is not None}
        lost = {node for node in old | {each.node for each in proven} if not here(s, node)}
        # One kind at a time: each is planned as if nothing else took room.
        adopts = bool(placed or forgotten)
        going = {} if adopts else _relocate(s, lost) or moves.given_up(s, now) or moves.drained(s, now)
        placed = going | moves.ended(s, lost, now) | placed
        if not adopts and not going:
            s.desk.again = {name: at for name, at in s.desk.again.items() if now < at}
    rows = tuple(placed[name] for name in sorted(placed))
    return Rows(placed=rows, proven=proven, forgotten=tuple(sorted(forgotten)), recalled=moves.returned(s))


# -- proofs


def _proofs(s: State, now: Instant) -> tuple[Proven, ...]:
    """The proofs that are there and not in the ledger yet."""
    found, ledger, wanted = [], s.keeping.ledger, {*owed(s), *s.desk.fences}
    for node in sorted({*out_of_sight(s), *wanted, *s.unattended}):
        known = ledger.known.get(node)
        if known is None or node not in s.fencing.gone or ledger.proven(node) is not None:
            continue
        seen = proof(node, known, s.fencing, _accepted(s, node), s.quorum.exclusive, s.config.timing, now)
        if seen is not None:
            found.append(seen)
            s.out.note(NoteCode.PROVEN, node=node, proof=seen.kind.value, by=seen.by or s.me)
            s.told.pop(f"owed-{node}", None)
        elif node in wanted:
            _remind(s, node, now)
    return tuple(found)


def _accepted(s: State, node: NodeId) -> tuple[ProofKind, ...]:
    """The kinds of proof that count about this lost node.

    `suspend` trusts its daemon to suspend what runs there. It is no proof while a VM is on its way to the node, because the VM
    may arrive after that daemon has left.
    """
    proofs = s.config.care.accepted(s.keeping.ledger.known[node].weak)
    return tuple(kind for kind in proofs if kind is not ProofKind.SUSPEND) if moves.incoming(s, node) else proofs


def _remind(s: State, node: NodeId, now: Instant) -> None:
    """Without a proof nothing is started, and that must not be forgotten."""
    vms = sum(1 for row in s.keeping.ledger.on(node) if row.on)
    minute = (now - s.fencing.gone[node]) // REMIND_MS
    s.tell(f"owed-{node}", NoteCode.OWED, node=node, vms=vms, minutes=minute)


def farewell(s: State, sender: NodeId) -> None:
    """It says that it runs nothing. That is a proof if it has told everything that it has, all of that is suspended, and no VM
    may be on its way to it."""
    peer = s.group.peers.get(sender)
    if peer is not None and not moves.incoming(s, sender) and _at_rest(s, sender, peer.inventory):
        s.fencing.evidence[sender] = Proven(sender, peer.boot, ProofKind.FAREWELL, f"node {sender}")


def _at_rest(s: State, node: NodeId, inventory: Inventory) -> bool:
    """A node with rows in the ledger sees all of its instances, and none of the ledger's VMs executes there or may."""
    rows = s.keeping.ledger
    if not rows.at.get(node):
        return True
    mine = [each for each in inventory.copies if each.vm.name in rows.placements]
    return inventory.complete and all(each.state is VmState.SUSPENDED for each in mine)


def confirmed(s: State, message: Confirm, now: Instant) -> None:
    """An operator's word, refused for a node that is here."""
    if not here(s, message.node) and message.node not in s.group.ring_nodes:
        s.fencing.evidence[message.node] = Proven(message.node, message.boot, ProofKind.OPERATOR, message.by)
        s.fencing.gone.setdefault(message.node, now)


# -- fence agents


def _fence(s: State, now: Instant) -> None:
    care, fencing, ledger = s.config.care, s.fencing, s.keeping.ledger
    if ProofKind.AGENT not in care.proofs:
        return
    s.desk.fences -= {node for node in s.desk.fences if here(s, node) or ledger.proven(node) is not None}
    gone = sorted({*owed(s), *s.desk.fences, *(node for node in s.unattended if not here(s, node))})
    wanted = [n for n in gone if n in care.agents and n in ledger.known and ledger.proven(n) is None]
    for node in [node for node, each in fencing.attempts.items() if node not in wanted and each.ticket is None]:
        del fencing.attempts[node]
    ready = [node for node in wanted if node in s.desk.fences or start.over(s, node, now)]
    for node in [node for node in ready if now >= fencing.spared.get(node, now)]:
        attempt = fencing.attempts.setdefault(node, Attempt(ledger.known[node].boot))
        if attempt.done_at is not None:
            _judge(s, node, attempt, now)
        elif attempt.ticket is None and now >= attempt.retry_at and s.lease.ends is not None and node not in fencing.evidence:
            attempt.boot, attempt.ticket, attempt.spared = ledger.known[node].boot, s.out.ticket(), False
            s.out.note(NoteCode.FENCING, node=node, tries=attempt.failures + 1)
            s.out.do(Fence(attempt.ticket, node, attempt.boot, Until(s.group.ring, s.lease.ends)))


def _spare(s: State) -> None:
    """A node that is back is not switched off any more: what its agent would prove is of no use, and it would have to begin
    anew. One that starts quicker than its agent works would come and be switched off for ever."""
    for node, attempt in sorted(s.fencing.attempts.items()):
        if attempt.ticket is not None and not attempt.spared and here(s, node):
            attempt.spared = True
            s.out.note(NoteCode.FENCE_REFUSED, node=node, why="returned")
            s.out.do(Spare(s.out.ticket(), node))


def _judge(s: State, node: NodeId, attempt: Attempt, now: Instant) -> None:
    """The agent said that the node is off. corosync must have lost it too; where it has not, the agent is not believed."""
    assert attempt.done_at is not None
    if node not in s.group.ring_nodes:
        s.fencing.evidence[node] = Proven(node, attempt.boot, ProofKind.AGENT, f"agent at node {s.me}")
        del s.fencing.attempts[node]
    elif now >= attempt.done_at + s.config.timing.agent_ms:
        s.out.note(NoteCode.FENCE_REFUSED, node=node, why="corosync still sees it")
        _again(s, attempt, now)


def _again(s: State, attempt: Attempt, now: Instant) -> None:
    timing = s.config.timing
    attempt.done_at = None
    attempt.failures += 1
    attempt.retry_at = Instant(now + min(timing.retry_most_ms, timing.retry_first_ms * 2 ** min(attempt.failures - 1, 16)))


def fenced(s: State, ticket: Ticket, outcome: Outcome, now: Instant) -> bool:
    """An agent has ended; False where it was none. One about a node that is back proves nothing."""
    node, attempt = next(((n, each) for n, each in s.fencing.attempts.items() if each.ticket == ticket), (NodeId(0), None))
    if attempt is None:
        return False
    attempt.ticket = None
    if outcome.result is Result.DONE and not here(s, node):
        attempt.done_at = now
        s.out.note(NoteCode.FENCED, node=node)
    elif outcome.result is Result.SUPERSEDED:
        attempt.retry_at = now
    else:
        returned = outcome.result is Result.DONE
        s.out.note(NoteCode.FENCE_REFUSED, node=node, why="returned" if returned else outcome.why or outcome.result.value)
        _again(s, attempt, now)
    return True


def in_flight(s: State, node: NodeId) -> bool:
    """A fence agent of this node is at work on it: it must not be admitted meanwhile."""
    attempt = s.fencing.attempts.get(node)
    return attempt is not None and attempt.ticket is not None


# -- what runs where


def _relocate(s: State, lost: set[NodeId]) -> dict[VmName, Placed]:
    """New nodes for the VMs of nodes that are gone and proven."""
    rows = s.keeping.ledger.placements
    names = {name for node in lost for name in s.keeping.ledger.at.get(node, ())}
    owed_vms = {name: rows[name] for name in names if _is_lost(rows[name], lost)}
    if not owed_vms:
        return {}
    planned = choose(s, owed_vms.values())
    for each in planned.owed:
        s.tell(f"vm-{each.vm.name}", NoteCode.VM_OWED, vm=each.vm.name, why=shown(each.refusals))
    found = {}
    for placement in planned.placements:
        row = owed_vms[placement.vm.name]
        anew = replace(row, node=placement.node, generation=row.generation + 1)
        found[placement.vm.name] = replace(anew, to=NodeId(0), live=True, tried=())
        s.told.pop(f"vm-{placement.vm.name}", None)
        s.out.note(NoteCode.VM_PLACED, vm=placement.vm.name, node=placement.node, was=row.node, generation=row.generation + 1)
    return found


def _is_lost(row: Placed, lost: set[NodeId]) -> bool:
    """One that was moving is first taken back to one node (moves.ended)."""
    return row.on and not row.frozen and not row.to and row.node in lost


# -- panic


def _alarm(s: State) -> Rows:
    """What an operator asked for, if it is not so already."""
    alarm, panic = s.alarm, s.keeping.ledger.panic
    if alarm is None or alarm.calm == (panic is None):
        return EMPTY
    if alarm.calm:
        return Rows(calm=True)
    return Rows(panic=Panic(alarm.reason, "", alarm.at))


def alarmed(s: State, message: Alarm) -> None:
    """Everybody remembers it until the ledger says so: the master may die before it does."""
    s.alarm = message if message.calm == (s.keeping.ledger.panic is not None) else None


def settle_alarm(s: State, rows: Rows) -> None:
    """The ledger has changed."""
    if rows.panic is not None:
        s.out.note(NoteCode.PANIC, reason=rows.panic.reason, at=rows.panic.at)
    elif rows.calm:
        s.out.note(NoteCode.RECOVERED)
    else:
        return
    s.alarm = None


def asked(s: State, event: ConfirmAsked | AlarmAsked, now: Instant) -> None:
    """An operator at this node. What cannot be is refused at once; the rest goes to the ring."""
    why, wait_ms = "", 0
    match event:
        case ConfirmAsked(_, node, by):
            known = s.keeping.ledger.known.get(node)
            if here(s, node) or node in s.group.ring_nodes:
                why = f"node {node} is here: only a node that is gone can be confirmed"
            elif known is None:
                why = f"node {node} never was part of this cluster's quorum"
            elif s.group.joined:
                wait_ms = max(0, s.fencing.gone.get(node, now) + known.lease_ms + known.grace_ms - now)
                s.out.do(Multicast(Confirm(node, known.boot, by)))
        case AlarmAsked(_, calm, reason, at):
            if calm == (s.keeping.ledger.panic is None):
                why = "there is no panic" if calm else "there is a panic already"
            elif s.group.joined:
                s.out.do(Multicast(Alarm(calm, reason, at)))
    if not why and not s.group.joined:
        why = "corosync is not connected"
    fields = (("why", why),) if why else (("wait_ms", str(wait_ms)),) if wait_ms else ()
    s.out.do(Answer(event.request, done=True, code="refused" if why else "ok", fields=fields))


def deadline(s: State) -> list[Instant]:
    """When to look again: proofs by the passing of time, agents to be tried or judged, reminders."""
    at = [each.retry_at for each in s.fencing.attempts.values() if each.ticket is None and each.done_at is None]
    at += [Instant(each.done_at + s.config.timing.agent_ms) for each in s.fencing.attempts.values() if each.done_at is not None]
    at += s.fencing.spared.values()
    at += start.deadline(s) + waits.deadline(s)
    at += moves.due(s) if s.acting else []
    for node, since in s.fencing.gone.items():
        known = s.keeping.ledger.known.get(node)
        if known is None or s.keeping.ledger.proven(node) is not None:
            continue
        due = proof_due(node, known, s.fencing, _accepted(s, node), s.quorum.exclusive, s.config.timing)
        at += [due] if due is not None else []
        at.append(Instant(since + ((s.last_step - since) // REMIND_MS + 1) * REMIND_MS))
    return at
