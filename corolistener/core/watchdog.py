"""When this node's watchdog is fed, when it starves, and when it may be stopped. Rules: safety.md, "Lease, grace, watchdog"."""

from corolistener.core import unknown
from corolistener.core.actions import DisarmWatchdog, FeedWatchdog, Until
from corolistener.core.care import known, licensed
from corolistener.core.keeping import stable
from corolistener.core.moves import incoming
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant


def feed(s: State, now: Instant) -> None:
    """Fed under the lease, once this node is admitted, or with everything confirmed suspended; else it starves."""
    if not s.watchdog_ms or s.disarming or now < s.feed_at or s.feeding is not None:
        return
    s.feed_at = Instant(now + s.config.timing.heartbeat_ms)
    leased = licensed(s, now) and (not s.copies.held or spared(s, now))
    until = Until(s.group.ring, s.lease.ends) if leased and s.lease.ends is not None else None
    if until is None and not suspended(s) and not spared(s, now):
        s.starving = s.starving if s.starving is not None else now
        if now >= s.starving + s.config.timing.grace_ms:
            s.tell("starving", NoteCode.STARVING, timeout_ms=s.watchdog_ms)
        return
    s.starving = None
    s.told.pop("starving", None)
    s.feeding = s.out.ticket()
    s.out.do(FeedWatchdog(s.feeding, until))


def suspended(s: State) -> bool:
    """No VM executes here, and that is sure. A node without a hypervisor does not know that while the ledger has rows on it."""
    return s.copies.quiet if s.config.care.hypervisor else not s.keeping.ledger.at.get(s.me)


def spared(s: State, now: Instant) -> bool:
    """What executes here is known to no ledger, and all else is suspended."""
    copies = s.copies
    return copies.known and all(copy.quiet or unknown.spared(s, name, now) for name, copy in copies.vms.items())


def disarm(s: State) -> bool:
    """Before a farewell: the watchdog is stopped, after the ledger says so. True when there is nothing left to do.

    It stays armed where a VM may still be on its way here: that farewell is no proof (recovery.farewell), and what comes would
    run with nobody to look after it. Who is disallowed leaves as well: it would not be admitted before it has destroyed what is
    outdated, and who leaves does that no more.
    """
    if not s.watchdog_ms or s.disarming or (s.keeping.open and incoming(s, s.me)):
        return True
    if unknown.heard_at(s) is None and s.blank and s.copies.any and not s.leased:
        s.disarming = True  # no ledger can name what goes on here, so nobody counts with this watchdog
        s.out.do(DisarmWatchdog(s.out.ticket()))
        return True
    unheard = bool(s.quorum.needed) and not s.quorum.holds(s.group.present)
    if unheard and suspended(s) and not s.copies.any:
        s.disarming = True  # no ledger can say so any more, and it would reset the machine in its shutdown: nothing is here
        s.out.do(DisarmWatchdog(s.out.ticket()))
        return True
    if not s.unarming:
        s.unarming = s.restate = True
    elif known(s, stable(s)):
        s.disarming = True
        s.out.do(DisarmWatchdog(s.out.ticket()))
        return True
    return not s.quorate
