"""The daemon on a lab's node whose watchdog is the lab's: `corolistener --config FILE run`, with another device.

Two things of the world that a story cannot make on this machine are here as well: a node that is a virtual machine, and a
message on which every decision fails.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from corolistener.cli.verbs import guarded
from corolistener.core.events import Delivered, Event
from corolistener.core.machine import Core
from corolistener.core.messages import Alarm
from corolistener.daemon.main import run
from corolistener.effects import virtual
from corolistener.ids import Instant
from lab.dog import DogLine

Take = Callable[[Core, Event, Instant], None]
VIRTUAL = "/etc/corolistener/this-node-is-virtual"
"""A file on a node that is to take itself for a virtual machine; without it it is none, whatever machine the lab runs on."""
POISON = "a poisonous message"
"""The reason of a panic that no decision can take in."""


def poison(take_in: Take) -> Take:
    """Core's own way of taking an event in, but for the poison."""

    def taking(core: Core, event: Event, now: Instant) -> None:
        if isinstance(event, Delivered) and isinstance(event.message, Alarm) and event.message.reason == POISON:
            raise ValueError(POISON)
        take_in(core, event, now)

    return taking


if __name__ == "__main__":
    virtual.virtual = lambda: Path(VIRTUAL).exists()
    Core._take_in = poison(Core._take_in)  # type: ignore[method-assign]
    sys.exit(guarded(lambda: run(sys.argv[sys.argv.index("--config") + 1], DogLine())))
