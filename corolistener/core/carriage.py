"""Whether the ring carries what this node says."""

from corolistener.core.events import SendingLost, Speaking
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant


def carried(s: State, event: SendingLost | Speaking, now: Instant) -> None:
    """How messages are on their way, of which nothing is delivered yet."""
    if isinstance(event, Speaking):
        s.group.spoke[event.node] = now
    else:
        sending_lost(s)


def sending_lost(s: State) -> None:
    """All messages that were sent and not delivered are lost. The next round collects their content again."""
    s.group.sent = s.lease.in_flight = s.storing.serving = s.released = None
    s.keeping.opening, s.keeping.proposing = None, False
    s.copies.told, s.copies.compared = None, ()
    s.shelf.lost()
    s.restate = True


def notice_stall(s: State, now: Instant) -> None:
    """Tell once that the ring carries nothing, and that it does again: no other news would say why the lease ends."""
    lease = s.lease
    if lease.stalled:
        if lease.in_flight is None and lease.returned:
            lease.stalled = False
            s.out.note(NoteCode.RING_MOVES, ring=s.group.ring)
    elif lease.in_flight is not None and (at := lease.stalls_at(s.config.timing.stalled_ms)) is not None and now >= at:
        lease.stalled = True
        s.out.note(NoteCode.RING_STALLED, ring=s.group.ring, since_ms=now - lease.in_flight)
