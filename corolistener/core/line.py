"""How news of ring, group, quorum and peers change the line; and what this node says about itself."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from corolistener.core import address, care, changes, claims, keeping, orders, recovery, serving, unknown, witness
from corolistener.core.actions import Multicast, Reason
from corolistener.core.belonging import foreign
from corolistener.core.events import Departure, GroupChanged, QuorumChanged, RingChanged, VotesCounted
from corolistener.core.messages import PROTOCOL, Absent, Heartbeat, Hello, Released, Stored, Verdict
from corolistener.core.notes import NoteCode
from corolistener.core.state import State, Watch
from corolistener.core.telling import inventory
from corolistener.core.view import Epoch
from corolistener.core.whole import wholes
from corolistener.ids import Instant, NodeId

NOBODY: Mapping[NodeId, Instant] = {}


def ring_changed(s: State, event: RingChanged, now: Instant) -> None:
    s.out.note(NoteCode.RING, ring=event.ring, nodes=_names(event.nodes))
    alive, pending = set(s.group.peers), dict(s.group.pending)
    lost(s, s.group.ring_changed(event, now), now, alive, pending)
    s.keeping.close()
    s.lease.new_ring(now)


def group_changed(s: State, event: GroupChanged, now: Instant) -> None:
    for node, why in event.left:
        if node in s.group.peers and node != s.me and why is not Departure.NODEDOWN:
            s.out.note(NoteCode.PENDING, node=node, reason=why.value, wait_ms=s.config.timing.restart_ms)
    alive, pending = set(s.group.peers), dict(s.group.pending)
    lost(s, s.group.group_changed(event, now), now, alive, pending)


def lost(
    s: State,
    nodes: tuple[NodeId, ...],
    now: Instant,
    alive: Collection[NodeId] = (),
    pending: Mapping[NodeId, Instant] = NOBODY,
) -> None:
    """Nodes fell out of the line without a farewell; `alive`: those whose daemon was there until then, `pending`: those whose
    daemon had gone before, and since when. corosync takes the daemon with it when it is restarted: they may be back in time.

    Where no quorum of it is left, nobody waits for the lease.
    """
    for node in nodes:
        s.fencing.gone[node] = now
        if node in alive:
            s.fencing.alive.add(node)
        if node in pending:
            s.fencing.spared[node] = Instant(pending[node] + s.config.timing.restart_ms)
        if node != s.me:
            s.out.note(NoteCode.LEFT, node=node, master=node == s.master)
        if node in s.claims:
            s.claims[node] = max(now, s.fencing.spared.get(node, now))  # its daemon may take so long to come back and let go
        if node == s.master:
            s.former = node
    if not nodes:
        return
    if s.watch is not None and now < s.watch.until:
        s.out.note(NoteCode.ROLLBACK, version=s.watch.config.version, to=s.watch.base.version, lost=_names(nodes))
        s.rollback, s.watch = replace(s.watch, until=Instant(now + s.config.timing.rollback_ms)), None
    if s.quorum.needed and not s.quorum.holds({*s.group.present, *s.group.pending}):
        lapse(s, Reason.QUORUM_LOST)


def quorum_changed(s: State, event: QuorumChanged, now: Instant) -> None:
    s.quorum.ring, s.quorum.said = event.ring, event.quorate
    if not event.quorate and not s.quorum.quorate:
        _without_quorum(s, False, now)


def weigh(s: State, now: Instant) -> None:
    """corosync's word on quorum counts only if the ring has a majority of all votes (core/whole), and if this corosync belongs
    to the cluster of the file (core/belonging)."""
    quorum = s.quorum
    _weigh_all(s)
    enough = not s.matched or not quorum.needed or quorum.most(s.group.ring_nodes, quorum.device)
    if why := foreign(s):
        s.tell("foreign", NoteCode.FOREIGN_COROSYNC, why=why)
    else:
        s.told.pop("foreign", None)
    if quorum.said and not enough:
        here = [f"{whole.of(s.group.ring_nodes)} of {whole.all}" for whole in quorum.wholes]
        s.tell("claim", NoteCode.SMALLER_CLAIM, ring=s.group.ring, needed=quorum.needed, votes=" and ".join(here))
    else:
        s.told.pop("claim", None)
    was, quorum.quorate = quorum.quorate, quorum.said and enough and not why
    if quorum.quorate != was:
        s.out.note(NoteCode.QUORUM_GAINED if quorum.quorate else NoteCode.QUORUM_LOST, ring=quorum.ring)
        if was:
            _without_quorum(s, was, now)


def _weigh_all(s: State) -> None:
    """What all votes are, where anything may have changed it."""
    quorum, known = s.quorum, (frozenset(s.keeping.ledger.known), s.keeping.sure)
    made_from = (s.nodes, s.storing.cluster, known, quorum.votes, quorum.offered, quorum.two_node)
    if quorum.weighed == made_from:
        return
    quorum.weighed = made_from
    lists = (s.nodes, s.storing.cluster.nodes)
    quorum.wholes = wholes(lists, known, quorum.votes, max(quorum.offered, s.storing.cluster.device))
    quorum.exclusive = not quorum.two_node or len(frozenset[NodeId]().union(*(whole.nodes for whole in quorum.wholes))) > 2
    keeping.count(s)


def _without_quorum(s: State, was: bool, now: Instant) -> None:
    lapse(s, Reason.QUORUM_LOST)
    changes.orphaned(s, "quorum-lost", "quorum was lost")
    change = s.rollback or s.watch or _in_reload(s, now)
    if was and change is not None and now < change.until:
        s.storing.roll_back_alone(change.base, s.group.present, s.out)
        s.offer = None
    s.rollback = s.watch = None


def _in_reload(s: State, now: Instant) -> Watch | None:
    """An operator's change that this node has stored and nobody has committed: its own reload may have cost the quorum."""
    offer = s.offer
    if offer is None or not offer.asked_by or offer.config != s.storing.file:
        return None
    return Watch(offer.config, offer.base, Instant(now + s.config.timing.rollback_ms))


def votes_counted(s: State, event: VotesCounted) -> None:
    s.quorum.needed, s.quorum.device, s.quorum.expected = event.quorum, event.device, event.expected
    s.quorum.votes, s.quorum.two_node, s.quorum.offered = dict(event.votes), event.two_node, event.offered
    s.quorum.own = event.own
    s.lease.stirred = True
    _weigh_all(s)
    keeping.count(s)


def corosync_lost(s: State, now: Instant) -> None:
    """Certain news: without corosync no quorum is known, so nobody waits for the lease."""
    s.out.note(NoteCode.COROSYNC_LOST)
    lapse(s, Reason.COROSYNC_LOST)
    s.claims = {node: now if since is None else since for node, since in s.claims.items()}
    s.group.disconnected()
    orders.orphaned(s)
    s.keeping.close()
    s.shelf.lost()
    s.storing.disconnected()
    s.quorum.quorate = s.quorum.said = False
    s.master, s.offer, s.line_known = None, None, False
    s.lease.new_ring(now)


def lapse(s: State, reason: Reason) -> None:
    """The right to act is gone; it does not come back before the line has been formed anew."""
    s.dirty = s.dirty or s.acting or not s.duties.nothing_held or unknown.responsible(s)
    s.copies.held = s.copies.held or s.leased
    s.fencing.blind()
    if s.lease.ends is None and s.epoch == Epoch():
        return
    if s.lease.ends is not None:
        s.out.note(NoteCode.LEASE_ENDED, reason=reason.value)
        s.expired = s.lease.ends
    s.lease.ends = None
    s.lapsed = s.restate = True
    s.why_not = reason


def recalled(s: State) -> None:
    """What the ledger remembers of a former process of this node is what others count with, until this one is admitted."""
    known = s.keeping.ledger.known.get(s.me)
    if known is not None:
        s.lease_ms = min(s.lease_ms, known.lease_ms)
    serving.recalled(s)


def shorten(s: State, lease_ms: int) -> None:
    """A shorter lease holds at once, for the one that runs as well: soon the others count with no more. A longer one waits for
    the ledger to say so (`_belong`)."""
    if lease_ms < s.lease_ms:
        if s.lease.ends is not None:
            s.lease.ends = Instant(s.lease.ends - (s.lease_ms - lease_ms))
        s.lease_ms = lease_ms


def hello_of(s: State) -> Hello:
    """What this node says of itself."""
    known = care.announced(s)
    s.copies.told, s.copies.compared = inventory(s.copies, s.keeping.ledger, s.me, s.shelf.refused), ()
    return Hello(
        ring=s.group.ring,
        members=s.group.here,
        boot=s.config.boot,
        incarnation=s.config.incarnation,
        epoch=s.epoch,
        file=s.storing.file,
        agreed=s.agreed if s.group.formed_once else s.storing.file,
        nodes=s.nodes if s.group.formed_once else s.storing.cluster.nodes,
        lapsed=s.lapsed,
        dirty=s.dirty,
        disallowed=s.me in s.group.peers and s.group.peers[s.me].disallowed,
        holding=s.acting or not s.duties.nothing_held,
        database=s.config.database,
        master=s.master or NodeId(0),
        claims=tuple(sorted(node for node in s.claims if node != s.me)),
        unattended=tuple(sorted(s.unattended)),
        stop_ms=known.stop_ms,
        first=s.first,
        starting=s.starting,
        unable=s.ability.unable,
        pending=tuple(sorted({*s.group.pending, *s.processes.newcomers})),
        running=s.storing.running,
        ledger=s.keeping.version,
        owner=s.keeping.ledger.cluster,
        owned=s.keeping.ledger.owned,
        lease_ms=known.lease_ms,
        grace_ms=known.grace_ms,
        watchdog_ms=known.watchdog_ms,
        weak=known.weak,
        capacity=s.config.care.capacity,
        inventory=s.copies.told,
        view=tuple(sorted(s.group.peers)),
        met=tuple(sorted(s.fencing.met)),
        doubted=bool(s.keeping.doubt),
        heard=witness.heard(s),
        relied_on=s.config.relied_on,
        pid=s.config.pid,
    )


def absent_delivered(s: State, message: Absent, now: Instant) -> None:
    """Somebody declared a node absent. If it is this one, it is out of the line and says Hello."""
    if message.ring != s.group.ring:
        return
    s.out.note(NoteCode.ABSENT, node=message.node)
    if s.claims.get(message.node, now) is None:
        s.unattended.add(message.node)  # its node is there, and nobody who stops its service
    if s.group.open:
        s.absent.add(message.node)
    if s.group.lose(message.node):
        lost(s, (message.node,), now)
    if message.node == s.me:
        lapse(s, Reason.LEASE_ENDED)


def farewell_delivered(s: State, sender: NodeId) -> None:
    """Nobody needs to wait for a node that said goodbye."""
    s.out.note(NoteCode.FAREWELL, node=sender)
    recovery.farewell(s, sender)
    s.unclaim(sender)
    s.group.lose(sender)


def vacated_delivered(s: State, sender: NodeId, now: Instant) -> None:
    """What a daemon that has ended for good held is let go. Where a daemon is there, it speaks for itself."""
    if sender in s.group.peers:
        return
    s.out.note(NoteCode.VACATED, node=sender)
    s.unclaim(sender)
    pending = dict(s.group.pending)
    if s.group.lose(sender):
        lost(s, (sender,), now, pending=pending)
    s.group.vacated(sender)


def released_delivered(s: State, sender: NodeId, message: Released) -> None:
    """It counts for the line it was said in: had the master changed since, the sender might hold again."""
    peer = s.group.peers.get(sender)
    if peer is not None and message.line == s.group.line:
        s.group.peers[sender] = replace(peer, holding=False)
        s.unclaim(sender)


def verdict_delivered(s: State, message: Verdict) -> None:
    peer = s.group.peers.get(message.node)
    if peer is not None and peer.incarnation == message.incarnation and peer.disallowed:
        s.group.peers[message.node] = replace(peer, disallowed=False)
        s.unread.add(message.node)
        s.news += 1
        s.out.note(NoteCode.ADMITTED, node=message.node)


def form_if_complete(s: State, now: Instant) -> None:
    """When everybody has spoken, the line is new: take over what all agree on."""
    if not s.group.complete:
        return
    mine = s.group.said.get(s.me)
    formed = s.group.close_round(now)
    s.keeping.close()
    s.news += 1
    s.unread = set(formed.peers)
    if s.me in formed.left_behind or s.epoch == Epoch():
        s.fencing.blind()
    if s.me in formed.peers and formed.peers[s.me].disallowed:
        s.copies.held = True
    if mine is not None and mine.lapsed == s.lapsed and mine.database == s.config.database and _as_announced(s):
        s.restate = mine.capacity != s.config.care.capacity
    claims.take(s, formed, now)
    s.agreed, s.nodes, s.database = formed.agreed, formed.nodes, formed.database
    s.remembering, s.line_known = formed.remembering, False
    s.lease.next_at = now  # everybody does so, and the heartbeats of all confirm the first lease at once
    s.verdicts.clear()
    s.fencing.met = formed.met
    witness.learned(s)
    s.master, s.starting, s.first = formed.master, formed.starting, formed.first
    for node, peer in formed.peers.items():
        if peer.disallowed:
            s.out.note(NoteCode.DISALLOWED, node=node, epoch=formed.epoch)
    if s.acting and s.duties.address.had:
        address.announce(s)


def _as_announced(s: State) -> bool:
    """The line knows what this node announces now: it may have changed after its Hello."""
    peer = s.group.peers.get(s.me)
    return peer is None or peer.known in (None, care.announced(s))


def keep_up(s: State, now: Instant) -> None:
    """What the line needs from this node as time passes: Hello, heartbeat, its file, and the word that somebody is absent."""
    if not s.group.joined or s.farewell_at is not None:
        return
    if s.quorate and s.group.settled and s.me in s.group.peers:
        _belong(s, now)
    _hello(s, now)
    beat(s, now)
    told = s.storing.tell() if s.me in s.group.peers else None
    if told is not None:
        s.out.do(Multicast(told))
    _declare(s, now)


def _belong(s: State, now: Instant) -> None:
    """I am part of a quorate line. Where quorum excludes nobody, it is none while another may be serving out of sight."""
    if s.lease_ms < s.config.timing.lease_ms and care.admitted(s, keeping.stable(s)):
        s.lease_ms = s.config.timing.lease_ms
    serving.believed(s)
    if not s.restate:
        s.lapsed = False
    if s.lapsed or not s.quorum.needed:
        return
    if not s.line_known:
        s.line_known = True
        claims.doubt(s, now)
    if s.quorum.exclusive or not any(since is not None for node, since in s.claims.items() if node != s.me):
        s.epoch = s.group.line
        s.dirty = s.dirty and s.group.peers[s.me].disallowed


def _hello(s: State, now: Instant) -> None:
    """Once a round, and whenever this node is not of the line or has something to say that all must take in at once."""
    group = s.group
    due = s.me not in group.said if group.open else s.me not in group.peers or s.restate
    if due and group.sent != (group.ring, group.here):
        group.sent = (group.ring, group.here)
        s.storing.told = Stored(s.storing.file, s.storing.running)
        s.out.do(Multicast(hello_of(s)))
        unknown.told(s, now)


def beat(s: State, now: Instant) -> None:
    """Say that this node is here, when it is time to, and take the lease further."""
    timing = s.config.timing
    count = s.lease.send(now, timing.heartbeat_ms)
    if count is not None:
        s.out.do(Multicast(Heartbeat(s.group.ring, count, s.keeping.stored, PROTOCOL)))
    if s.lease.stirred and s.quorate and s.me in s.group.peers and not s.lapsed:
        had = s.lease.ends
        s.lease.confirm(now, s.me, s.quorum, s.lease_ms)
        if had is None and s.lease.ends is not None:
            s.leased = True
            s.out.note(NoteCode.LEASE_GAINED, lease_ms=s.lease_ms)


def _declare(s: State, now: Instant) -> None:
    """The lowest member that is not silent itself says who is."""
    timing, group = s.config.timing, s.group
    lease_ms = timing.lease_ms if s.lease.valid(now) else None
    silent = group.silent(now, timing.hello_ms, lease_ms, timing.restart_ms)
    if not silent:
        return
    spoken = [node for node in (group.said if group.open else group.present) if node not in silent]
    if not spoken or min(spoken) != s.me:
        return
    for node in silent:
        if now >= group.declared.get(node, now):
            group.declared[node] = Instant(now + timing.hello_ms)
            s.out.do(Multicast(Absent(group.ring, node)))


def _names(nodes: tuple[NodeId, ...]) -> str:
    return ",".join(str(node) for node in nodes)
