"""cpg and quorum of the bindings against real corosync: values, order, reasons, refusals."""

import pytest

from corolistener.corosync.cpg import Cpg, Delivered, GroupChanged, Process, Reason, RingChanged
from corolistener.corosync.errors import BadHandle, Exist, InvalidParam, LibraryUnavailable, NameTooLong, NotExist, TryAgain
from corolistener.corosync.handle import MOST_AT_ONCE
from corolistener.corosync.quorum import NodelistChanged, Quorum, QuorumChanged, Type
from corolistener.corosync.values import RingId
from corolistener.corosync.votequorum import VoteQuorum
from lab.cluster import plain_conf, wait_for
from lab.probe_bindings import LIMIT_S, probes, whole

probe = pytest.fixture(probes, name="probe")
whole = pytest.fixture(whole, name="whole")


def nodes_of(processes):
    return [process.node for process in processes]


def joined(probe, group="group"):
    """A handle that has joined, its own GroupChanged taken."""
    handle = probe.open(Cpg)
    handle.join(group)
    own = handle.local_nodeid()
    handle.until(lambda value: isinstance(value, GroupChanged) and own in nodes_of(value.joined))
    return handle


# -- cpg


def test_join_is_seen_by_all_and_the_ring_follows(whole, probe):
    one, two = probe(whole.node(1)), probe(whole.node(2))
    first = one.open(Cpg)
    first.join("group")
    group, ring = first.until(lambda value: isinstance(value, RingChanged))
    me = group.members[0]
    assert group == GroupChanged("group", (me,), (), (me._replace(reason=Reason.JOIN),))
    assert me.node == 1
    assert me.reason is Reason.UNDEFINED
    assert sorted(ring.members) == [1, 2, 3]
    joined(two)
    (seen,) = first.until(lambda value: isinstance(value, GroupChanged))
    assert sorted(nodes_of(seen.members)) == [1, 2]
    assert [(each.node, each.reason) for each in seen.joined] == [(2, Reason.JOIN)]
    assert seen.left == ()


def test_messages_come_in_one_order(whole, probe):
    handles = [joined(probe(node)) for node in whole.nodes]
    for number in range(30):
        for handle in handles:
            handle.mcast(b"%d" % number)
    heard = []
    for handle in handles:
        values = (value for value in handle.values() if isinstance(value, Delivered))
        heard.append([next(values) for _ in range(90)])
    assert heard[0] == heard[1] == heard[2]
    for node in (1, 2, 3):
        assert [value.message for value in heard[0] if value.node == node] == [b"%d" % number for number in range(30)]
    assert {value.group for value in heard[0]} == {"group"}


def test_a_message_may_be_empty_and_may_be_large(whole, probe):
    sender, receiver = joined(probe(whole.node(1))), joined(probe(whole.node(2)))
    large = bytes(range(256)) * 8000
    assert 2 * sender.max_atomic_msgsize() > len(large) > sender.max_atomic_msgsize() > 1_000_000
    sender.mcast(b"")
    sender.mcast(large)
    messages = receiver.until(lambda value: isinstance(value, Delivered) and value.message)
    assert [value.message for value in messages if isinstance(value, Delivered)] == [b"", large]


def test_leave_and_death_have_their_reasons(whole, probe):
    watcher, leaver, victim = joined(probe(whole.node(1))), joined(probe(whole.node(2))), probe(whole.node(3))
    joined(victim)
    leaver.leave()
    *_, seen = watcher.until(lambda value: isinstance(value, GroupChanged) and value.left)
    assert [(each.node, each.reason) for each in seen.left] == [(2, Reason.LEAVE)]
    victim.kill()
    *_, seen = watcher.until(lambda value: isinstance(value, GroupChanged) and value.left)
    assert [(each.node, each.reason) for each in seen.left] == [(3, Reason.PROCDOWN)]
    assert nodes_of(seen.members) == [1]


def test_cut_and_heal_have_their_reasons(whole, probe):
    watcher, lost = joined(probe(whole.node(1))), joined(probe(whole.node(3)))
    whole.node(3).cut()
    *_, gone = watcher.until(lambda value: isinstance(value, GroupChanged) and value.left)
    assert [(each.node, each.reason) for each in gone.left] == [(3, Reason.NODEDOWN)]
    *_, ring = watcher.until(lambda value: isinstance(value, RingChanged))
    assert sorted(ring.members) == [1, 2]
    *_, alone = lost.until(lambda value: isinstance(value, RingChanged) and len(value.members) == 1)
    assert alone.members == (3,)
    assert alone.ring.seq > 0
    whole.node(3).heal()
    *_, back = watcher.until(lambda value: isinstance(value, GroupChanged) and value.joined)
    assert [(each.node, each.reason) for each in back.joined] == [(3, Reason.NODEUP)]
    assert back.joined[0].pid == gone.left[0].pid
    *_, healed = watcher.until(lambda value: isinstance(value, RingChanged) and len(value.members) == 3)
    assert healed.ring.seq > ring.ring.seq


def test_groups_and_membership_are_everybodys(whole, probe):
    one, two = probe(whole.node(1)), probe(whole.node(2))
    joined(one, "alpha"), joined(two, "alpha"), joined(one, "beta")
    bystander = probe(whole.node(3)).open(Cpg)
    groups = bystander.groups()
    assert {name: sorted(nodes_of(processes)) for name, processes in groups.items()} == {"alpha": [1, 2], "beta": [1]}
    assert sorted(bystander.membership("alpha")) == sorted(groups["alpha"])
    assert all(isinstance(process, Process) and process.pid > 0 for process in groups["alpha"])
    assert bystander.membership("gamma") == ()
    assert bystander.local_nodeid() == 3


def test_group_names_are_bytes_of_any_kind(whole, probe):
    here = probe(whole.node(1))
    longest = b"\xff\x00" * 64
    handle = here.open(Cpg)
    handle.join(longest)
    (value, *_) = handle.until(lambda value: isinstance(value, GroupChanged))
    assert value.group.encode("utf-8", "surrogateescape") == longest
    assert list(handle.groups()) == [value.group]
    assert nodes_of(handle.membership(value.group)) == [1]
    for call in ("join", "membership"):
        with pytest.raises(NameTooLong):
            getattr(handle if call == "membership" else here.open(Cpg), call)("x" * 129)


def test_one_handle_joins_one_group_once(whole, probe):
    here = probe(whole.node(1))
    handle = here.open(Cpg)
    for call in (handle.leave, lambda: handle.mcast(b"lost")):
        with pytest.raises(NotExist):
            call()
    handle.join("group")
    for name in ("group", "other"):
        with pytest.raises(Exist):
            handle.join(name)
    with pytest.raises(Exist):
        here.open(Cpg).join("group")  # the same process may be in a group once
    handle.leave()
    for call in (handle.leave, lambda: handle.mcast(b"lost")):
        with pytest.raises(NotExist):
            call()
    with pytest.raises(Exist):
        handle.join("other")  # asked, libcpg 3.1 would not come back
    handle.close()
    again = here.open(Cpg)

    def rejoined():
        try:
            again.join("group")
        except TryAgain:
            return False
        return True

    wait_for(rejoined, "corosync has forgotten the first handle")


FLOOD = """
result = 0
try:
    while result < most:
        handles[-1].mcast(bytes(500_000))
        result += 1
except TryAgain:
    pass
"""


def test_a_full_queue_is_said_and_passes(whole, probe):
    here = probe(whole.node(1))
    handle = joined(here)
    accepted = here.run(FLOOD, most=1000, TryAgain=TryAgain)
    assert 0 < accepted < 1000
    delivered = 0
    for value in handle.values():
        delivered += isinstance(value, Delivered)
        if delivered == accepted:
            break
    wait_for(lambda: not handle.flow_controlled(), "the queue is free again")


def test_one_dispatch_is_bounded_and_loses_nothing(whole, probe):
    here = probe(whole.node(1))
    handle = joined(here)
    for number in range(3 * MOST_AT_ONCE):
        handle.mcast(b"%d" % number)
    other = joined(probe(whole.node(2)), "other")
    other.mcast(b"after")  # agreed order: when this is back, the flood has arrived
    other.until(lambda value: isinstance(value, Delivered))
    portions = []
    while found := handle.take(1.0):
        portions.append(found)
    assert max(len(portion) for portion in portions) == MOST_AT_ONCE
    messages = [value.message for portion in portions for value in portion if isinstance(value, Delivered)]
    assert messages == [b"%d" % number for number in range(3 * MOST_AT_ONCE)]


BROKEN_COPY = """
real, calls = cpg.Delivered, []
def broken(*given):
    calls.append(given)
    if len(calls) == 2:
        raise LookupError("the copy failed")
    return real(*given)
cpg.Delivered = broken
seen, failures = [], []
while len(seen) + len(failures) < 3 and select.select([handles[-1]], [], [], limit_s)[0]:
    try:
        seen += handles[-1].dispatch()
    except LookupError as failure:
        failures.append(str(failure))
cpg.Delivered = real  # else what was seen could not be told
result = [value.message for value in seen], failures
"""


def test_what_a_callback_raises_is_raised_after_dispatch(whole, probe):
    here = probe(whole.node(1))
    handle = joined(here)
    handle.until(lambda value: isinstance(value, RingChanged))
    for message in (b"a", b"b", b"c"):
        handle.mcast(message)
    assert here.run(BROKEN_COPY, limit_s=LIMIT_S / 2) == ([b"a", b"c"], ["the copy failed"])


# -- quorum


def test_quorum_says_what_there_is_and_what_changes(whole, probe):
    watcher, lost = probe(whole.node(1)).open(Quorum), probe(whole.node(3)).open(Quorum)
    assert watcher.attribute("type") is Type.SET
    assert watcher.getquorate() is True
    for handle in (watcher, lost):
        handle.trackstart()
        nodes, quorum = handle.until(lambda value: isinstance(value, QuorumChanged))
        assert nodes == NodelistChanged(quorum.ring, nodes.members, (), ())
        assert sorted(nodes.members) == sorted(quorum.nodes) == [1, 2, 3]
        assert quorum.quorate is True
    whole.node(3).cut()
    nodes, quorum = watcher.until(lambda value: isinstance(value, QuorumChanged))
    assert nodes == NodelistChanged(quorum.ring, nodes.members, (), (3,))
    assert quorum.quorate is True
    assert sorted(quorum.nodes) == [1, 2]
    *_, alone = lost.until(lambda value: isinstance(value, QuorumChanged) and not value.quorate)
    assert alone.nodes == (3,)
    assert alone.ring.node == 3
    assert lost.getquorate() is False
    whole.node(3).heal()
    *_, back = watcher.until(lambda value: isinstance(value, NodelistChanged))
    assert back.joined == (3,)
    assert back.left == ()
    assert back.ring.seq > quorum.ring.seq


def test_the_ring_id_is_the_same_in_cpg_and_quorum(whole, probe):
    here = probe(whole.node(2))
    group, quorum = here.open(Cpg), here.open(Quorum)
    quorum.trackstart(changes=False)
    (*_, seen) = quorum.until(lambda value: isinstance(value, QuorumChanged))
    group.join("group")
    (*_, ring) = group.until(lambda value: isinstance(value, RingChanged))
    assert isinstance(ring.ring, RingId)
    assert ring.ring == seen.ring


def test_tracking_begins_once_and_ends(whole, probe):
    handle = probe(whole.node(1)).open(Quorum)
    handle.trackstop()
    handle.trackstart(current=False)
    with pytest.raises(Exist):
        handle.trackstart(current=False)
    assert handle.dispatch() == []
    handle.trackstop()
    handle.trackstop()
    whole.node(3).cut()
    whole.wait_quorate(whole.nodes[:2])
    assert handle.dispatch() == []


def test_without_a_provider_everybody_is_quorate(make_cluster, probe):
    def provider_less(nodes, **timers):
        return plain_conf(nodes, **timers).replace("\tprovider: corosync_votequorum\n", "")

    cluster = make_cluster(corosync=False, nodes=1, conf=provider_less)
    cluster.node(1).start_corosync()
    here = probe(cluster.node(1))

    def opened():
        try:
            return here.open(Quorum)
        except LibraryUnavailable:  # not yet
            return None

    handle = wait_for(opened, "corosync is there")
    assert handle.attribute("type") is Type.FREE
    assert handle.getquorate() is True
    with pytest.raises(LibraryUnavailable):
        here.open(VoteQuorum)


# -- every library alike


def test_a_closed_handle_says_so(whole, probe):
    here = probe(whole.node(1))
    for kind, call in ((Cpg, "groups"), (Quorum, "getquorate")):
        handle = here.open(kind)
        handle.close()
        handle.close()
        for name in ("dispatch", "fileno", call):
            with pytest.raises(BadHandle):
                getattr(handle, name)()


def test_a_handle_is_a_context_manager(whole, probe):
    here = probe(whole.node(1))
    assert here.run("with cpg.Cpg() as h:\n    result = h.local_nodeid()") == 1
    with pytest.raises(BadHandle):
        here.run("h.local_nodeid()")


def test_numbers_that_are_none_of_cs_are_refused(whole, probe):
    here = probe(whole.node(1))
    with pytest.raises((OverflowError, InvalidParam)):
        here.run("votequorum.VoteQuorum().setexpected(-1)")
