"""What a daemon and a mastership can be: the modes with what may follow them, and the phases with what they mean.

`scripts/draw-states` draws the tables in ARCHITECTURE.md from these; core/invariants holds the core to the modes.
"""

from enum import Enum


class Mode(Enum):
    """What this daemon is doing as a whole."""

    ADOPTING = "adopting"
    """Started; keeps what a former process of this boot held until a view says whether it is ours."""
    RUNNING = "running"
    LEAVING = "leaving"
    """Asked to stop: lets go of everything, service first, then says farewell. Skipped where there is nothing to do."""
    LEFT = "left"
    BROKEN = "broken"
    """An invariant was violated: everything is let go and nothing is decided any more."""


class Phase(Enum):
    """How far this node is with being master (behaviour, "Becoming master, in this order").

    A phase is read off the duties, it drives nothing: any phase may follow any other, as the world gives and takes.
    """

    IDLE = "idle"
    RELEASING = "releasing"
    HOLDING = "holding-address"
    WAITING = "waiting-for-former-master"
    TAKING = "taking-database"
    STARTING = "starting-service"
    RELOCATING = "relocating"
    REWRITING = "rewriting-config"
    SETTLED = "settled"


MODES: dict[Mode, frozenset[Mode]] = {
    Mode.ADOPTING: frozenset({Mode.RUNNING, Mode.LEAVING, Mode.LEFT, Mode.BROKEN}),
    Mode.RUNNING: frozenset({Mode.LEAVING, Mode.LEFT, Mode.BROKEN}),
    Mode.LEAVING: frozenset({Mode.LEFT, Mode.BROKEN}),
    Mode.LEFT: frozenset(),
    Mode.BROKEN: frozenset(),
}

PHASES: dict[Phase, str] = {
    Phase.IDLE: "not acting, and nothing is held",
    Phase.RELEASING: "not acting, and something is still held",
    Phase.HOLDING: "acting; the cloud IP has not been tried yet",
    Phase.WAITING: "a former master may still be running the service",
    Phase.TAKING: "this is a move: the database is being taken into use",
    Phase.STARTING: "the service lock and the service are being taken",
    Phase.RELOCATING: "the relocated lock is being taken",
    Phase.REWRITING: "corosync.conf is being changed everywhere",
    Phase.SETTLED: "everything a master has is had, or was tried and is being retried",
}
