"""votequorum of the bindings against real corosync: votes, expected votes, flags, the quorum device."""

import pytest

from corolistener.corosync.errors import (
    BadHandle,
    Exist,
    InvalidParam,
    MessageError,
    NameNotFound,
    NameTooLong,
    NotExist,
)
from corolistener.corosync.values import RingId
from corolistener.corosync.votequorum import (
    QDEVICE,
    ExpectedVotesChanged,
    Flag,
    Info,
    Node,
    NodelistChanged,
    NodeState,
    StatesChanged,
    VoteQuorum,
)
from lab.cluster import wait_for
from lab.probe_bindings import probes, whole

probe = pytest.fixture(probes, name="probe")
whole = pytest.fixture(whole, name="whole")

DEVICE = "\tdevice {\n\t\tmodel: any\n\t\tvotes: 1\n\t\ttimeout: 2000\n\t}\n"
BELONGS = Flag.QDEVICE_REGISTERED | Flag.QDEVICE_ALIVE | Flag.QDEVICE_CAST_VOTE


def members(*nodes):
    return [Node(node, NodeState.MEMBER) for node in nodes]


def test_info_of_nodes(whole, probe):
    handle = probe(whole.node(2)).open(VoteQuorum)
    about = Info(3, NodeState.MEMBER, 1, 3, 3, 3, 2, Flag.QUORATE, 0, "")
    assert handle.getinfo(3) == about
    assert handle.getinfo(0) == handle.getinfo(2) == about._replace(node=2)
    with pytest.raises(NotExist):
        handle.getinfo(4)
    handle.close()
    with pytest.raises(BadHandle):
        handle.getinfo(2)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("wait_for_all: 1", Flag.WAIT_FOR_ALL),
        ("auto_tie_breaker: 1", Flag.AUTO_TIE_BREAKER),
        ("last_man_standing: 1", Flag.LAST_MAN_STANDING),
        ("allow_downscale: 1", Flag.ALLOW_DOWNSCALE),
        ("two_node: 1", Flag.TWO_NODE | Flag.WAIT_FOR_ALL),
    ],
)
def test_flags_say_what_is_configured(make_cluster, probe, options, flags):
    cluster = make_cluster(nodes=2, quorum=f"\t{options}\n")
    assert probe(cluster.node(1)).open(VoteQuorum).getinfo(1).flags == flags | Flag.QUORATE


def test_tracking_says_what_there_is_and_what_changes(whole, probe):
    handle = probe(whole.node(1)).open(VoteQuorum)
    with pytest.raises(NotExist):
        handle.trackstop()
    handle.trackstart()
    nodelist, states = handle.until(lambda value: isinstance(value, StatesChanged))
    assert sorted(nodelist.nodes) == [1, 2, 3]
    assert (states.quorate, sorted(states.nodes)) == (True, members(1, 2, 3))
    with pytest.raises(Exist):
        handle.trackstart()
    whole.node(3).cut()
    dead = Node(3, NodeState.DEAD)  # an earlier value may still call it a member
    seen = handle.until(lambda value: isinstance(value, StatesChanged) and dead in value.nodes)
    assert (seen[-1].quorate, sorted(seen[-1].nodes)) == (True, [*members(1, 2), dead])
    assert [(value.ring.seq > nodelist.ring.seq, value.nodes) for value in seen if isinstance(value, NodelistChanged)]
    handle.trackstop()
    whole.node(3).heal()
    whole.wait_quorate()
    assert handle.dispatch() == []


def test_tracking_only_changes_or_only_the_present(whole, probe):
    here = probe(whole.node(1))
    present, changes = here.open(VoteQuorum), here.open(VoteQuorum)
    present.trackstart(changes=False)
    changes.trackstart(current=False)
    assert changes.dispatch() == []
    present.setexpected(3)
    assert changes.until(lambda value: True) == [ExpectedVotesChanged(3)]
    assert [type(value) for value in present.dispatch()] == [NodelistChanged, StatesChanged]


def test_a_node_is_taken_out_without_a_gap(whole, probe):
    here, there = probe(whole.node(1)).open(VoteQuorum), probe(whole.node(2)).open(VoteQuorum)
    there.trackstart(current=False)
    for refused in (2, 0, 100):
        with pytest.raises(InvalidParam):
            here.setexpected(refused)
    here.setvotes(3, 0)
    wait_for(lambda: there.getinfo(3).votes == 0, "node 2 knows the votes of node 3")
    here.setexpected(2)
    there.until(lambda value: value == ExpectedVotesChanged(2))
    info = there.getinfo(3)
    assert (info.votes, info.total_votes, info.highest_expected, info.quorum) == (0, 2, 2, 2)
    here.setvotes(3, 1)
    here.setexpected(3)
    there.until(lambda value: value == ExpectedVotesChanged(3))
    wait_for(lambda: there.getinfo(3).total_votes == 3, "all votes are back")
    with pytest.raises(NameNotFound):
        here.setvotes(9, 1)


def test_a_quorum_device_makes_quorum_while_it_is_polled(make_cluster, probe):
    cluster = make_cluster(corosync=False, nodes=1, quorum=DEVICE)
    cluster.node(1).start_corosync(wait=True)
    here = probe(cluster.node(1))
    handle = here.open(VoteQuorum)
    handle.trackstart()
    nodelist, states = handle.until(lambda value: isinstance(value, StatesChanged))
    assert states == StatesChanged(False, tuple(members(1)))
    before = handle.getinfo(1)
    assert (before.expected_votes, before.quorum, before.flags, before.qdevice_votes) == (2, 2, Flag(0), 1)
    for call in (
        lambda: handle.qdevice_poll("arbiter", True, nodelist.ring),
        lambda: handle.qdevice_unregister("arbiter"),
        lambda: handle.qdevice_update("arbiter", "other"),
        lambda: handle.qdevice_master_wins("arbiter", True),
    ):
        with pytest.raises(NotExist):
            call()

    handle.qdevice_register("arbiter")
    handle.qdevice_register("arbiter")
    with pytest.raises(Exist):
        handle.qdevice_register("other")
    assert handle.getinfo(1).flags == Flag.QDEVICE_REGISTERED
    with pytest.raises(MessageError):
        handle.qdevice_poll("arbiter", True, RingId(nodelist.ring.node, nodelist.ring.seq - 1))
    handle.qdevice_poll("arbiter", True, nodelist.ring)
    device = Node(QDEVICE, NodeState.UNKNOWN)
    assert handle.until(lambda value: value.quorate)[-1] == StatesChanged(True, (*members(1), device))
    info = handle.getinfo(1)
    assert (info.flags, info.total_votes, info.qdevice_name) == (BELONGS | Flag.QUORATE, 2, "arbiter")
    handle.qdevice_poll("arbiter", False, nodelist.ring)
    handle.until(lambda value: not value.quorate)
    assert handle.getinfo(1).flags == Flag.QDEVICE_REGISTERED | Flag.QDEVICE_ALIVE
    handle.qdevice_poll("arbiter", True, nodelist.ring)
    handle.until(lambda value: value.quorate)
    handle.until(lambda value: not value.quorate)  # nobody has polled for quorum.device.timeout
    assert Flag.QDEVICE_ALIVE not in handle.getinfo(1).flags


def test_a_quorum_device_has_a_name(make_cluster, probe):
    cluster = make_cluster(corosync=False, nodes=1, quorum=DEVICE)
    cluster.node(1).start_corosync(wait=True)
    here = probe(cluster.node(1))
    handle, other = here.open(VoteQuorum), here.open(VoteQuorum)
    for name in ("x" * 255, "x" * 10_000):
        with pytest.raises(NameTooLong):
            handle.qdevice_register(name)
    for name in ("", "a\0b"):
        with pytest.raises(InvalidParam):
            handle.qdevice_register(name)
    handle.qdevice_register("x" * 254)
    assert handle.getinfo(1).qdevice_name == "x" * 254
    handle.qdevice_update("x" * 254, "arbiter")
    assert handle.getinfo(1).qdevice_name == "arbiter"
    handle.trackstart(changes=False)
    (nodelist, *_) = handle.until(lambda value: isinstance(value, NodelistChanged))
    for call in (
        lambda: handle.qdevice_poll("other", True, nodelist.ring),
        lambda: handle.qdevice_unregister("other"),
        lambda: handle.qdevice_update("other", "third"),
        lambda: handle.qdevice_master_wins("other", True),
    ):
        with pytest.raises(InvalidParam):
            call()
    handle.qdevice_master_wins("arbiter", True)
    assert Flag.QDEVICE_MASTER_WINS in handle.getinfo(1).flags
    handle.qdevice_master_wins("arbiter", False)
    assert Flag.QDEVICE_MASTER_WINS not in handle.getinfo(1).flags
    handle.close()
    other.qdevice_unregister("arbiter")  # it belongs to no connection
    assert other.getinfo(1).flags == Flag(0)
