"""A pause has a reason (safety.md, rule 11)."""

from dataclasses import replace

import msgspec
import pytest

from corolistener.core import reports
from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.copies import Copies
from corolistener.core.events import Copied, Outcome, Pause, Result
from corolistener.core.instance import Aim, Copy, Deed
from corolistener.core.ledger import Ledger
from corolistener.core.pauses import HOLD_MS, TROUBLES, YOUNG_MS, recovered
from corolistener.core.reports import VmState
from corolistener.core.telling import inventory
from corolistener.ids import Instant, NodeId, Ticket, VmName
from corolistener.wire import ring

VM = Vm(VmName("a"), 1)
TIMING = Timing()
RUNNING, SUSPENDED = VmState.RUNNING, VmState.SUSPENDED
T0 = Instant(1000 + YOUNG_MS)


def made(state: VmState = RUNNING) -> tuple[Copies, Copy]:
    copies = Copies()
    copies.listed((Copied(VM, state, 3, pause=Pause.CALL if state is SUSPENDED else Pause.OTHER),), Instant(1000))
    return copies, copies.vms[VM.name]


def paused(copies: Copies, pause: Pause = Pause.CALL, steady: bool = True, now: int = T0) -> None:
    copies.seen(Copied(VM, SUSPENDED, 3, pause=pause), steady=steady, now=Instant(now), timing=TIMING)


def runs(copies: Copies, pause: Pause = Pause.OTHER, now: int = T0) -> None:
    copies.seen(Copied(VM, RUNNING, 3, pause=pause), steady=True, now=Instant(now), timing=TIMING)


def done(copy: Copy, deed: Deed, now: int = T0) -> None:
    copy.begin(Ticket(1), deed, 3)
    copy.end(Outcome(Result.DONE), Instant(now), TIMING)


def step(copy: Copy, aim: Aim = Aim.RUN, now: int = T0) -> Deed | None:
    return copy.next(aim, 3, Instant(now))


# -- whose pause it is


def test_its_users_pause_is_kept_labelled_and_told() -> None:
    copies, copy = made()
    paused(copies)
    assert inventory(copies, Ledger(), NodeId(1)).copies[0].pause == "user"
    assert step(copy) is Deed.MARK, "the next process of the daemon shall know it"
    done(copy, Deed.MARK)
    paused(copies, Pause.USER)
    assert step(copy) is None
    assert copy.quiet
    assert not copy.failing


def test_the_first_word_after_a_resumption_may_be_older_than_that() -> None:
    """A list that was asked for before shows it suspended: that is not its user's will, and it is resumed once more."""
    copies, copy = made(SUSPENDED)
    done(copy, Deed.RESUME)
    paused(copies)
    assert copy.pause is Pause.CALL
    assert step(copy) is Deed.RESUME
    done(copy, Deed.RESUME)
    runs(copies)
    paused(copies)
    assert copy.pause is Pause.USER, "it was seen running meanwhile"


def test_its_users_pause_ends_when_its_user_resumes_it_and_the_label_goes() -> None:
    copies, copy = made()
    paused(copies, Pause.USER)
    runs(copies, Pause.USER)
    assert step(copy) is Deed.MARK
    done(copy, Deed.MARK)
    runs(copies)
    assert step(copy) is None


def test_an_operator_ends_it_whatever_the_label_says() -> None:
    copies, copy = made()
    paused(copies, Pause.USER)
    copy.woken, copy.pause = True, Pause.CALL
    paused(copies, Pause.USER)
    assert step(copy) is Deed.RESUME
    runs(copies, Pause.USER)
    assert step(copy) is Deed.MARK
    paused(copies, Pause.CALL)
    assert copy.pause is Pause.USER, "a new one"


def test_what_this_node_suspended_is_its_own() -> None:
    copies, copy = made()
    copy.begin(Ticket(1), Deed.SUSPEND, 3)
    paused(copies)
    copy.end(Outcome(Result.DONE), T0, TIMING)
    assert (copy.pause, step(copy)) == (Pause.CALL, Deed.RESUME)
    copies, copy = made()
    copy.begin(Ticket(1), Deed.SUSPEND, 3)
    copy.end(Outcome(Result.TIMED_OUT), T0, TIMING)
    runs(copies)
    paused(copies)
    assert copy.pause is Pause.CALL, "the call came late"


@pytest.mark.parametrize("known", ["no lease", "young", "found"])
def test_in_doubt_it_is_resumed(known: str) -> None:
    copies, copy = made(SUSPENDED if known == "found" else RUNNING)
    paused(copies, steady=known != "no lease", now=1000 + YOUNG_MS - 1 if known == "young" else T0)
    assert (copy.pause, step(copy)) == (Pause.CALL, Deed.RESUME)


def test_a_users_pause_survives_a_loss_of_the_lease_and_of_the_hypervisor() -> None:
    copies, copy = made()
    paused(copies, Pause.USER)
    assert step(copy, Aim.SUSPEND) is None
    copies.lost()
    assert step(copy, Aim.SUSPEND) is Deed.SUSPEND
    done(copy, Deed.SUSPEND)
    paused(copies, Pause.USER, steady=False)
    assert step(copy) is None


# -- busy


@pytest.mark.parametrize("pause", [Pause.BUSY, Pause.STARTING])
def test_what_the_hypervisor_is_busy_with_is_left_alone_but_is_not_quiet(pause: Pause) -> None:
    copies, copy = made()
    paused(copies, pause)
    assert step(copy) is None
    assert not copy.quiet, "it goes on by itself"
    assert step(copy, Aim.SUSPEND) is Deed.SUSPEND
    assert step(copy, Aim.END) is None
    done(copy, Deed.SUSPEND)
    assert copy.quiet
    assert inventory(copies, Ledger(), NodeId(1)).troubles == ()


# -- troubles


def test_a_resumption_that_does_not_hold_waits_longer_each_time() -> None:
    copies, copy = made()
    now, waits = int(T0), list[int]()
    for _ in range(10):
        paused(copies, Pause.IO_ERROR, now=now)
        waits.append(copy.again_at - now)
        assert step(copy, now=copy.again_at - 1) is None
        now = copy.again_at
        assert step(copy, now=now) is Deed.RESUME
        done(copy, Deed.RESUME, now)
    assert waits == [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
    assert [(each.name, each.why) for each in inventory(copies, Ledger(), NodeId(1)).troubles] == [(VM.name, "I/O error")]
    assert not recovered(copy, Instant(copy.paused_at + HOLD_MS - 1))
    assert recovered(copy, Instant(copy.paused_at + HOLD_MS))
    assert inventory(copies, Ledger(), NodeId(1)).troubles == ()
    paused(copies, Pause.IO_ERROR, now=now + HOLD_MS)
    assert copy.pauses == 1


def test_a_list_of_the_hypervisor_does_not_shorten_the_wait() -> None:
    copies, copy = made()
    paused(copies, Pause.IO_ERROR)
    copies.listed((Copied(VM, SUSPENDED, 3, pause=Pause.IO_ERROR),), T0)
    assert copy.pauses == 1
    assert step(copy) is None


def test_one_that_has_panicked_is_a_crash_and_started_anew() -> None:
    copies, copy = made()
    paused(copies, Pause.PANICKED)
    assert (copy.crashes, step(copy)) == (1, Deed.DESTROY)
    done(copy, Deed.DESTROY)
    assert step(copy) is Deed.START
    done(copy, Deed.START)
    done(copy, Deed.RESUME)
    paused(copies, Pause.PANICKED)
    assert copy.crashes == 2
    assert step(copy) is None, "later the second time"
    assert step(copy, now=copy.again_at) is Deed.DESTROY


def test_one_that_does_not_stay_resumed_for_no_known_reason_waits_as_well() -> None:
    copies, copy = made(SUSPENDED)
    done(copy, Deed.RESUME)
    paused(copies, Pause.OTHER)
    assert step(copy) is None
    assert copy.why == TROUBLES[Pause.OTHER]


def test_one_that_ends_before_it_was_resumed_has_crashed() -> None:
    copies = Copies()
    copies.listed((), T0)
    copy = copies.vms[VM.name] = Copy(VM)
    done(copy, Deed.START)
    copies.gone(VM.name, False, T0, TIMING)
    assert copy.crashes == 1


def test_a_label_that_does_not_stay_is_written_later_each_time() -> None:
    copies, copy = made()
    now, waits = int(T0), list[int]()
    for _ in range(3):
        copies.seen(Copied(VM, RUNNING, 2), now=Instant(now), timing=TIMING)
        assert step(copy, now=copy.retry_at) is Deed.MARK
        done(copy, Deed.MARK, now)
        waits.append(copy.retry_at - now)
        now = copy.retry_at
    assert waits == [500, 1000, 2000]
    runs(copies)
    assert copy.marks == 0


# -- what the others are told


def test_a_word_that_a_newer_member_sends_does_not_lose_its_inventory() -> None:
    report = reports.Report(VM, SUSPENDED, 3, pause="a-new-reason")
    said = ring.decode(ring.encode(reports.Inventory((report,), complete=True)), NodeId(2))
    assert isinstance(said, reports.Inventory)
    assert said.copies == (report,)


def test_a_report_of_an_older_member_has_no_reason() -> None:
    old = msgspec.msgpack.encode({"vm": {"name": "a", "memory_kib": 1}, "state": "suspended"})
    assert msgspec.msgpack.decode(old, type=reports.Report) == replace(reports.Report(VM, SUSPENDED), vm=VM)
