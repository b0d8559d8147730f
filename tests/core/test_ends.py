"""The end of an instance has one cause, whichever news of it comes first (safety.md, rule 14)."""

import pytest

from corolistener.core.aims import aim
from corolistener.core.capacity import Vm
from corolistener.core.config import Timing
from corolistener.core.copies import Copies
from corolistener.core.events import Copied, Outcome, Result
from corolistener.core.instance import CAUSE_MS, Aim, Copy, Deed
from corolistener.core.ledger import Ledger, Placed
from corolistener.core.reports import VmState
from corolistener.core.telling import inventory
from corolistener.ids import Instant, NodeId, Ticket, VmName

ME = NodeId(1)
VM = Vm(VmName("a"), 1)
T0, TIMING = Instant(1000), Timing()
LATER = Instant(T0 + CAUSE_MS)
RUNNING, SUSPENDED = VmState.RUNNING, VmState.SUSPENDED


def made(state: VmState = RUNNING) -> tuple[Copies, Copy]:
    copies = Copies()
    copies.listed((), T0)
    copies.seen(Copied(VM, state, 3))
    return copies, copies.vms[VM.name]


def vanish(copies: Copies, how: str) -> None:
    copies.gone(VM.name, None, T0, TIMING) if how == "look" else copies.listed((), T0)


def wanted(copy: Copy) -> Aim:
    return aim(copy, Placed(VM, ME, 3), ME, True, False, True, True)


@pytest.mark.parametrize("how", ["look", "list"])
def test_nothing_is_decided_before_the_cause_is_known(how: str) -> None:
    copies, copy = made()
    vanish(copies, how)
    assert wanted(copy) is Aim.KEEP
    assert not copy.explain(Instant(LATER - 1), TIMING)
    assert not copy.idle
    assert [each.state for each in inventory(copies, Ledger(), NodeId(1)).copies] == [None], (
        "the others are told that it is in doubt"
    )
    assert inventory(copies, Ledger(), NodeId(1)).ended == ()
    assert inventory(copies, Ledger(), NodeId(1)).troubles == ()


@pytest.mark.parametrize("how", ["look", "list"])
def test_the_cause_follows(how: str) -> None:
    copies, copy = made()
    vanish(copies, how)
    copies.gone(VM.name, True, T0, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == (VM.name,)
    assert not copy.crashes
    copies, copy = made()
    vanish(copies, how)
    copies.gone(VM.name, False, T0, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == ()
    assert copy.crashes == 1
    assert wanted(copy) is Aim.RUN
    assert not copy.explain(LATER, TIMING), "one end is one crash"


def test_without_a_cause_it_is_a_crash_and_that_is_taken_back_until_it_is_started_again() -> None:
    copies, copy = made()
    vanish(copies, "look")
    assert copy.explain(LATER, TIMING)
    assert (copy.crashes, wanted(copy)) == (1, Aim.RUN)
    copies.gone(VM.name, True, LATER, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == (VM.name,)
    assert not copy.failing
    copies, copy = made()
    vanish(copies, "look")
    assert copy.explain(LATER, TIMING)
    copy.begin(Ticket(1), Deed.START, 3)
    copies.gone(VM.name, True, LATER, TIMING)
    assert inventory(copies, Ledger(), NodeId(1)).ended == (), "it may be the next instance that is meant"


def test_a_suspended_one_that_is_gone_has_not_crashed() -> None:
    copies, copy = made(SUSPENDED)
    vanish(copies, "list")
    assert copy.explain(LATER, TIMING)
    assert (copy.crashes, wanted(copy)) == (0, Aim.RUN)


def test_what_this_node_has_ended_needs_no_cause() -> None:
    copies, copy = made()
    copy.asked_at = T0
    vanish(copies, "look")
    assert copy.ended_at is None
    copies, copy = made()
    copy.begin(Ticket(1), Deed.DESTROY, 3)
    vanish(copies, "list")
    assert copy.ended_at is None


def test_a_migration_that_leaves_is_no_crash() -> None:
    copies, copy = made()
    copy.tried = (3, NodeId(2))
    copy.begin(Ticket(1), Deed.MIGRATE, 3)
    vanish(copies, "look")
    assert copy.ended_at == T0, "its user may have ended it meanwhile"
    copy.end(Outcome(Result.DONE), T0, TIMING)
    assert copy.ended_at is None
    assert not copy.crashes


def test_what_runs_again_has_not_ended() -> None:
    copies, copy = made()
    vanish(copies, "look")
    copies.seen(Copied(VM, RUNNING, 0))
    assert copy.ended_at is None
    assert not copy.explain(LATER, TIMING)
    assert not copy.crashes
