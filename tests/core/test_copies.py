"""What becomes of a copy of a VM: the aim as a table, and the deeds that lead there."""

from itertools import product

import pytest

from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.copies import Aim, Copies, Copy, Deed, aim
from corolistener.core.events import Copied, Outcome, Result
from corolistener.core.ledger import Placed
from corolistener.core.messages import VmState
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


def copy(state: VmState | None = None, generation: int = 0, **facts: bool) -> Copy:
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
    copies.listed(())
    assert copies.quiet
    copies.seen(Copied(VM, RUNNING))
    assert not copies.quiet
    copies.seen(Copied(VM, SUSPENDED))
    assert copies.quiet
    copies.lost()
    assert not copies.quiet
    assert copies.inventory().copies[0].state is None
    copies.listed(())
    assert copies.quiet
    assert copies.inventory().complete


def test_who_shuts_a_vm_down_means_it() -> None:
    copies = Copies()
    copies.listed((Copied(VM, RUNNING, 3),))
    copies.gone(VM.name, True, T0, TIMING)
    assert copies.inventory().ended == (VM.name,)
    copies.seen(Copied(VM, RUNNING, 0))
    assert copies.inventory().ended == ()
