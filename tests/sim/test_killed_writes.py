"""What a daemon that is killed had under way on its disk: written or not, and never after the next process has read it."""

import pytest

from corolistener.core.actions import Record
from corolistener.core.events import Departure
from corolistener.core.ledger import EMPTY, Version
from corolistener.ids import NodeId, Ticket
from corolistener.sim.cluster import world

LATE = Record(Ticket(10**6), Version(10**6, 0, 0, "run-1"), EMPTY, whole=False)
ONE, SEEDS = NodeId(1), range(20)


def written(seed: int, again: bool) -> bool:
    """Whether a write ends on the disk, of a daemon that is killed in it; `again`: the next one starts at once."""
    w = world([50, 40, 30], seed=seed)
    for node in w.machines:
        w.power_on(node)
    w.pass_time(3000)
    w.daemons[ONE]._begin(LATE, lambda outcome: None)
    w.daemon_ends(ONE, Departure.PROCDOWN)
    if again:
        w.start_daemon(ONE)
    w.pass_time(200)
    return w.machines[ONE].memory.version == LATE.version


@pytest.mark.parametrize(("again", "outcomes"), [(False, {True, False}), (True, {False})])
def test_it_is_written_to_its_end_or_rolled_back(again: bool, outcomes: set[bool]) -> None:
    assert {written(seed, again) for seed in SEEDS} == outcomes
