"""Keeping the ledger: opening it in each line, changing it, writing it to disk, and knowing what is stable.

Opened: the member with the newest version says from where all go on (a chapter). Changed: only by the master, by a message
that names the version it changes, so that whatever was overtaken changes nothing. Stable: on the disks of members that hold
a majority of all votes (core/whole), as their heartbeats of this ring say; a majority later has one of them, and the newest
version wins.
"""

from collections.abc import Collection
from dataclasses import replace

from corolistener.core import witness
from corolistener.core.actions import Multicast, Record
from corolistener.core.config import Timing
from corolistener.core.events import Outcome, Recalled, Result
from corolistener.core.ledger import EMPTY, Known, Rows, Version, same_chapter
from corolistener.core.messages import Chapter, Entries
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId, Ticket, VmName

NOTHING = Version()


def recalled(s: State, event: Recalled) -> None:
    """What the disk remembers; what it does not is nowhere else on this node."""
    s.keeping.ledger.take(event.rows)
    s.keeping.sure = frozenset(s.keeping.ledger.known)
    s.keeping.unshelved.update(s.keeping.ledger.placements)
    s.keeping.version = s.keeping.stored = event.version
    s.blank = event.version == Version()
    s.keeping.heard, s.keeping.doubt = dict(event.heard), event.doubt
    if event.doubt:
        s.out.note(NoteCode.LEDGER_WENT_BACK, node=s.me, why=event.doubt)


def majority(s: State) -> int:
    """votequorum's number of votes of which any two share one: a quorum device has no disk, so its votes do not count."""
    device = max(s.quorum.device, s.quorum.offered)
    return (s.quorum.expected - device) // 2 + 1 if s.quorum.expected else 0


def enough(s: State, nodes: Collection[NodeId]) -> bool:
    """What is on the disks of these nodes is known to every majority of all votes there are, now and later."""
    votes = sum(s.quorum.votes.get(node, 0) for node in nodes)
    return 0 < majority(s) <= votes and all(whole.kept(nodes) for whole in s.quorum.wholes)


def told(s: State, nodes: Collection[NodeId]) -> bool:
    """Whatever was committed is on the disk of one of these nodes: the disks of all others are no majority. Half of the votes
    of an even number is enough."""
    device = max(s.quorum.device, s.quorum.offered)
    others = s.quorum.expected - device - sum(s.quorum.votes.get(node, 0) for node in nodes)
    return others < majority(s) and all(whole.met(nodes) for whole in s.quorum.wholes)


def stable(s: State) -> int:
    """The index in this chapter up to which the ledger is stable; -1 where not even its opening is."""
    return s.keeping.reached


def count(s: State) -> None:
    """Acknowledgements or votes have changed."""
    keeping = s.keeping
    if not keeping.open:
        return
    version, least = keeping.version, keeping.reached  # what is at most as far as that takes nobody further
    acks = [(ack.index, n) for n, ack in keeping.acks.items() if ack.index > least and same_chapter(ack, version)]
    have = set[NodeId]()
    for index, node in sorted(acks, reverse=True):
        have.add(node)
        if enough(s, have):
            keeping.reached = index
            if index == version.index:
                keeping.sure = frozenset(keeping.ledger.known)
            return


def firm(s: State, name: VmName, upto: int) -> bool:
    """The row of this VM is stable, where the ledger is stable up to this index."""
    return upto >= s.keeping.changed.get(name, 0)


# -- delivered


def heartbeat_delivered(s: State, sender: NodeId, stored: Version) -> None:
    if stored > s.keeping.acks.get(sender, NOTHING):
        s.keeping.acks[sender] = stored
        if sender != s.me and stored > s.keeping.heard.get(sender, NOTHING):
            s.keeping.heard[sender] = stored
        count(s)


def chapter_delivered(s: State, sender: NodeId, message: Chapter) -> None:
    """From here on this line's ledger is the one named, and every member's announcements count.

    Whoever is here needs no proof; what each announced in its Hello holds for it from now on.
    """
    keeping = s.keeping
    if sender == s.me:
        keeping.opening = None
    if message.line != s.group.line or keeping.open or not s.group.settled or s.me not in s.group.peers:
        return
    if not message.whole and keeping.version != message.base:
        s.restate = True  # my next Hello says which version I have
        return
    base, seq = message.base, max(message.base.seq, s.group.ring.seq)
    keeping.version = Version(seq, base.chapter + 1 if base.seq == seq else 0, 0, message.opener)
    if message.whole:
        keeping.take(message.rows, whole=True)
    keeping.sure = frozenset(keeping.ledger.known)
    present = tuple(node for node in s.group.present if node in keeping.ledger.proofs)
    keeping.take(Rows(known=_announced(s), voided=present, cluster=keeping.ledger.cluster or message.opener))
    if keeping.doubt:
        keeping.doubt, keeping.whole = "", True
        keeping.nothing_unwritten()
        keeping.to_write(keeping.ledger.rows())
    keeping.open = True
    keeping.concerned += 1
    s.told.pop("ledger-waits", None)
    count(s)
    owner, owned = keeping.ledger.cluster, keeping.ledger.owned
    s.group.peers = {
        node: replace(peer, ledger=keeping.version, owner=owner, owned=owned, doubt="") for node, peer in s.group.peers.items()
    }
    s.out.note(NoteCode.LEDGER, version=keeping.version, vms=len(keeping.ledger.placements))


def _announced(s: State) -> tuple[Known, ...]:
    """What the Hellos of this line say that the ledger does not."""
    found = []
    for node in s.group.present:
        known = s.group.peers[node].known
        if known is not None and s.keeping.ledger.known.get(node) != known:
            found.append(known)
    return tuple(found)


def entries_delivered(s: State, sender: NodeId, message: Entries) -> bool:
    """The master's change; False where it changes nothing, because something else came first."""
    keeping = s.keeping
    if sender == s.me:
        keeping.proposing = False
    if sender != s.master or not keeping.open or message.at != keeping.version:
        return False
    keeping.version = replace(keeping.version, index=keeping.version.index + 1)
    keeping.take(message.rows)
    if message.rows.owned:
        s.group.peers = {node: replace(peer, owned=True) for node, peer in s.group.peers.items()}
    uuids = {copy.vm.uuid for copy in s.copies.vms.values()}
    for name in (*message.rows.forgotten, *(each.vm.name for each in message.rows.placed)):
        keeping.changed[name] = keeping.version.index
        keeping.concerned += name in s.copies.vms
    keeping.concerned += any(each.vm.uuid in uuids for each in message.rows.placed)
    keeping.concerned += any(s.me in each.holders for each in message.rows.placed)
    return True


# -- said and written


def propose(s: State, rows: Rows) -> None:
    """The master's next change: one at a time. The first one marks the ledger as owned: every later majority knows the stable
    chapter that this change follows, so it also knows the owner."""
    s.keeping.proposing = True
    if not s.keeping.ledger.owned:
        rows = replace(rows, cluster=s.keeping.ledger.cluster, owned=True)
    s.out.do(Multicast(Entries(s.keeping.version, rows)))


def may_propose(s: State) -> bool:
    """Only in a chapter whose opening is stable: so every later majority knows of it, and opens a higher one."""
    return s.acting and s.group.settled and not s.keeping.proposing and stable(s) >= 0


def keep(s: State, now: Instant) -> None:
    """Open the ledger where it is this node that has to; write what is not on the disk yet."""
    _open(s, now)
    _shelve(s, now)
    _write(s, now)


def _shelve(s: State, now: Instant) -> None:
    """Ask for the definitions that rows name and this node has not."""
    shelf, rows = s.shelf, s.keeping.ledger.placements
    if not s.group.settled:
        return
    shelf.tell(now, s.out)
    if s.keeping.unshelved:
        named = [rows[name].vm for name in s.keeping.unshelved if name in rows]
        shelf.named((vm.name, vm.definition) for vm in named if vm.definition)
        s.keeping.unshelved.clear()
    if shelf.missing and now >= shelf.ask_at:
        missing = [(rows[name], key) for name, key in shelf.missing if name in rows]
        wanted = {(row.vm.name, key): row.node for row, key in missing if row.vm.definition == key}
        shelf.ask(wanted, s.group.present, s.me, now, s.out)


def _open(s: State, now: Instant) -> None:
    keeping, group = s.keeping, s.group
    if keeping.open or keeping.opening == group.line or not group.settled or s.me not in group.peers:
        return
    if not s.quorate or not s.lease.valid(now):
        return
    if why := witness.obstacle(s, enough, told):
        if s.me == min(group.present):
            s.tell("ledger-waits", NoteCode.LEDGER_WAITS, why=why)
        return
    versions = witness.versions(s)
    newest = max(versions.values())
    if s.me != min(node for node, version in versions.items() if version == newest):
        return
    whole = any(version != newest for version in versions.values())
    keeping.opening = group.line
    rows = keeping.ledger.rows() if whole else EMPTY
    chapter = Chapter(group.line, keeping.version, s.config.incarnation, rows, whole)
    s.out.do(Multicast(chapter))


def _write(s: State, now: Instant) -> None:
    keeping = s.keeping
    if not keeping.behind or now < keeping.retry_at:
        return
    keeping.texts_first = not keeping.naming.isdisjoint(s.shelf.unwritten)
    if keeping.texts_first:
        return
    ticket = s.out.ticket()
    keeping.writing = ticket, keeping.version
    rows, heard = Rows.together(keeping.unwritten), tuple(keeping.heard.items())
    s.out.do(Record(ticket, keeping.version, rows, keeping.whole, heard))
    keeping.nothing_unwritten()
    keeping.whole = False


def written(s: State, ticket: Ticket, outcome: Outcome, now: Instant, timing: Timing) -> bool:
    """A write has ended; after a failed one everything is written anew. False where it was none of ours."""
    keeping = s.keeping
    if keeping.writing is None or keeping.writing[0] != ticket:
        return False
    (_, version), keeping.writing = keeping.writing, None
    if outcome.result is Result.DONE:
        keeping.stored, keeping.failures = version, 0
        s.lease.next_at = min(s.lease.next_at, now)  # others wait for this word
        return True
    keeping.failures += 1
    keeping.nothing_unwritten()
    keeping.to_write(keeping.ledger.rows())
    keeping.whole = True
    keeping.retry_at = Instant(now + min(timing.retry_most_ms, timing.retry_first_ms * 2 ** min(keeping.failures - 1, 16)))
    s.out.note(NoteCode.NOT_RECORDED, why=outcome.why or outcome.result.value, tries=keeping.failures)
    return True


def deadline(s: State) -> Instant | None:
    keeping = s.keeping
    return keeping.retry_at if keeping.behind else None
