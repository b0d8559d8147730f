"""How long the service may run once this node has no right to it, and when it is killed (safety.md, rule 4).

The other nodes start it `lease + grace` after they lost sight of its node. So it must be gone by then, however long it needs
to stop in order.
"""

from corolistener.core import care
from corolistener.core.config import Serving, Timing
from corolistener.core.keeping import stable
from corolistener.core.ledger import Known
from corolistener.core.lifecycle import Mode
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId


def may_last_ms(known: Known) -> int:
    """How long after the end of its lease this node's service may still run."""
    return max(known.grace_ms, known.stop_ms)


def believed(s: State) -> None:
    """A longer time holds from the moment at which the stable ledger says so: the other nodes count with what they know."""
    longest = may_last_ms(care.announced(s))
    if s.serves_ms < longest and care.admitted(s, stable(s)):
        s.serves_ms = longest


def shorten(s: State) -> None:
    """A shorter time holds at once: soon the other nodes count with no more."""
    s.serves_ms = min(s.serves_ms, may_last_ms(care.announced(s)))


def recalled(s: State) -> None:
    """Until this process is admitted, the other nodes count with what the ledger says of a former one."""
    known = s.keeping.ledger.known.get(s.me)
    if known is not None:
        s.serves_ms = min(s.serves_ms, may_last_ms(known))


def orderly_ms(serves_ms: int, timing: Timing) -> int:
    """How much of that time the service has to stop in order: the rest is for killing it."""
    return serves_ms - (timing.grace_ms - timing.orderly_ms)


def bound(s: State, planned: bool, now: Instant) -> None:
    """Set until when the service may stop in order: a handover by our own will waits for a clean stop; without the lease the
    bound counts from the end of the lease, even if this process noticed that end later."""
    if s.acting or s.duties.service.had is False:
        s.kill_at = None
        return
    if planned:
        at = Instant(now + s.config.serving.stop_ms)
    else:
        since = now if s.expired is None else min(now, s.expired)
        at = Instant(since + max(0, orderly_ms(s.serves_ms, s.config.timing)))
    if s.kill_at is None or at < s.kill_at:
        s.kill_at = at


def overdue(s: State, now: Instant) -> bool:
    """The service had its time to stop in order."""
    return s.kill_at is not None and now >= s.kill_at and s.mode is not Mode.ADOPTING


def deadline(s: State) -> Instant | None:
    """When the service is to be killed."""
    return s.kill_at if not s.duties.service.hard else None


def initial_ms(serving: Serving, timing: Timing) -> int:
    """What a process that knows no ledger may assume: its own settings."""
    return max(timing.grace_ms, serving.announced_ms)


def unattended(s: State, node: NodeId) -> bool:
    """The daemon of this former master was not there when its node was lost: nobody may have stopped the service."""
    return node in s.unattended
