"""The lease: which heartbeats confirm it, and how long it runs."""

from corolistener.core.lease import Lease, Quorum
from corolistener.core.view import RingId
from corolistener.ids import Instant, NodeId

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)
QUORUM = Quorum(RingId(4, N1), True, 2, {N1: 1, N2: 1, N3: 1})
LEASE_MS = 5000


def lease() -> Lease:
    """Heartbeat 1 was sent at 1000."""
    found = Lease()
    assert found.send(Instant(1000), 500) == 1
    return found


def confirmed(found: Lease, now: int) -> int | None:
    found.confirm(Instant(now), N1, QUORUM, LEASE_MS)
    return found.ends


def test_it_runs_from_the_sending_of_a_heartbeat_that_others_followed() -> None:
    found = lease()
    found.came_back(1)
    assert confirmed(found, 1010) is None
    found.heard(N2)
    assert confirmed(found, 1400) == 1000 + LEASE_MS
    assert found.valid(Instant(5999))
    assert not found.valid(Instant(6000))


def test_heartbeats_heard_before_mine_came_back_confirm_nothing() -> None:
    found = lease()
    found.heard(N2)
    found.heard(N3)
    found.came_back(1)
    assert confirmed(found, 1010) is None


def test_never_a_second_one_before_the_first_has_come_back() -> None:
    found = lease()
    assert found.send(Instant(9000), 500) is None
    found.came_back(1)
    assert found.send(Instant(1400), 500) is None
    assert found.send(Instant(1500), 500) == 2
    found.came_back(1)
    assert found.in_flight == 1500


def test_the_newest_confirmed_one_counts() -> None:
    found = lease()
    found.came_back(1)
    found.heard(N2)
    found.send(Instant(1500), 500)
    found.came_back(2)
    assert confirmed(found, 1510) == 1000 + LEASE_MS
    found.heard(N3)
    assert confirmed(found, 1600) == 1500 + LEASE_MS


def test_a_late_confirmation_gives_nothing() -> None:
    found = lease()
    found.came_back(1)
    found.heard(N2)
    assert confirmed(found, 1000 + LEASE_MS) is None


def test_it_never_shrinks() -> None:
    found = lease()
    found.ends = Instant(9000)
    found.came_back(1)
    found.heard(N2)
    assert confirmed(found, 1100) == 9000


def test_another_ring_begins_anew_but_the_right_stays() -> None:
    found = lease()
    found.came_back(1)
    found.heard(N2)
    confirmed(found, 1100)
    found.send(Instant(1500), 500)
    found.new_ring(Instant(1600))
    assert found.valid(Instant(1700))
    assert found.send(Instant(1600), 500) == 3
    found.came_back(2)
    assert found.in_flight == 1600, "the heartbeat of the former ring is not mine any more"


def test_votes_not_heads() -> None:
    heavy = Quorum(RingId(4, N1), True, 3, {N1: 1, N2: 1, N3: 3})
    assert not heavy.holds({N1, N2})
    assert heavy.holds({N3})
    assert not Quorum().holds({N1, N2, N3}), "before votequorum has spoken nothing is a quorum"
    device = Quorum(RingId(4, N1), True, 2, {N1: 1, N2: 1}, device=1)
    assert device.holds({N1})
    assert not device.trusts({N1}), "a device remembers nothing"
