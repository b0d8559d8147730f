"""Whether a pass over everything is needed, or only the pulse goes on (docs/decisions/0012)."""

from corolistener.core.actions import Action, FeedWatchdog, Multicast, Record
from corolistener.core.events import (
    Armed,
    CopyChanged,
    Defined,
    Delivered,
    Event,
    Finished,
    Linked,
    Listed,
    Shelved,
    Speaking,
    TimePassed,
)
from corolistener.core.ledger import Rows
from corolistener.core.messages import Chapter, Definition, Entries, Granted, Heartbeat, Lacking, Ordered, Text, Wanted
from corolistener.core.reports import Inventory
from corolistener.core.state import State
from corolistener.ids import Instant

UNELECTING = (Heartbeat, Inventory, Definition, Lacking, Entries, Chapter, Ordered, Granted, Wanted, Text)
"""What is said without a word about who is here, with which file, and may serve."""


def electing(event: Event) -> bool:
    """It may change what the election is made of: ring, group, quorum, what members say of themselves, the settings."""
    if isinstance(event, Delivered):
        return not isinstance(event.message, UNELECTING)
    silent = TimePassed | Speaking | Finished | Listed | CopyChanged | Defined | Shelved | Armed | Linked
    return not isinstance(event, silent)


def ends_there(action: Action) -> bool:
    """Having said or done this, a second pass would find nothing more: what comes of it is news."""
    if isinstance(action, Multicast):
        return isinstance(action.message, Heartbeat | Inventory)
    return isinstance(action, Record | FeedWatchdog)


def quiet(s: State, event: Event) -> bool:
    """Nearly every event is: time, heartbeats, that the watchdog was fed or a definition kept, and news of VMs that are the
    master's business, or will be looked at when what is being written of the ledger is."""
    match event:
        case TimePassed() | Speaking() | Delivered(message=Heartbeat()):
            return True
        case Delivered(message=Definition()):
            return not s.copies.waiting and not s.shelf.untold
        case Delivered(message=Inventory()):
            return not s.acting
        case Delivered(message=Entries(rows=rows)):
            later = s.keeping.writing is not None or s.keeping.texts_first
            return later and not s.acting and not _in_line(s) and rows == Rows(placed=rows.placed)
        case Finished(ticket, outcome):
            awaited = s.copies.waiting or s.keeping.behind
            return ticket == s.feeding or (s.shelf.expected(ticket, outcome) and not awaited)
    return False


def _in_line(s: State) -> bool:
    """A VM here waits, maybe for others of the cluster that start before it."""
    return bool(s.copies.waiting) and s.keeping.ledger.ordered


def looked_at(s: State) -> tuple[int, ...]:
    """What quiet events may change nevertheless, and a pass would look at: how far the ledger is stable, where that matters
    to anything here, and what has become of the VMs here."""
    upto, claims = s.keeping.reached, len(s.claims) - (s.master in s.claims)
    mattering = upto if s.acting or claims or _in_line(s) else min(upto, s.copies.upto)
    return mattering, s.copies.turn, s.keeping.concerned


def at_rest(s: State, now: Instant) -> bool:
    """The lease runs, nothing is due, and the last pass found nothing to do: only the pulse itself is to go on."""
    if not s.silent or s.restate or s.due is None or now >= s.due or s.lease.ends is None:
        return False
    return s.quorate and not s.group.open and s.farewell_at is None
