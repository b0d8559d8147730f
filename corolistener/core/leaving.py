"""A node that is to leave: its VMs are moved off or shut down first, where there is time and a lease for it."""

from corolistener.core.actions import Multicast, Reason
from corolistener.core.care import EMPTYING_MS, licensed
from corolistener.core.config import OnShutdown
from corolistener.core.instance import SHUT_DOWN_MS
from corolistener.core.lifecycle import Mode
from corolistener.core.messages import Ordered
from corolistener.core.moves import incoming
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.core.wishes import ExcuseOrder
from corolistener.ids import Instant

STAY_MS = SHUT_DOWN_MS + 30_000
"""How long a node that has nothing left stays for others that still shut their VMs down."""


def asked(s: State, now: Instant) -> None:
    """SIGTERM. Who asks twice has no time."""
    if s.mode not in (Mode.ADOPTING, Mode.RUNNING):
        return
    if s.emptying is None and (must_empty(s, now) or needed(s, now)):
        s.emptying = s.ask_at = now
        s.out.note(NoteCode.EMPTYING, how=s.config.care.on_shutdown.value)
    else:
        s.mode, s.why_not = Mode.LEAVING, Reason.LEAVING


def proceed(s: State, now: Instant) -> None:
    """Until the ledger says so, ask not to be given any VMs; then wait until those that are here are gone."""
    if s.emptying is None or s.mode not in (Mode.ADOPTING, Mode.RUNNING):
        return
    if empty(s, now) and not needed(s, now):
        s.mode, s.why_not = Mode.LEAVING, Reason.LEAVING
        return
    excused, drain = s.keeping.ledger.excused.get(s.me), s.config.care.on_shutdown is OnShutdown.MIGRATE
    if now >= s.ask_at and (excused is None or (drain and not excused.drained)):
        s.ask_at = Instant(now + s.config.timing.hello_ms)
        s.out.do(Multicast(Ordered(0, ExcuseOrder(s.me, drain=drain, leaving=True), f"node {s.me}")))


def must_empty(s: State, now: Instant) -> bool:
    """VMs are here, or come, that can be moved off, or shut down in order, before this node leaves."""
    some = s.copies.any or incoming(s, s.me)
    return some and s.config.care.hypervisor and licensed(s, now) and s.keeping.ledger.panic is None


def empty(s: State, now: Instant) -> bool:
    """Nothing is left to wait for, or it has taken too long: the rest is suspended, and then the farewell."""
    assert s.emptying is not None
    over = now >= s.emptying + EMPTYING_MS + SHUT_DOWN_MS
    return (over and s.config.care.on_shutdown is not OnShutdown.REFUSE) or not must_empty(s, now)


def needed(s: State, now: Instant) -> bool:
    """Others that leave still have VMs, and without this node they would lose quorum: their guests would be suspended in their
    shutdown. Those that have nothing left go in the order of their numbers, so that not all of them go at once.

    The others have a bounded time to shut their VMs down, and this node stays no longer than that.
    """
    if s.staying is not None and now >= s.staying + STAY_MS:
        return False
    excused, peers = s.keeping.ledger.excused, s.group.peers
    leaving = [node for node in s.group.present if node in excused and excused[node].incarnation and node != s.me]
    busy = [node for node in leaving if peers[node].inventory.copies]
    before = {node for node in leaving if node not in busy and node < s.me}
    rest = [node for node in s.group.present if node != s.me and node not in before]
    stays = bool(busy) and licensed(s, now) and s.keeping.ledger.panic is None and not s.quorum.holds(rest)
    s.staying = (s.staying if s.staying is not None else now) if stays else None
    return stays


def deadline(s: State) -> list[Instant]:
    """When it stays no longer."""
    return [Instant(s.staying + STAY_MS)] if s.staying is not None else []
