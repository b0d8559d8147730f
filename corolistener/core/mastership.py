"""Who is master, whether that is this node and it may act, and what it then has and lets go of."""

from corolistener.core import (
    care,
    changes,
    differences,
    images,
    keeping,
    orders,
    recovery,
    serving,
    unknown,
    unreconciled,
    watchdog,
)
from corolistener.core.actions import KillService, Leave, Multicast, Reason, Until
from corolistener.core.config import CloudAddress, NodeEntry
from corolistener.core.duties import Duty, DutyName, wanted
from corolistener.core.election import Candidate, elect, has_replica, obstacles
from corolistener.core.lifecycle import Mode
from corolistener.core.messages import Farewell, Released, Verdict
from corolistener.core.notes import NoteCode
from corolistener.core.reconcile import letting_go, phase_of, taking
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

FAREWELL_MS = 2000
NO_ADDRESS = CloudAddress("", 0, "")


def candidates(s: State) -> tuple[Candidate, ...]:
    """The nodes of the line whose daemon is here, as the election sees them.

    A master whose file was edited by hand, without a new version, stays in place: it gives the file one.
    """
    found = []
    for node in s.group.present:
        peer = s.group.peers[node]
        edited = node == s.master and peer.file.version == s.agreed.version
        found.append(Candidate(node, s.entry(node), s.agreed if edited else peer.file, peer.disallowed, bool(peer.unable)))
    return tuple(found)


def choose(s: State) -> None:
    """Elect. A master whose daemon is being restarted stays what it is."""
    if not s.group.settled or s.master in s.group.pending:
        return
    standing = candidates(s)
    # Who is master may stand with a file that others may not have: once it is none, the choice may be another one. All have to
    # come to it at the same place of the order, so at once.
    for _ in range(len(standing) + 1):
        master = elect(standing, s.agreed, s.database, _returning(s))
        if master == s.master:
            break
        s.master, s.offer = master, None
        if master is not None:  # without a master nobody takes over: if the first one is elected again, it is still the first
            s.first = master if s.starting or master == s.first else NodeId(0)
        s.verdicts.clear()  # what was on its way is not listened to any more
        s.group.step()
        changes.orphaned(s, "master-changed", "the master has changed")
        orders.orphaned(s)
        standing = candidates(s)
    if s.master is not None:
        s.claims[s.master] = None
    if s.quorate:
        # The start is over when a master can act. A daemon that is alone in a quorate ring is elected, and cannot.
        s.starting = s.starting and (s.master is None or not s.quorum.holds(s.group.present))
        _tell(s, standing)


def _returning(s: State) -> tuple[NodeEntry | None, ...]:
    return tuple(s.entry(node) for node in s.group.pending)


def _tell(s: State, standing: tuple[Candidate, ...]) -> None:
    view = s.view()
    differences.say(s)
    s.tell("view", NoteCode.VIEW, ring=view.ring, members=",".join(str(node) for node in view.members))
    if s.master is None:
        s.tell("master", NoteCode.NO_MASTER, ring=view.ring)
    else:
        s.tell("master", NoteCode.MASTER, node=s.master)
    replicated = has_replica(standing, s.agreed, s.database, _returning(s))
    for candidate in standing:
        whys = [why.value for why in obstacles(candidate, s.agreed, replicated)]
        if whys:
            s.tell(f"eligible-{candidate.id}", NoteCode.INELIGIBLE, node=candidate.id, why=" ".join(whys))
        elif f"eligible-{candidate.id}" in s.told:
            s.tell(f"eligible-{candidate.id}", NoteCode.ELIGIBLE, node=candidate.id)
    entry = s.entry(s.master) if s.master is not None else None
    if s.database and entry is not None and entry.replication is False:
        s.tell("replica", NoteCode.REPLICATION_OFF, node=entry.id)
    else:
        s.told.pop("replica", None)


def here(s: State) -> bool:
    """A former master that can still be asked has not let go yet; where quorum excludes nobody, an absent one counts too."""
    return any(since is None or not s.quorum.exclusive for node, since in s.claims.items() if node != s.me)


def over(s: State, node: NodeId, now: Instant) -> bool:
    """This node serves no more: it is out of sight, and that is proven, or it has been for so long."""
    since = s.claims[node]
    if since is None:
        return False
    return proven(s, node) or (s.quorum.exclusive and node not in s.unattended and now >= vacated(s, node, since))


def vacated(s: State, node: NodeId, since: Instant) -> Instant:
    """When a node out of sight since then has let go of the service, by what this node's settings say and by what that one
    announced."""
    known, wait_ms = s.keeping.ledger.known.get(node), s.config.timing.vacated_ms
    return Instant(since + (wait_ms if known is None else max(wait_ms, known.lease_ms + serving.may_last_ms(known))))


def waits(s: State) -> list[Instant]:
    """When the wait for a former master is over, or is told of once more."""
    out = {node: since for node, since in s.claims.items() if since is not None and node != s.me}
    remind_ms = recovery.REMIND_MS
    at = [Instant(out[n] + ((s.last_step - out[n]) // remind_ms + 1) * remind_ms) for n in s.unattended & set(out)]
    if s.quorum.exclusive:
        at += [vacated(s, node, since) for node, since in out.items() if node not in s.unattended]
    return at


def proven(s: State, node: NodeId) -> bool:
    """A lost node runs nothing any more, by a proof that nobody can forget."""
    kept = s.keeping.ledger.proven(node) is not None and not recovery.here(s, node)
    return kept and keeping.stable(s) >= s.keeping.version.index


def cleared(s: State, now: Instant) -> bool:
    """No former master can be running the service any more."""
    return all(over(s, node, now) for node in s.claims if node != s.me)


def may_act(s: State, now: Instant) -> bool:
    """I am master in a quorate line, and my lease runs. To begin with, everything is told and nobody else is acting."""
    return (
        s.mode in (Mode.ADOPTING, Mode.RUNNING)
        and s.master == s.me
        and s.me in s.group.peers
        and s.quorum.quorate
        and s.lease.valid(now)
        and (s.acting or (s.matched and s.group.settled and s.quorum.holds(s.group.present) and not here(s)))
    )


def act(s: State, now: Instant) -> None:
    """Become or cease to be the acting master; leave the adopting mode when it is clear who is."""
    acting = may_act(s, now)
    if s.mode is Mode.ADOPTING and (acting or _decided(s, now)):
        s.mode = Mode.RUNNING
    if acting == s.acting:
        return
    s.acting = acting
    if acting:
        s.why_not = Reason.NOT_MASTER
        s.out.note(NoteCode.ROLE, role="master", ring=s.group.ring)
        return
    if s.mode is Mode.LEAVING:
        s.why_not = Reason.LEAVING
    elif s.lease.valid(now):
        peer = s.group.peers.get(s.me)
        # A line that went on without this node has its new master already: nothing is handed over in order.
        s.why_not = Reason.DISALLOWED if peer is not None and peer.disallowed else Reason.SUPERSEDED_MASTER
    s.former = s.me
    s.rewrite.abandon()
    s.out.note(NoteCode.ROLE, role="slave" if s.quorate else "none", reason=s.why_not.value)


def _decided(s: State, now: Instant) -> bool:
    """It is clear that this node is not master, or it has taken too long to find out."""
    if s.adopt_until is not None and now >= s.adopt_until:
        return True
    if s.matched and not s.quorum.quorate:
        return True
    return s.quorate and s.group.settled and s.master not in (None, s.me)


def fulfil(s: State, now: Instant) -> None:
    """Take the difference between what is wanted of the duties and what is had to the lanes."""
    if s.mode in (Mode.ADOPTING, Mode.LEFT, Mode.BROKEN):
        return
    clear, addressed = cleared(s, now), s.config.cloud is not None
    planned = s.lease.valid(now) and (s.mode is Mode.LEAVING or s.why_not is Reason.SUPERSEDED_MASTER)
    serving.bound(s, planned, now)
    wishes = wanted(s.duties, s.acting, clear, planned, addressed)
    if not wishes[DutyName.DATABASE] and s.duties.database.ticket is None:
        s.duties.database.had = False
    for duty in s.duties.all():
        again = s.acting and duty.found and duty.ticket is None and (clear or duty is not s.duties.service)
        late = duty is s.duties.service and serving.overdue(s, now) and not duty.hard
        if again or late or duty.due(wishes[duty.name], now):
            _take_up(s, duty, wishes[duty.name], now)
    _tell_waiting(s, s.acting and not clear and not s.duties.service.keeps, now)
    phase = phase_of(s.duties, s.acting, clear, addressed, not s.rewrite.idle)
    if phase is not s.phase:
        s.phase = phase
        s.out.note(NoteCode.PHASE, phase=phase.value)


def _tell_waiting(s: State, waits: bool, now: Instant) -> None:
    """Whom the service waits for: until when, or, where only a proof helps, since how many minutes."""
    others = [node for node in sorted(s.claims) if node != s.me]
    silent = [node for node in others if node in s.unattended]
    if not waits:
        s.told.pop("waits", None)
    elif silent:
        since = min(s.claims[node] or now for node in silent)
        minutes = max(0, now - since) // recovery.REMIND_MS
        s.tell("waits", NoteCode.SERVICE_WAITS_FOR_PROOF, former=",".join(map(str, silent)), minutes=minutes)
    else:
        left_ms = max(vacated(s, node, now) - now for node in others)
        s.tell("waits", NoteCode.SERVICE_WAITS, former=",".join(map(str, others)), ms=left_ms)


def _take_up(s: State, duty: Duty, wish: bool, now: Instant) -> None:
    reason = Reason.RETRIED if duty.failures and duty.toward == wish else s.why_not
    ticket = s.out.ticket()
    address = s.config.cloud or NO_ADDRESS
    if wish:
        assert s.lease.ends is not None
        if reason is not Reason.RETRIED:
            had_before = duty.toward and duty.tried
            reason = Reason.ADOPTED if duty.found else Reason.RESTORED if had_before else Reason.ELECTED
        until = Until(s.group.ring, s.lease.ends)
        former = s.former if s.former != s.me else None
        action = taking(duty.name, ticket, until, reason, address, s.storing.cluster.ports, former)
    elif duty is s.duties.service and serving.overdue(s, now):
        action = KillService(ticket, reason)
        s.out.note(NoteCode.SERVICE_KILLED, reason=reason.value)
    else:
        action = letting_go(duty.name, ticket, reason, address)
    duty.begin(ticket, wish, isinstance(action, KillService))
    s.out.do(action)


def say(s: State, now: Instant) -> None:
    """What others wait to hear: that I have let go, that a returned node is admitted, that I leave."""
    held = not s.duties.nothing_serves
    if s.mode is Mode.LEAVING:
        still = not held and (watchdog.suspended(s) or watchdog.spared(s, now)) and not images.leaves_locks(s)
        still = still and (care.told_at_rest(s) or unknown.heard_at(s) is None)
        if _blind(s):
            s.mode = Mode.LEFT  # without a farewell: it does not know what runs here, so the others must not believe it
            s.out.do(Leave())
        elif s.farewell_at is not None or (still and watchdog.disarm(s)):
            _leave(s, now)
        return
    if not s.group.settled:
        return
    if s.mode is Mode.RUNNING and not s.acting and not held and s.master != s.me and _believed_to_hold(s):
        s.released = s.group.line
        s.out.do(Multicast(Released(s.group.line)))
    if s.acting and s.duties.taken(s.config.cloud is not None) and s.rewrite.idle:
        _admit(s)


def _blind(s: State) -> bool:
    """Everything else is let go, and the ledger has VMs here that nobody can see: there is no hypervisor."""
    return s.duties.nothing_held and not s.config.care.hypervisor and bool(s.keeping.ledger.at.get(s.me))


def _believed_to_hold(s: State) -> bool:
    """Others wait for me, and in this line I have not told them yet that they need not."""
    peer = s.group.peers.get(s.me)
    return peer is not None and (peer.holding or s.me in s.claims) and s.released != s.group.line


def _admit(s: State) -> None:
    if s.keeping.ledger.panic is not None:
        return
    for node, peer in sorted(s.group.peers.items()):
        if peer.disallowed and not peer.holding and peer.file == s.agreed and node not in s.verdicts and _reconciled(s, node):
            s.verdicts.add(node)
            s.out.do(Multicast(Verdict(node, peer.incarnation)))


def _reconciled(s: State, node: NodeId) -> bool:
    """It has destroyed its copies of VMs that are placed elsewhere, by the stable ledger, and nobody is fencing it."""
    if recovery.in_flight(s, node):
        return False
    if not s.group.peers[node].inventory.copies:
        return True
    return not unreconciled.outdated(s, node) and keeping.stable(s) >= 0


def _leave(s: State, now: Instant) -> None:
    if not s.group.joined or (s.farewell_at is not None and now >= s.farewell_at):
        s.mode = Mode.LEFT
        s.out.do(Leave())
    elif s.farewell_at is None:
        s.farewell_at = Instant(now + FAREWELL_MS)
        s.out.do(Multicast(Farewell()))


def forget(s: State, now: Instant) -> None:
    """Claims that have run out; only the quorate line can tell."""
    if s.quorate and s.epoch == s.group.line:
        for node in [node for node in s.claims if node != s.me and over(s, node, now)]:
            del s.claims[node]
