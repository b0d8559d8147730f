"""Quorum that a reload has cost, where votequorum does not find it again although all expect what they did before.

At a reload every node reads its own file and announces what it expects, but only if that is new to it, and only an announcement
lets the quorum fall. Where files differ meanwhile, announcements can cross so that all expect 3 votes in the end and yet ask
for 4. Nothing that is read later is new to anybody. So votequorum is told what it expects itself, and never another number
(decisions/0011). Whether a quorum is a majority of all votes is judged elsewhere (core/whole).
"""

from collections.abc import Collection

from corolistener.core.actions import TellExpected
from corolistener.core.events import QuorumChanged
from corolistener.core.lease import Quorum
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

ARRIVES_MS = 1000
"""Announcements that are under way have so long to arrive."""
WATCHED_MS = 50_000


def heard(s: State, event: QuorumChanged, now: Instant) -> None:
    """corosync's word on quorum, as it comes."""
    recount = s.recount
    if event.quorate:
        recount.had, recount.until = event.ring, None
    elif event.ring != recount.had:
        recount.until = None
    elif recount.until is None:
        recount.until = Instant(now + WATCHED_MS)


def asks_too_much(quorum: Quorum, nodes: Collection[NodeId]) -> bool:
    """votequorum needs more votes than a majority of what this corosync expects itself, and of the votes that are there."""
    there = sum(quorum.votes.get(node, 0) for node in nodes) + quorum.device
    return quorum.own > 0 and max(quorum.own, there) // 2 + 1 < quorum.needed


def tend(s: State, now: Instant) -> None:
    """Tell it, when it did not come by itself; and again, if that was refused or has not helped."""
    recount, quorum = s.recount, s.quorum
    watched = recount.until is not None and now < recount.until and s.group.ring == quorum.ring
    if not watched or not asks_too_much(quorum, s.group.ring_nodes):
        recount.since = None
        return
    if recount.since is None:
        recount.since = now
    if now >= recount.since + ARRIVES_MS:
        recount.since = now
        s.out.note(NoteCode.RECOUNTED, expected=quorum.own, needed=quorum.needed)
        s.out.do(TellExpected(s.out.ticket(), quorum.own))


def deadline(s: State) -> Instant | None:
    """When votequorum has had its time."""
    return Instant(s.recount.since + ARRIVES_MS) if s.recount.since is not None else None
