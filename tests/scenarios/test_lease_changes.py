"""A lease that the settings change: it never lasts longer than the others count with, should this node be lost just then."""

from dataclasses import replace

import pytest

from corolistener.core.config import Timing
from corolistener.core.events import Departure
from corolistener.core.ledger import Version
from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim import cluster
from corolistener.sim.world import Options, World

N3 = NodeId(3)
USUAL_MS = Timing().lease_ms


@pytest.fixture
def world() -> World:
    """Three nodes with a settled line."""
    made = cluster.world((50, 40, 30), Options())
    for node in made.machines:
        made.power_on(node)
    made.pass_time(12_000)
    return made


def of(world: World, node: NodeId = N3) -> State:
    return world.daemons[node].pump.core.state


def counted(world: World) -> set[int]:
    """The leases of node 3 that the members know."""
    return {of(world, node).keeping.ledger.known[N3].lease_ms for node in world.daemons}


def change(world: World, lease_ms: int) -> None:
    world.configure(N3, timing=replace(world.daemons[N3].config.timing, lease_ms=lease_ms))


def test_a_longer_one_waits_until_the_stable_ledger_says_so(world: World) -> None:
    change(world, 20_000)
    s = of(world)
    for _ in range(2000):
        world.pass_time(1)
        assert s.lease.ends is not None
        known = s.keeping.ledger.known[N3].lease_ms == 20_000 and s.keeping.reached >= 0
        assert known or (s.lease_ms, s.lease.ends - s.last_step <= USUAL_MS) == (USUAL_MS, True)
    assert counted(world) == {20_000}
    assert s.lease.ends - s.last_step > USUAL_MS


def test_a_shorter_one_holds_at_once_for_what_runs_too(world: World) -> None:
    s = of(world)
    before = s.lease.ends
    change(world, USUAL_MS - 1000)
    assert before is not None
    assert s.lease.ends == before - 1000
    assert counted(world) == {USUAL_MS}
    world.pass_time(1000)
    assert counted(world) == {USUAL_MS - 1000}


def test_a_new_process_has_no_longer_one_than_its_former_one_announced(world: World) -> None:
    change(world, USUAL_MS - 1000)
    world.pass_time(1000)
    world.daemon_ends(N3, Departure.PROCDOWN)
    world.start_daemon(N3)
    s, shorter = of(world), 0
    assert s.config.timing.lease_ms == USUAL_MS
    for _ in range(6000):
        world.pass_time(1)
        if s.keeping.version != Version() and USUAL_MS - 1000 in counted(world):
            assert s.lease_ms == USUAL_MS - 1000
            shorter += 1
    assert shorter
    assert (s.lease_ms, counted(world)) == (USUAL_MS, {USUAL_MS})
