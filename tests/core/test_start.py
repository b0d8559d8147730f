"""Fence agents wait for nodes that no member has seen since the cluster started: core/start."""

from dataclasses import replace

import pytest

from corolistener.core import start
from corolistener.core.actions import Fence
from corolistener.core.config import ConfigId
from corolistener.core.events import Linked
from corolistener.core.group import form
from corolistener.core.messages import Hello
from corolistener.core.state import State
from corolistener.core.view import Epoch, RingId
from corolistener.ids import Instant, NodeId
from corolistener.sim.script import Teller

N1, N2, N3 = map(NodeId, (1, 2, 3))
GRACE_MS = 20_000


def started(*more: str) -> Teller:
    """n1 and n2 have started, and n3 has a VM and has not come."""
    teller = Teller()
    words = f"nodes 3 start_grace_ms={GRACE_MS}", "vms agents watchdog=off boots=never", "boot", "settle"
    teller.play([*words, "vm create a on n3", "settle", "kill n1 n2 n3", "power n1", "power n2", "advance 3s", *more])
    return teller


def state(teller: Teller, node: NodeId = N1) -> State:
    return teller.w.daemons[node].pump.core.state


def fences(teller: Teller) -> int:
    return sum(isinstance(what, Fence) for _, _, what in teller.w.told)


def test_the_wait_is_shown_and_gets_shorter() -> None:
    teller = started()
    first = teller.w.daemons[N1].pump.core.status(teller.w.clock(N1)).owed[0]
    teller.play(["advance 5s"])
    later = teller.w.daemons[N1].pump.core.status(teller.w.clock(N1)).owed[0]
    assert first.node == N3
    assert 0 < first.agent_waits_ms <= GRACE_MS
    assert 4900 < first.agent_waits_ms - later.agent_waits_ms < 5100
    teller.play(["advance 15s"])
    assert fences(teller) == 1
    assert teller.w.daemons[N1].pump.core.status(teller.w.clock(N1)).owed == ()


def test_a_link_begins_the_wait_anew_and_not_for_ever() -> None:
    teller = started()
    teller.w.observe(N1, Linked((N3,)))
    teller.play(["advance 60s"])
    assert fences(teller) == 0
    teller.w.observe(N1, Linked(()))
    teller.play(["advance 15s"])
    assert fences(teller) == 0, "the wait runs from the last sign of life"
    teller.w.observe(N1, Linked((N3,)))
    teller.play(["advance 30s"])
    assert fences(teller) == 1, "five times the wait is the most"


def test_without_a_quorum_nobody_waits_so_the_wait_begins_anew() -> None:
    teller = started("cut n1", "advance 30s", "heal", "advance 10s")
    assert fences(teller) == 0
    teller.play(["advance 15s"])
    assert fences(teller) == 1


def test_a_restarted_daemon_learns_from_the_others_whom_they_have_met() -> None:
    teller = Teller()
    words = f"nodes 3 start_grace_ms={GRACE_MS}", "vms agents watchdog=off boots=never", "boot", "settle"
    teller.play(
        [*words, "vm create a on n3", "settle", "daemon-kill n1", "advance 100ms", "daemon-start n1", "settle", "kill n3"]
    )
    assert state(teller).fencing.met == {N1, N2, N3}
    teller.play(["advance 4s"])
    assert fences(teller) == 1, "n3 was seen, and is lost: nobody waits"


@pytest.mark.parametrize("grace_ms", [0, 1])
def test_no_wait_where_none_is_wanted(grace_ms: int) -> None:
    teller = started()
    s = state(teller)
    s.config = replace(s.config, timing=replace(s.config.timing, start_grace_ms=grace_ms))
    s.fencing.awaited.clear()
    start.wait(s, (N3,), Instant(1000))
    assert start.left_ms(s, N3, Instant(1000)) == grace_ms


def test_every_member_learns_the_same_of_who_was_met() -> None:
    ring = RingId(8, N1)

    def hello(*met: NodeId) -> Hello:
        return Hello(ring, (N1, N2), "boot", "run", Epoch(), ConfigId(1), ConfigId(1), (), met=met)

    assert form({N1: hello(), N2: hello()}, ring).met == {N1, N2}
    assert form({N1: hello(), N2: hello(N3)}, ring).met == {N1, N2, N3}
