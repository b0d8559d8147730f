"""Virtual watchdogs and fence agents do what is assumed of real ones."""

import pytest

from corolistener.core.events import Outcome, Result
from corolistener.ids import NodeId
from corolistener.sim.agents import Agent, Manner
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.watchdog import Watchdog


def test_a_watchdog_bites_so_long_after_its_last_feed() -> None:
    heap, bites = Heap(), list[int]()
    watchdog = Watchdog(heap, 10_000, lambda: bites.append(heap.now))
    assert watchdog.open() == 10_000
    heap.run(4000)
    watchdog.feed()
    heap.run(13_999)
    assert not bites
    heap.run(60_000)
    assert bites == [14_000]


def test_opening_an_armed_watchdog_does_not_feed_it() -> None:
    heap, bites = Heap(), list[int]()
    watchdog = Watchdog(heap, 10_000, lambda: bites.append(heap.now))
    watchdog.open()
    heap.run(9000)
    watchdog.open()
    heap.run(30_000)
    assert bites == [10_000]


def test_a_disarmed_watchdog_is_quiet_and_cannot_be_fed() -> None:
    heap, bites = Heap(), list[int]()
    watchdog = Watchdog(heap, 10_000, lambda: bites.append(heap.now))
    watchdog.open()
    watchdog.disarm()
    watchdog.feed()
    heap.run(60_000)
    assert not bites
    watchdog.open()
    heap.run(80_000)
    assert bites == [70_000]


def test_without_a_watchdog_nothing_is_armed() -> None:
    watchdog = Watchdog(Heap(), 0, lambda: None)
    assert watchdog.open() == 0
    assert not watchdog.armed


@pytest.mark.parametrize(
    ("manner", "off", "said"),
    [
        (Manner.WORKS, True, [Result.DONE]),
        (Manner.FAILS, False, [Result.FAILED]),
        (Manner.TIMES_OUT, True, [Result.FAILED]),
        (Manner.HANGS, False, []),
    ],
)
def test_an_agent_never_lies(manner: Manner, off: bool, said: list[Result]) -> None:
    heap, switched, answers = Heap(), list[int](), list[Outcome]()
    agent = Agent(NodeId(3), heap, Chance(), lambda: switched.append(heap.now))
    agent.manner = manner
    agent.start(lambda: True, answers.append)
    heap.run(100_000)
    assert bool(switched) is off
    assert [outcome.result for outcome in answers] == said


def test_an_agent_dies_with_the_machine_it_runs_on() -> None:
    heap, switched, answers = Heap(), list[int](), list[Outcome]()
    agent = Agent(NodeId(3), heap, Chance(), lambda: switched.append(heap.now))
    agent.start(lambda: False, answers.append)
    heap.run(100_000)
    assert not switched
    assert not answers
