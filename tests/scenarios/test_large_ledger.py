"""A ledger of any size opens, and while it is spread nobody loses its lease."""

import pytest

from corolistener.core.notes import Note, NoteCode
from corolistener.sim.large import opened, opens_within, started


@pytest.mark.parametrize("vms", [40, 4_200, 10_000])
def test_opens_where_one_node_was_away(vms: int) -> None:
    world = started(vms)
    assert opens_within(world) is not None
    sizes = {len(daemon.pump.core.state.keeping.ledger.placements) for daemon in world.daemons.values()}
    assert sizes == {vms}
    told = [what.code for _, _, what in world.told if isinstance(what, Note)]
    assert NoteCode.LEASE_ENDED not in told
    assert NoteCode.RING_STALLED not in told
    assert NoteCode.ABSENT not in told


def test_a_node_that_joins_meanwhile_has_it_too() -> None:
    world = started(4_200)
    world.power_off(next(node for node in world.machines if node == 3))
    world.pass_time(9000)
    world.power_on(max(world.machines))
    assert opens_within(world) is not None
    assert opened(world)
