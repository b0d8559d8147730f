"""A node whose decision is broken: what it still does for its instances and its watchdog."""

import pytest

from corolistener.core.actions import Action, FeedWatchdog, StopVm, SuspendVm
from corolistener.core.broken import Broken, Held
from corolistener.core.capacity import Vm
from corolistener.core.events import (
    Copied,
    CopyChanged,
    Finished,
    GroupChanged,
    HypervisorLost,
    Listed,
    Outcome,
    Result,
    TimePassed,
)
from corolistener.core.lease import Quorum
from corolistener.core.messages import VmState
from corolistener.core.out import Out
from corolistener.ids import Instant, NodeId, VmName

A = VmName("a")
VM = Vm(A, 1024, 1)
DONE, FAILED = Outcome(Result.DONE), Outcome(Result.FAILED, "no")
OTHERS = (NodeId(2), NodeId(3))


def broken(**changes: object) -> Broken:
    votes = dict.fromkeys((NodeId(1), *OTHERS), 1)
    kept = Broken(
        out=Out(),
        quorum=Quorum(needed=2, votes=votes, expected=3),
        hypervisor=True,
        known=True,
        watchdog_ms=10_000,
        heartbeat_ms=500,
        retry_ms=1000,
        worthless_ms=18_000,
        placed={A: ""},
        held={A: Held()},
    )
    for name, value in changes.items():
        setattr(kept, name, value)
    return kept


def kinds(actions: list[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


def suspended(kept: Broken, now: int = 0) -> list[Action]:
    """All that begins is done at once."""
    (begun,) = [action for action in kept.proceed(Instant(now)) if isinstance(action, SuspendVm)]
    return kept.step(Finished(begun.ticket, DONE), Instant(now))


def seen(state: VmState) -> CopyChanged:
    return CopyChanged(A, Copied(VM, state, 1))


def test_it_feeds_when_everything_is_suspended_and_not_before() -> None:
    kept = broken()
    (begun,) = kept.proceed(Instant(0))
    assert isinstance(begun, SuspendVm)
    assert kept.step(TimePassed(), Instant(500)) == []
    (fed,) = kept.step(Finished(begun.ticket, DONE), Instant(600))
    assert isinstance(fed, FeedWatchdog)
    assert fed.until is None
    assert kept.deadline == 1100
    assert kept.step(TimePassed(), Instant(1100)) == [], "one at a time"
    assert kinds(kept.step(Finished(fed.ticket, DONE), Instant(1101))) == [FeedWatchdog]


def test_what_fails_is_tried_again() -> None:
    kept = broken()
    (begun,) = kept.proceed(Instant(0))
    assert isinstance(begun, SuspendVm)
    assert kept.step(Finished(begun.ticket, FAILED), Instant(10)) == []
    assert kinds(kept.step(TimePassed(), Instant(1010))) == [SuspendVm]


def test_what_runs_again_is_suspended_again() -> None:
    kept = broken()
    suspended(kept)
    assert kinds(kept.step(seen(VmState.RUNNING), Instant(9000))) == [SuspendVm]


def test_news_of_running_while_it_is_being_suspended_leave_a_doubt() -> None:
    kept = broken()
    (begun,) = kept.proceed(Instant(0))
    assert isinstance(begun, SuspendVm)
    kept.step(seen(VmState.RUNNING), Instant(5))
    assert kinds(kept.step(Finished(begun.ticket, DONE), Instant(6))) == [SuspendVm]


def test_an_instance_that_is_new_is_suspended_whatever_it_is() -> None:
    kept = broken(held={})
    assert kinds(kept.step(seen(VmState.SUSPENDED), Instant(0))) == [SuspendVm]


@pytest.mark.parametrize("listed", [(), (Copied(VM, VmState.SUSPENDED, 1),)])
def test_without_its_hypervisor_nothing_is_sure(listed: tuple[Copied, ...]) -> None:
    kept = broken()
    kept.step(Finished(suspended(kept)[0].ticket, DONE), Instant(1))  # type: ignore[union-attr]
    assert FeedWatchdog not in kinds(kept.step(HypervisorLost(), Instant(2000)))
    again = kept.step(Listed(listed), Instant(3000))
    assert (FeedWatchdog in kinds(again)) is (not listed)


@pytest.mark.parametrize(("there", "destroyed"), [(OTHERS, True), (OTHERS[:1], False), ((), False)])
def test_what_is_suspended_is_destroyed_only_where_the_others_go_on(there: tuple[NodeId, ...], destroyed: bool) -> None:
    kept = broken(watchdog_ms=0)
    suspended(kept)
    assert kept.step(GroupChanged(there, ()), Instant(1000)) == []
    assert kept.step(GroupChanged(there, ()), Instant(18_999)) == []
    assert kinds(kept.step(GroupChanged(there, ()), Instant(19_000))) == [StopVm] * destroyed


def test_a_gap_begins_the_wait_anew() -> None:
    kept = broken(watchdog_ms=0)
    suspended(kept)
    kept.step(GroupChanged(OTHERS, ()), Instant(1000))
    kept.step(GroupChanged((), ()), Instant(10_000))
    kept.step(GroupChanged(OTHERS, ()), Instant(11_000))
    assert kept.step(GroupChanged(OTHERS, ()), Instant(28_000)) == []
    assert kinds(kept.step(GroupChanged(OTHERS, ()), Instant(29_000))) == [StopVm]
