"""A lane: order, supersession, deadlines, and that every ticket ends exactly once whatever the port does."""

import pytest

from corolistener.core.actions import (
    DropAddress,
    Fence,
    HoldAddress,
    MarkVm,
    MigrateVm,
    Reason,
    Spare,
    StartService,
    StopService,
    SuspendVm,
    TicketedAction,
    Until,
)
from corolistener.core.config import CloudAddress
from corolistener.core.events import Outcome, Result
from corolistener.core.view import RingId
from corolistener.engine.lanes import KILL_MS, MIGRATION_MS, MOST, Lane
from corolistener.ids import Instant, NodeId, Ticket, VmName

from .neighbours import DONE, Prompt, Raising, Slow

RING, NEXT_RING = RingId(4, NodeId(1)), RingId(8, NodeId(1))
CLOUD = CloudAddress("192.0.2.10", 32, "vmbr0")
NOW = Instant(1000)


def start(ticket: int, ring: RingId = RING, not_after: int = 5000) -> StartService:
    return StartService(Ticket(ticket), Until(ring, Instant(not_after)), (), Reason.ELECTED)


def stop(ticket: int) -> StopService:
    return StopService(Ticket(ticket), Reason.QUORUM_LOST)


class Run:
    """A lane and how its actions ended."""

    def __init__(self, effect: Slow | None = None, deadline_ms: int = 1000) -> None:
        self.effect = effect or Slow()
        self.ended: list[tuple[int, Result]] = []
        self.lane = Lane(self.effect, deadline_ms, lambda ticket, outcome: self.ended.append((ticket, outcome.result)))

    def submit(self, *actions: TicketedAction, now: int = NOW) -> None:
        for action in actions:
            self.lane.submit(action, RING, Instant(now))

    @property
    def begun(self) -> list[int]:
        return [action.ticket for action in self.effect.begun]


def test_one_at_a_time_in_order() -> None:
    run = Run()
    run.submit(stop(1), stop(2), stop(3))
    assert run.begun == [1]
    run.effect.finishes[0](DONE)
    run.lane.advance(RING, NOW)
    assert run.begun == [1, 2]
    run.effect.finishes[1](Outcome(Result.FAILED, "no"))
    run.lane.advance(RING, NOW)
    run.effect.finishes[2](DONE)
    assert run.ended == [(1, Result.DONE), (2, Result.FAILED), (3, Result.DONE)]
    assert run.lane.idle


def test_what_ends_at_once_needs_no_second_call() -> None:
    run = Run(Prompt())
    run.submit(stop(1), start(2))
    assert run.ended == [(1, Result.DONE), (2, Result.DONE)]
    assert run.lane.idle


@pytest.mark.parametrize(("ring", "now"), [(NEXT_RING, NOW), (RING, Instant(5000))], ids=["other ring", "too late"])
def test_what_takes_is_looked_at_again_before_it_starts(ring: RingId, now: Instant) -> None:
    run = Run()
    run.submit(stop(1), start(2))
    run.effect.finishes[0](DONE)
    run.lane.advance(ring, now)
    assert run.begun == [1]
    assert run.ended == [(1, Result.DONE), (2, Result.SUPERSEDED)]


def test_what_lets_go_runs_in_any_ring_at_any_time() -> None:
    run = Run()
    run.lane.submit(stop(1), NEXT_RING, Instant(9999))
    assert run.begun == [1]


def test_letting_go_ends_what_takes_and_waits_for_what_lets_go() -> None:
    run = Run()
    run.submit(stop(1), start(2), start(3), stop(4))
    assert run.ended == [(2, Result.SUPERSEDED), (3, Result.SUPERSEDED)]
    run.effect.finishes[0](DONE)
    run.lane.advance(RING, NOW)
    assert run.begun == [1, 4]


def test_letting_go_does_not_wait_for_a_taking_that_runs() -> None:
    run = Run()
    run.submit(start(1), stop(2))
    assert run.effect.cancelled == run.effect.begun[:1]
    assert run.begun == [1, 2]
    run.effect.finishes[0](DONE)
    run.effect.finishes[1](DONE)
    assert run.ended == [(1, Result.SUPERSEDED), (2, Result.DONE)]


def test_an_agent_at_work_gives_up_when_its_node_is_spared() -> None:
    run = Run()
    until = Until(RING, Instant(5000))
    run.submit(
        Fence(Ticket(1), NodeId(3), "boot-3", until), Fence(Ticket(2), NodeId(3), "boot-3", until), Spare(Ticket(3), NodeId(3))
    )
    assert run.effect.cancelled == run.effect.begun[:1]
    assert run.begun == [1, 3]
    assert run.ended == [(1, Result.SUPERSEDED), (2, Result.SUPERSEDED)]


def test_deadline() -> None:
    run = Run(deadline_ms=500)
    run.submit(start(1), stop(2), now=1000)
    run = Run(deadline_ms=500)
    run.submit(start(1), now=1000)
    run.lane.expire(Instant(1499))
    assert run.ended == []
    run.lane.expire(Instant(1500))
    assert run.ended == [(1, Result.TIMED_OUT)]
    assert run.effect.cancelled == run.effect.begun
    run.effect.finishes[0](DONE)
    assert run.ended == [(1, Result.TIMED_OUT)]


def test_the_deadline_is_that_of_the_running_action() -> None:
    run = Run(deadline_ms=500)
    run.submit(start(1), start(2), now=1000)
    run.effect.finishes[0](DONE)
    run.lane.advance(RING, Instant(1400))
    run.lane.expire(Instant(1500))
    assert run.ended == [(1, Result.DONE)]
    run.lane.expire(Instant(1900))
    assert run.ended == [(1, Result.DONE), (2, Result.TIMED_OUT)]


def test_a_stop_has_longer_because_the_core_ends_it_with_a_kill() -> None:
    run = Run(deadline_ms=500)
    run.submit(stop(1), now=1000)
    run.lane.expire(Instant(1000 + 500 + KILL_MS - 1))
    assert run.ended == []
    run.lane.expire(Instant(1000 + 500 + KILL_MS))
    assert run.ended == [(1, Result.TIMED_OUT)]


@pytest.mark.parametrize("late", [False, True])
def test_a_port_that_raises_ends_the_action_once_and_the_lane_goes_on(late: bool) -> None:
    run = Run(Raising(late))
    run.submit(stop(1), stop(2))
    result = Result.DONE if late else Result.FAILED
    assert run.ended == [(1, result), (2, result)]
    assert run.lane.idle


def test_finishing_twice_counts_once() -> None:
    run = Run()
    run.submit(stop(1), stop(2))
    run.effect.finishes[0](DONE)
    run.lane.advance(RING, NOW)
    run.effect.finishes[0](Outcome(Result.FAILED))
    assert run.ended == [(1, Result.DONE)]
    assert run.begun == [1, 2]


def test_overflow_ends_the_newest() -> None:
    run = Run()
    run.submit(*(stop(ticket) for ticket in range(MOST + 2)))
    assert run.ended == [(MOST + 1, Result.FAILED)]


def test_letting_go_has_room_where_only_takings_wait() -> None:
    run = Run()
    run.submit(*(start(ticket) for ticket in range(MOST + 1)), stop(1000))
    assert (1000, Result.FAILED) not in run.ended
    assert run.begun[-1] == 1000


def test_every_ticket_ends_once() -> None:
    """Whatever the mixture and whoever ends what when."""
    run = Run(deadline_ms=100)
    tickets = range(60)
    for ticket in tickets:
        drop = DropAddress(Ticket(ticket), CLOUD, Reason.LEAVING)
        hold = HoldAddress(Ticket(ticket), CLOUD, Until(RING, Instant(2000 + ticket)), Reason.ELECTED)
        run.submit(drop if ticket % 7 == 0 else hold, now=1000 + 40 * ticket)
        if ticket % 3 == 0:
            for finish in list(run.effect.finishes):
                finish(DONE)
        run.lane.expire(Instant(1000 + 40 * ticket))
        run.lane.advance(RING, Instant(1000 + 40 * ticket))
    while not run.lane.idle:
        run.lane.expire(Instant(99_999))
        run.lane.advance(RING, Instant(90_000))
    assert sorted(ticket for ticket, _ in run.ended) == list(tickets)


def test_a_migration_takes_as_long_as_it_takes() -> None:
    run = Run()
    until = Until(RING, Instant(5000))
    run.submit(MigrateVm(Ticket(1), VmName("a"), NodeId(2), "192.0.2.2", until, Reason.ORDERED))
    run.lane.expire(Instant(NOW + MIGRATION_MS - 1))
    assert run.ended == []
    run.lane.expire(Instant(NOW + MIGRATION_MS))
    assert run.ended == [(1, Result.TIMED_OUT)]


def test_what_hangs_at_a_vm_does_not_keep_it_from_being_suspended() -> None:
    run = Run()
    run.submit(MarkVm(Ticket(1), VmName("a"), 3), SuspendVm(Ticket(2), VmName("a"), Reason.QUORUM_LOST))
    assert run.ended == [(1, Result.SUPERSEDED)]
    assert run.begun == [1, 2]
