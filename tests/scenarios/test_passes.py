"""The pass is level-triggered, and one is enough: what one leaves undone, nothing but news or a deadline brings up again.

Between passes only the pulse goes on (core/machine): that is right only as long as this holds.
"""

import copy

import pytest

from corolistener.core.actions import FeedWatchdog, Multicast
from corolistener.core.events import TimePassed
from corolistener.core.machine import Core
from corolistener.core.messages import Heartbeat
from corolistener.ids import NodeId
from corolistener.sim.seeds import FAULTS_MS, Played, draw
from corolistener.sim.world import World

EVERY = 7
"""Of so many passes that had nothing to do one is made again."""


class Again:
    """Makes passes again, on a copy; to be waited for like a state of affairs that never comes."""

    def __init__(self) -> None:
        self.looked: dict[Core, int] = {}
        self.silent = 0

    def __call__(self, world: World) -> NodeId | None:
        for daemon in world.daemons.values():
            core = daemon.pump.core
            if core.state.keeping.unshelved:
                continue  # rows that came while others are being written: the end of that is looked at (passes.quiet)
            if self.looked.get(core) != core.turns and core.state.silent and not core.state.restate and daemon.alive:
                self.looked[core] = core.turns
                self.silent += 1
                if self.silent % EVERY == 0:
                    self.made_again(core)
        return None

    def made_again(self, core: Core) -> None:
        again = Core(core.state.config)
        again.state = copy.deepcopy(core.state)
        again.state.silent = False
        done = again.step(TimePassed(), core.state.last_step)
        assert again.turns == 1
        assert [each for each in done if not _pulse(each)] == []


def _pulse(action: object) -> bool:
    """The steps since the pass may have brought it near."""
    return isinstance(action, FeedWatchdog) or (isinstance(action, Multicast) and isinstance(action.message, Heartbeat))


@pytest.mark.parametrize("vms", [0, 8])
def test_a_pass_that_had_nothing_to_do_leaves_nothing_to_do(vms: int) -> None:
    found = 0
    for seed in range(4):
        played, again = Played(draw(seed, (2, 5), FAULTS_MS, vms)), Again()
        played.world.wait(again, lambda node: None)
        played.play()
        found += again.silent // EVERY
    assert found > 100
