"""How long the service may run without the lease, and whom the others wait for."""

from dataclasses import replace

from test_invariants import acting

from corolistener.core import ability, claims, line, mastership, serving
from corolistener.core.actions import KillService, Multicast, StopService
from corolistener.core.config import ConfigId, NodeEntry, Timing
from corolistener.core.election import Candidate, elect, has_replica
from corolistener.core.events import Probed
from corolistener.core.group import NOWHERE, Group, form
from corolistener.core.ledger import Known
from corolistener.core.messages import Able, Absent, Hello
from corolistener.core.view import Epoch, RingId
from corolistener.ids import Instant, NodeId

TIMING, FILE = Timing(), ConfigId(1, "a")
N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)


def known(stop_ms: int = 0) -> Known:
    return Known(N2, "boot", 5130, 2000, stop_ms=stop_ms)


def test_a_kill_is_over_before_the_others_start() -> None:
    assert TIMING.orderly_ms == 1500
    assert Timing(grace_ms=400).orderly_ms == 300
    assert Timing(grace_ms=0).orderly_ms == 0
    assert serving.may_last_ms(known()) == 2000
    assert serving.may_last_ms(known(15_000)) == 15_000


def test_the_bound_counts_from_the_end_of_the_lease_however_late_that_is_noticed() -> None:
    s = acting().state
    s.acting, s.duties.service.had = False, True
    s.expired = Instant(10_000)
    serving.bound(s, planned=False, now=Instant(13_000))
    assert s.kill_at == 10_000 + 1500
    assert serving.overdue(s, Instant(13_000))


def test_a_right_that_was_given_up_before_its_end_counts_from_now() -> None:
    s = acting().state
    s.acting, s.duties.service.had = False, True
    s.expired = Instant(10_000)
    serving.bound(s, planned=False, now=Instant(7_000))
    assert s.kill_at == 7_000 + 1500


def test_a_handover_has_longer_until_the_lease_ends() -> None:
    s = acting().state
    s.acting, s.duties.service.had = False, True
    serving.bound(s, planned=True, now=Instant(1_000))
    assert s.kill_at == 61_000
    s.expired = Instant(4_000)
    serving.bound(s, planned=False, now=Instant(4_000))
    assert s.kill_at == 5_500
    serving.bound(s, planned=True, now=Instant(4_100))
    assert s.kill_at == 5_500, "never later than it was"


def test_a_stop_that_hangs_is_followed_by_a_kill_and_the_kill_is_repeated() -> None:
    s = acting().state
    s.acting, s.duties.service.had, s.expired = False, True, Instant(1_000)
    mastership.fulfil(s, Instant(1_000))
    stop = [each for each in s.out.take() if isinstance(each, StopService)]
    assert len(stop) == 1
    mastership.fulfil(s, Instant(2_400))
    assert not [each for each in s.out.take() if isinstance(each, StopService | KillService)]
    mastership.fulfil(s, Instant(2_500))
    assert [type(each) for each in s.out.take() if isinstance(each, StopService | KillService)] == [KillService]
    assert s.duties.service.hard


def test_time_proves_nothing_about_a_node_that_was_lost_without_its_daemon() -> None:
    s = acting().state
    s.claims[N2] = Instant(0)
    assert mastership.over(s, N2, Instant(1 << 40))
    s.unattended.add(N2)
    assert not mastership.over(s, N2, Instant(1 << 40))
    s.unclaim(N2)
    assert N2 not in s.unattended


def test_who_is_declared_absent_in_a_round_is_unattended_if_it_may_be_serving() -> None:
    """The Hellos of the round were said before that, so its end must not forget it."""
    s = acting().state
    s.group.open, s.claims = True, {N2: None}
    for node in (N2, N3):
        line.absent_delivered(s, Absent(s.group.ring, node), Instant(0))
    formed = form({N1: replace(hello(), claims=(N2,))}, s.group.ring)
    claims.take(s, formed, Instant(0))
    assert s.unattended == {N2}, "of the third nobody thinks that it may be serving"
    assert not s.absent
    claims.take(s, form({N1: hello(), N2: replace(hello(), holding=True)}, s.group.ring), Instant(0))
    assert not s.unattended, "its daemon has spoken"


def hello(epoch: Epoch = NOWHERE) -> Hello:
    return Hello(RingId(4, N1), (N1, N2), "boot", "inc", epoch, FILE, FILE, ())


def group() -> Group:
    ring = Group(N1, RingId(4, N1), ring_nodes=(N1, N2, N3), members=(N1, N2), joined=True)
    ring.open_round(Instant(0))
    return ring


def test_at_a_start_every_node_of_the_ring_is_waited_for() -> None:
    starting = group()
    starting.said = {N1: hello(), N2: hello()}
    assert not starting.complete
    assert starting.awaited == {N3}
    assert starting.silent(Instant(2000), 2000, None, 5000) == (N3,)
    starting.lose(N3)
    assert starting.complete


def test_a_line_that_goes_on_waits_for_daemons_only() -> None:
    going_on = group()
    going_on.said = {N1: hello(Epoch(4, 1)), N2: hello()}
    assert going_on.complete


def candidate(node: NodeId, priority: int, unable: bool = False, replication: bool | None = None) -> Candidate:
    return Candidate(node, NodeEntry(node, priority=priority, replication=replication), FILE, unable=unable)


def test_a_node_that_cannot_serve_stands_back_unless_nobody_can() -> None:
    assert elect([candidate(N1, 50, unable=True), candidate(N2, 40)], FILE) == N2
    assert elect([candidate(N1, 50, unable=True), candidate(N2, 40, unable=True)], FILE) == N1


def test_a_replica_that_cannot_serve_is_not_replaced_by_a_node_without_the_data() -> None:
    both = [candidate(N1, 50, unable=True, replication=True), candidate(N2, 40, replication=False)]
    assert has_replica(both, FILE, database=True)
    assert elect(both, FILE, database=True) == N1


def test_a_problem_counts_when_it_lasts_and_is_over_when_it_stays_away() -> None:
    s = acting().state
    ability.probed(s, Probed(), Instant(0))
    ability.probed(s, Probed(("/tmp: read-only",)), Instant(1_000))
    ability.proceed(s, Instant(10_999))
    assert s.ability.unable == ""
    ability.proceed(s, Instant(11_000))
    assert s.ability.unable == "/tmp: read-only"
    ability.probed(s, Probed(), Instant(20_000))
    ability.probed(s, Probed(("/tmp: read-only",)), Instant(40_000))
    ability.probed(s, Probed(), Instant(41_000))
    ability.proceed(s, Instant(70_999))
    assert s.ability.unable, "it came back meanwhile"
    ability.proceed(s, Instant(71_000))
    assert s.ability.unable == ""
    said = [each.message for each in s.out.take() if isinstance(each, Multicast) and isinstance(each.message, Able)]
    assert said == [Able("/tmp: read-only"), Able("")] or said == [Able("/tmp: read-only")]


def test_what_the_first_look_of_a_process_finds_counts_at_once() -> None:
    s = acting().state
    ability.probed(s, Probed(("no device",)), Instant(0))
    assert s.ability.unable == "no device"
