"""What becomes of a copy of a VM: the aim as a table, and the deeds that lead there."""

from itertools import product
from typing import Any

import pytest

from corolistener.core.aims import aim
from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.copies import Copies
from corolistener.core.events import Copied, Outcome, Result
from corolistener.core.instance import CRASHES_MS, SHUT_DOWN_MS, Aim, Copy, Deed
from corolistener.core.ledger import Ledger, Placed
from corolistener.core.reports import Report, VmState
from corolistener.core.telling import inventory
from corolistener.ids import Instant, NodeId, Ticket, VmName

ME, OTHER = NodeId(1), NodeId(2)
VM = Vm(VmName("a"), 1)
RUNNING, SUSPENDED = VmState.RUNNING, VmState.SUSPENDED
HERE, ELSEWHERE, OFF, FROZEN = (
    Placed(VM, ME, 3),
    Placed(VM, OTHER, 3),
    Placed(VM, ME, 3, on=False),
    Placed(VM, ME, 3, frozen="x"),
)
T0, TIMING = Instant(1000), Timing()


def copy(state: VmState | None = None, generation: int = 0, **facts: Any) -> Copy:
    return Copy(VM, state, generation=generation, **facts)


@pytest.mark.parametrize(
    ("what", "placed", "licensed", "held", "firm", "due", "wanted"),
    [
        # without a lease everything is suspended, whatever the ledger says
        (copy(RUNNING, 3), HERE, False, False, True, True, Aim.SUSPEND),
        (copy(RUNNING, 3), None, False, True, False, False, Aim.SUSPEND),
        # with one, what runs goes on while the ledger is being opened
        (copy(RUNNING, 3), HERE, True, False, False, False, Aim.KEEP),
        (copy(SUSPENDED, 3), HERE, True, False, False, False, Aim.KEEP),
        # after an absence: nothing runs before the ledger is stable and this node admitted
        (copy(SUSPENDED, 3), HERE, True, True, True, True, Aim.SUSPEND),
        (copy(RUNNING, 3), HERE, True, True, False, False, Aim.SUSPEND),
        # same node and generation: resume; another generation: its memory is worthless
        (copy(SUSPENDED, 3), HERE, True, False, True, False, Aim.RUN),
        (copy(SUSPENDED, 2), HERE, True, False, True, False, Aim.DESTROY),
        (copy(SUSPENDED, 0), HERE, True, False, True, False, Aim.DESTROY),
        # but one that is just being started is seen before it has its label
        (copy(SUSPENDED, 0, ticket=Ticket(1), deed=Deed.START), HERE, True, False, True, False, Aim.RUN),
        (copy(SUSPENDED, 0, ticket=Ticket(1), deed=Deed.RESUME), HERE, True, False, True, False, Aim.DESTROY),
        (copy(RUNNING, 2), HERE, True, False, True, False, Aim.DESTROY),
        (copy(RUNNING, 0), HERE, True, False, True, False, Aim.RUN),
        # placed elsewhere: destroyed, also by a node that is not admitted yet, but suspended first
        (copy(SUSPENDED, 3), ELSEWHERE, True, True, True, False, Aim.DESTROY),
        (copy(SUSPENDED, 3), ELSEWHERE, True, False, True, False, Aim.DESTROY),
        (copy(RUNNING, 3), ELSEWHERE, True, False, True, False, Aim.SUSPEND),
        (copy(SUSPENDED, 3), ELSEWHERE, True, False, False, False, Aim.KEEP),
        (copy(SUSPENDED, 3, stray=True), ELSEWHERE, True, False, True, False, Aim.SUSPEND),
        # it strayed to where the VM has been placed since: worthless all the same
        (copy(SUSPENDED, 0, stray=True), HERE, True, False, True, False, Aim.DESTROY),
        (copy(SUSPENDED, 0, stray=True), HERE, True, False, False, False, Aim.SUSPEND),
        # placed here and not there: started when it is its turn
        (copy(), HERE, True, False, True, True, Aim.RUN),
        (copy(), HERE, True, False, True, False, Aim.KEEP),
        (copy(ended=True), HERE, True, False, True, True, Aim.KEEP),
        # not ours to decide
        (copy(RUNNING), None, True, False, True, True, Aim.KEEP),
        (copy(SUSPENDED), None, True, False, True, True, Aim.KEEP),
        (copy(), OFF, True, False, True, True, Aim.KEEP),
        (copy(SUSPENDED, 3), FROZEN, True, False, True, True, Aim.KEEP),
        (copy(SUSPENDED, 3), Placed(VM, OTHER, 3, to=ME), True, False, True, True, Aim.KEEP),
    ],
)
def test_aim(what: Copy, placed: Placed | None, licensed: bool, held: bool, firm: bool, due: bool, wanted: Aim) -> None:
    assert aim(what, placed, ME, licensed, held, firm, due) is wanted


@pytest.mark.parametrize(
    ("what", "wanted", "deed"),
    [
        (copy(), Aim.RUN, Deed.START),
        (copy(SUSPENDED, 3), Aim.RUN, Deed.RESUME),
        (copy(RUNNING, 3), Aim.RUN, None),
        (copy(RUNNING, 0), Aim.RUN, Deed.MARK),
        (copy(RUNNING, 3), Aim.SUSPEND, Deed.SUSPEND),
        (copy(SUSPENDED, 3), Aim.SUSPEND, None),
        (copy(SUSPENDED, 3, doubt=True), Aim.SUSPEND, Deed.SUSPEND),
        (copy(doubt=True), Aim.SUSPEND, Deed.SUSPEND),
        (copy(), Aim.SUSPEND, None),
        (copy(SUSPENDED, 3), Aim.DESTROY, Deed.DESTROY),
        (copy(), Aim.DESTROY, None),
        (copy(doubt=True), Aim.DESTROY, Deed.DESTROY),
        (copy(RUNNING, 3), Aim.KEEP, None),
    ],
)
def test_next(what: Copy, wanted: Aim, deed: Deed | None) -> None:
    assert what.next(wanted, 3, T0) is deed


def test_what_may_not_run_is_suspended_though_it_is_just_being_resumed() -> None:
    what = copy(SUSPENDED, 3)
    what.begin(Ticket(1), Deed.RESUME, 3)
    assert not what.quiet
    assert what.next(Aim.RUN, 3, T0) is None
    assert what.next(Aim.SUSPEND, 3, T0) is Deed.SUSPEND
    what.begin(Ticket(2), Deed.SUSPEND, 3)
    assert not what.quiet, "the resumption may still be carried out"
    assert what.next(Aim.SUSPEND, 3, T0) is None
    what.end(Outcome(Result.DONE), T0, TIMING)
    assert what.quiet


@pytest.mark.parametrize(("deed", "result"), list(product([Deed.START, Deed.RESUME], [Result.FAILED, Result.TIMED_OUT])))
def test_what_failed_may_have_worked(deed: Deed, result: Result) -> None:
    what = copy(None if deed is Deed.START else SUSPENDED, 3)
    what.begin(Ticket(1), deed, 3)
    what.end(Outcome(result), T0, TIMING)
    assert not what.quiet
    assert what.failing
    assert what.next(Aim.RUN, 3, T0) is None, "not at once again"
    assert what.next(Aim.RUN, 3, Instant(T0 + 60_000)) is deed
    assert what.next(Aim.SUSPEND, 3, T0) is Deed.SUSPEND


def test_a_start_gives_its_generation() -> None:
    what = copy()
    what.begin(Ticket(1), Deed.START, 7)
    what.end(Outcome(Result.DONE), T0, TIMING)
    assert (what.state, what.generation) == (SUSPENDED, 7)


def test_nothing_is_quiet_before_the_hypervisor_has_said_what_there_is() -> None:
    copies = Copies()
    assert not copies.quiet
    copies.listed((), T0)
    assert copies.quiet
    copies.seen(Copied(VM, RUNNING))
    assert not copies.quiet
    copies.seen(Copied(VM, SUSPENDED))
    assert copies.quiet
    copies.lost()
    assert not copies.quiet
    assert inventory(copies, Ledger(), NodeId(1)).copies[0].state is None
    copies.listed((), T0)
    assert copies.quiet
    assert inventory(copies, Ledger(), NodeId(1)).complete


def test_who_shuts_a_vm_down_means_it() -> None:
    copies = Copies()
    copies.listed((), T0)
    copies.seen(Copied(VM, RUNNING, 3))
    copies.gone(VM.name, True, T0, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == (VM.name,)
    copies.seen(Copied(VM, RUNNING, 0))
    assert inventory(copies, Ledger(), NodeId(1)).ended == ()


def test_a_user_may_shut_a_vm_down_while_it_moves_and_its_leaving_is_no_crash() -> None:
    for by_user in (True, False):
        copies = Copies()
        copies.listed((), T0)
        copies.seen(Copied(VM, RUNNING, 3))
        copies.vms[VM.name].begin(Ticket(1), Deed.MIGRATE, 3)
        copies.gone(VM.name, by_user, T0, TIMING)
        assert inventory(copies, Ledger(), NodeId(1)).ended == (VM.name,) * by_user
        assert inventory(copies, Ledger(), NodeId(1)).troubles == ()


def test_who_was_asked_to_shut_down_did_not_do_so_by_its_users_will() -> None:
    copies = Copies()
    copies.listed((), T0)
    copies.seen(Copied(VM, RUNNING, 3))
    copies.vms[VM.name].asked_at = T0
    copies.gone(VM.name, True, T0, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == ()
    assert inventory(copies, Ledger(), NodeId(1)).troubles == ()
    copies.gone(VmName("unknown"), True, T0, TIMING)
    assert list(copies.vms) == [VM.name]


def test_what_is_known_to_be_gone_has_not_ended_once_more() -> None:
    """The word of one that we had destroyed came when the next was being started, and looked like its user's will."""
    copies = Copies()
    copies.listed((), T0)
    copies.seen(Copied(VM, SUSPENDED, 2))
    copies.vms[VM.name].begin(Ticket(1), Deed.DESTROY, 3)
    copies.vms[VM.name].end(Outcome(Result.DONE), T0, TIMING)
    copies.vms[VM.name].begin(Ticket(2), Deed.START, 3)
    copies.gone(VM.name, True, T0, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == ()
    copies.lost()
    copies.gone(VM.name, True, T0, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == (VM.name,), "nobody knew what was there"


def test_crashes_count_within_ten_minutes_and_each_waits_longer_but_the_first() -> None:
    what, times = copy(RUNNING, 3), [0, 1000, 2000, CRASHES_MS]
    seen = []
    for ms in times:
        what.crashed(Instant(T0 + ms), TIMING)
        seen.append((what.crashes, what.retry_at - T0 - ms))
    assert seen == [(1, 0), (2, 1000), (3, 2000), (1, 0)]
    what.gave_up = 3
    what.asked_again()
    assert not what.failing


@pytest.mark.parametrize(
    ("outcome", "state", "stuck", "doubt", "tried"),
    [
        (Outcome(Result.DONE), None, "", False, (3, OTHER)),
        (Outcome(Result.FAILED, "refused"), RUNNING, "refused", False, (3, OTHER)),
        (Outcome(Result.TIMED_OUT), RUNNING, "timed-out", True, (3, OTHER)),
        (Outcome(Result.SUPERSEDED), RUNNING, "", False, None),
    ],
)
def test_a_migration_ends(outcome: Outcome, state: VmState | None, stuck: str, doubt: bool, tried: object) -> None:
    what = copy(RUNNING, 3)
    what.begin(Ticket(1), Deed.MIGRATE, 3)
    what.tried = (3, OTHER)
    assert what.risky
    what.end(outcome, T0, TIMING)
    assert (what.state, what.stuck, what.doubt, what.tried) == (state, stuck, doubt, tried)
    assert what.failures == 0


def test_what_does_not_shut_down_is_destroyed_after_a_minute() -> None:
    what = copy(RUNNING, 3)
    assert what.next(Aim.END, 3, T0) is Deed.SHUT_DOWN
    what.asked_at = T0
    assert what.next(Aim.END, 3, Instant(T0 + SHUT_DOWN_MS - 1)) is None
    assert what.next(Aim.END, 3, Instant(T0 + SHUT_DOWN_MS)) is Deed.DESTROY
    assert copy(SUSPENDED, 3).next(Aim.END, 3, T0) is Deed.DESTROY
    assert copy(RUNNING, 3, stray=True).next(Aim.END, 3, T0) is Deed.DESTROY
    assert copy().next(Aim.END, 3, T0) is None


MOVING, COLD, COMING = Placed(VM, ME, 3, OTHER), Placed(VM, ME, 3, OTHER, live=False), Placed(VM, OTHER, 3, ME)


@pytest.mark.parametrize(
    ("what", "placed", "other", "wanted"),
    [
        (copy(RUNNING, 3), MOVING, None, Aim.MOVE),
        (copy(RUNNING, 3, tried=(3, OTHER)), MOVING, None, Aim.KEEP),
        (copy(RUNNING, 3, tried=(2, OTHER)), MOVING, None, Aim.MOVE),
        (copy(SUSPENDED, 3), MOVING, Report(VM, RUNNING, 3), Aim.DESTROY),
        (copy(SUSPENDED, 3, tried=(3, OTHER)), MOVING, Report(VM, SUSPENDED, 3), Aim.KEEP),
        (copy(RUNNING, 3), COLD, None, Aim.END),
        (copy(SUSPENDED, 3), COMING, Report(VM, RUNNING, 3), Aim.KEEP),
        (copy(SUSPENDED, 3), COMING, Report(VM, SUSPENDED, 3, stuck="refused"), Aim.DESTROY),
        (copy(RUNNING, 3), COMING, Report(VM, SUSPENDED, 3, stuck="refused"), Aim.KEEP),
        (copy(), COMING, None, Aim.KEEP),
        (copy(RUNNING, 3, stray=True), MOVING, None, Aim.SUSPEND),
        (copy(RUNNING, 3, stray=True), COMING, None, Aim.SUSPEND),
        (copy(RUNNING, 3, stopping=True), HERE, None, Aim.END),
        (copy(SUSPENDED, 3, gave_up=3), HERE, None, Aim.DESTROY),
        (copy(gave_up=3), HERE, None, Aim.KEEP),
    ],
)
def test_the_aim_of_what_moves_or_is_to_end(what: Copy, placed: Placed, other: Report | None, wanted: Aim) -> None:
    assert aim(what, placed, ME, licensed=True, held=False, firm=True, due=True, other=other) is wanted


def test_a_former_process_may_have_asked_what_is_there_to_shut_down() -> None:
    asked = (True, SHUT_DOWN_MS - 1, ()), (True, SHUT_DOWN_MS, (VM.name,)), (False, 1, (VM.name,))
    for ending, after, ended in asked:
        copies = Copies()
        copies.listed((Copied(VM, RUNNING, 3, ending=ending),), T0)
        copies.listed((Copied(VM, RUNNING, 3, ending=ending),), Instant(T0 + 1))
        copies.gone(VM.name, True, Instant(T0 + after), TIMING)
        assert inventory(copies, Ledger(), NodeId(1)).ended == ended
        assert inventory(copies, Ledger(), NodeId(1)).troubles == ()
