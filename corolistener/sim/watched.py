"""A pump of which the checkers see what it decides to say, in the state it decides that in."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from corolistener.core.families import Family
from corolistener.core.messages import Message
from corolistener.engine.ports import Effect
from corolistener.engine.pump import Pump
from corolistener.ids import Instant

if TYPE_CHECKING:
    from corolistener.sim.world import Daemon


class Watched(Pump):
    """What waits until the ring takes it is sent later, when the same may be wrong; it was right if it was so when decided."""

    def __init__(self, daemon: "Daemon", ports: Mapping[Family, Effect]) -> None:
        super().__init__(daemon.config, ports, daemon, daemon)
        self.daemon = daemon

    def _say(self, message: Message, now: Instant) -> None:
        vms = self.daemon.world.checker.vms
        if vms is not None:
            vms.decided(self.daemon.machine.id, message)
        super()._say(message, now)
