"""Electing: what all members come to at the same place of the order, and what a change of master makes void."""

from dataclasses import replace

from test_invariants import FILE, ME, NOW, OTHER, acting

from corolistener.core import mastership
from corolistener.core.config import ConfigId, NodeEntry
from corolistener.core.fencing import Attempt
from corolistener.core.group import Peer
from corolistener.core.lifecycle import Mode
from corolistener.ids import NodeId, Ticket

REPLICA, THIRD = OTHER, NodeId(3)


def test_an_election_that_another_one_follows_at_once_is_settled_in_one_go() -> None:
    """A master stands with a file that was edited by hand, and with it goes the replica for which a better one stood back.

    Members look again at different moments: had each election its own, they would disagree meanwhile.
    """
    s = acting().state
    s.database, s.master, s.acting = True, REPLICA, False
    s.group.ring_nodes = s.group.members = (ME, REPLICA, THIRD)
    s.group.peers[THIRD] = Peer("boot-3", "run-3", FILE)
    s.group.peers[REPLICA] = replace(s.group.peers[REPLICA], file=ConfigId(FILE.version, "edited"))
    s.nodes = (
        NodeEntry(ME, priority=50, replication=False),
        NodeEntry(REPLICA, priority=10, replication=True),
        NodeEntry(THIRD, priority=30),
    )
    step = s.group.line.step
    mastership.choose(s)
    assert s.master == ME, "not the third one, for whom it would stand back no more"
    assert s.group.line.step == step + 2
    mastership.choose(s)
    assert (s.master, s.group.line.step) == (ME, step + 2)


def test_verdicts_on_their_way_are_void_when_the_master_changes() -> None:
    s = acting().state
    s.verdicts.add(OTHER)
    s.nodes = (NodeEntry(ME, priority=10), NodeEntry(OTHER, priority=50))
    mastership.choose(s)
    assert s.master == OTHER
    assert not s.verdicts


def test_what_a_former_process_left_is_let_go_as_soon_as_it_is_clear_who_is_master() -> None:
    core = acting()
    s = core.state
    s.mode, s.acting, s.master = Mode.ADOPTING, False, OTHER
    assert mastership._decided(s, NOW), "another one is"
    s.master = None
    assert not mastership._decided(s, NOW)
    s.adopt_until = NOW
    assert mastership._decided(s, NOW), "it has taken too long to find out"
    s.adopt_until, s.quorum.quorate = None, False
    assert mastership._decided(s, NOW), "this partition has no quorum"


def test_nobody_is_admitted_while_an_agent_is_at_work_on_it() -> None:
    s = acting().state
    assert mastership._reconciled(s, OTHER)
    s.fencing.attempts[OTHER] = Attempt("boot-2", Ticket(7))
    assert not mastership._reconciled(s, OTHER)


def test_the_first_master_of_a_start_stays_the_first_while_nobody_takes_over() -> None:
    """It loses corosync, and for a moment nobody is master; who takes over from it is not the first."""
    s = acting().state
    s.starting, s.master, s.acting = True, None, False
    s.nodes = (NodeEntry(ME, priority=50), NodeEntry(OTHER, priority=10))
    mastership.choose(s)
    assert (s.master, s.first) == (ME, ME)
    s.starting, s.master = False, None
    mastership.choose(s)
    assert (s.master, s.first) == (ME, ME)
    s.nodes = (NodeEntry(ME, priority=10), NodeEntry(OTHER, priority=50))
    mastership.choose(s)
    assert (s.master, s.first) == (OTHER, 0)


def test_a_start_goes_on_while_no_master_can_act() -> None:
    """A daemon that is alone in a quorate ring is elected, and has not most of the votes."""
    s = acting().state
    s.starting, s.master, s.acting, s.epoch = True, None, False, s.group.line
    s.quorum.votes, s.quorum.needed = {ME: 1, OTHER: 1, THIRD: 1}, 3
    s.nodes = (NodeEntry(ME, priority=50), NodeEntry(OTHER, priority=10))
    mastership.choose(s)
    assert s.starting
    s.quorum.needed = 2
    mastership.choose(s)
    assert not s.starting
