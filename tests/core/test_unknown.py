"""VMs that no ledger knows: from when on others may have adopted them (safety.md, rule 13)."""

from dataclasses import replace

import pytest
from test_invariants import ME, NOW, OTHER, ROW, A, acting

from corolistener.core import strangers, unknown
from corolistener.core.capacity import Vm
from corolistener.core.instance import Copy
from corolistener.core.reports import VmState
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

THIRD, FOURTH = NodeId(3), NodeId(4)


def new(offered: int = 0) -> State:
    """A node with an empty disk and a VM, one of four with a vote each; a device could cast so many."""
    s = acting().state
    s.blank, s.leased, s.lease.ends = True, False, None
    s.copies.vms[A.name] = Copy(A, VmState.RUNNING)
    s.quorum.votes = dict.fromkeys((ME, OTHER, THIRD, FOURTH), 1)
    s.quorum.needed, s.quorum.offered = (4 + offered) // 2 + 1, offered
    s.group.ring_nodes = s.group.members = (ME, OTHER)
    return s


def test_who_was_told_and_is_no_quorum_adopts_nothing() -> None:
    s = new()
    unknown.told(s, Instant(NOW))
    assert unknown.heard_at(s) is None
    assert unknown.spared(s, A.name, Instant(NOW + 1_000_000))


def test_who_was_told_before_counts_as_soon_as_it_is_a_quorum() -> None:
    """Without a new message: votes may be counted, or a device may vote, at any time."""
    s = new()
    unknown.told(s, Instant(NOW))
    unknown.look(s, Instant(NOW + 500))
    s.quorum.device = 1
    unknown.look(s, Instant(NOW + 600))
    assert unknown.heard_at(s) == NOW + 500, "since the last moment at which it was none"
    s.quorum.device = 0
    assert unknown.heard_at(s) == NOW + 500, "what they have heard they do not forget"
    assert not unknown.spared(s, A.name, Instant(NOW + 500 + s.lease_ms))


@pytest.mark.parametrize(("members", "heard"), [((ME,), None), ((ME, OTHER), NOW)])
def test_a_device_may_make_others_a_quorum_without_this_nodes_knowing(members: tuple[NodeId, ...], heard: int | None) -> None:
    s = new(offered=3)
    s.group.members = members
    unknown.told(s, Instant(NOW))
    assert unknown.heard_at(s) == heard


def test_from_its_first_lease_on_a_process_runs_nothing_without_one() -> None:
    s = new()
    assert unknown.spared(s, A.name, Instant(NOW))
    s.leased = True
    assert not unknown.spared(s, A.name, Instant(NOW))
    s.lease.ends = Instant(NOW + 1)
    assert unknown.spared(s, A.name, Instant(NOW))


def test_how_another_vm_of_the_name_ended_says_nothing_about_this_one() -> None:
    """Rule 9. The other one ran here while this node could not know whose name it had."""
    s = acting(replace(ROW, vm=replace(A, uuid="ours"))).state
    copy = s.copies.vms[A.name] = Copy(Vm(A.name, 1, uuid="theirs"), ended=True, gave_up=4, crashes=2)
    strangers.judge(s, sure=True)
    assert (copy.vm.uuid, copy.ended, copy.gave_up, copy.crashes) == ("ours", False, 0, 0)
    copy.ended = True
    strangers.judge(s, sure=True)
    assert copy.ended, "its own end counts"
