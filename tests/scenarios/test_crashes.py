"""The daemon dies between any two things it says or does, and the next process goes on from what it finds."""

from collections.abc import Callable

import pytest

from corolistener.core.messages import EditNode, PushText
from corolistener.ids import NodeId
from corolistener.sim import checkers
from corolistener.sim.cluster import world
from corolistener.sim.world import World

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)
STARTS_AGAIN_MS = 300
SETTLES_MS = 60_000


def _booted() -> World:
    w = world([50, 40, 30])
    for node in w.machines:
        w.power_on(node)
    w.pass_time(2000)
    return w


def _starting(w: World) -> NodeId:
    w.power_off(N2)
    w.pass_time(5000)
    w.power_on(N2)
    return N2


def _taking_over(w: World) -> NodeId:
    w.power_off(N1)
    return N2


def _rewriting(w: World) -> NodeId:
    w.ask(N3, PushText(w.machines[N3].disk.text.replace(b"totem {\n", b"totem {\n\ttoken: 4000\n")))
    return N1


def _storing(w: World) -> NodeId:
    _rewriting(w)
    return N2


def _leaving(w: World) -> NodeId:
    w.ask_to_leave(N1)
    return N1


def _losing_quorum(w: World) -> NodeId:
    w.totem.cut([[N1]])
    w.heap.after(6000, lambda: w.totem.cut([]))
    return N1


def _handing_over(w: World) -> NodeId:
    w.ask(N3, EditNode(N2, priority=90))
    return N1


def _receiving(w: World) -> NodeId:
    _handing_over(w)
    return N2


SITUATIONS = [_starting, _taking_over, _rewriting, _storing, _leaving, _losing_quorum, _handing_over, _receiving]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__.strip("_").replace("_", "-"))
def test_crash_between_any_two_actions(situation: Callable[[World], NodeId]) -> None:
    crashes = 0
    while _crashed(situation, crashes):
        crashes += 1
        assert crashes < 200, "it never gets to the end"
    assert crashes > 0


def _crashed(situation: Callable[[World], NodeId], after: int) -> bool:
    """Play it with a crash after so many actions; False where it was over before."""
    w = _booted()
    node = situation(w)
    daemon = w.daemons[node]
    daemon.crash_after = after
    died_at: int | None = None
    healed = w.heap.now + 14_000
    for _ in range((SETTLES_MS + 14_000) // 100):
        w.pass_time(100)
        if died_at is None and not daemon.alive:
            died_at = w.heap.now
        if died_at is not None and w.heap.now >= died_at + STARTS_AGAIN_MS:
            w.start_daemon(node)
        if w.heap.now >= healed:
            for other in w.machines:
                w.power_on(other)
                w.start_daemon(other)
            daemon.crash_after = None
            if checkers.unsettled(w) is None:
                return daemon.crashed
    raise AssertionError(f"after a crash at action {after}: {checkers.unsettled(w)}")
