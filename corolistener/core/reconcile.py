"""From the difference between wanted and had to actions."""

from typing import assert_never

from corolistener.core.actions import (
    DropAddress,
    HoldAddress,
    Lock,
    Reason,
    ReleaseLock,
    StartService,
    StopService,
    TakeDatabase,
    TakeLock,
    TicketedAction,
    Until,
)
from corolistener.core.config import CloudAddress
from corolistener.core.duties import Duties, Duty, DutyName
from corolistener.core.events import Outcome, Result
from corolistener.core.lifecycle import Phase
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.ids import Instant, NodeId, Ticket

_LOCKS = {DutyName.SERVICE_LOCK: Lock.SERVICE, DutyName.RELOCATED_LOCK: Lock.RELOCATED}
_HAD = {
    DutyName.ADDRESS: NoteCode.ADDRESS_HELD,
    DutyName.DATABASE: NoteCode.DATABASE_TAKEN,
    DutyName.SERVICE_LOCK: NoteCode.LOCK_TAKEN,
    DutyName.SERVICE: NoteCode.SERVICE_STARTED,
    DutyName.RELOCATED_LOCK: NoteCode.LOCK_TAKEN,
}
_LET_GO = {
    DutyName.ADDRESS: NoteCode.ADDRESS_DROPPED,
    DutyName.SERVICE_LOCK: NoteCode.LOCK_RELEASED,
    DutyName.SERVICE: NoteCode.SERVICE_STOPPED,
    DutyName.RELOCATED_LOCK: NoteCode.LOCK_RELEASED,
}


def taking(
    name: DutyName,
    ticket: Ticket,
    until: Until,
    reason: Reason,
    address: CloudAddress,
    ports: tuple[int, ...],
    former: NodeId | None,
) -> TicketedAction:
    """The action that gets one duty."""
    match name:
        case DutyName.ADDRESS:
            return HoldAddress(ticket, address, until, reason)
        case DutyName.DATABASE:
            return TakeDatabase(ticket, until, former)
        case DutyName.SERVICE:
            return StartService(ticket, until, ports, reason)
        case DutyName.SERVICE_LOCK | DutyName.RELOCATED_LOCK:
            return TakeLock(ticket, _LOCKS[name], until, reason)
        case _:
            assert_never(name)


def letting_go(name: DutyName, ticket: Ticket, reason: Reason, address: CloudAddress) -> TicketedAction:
    """The action that gives one duty up. A database is not given back, but who is about to take it is stopped."""
    match name:
        case DutyName.ADDRESS:
            return DropAddress(ticket, address, reason)
        case DutyName.SERVICE | DutyName.DATABASE:
            return StopService(ticket, reason)
        case DutyName.SERVICE_LOCK | DutyName.RELOCATED_LOCK:
            return ReleaseLock(ticket, _LOCKS[name], reason)
        case _:
            assert_never(name)


def tell(duty: Duty, outcome: Outcome, now: Instant, out: Out) -> None:
    """The note for an action that has ended."""
    if outcome.result is Result.SUPERSEDED:
        return
    if outcome.result is Result.DONE:
        code = (_HAD if duty.had else _LET_GO).get(duty.name)
        if code is not None:
            lock = {"lock": _LOCKS[duty.name].value} if duty.name in _LOCKS else {}
            out.note(code, **lock, **dict(outcome.facts))
        return
    out.note(
        NoteCode.EFFECT_FAILED,
        action=("take-" if duty.toward else "release-") + duty.name.value,
        result=outcome.result.value,
        why=outcome.why,
        again_ms=max(0, duty.retry_at - now),
    )


def phase_of(duties: Duties, acting: bool, cleared: bool, addressed: bool, rewriting: bool) -> Phase:
    """How far this node is with being master."""
    if not acting:
        return Phase.IDLE if duties.nothing_held else Phase.RELEASING
    if addressed and not (duties.address.had or duties.address.tried):
        return Phase.HOLDING
    if not duties.taken(addressed):
        if not cleared:
            return Phase.WAITING
        if duties.relocated_lock.had is not True and duties.database.had is not True:
            return Phase.TAKING
        if duties.service.had is not True:
            return Phase.STARTING
        return Phase.RELOCATING
    return Phase.REWRITING if rewriting else Phase.SETTLED
