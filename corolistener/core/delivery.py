"""What members say to each other, as it is delivered: each message to the part of the core that it concerns."""

from typing import assert_never

from corolistener.core import ability, care, changes, keeping, line, orders, recovery, witness
from corolistener.core.lifecycle import Mode
from corolistener.core.messages import (
    Able,
    Absent,
    Alarm,
    Chapter,
    Committed,
    Confirm,
    Definition,
    Entries,
    Farewell,
    Granted,
    Heartbeat,
    Hello,
    Lacking,
    Message,
    Offer,
    OpenLedger,
    Ordered,
    Proposed,
    Refused,
    Released,
    Stored,
    Text,
    Unstored,
    Vacated,
    Verdict,
    Wanted,
    Withdrawn,
)
from corolistener.core.reports import Inventory
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId


def deliver(s: State, sender: NodeId, message: Message, now: Instant) -> None:
    """Take in what one of the group said."""
    if sender in s.group.seen:
        s.group.seen[sender] = now
    match message:
        case Heartbeat(ring, count, stored):
            if ring == s.group.ring:
                keeping.heartbeat_delivered(s, sender, stored)
                if sender == s.me:
                    s.lease.came_back(count)
                else:
                    s.lease.heard(sender)
        case Inventory() | Definition() | Lacking() | Ordered() | Granted():
            _of_vms(s, sender, message, now)
        case Hello():
            s.group.hello(sender, message, now)
        case Released() | Vacated() | Able():
            _of_serving(s, sender, message, now)
        case Absent():
            line.absent_delivered(s, message, now)
        case Farewell():
            line.farewell_delivered(s, sender)
            if sender == s.me and s.mode is Mode.LEAVING:
                s.farewell_at = now
        case Chapter():
            keeping.chapter_delivered(s, sender, message)
        case Entries():
            if keeping.entries_delivered(s, sender, message):
                recovery.settle_alarm(s, message.rows)
        case Confirm():
            recovery.confirmed(s, message, now)
        case Alarm():
            recovery.alarmed(s, message)
        case OpenLedger():
            witness.ordered(s, message)
        case Proposed():
            changes.proposed(s, sender, message)
        case Wanted():
            s.storing.wanted(message, s.out)
        case Text():
            s.storing.text(message, sender, s.out)
        case Stored():
            changes.stored(s, sender, message)
        case Unstored():
            changes.unstored(s, sender, message)
        case Committed():
            changes.committed(s, sender, message, now)
        case Refused():
            orders.answered(s, message)
            if sender == s.master:
                changes.refused(s, message)
        case Offer() | Withdrawn() | Verdict():
            if isinstance(message, Withdrawn):
                s.group.withdrawn(message.config)
            if sender == s.master:
                _of_master(s, message, now)
        case _:
            assert_never(message)
    line.form_if_complete(s, now)


def _of_vms(s: State, sender: NodeId, message: Inventory | Definition | Lacking | Ordered | Granted, now: Instant) -> None:
    """What members say of their VMs, and what operators want of them."""
    match message:
        case Inventory():
            care.reported(s, sender, message)
            s.group.inventoried(sender, message)
            s.news += 1
            s.unread.add(sender)
        case Definition():
            if s.shelf.delivered(message, sender == s.me, s.out):
                s.copies.spread((message.name, message.definition))
        case Lacking():
            s.shelf.lacking(message, s.me)
        case Ordered():
            orders.delivered(s, sender, message, now)
        case Granted():
            orders.answered(s, message)
        case _:
            assert_never(message)


def _of_serving(s: State, sender: NodeId, message: Released | Vacated | Able, now: Instant) -> None:
    """Who serves no more, and who could."""
    match message:
        case Released():
            line.released_delivered(s, sender, message)
        case Vacated():
            line.vacated_delivered(s, sender, now)
        case Able():
            ability.delivered(s, sender, message)


def _of_master(s: State, message: Offer | Withdrawn | Verdict, now: Instant) -> None:
    """What only the master may say: one that is master no more is not listened to."""
    match message:
        case Offer():
            changes.offered(s, message)
        case Withdrawn():
            changes.withdrawn(s, message, now)
        case Verdict():
            line.verdict_delivered(s, message)
        case _:
            assert_never(message)
