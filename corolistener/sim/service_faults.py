"""What can go wrong with the service and with what a master holds: stops that are slow or hang, a status that lies, a daemon
that stays away while its node lives, a machine that cannot hold what a master has."""

from collections.abc import Sequence
from functools import partial
from random import Random

from corolistener.core.config import Serving
from corolistener.core.events import Departure
from corolistener.ids import NodeId
from corolistener.sim import serving
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.world import World

LETS_GO = "lets-go"
LONG = (4000, 9000, 20_000, 40_000)


def _slow_stop(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """A stop in order takes this long from now on; `hangs`: it never ends."""
    machine = world.machines[node]
    if words[0] == "hangs":
        machine.hung.add("service-stop")
        return partial(machine.hung.discard, "service-stop")
    machine.stop_ms = int(words[0].removesuffix("ms"))
    return partial(setattr, machine, "stop_ms", 0)


def _not_killable(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """The settings say that the service cannot be killed and needs this long, and once all nodes know it, that is so."""
    machine, stop_ms = world.machines[node], int(words[0].removesuffix("ms"))
    machine.stop_ms = machine.unkillable_ms = stop_ms - 2000
    serving.serve(world, node, Serving(stop_ms, killable=False))

    def end() -> None:
        machine.stop_ms = machine.unkillable_ms = 0
        serving.serve(world, node, world.options.serving)

    return end


def _status_lies(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """Whoever asks now whether the service runs is told the opposite."""
    machine = world.machines[node]
    machine.status_lies = True
    return partial(setattr, machine, "status_lies", False)


def _stays_away(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """The daemon ends and cannot start again, while its node lives; the small program lets go of what it held, or not."""
    machine = world.machines[node]
    machine.barred = True
    world.daemon_ends(node, Departure.PROCDOWN)
    if LETS_GO in words:
        world.heap.after(world.chance.vary(600, 100, 3000), partial(serving.let_go, world, node))

    def end() -> None:
        machine.barred = False
        world.start_daemon(node)

    return end


def _all_daemons_start_anew(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """All power is lost, and comes back; the daemons start one after the other while corosync runs already."""
    for each in world.machines:
        world.power_off(each)

    def back() -> None:
        for each in world.machines:
            world.power_on(each, daemon=False)
            world.heap.after(world.chance.vary(300, 0, 1200), partial(world.start_daemon, each))

    return back


def _read_only(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """The root file system is read-only: neither locks nor files nor the ledger can be written."""
    machine = world.machines[node]
    machine.read_only = True
    serving.probe_later(world, node)

    def back() -> None:
        machine.read_only = False
        serving.probe_later(world, node)

    return back


def _no_hook(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """The program that starts the service is gone."""
    machine = world.machines[node]
    machine.hook = False
    serving.probe_later(world, node)

    def back() -> None:
        machine.hook = True
        serving.probe_later(world, node)

    return back


def restore(world: World, node: NodeId) -> None:
    """All of it is mended."""
    machine = world.machines[node]
    machine.stop_ms = machine.unkillable_ms = 0
    machine.status_lies = machine.barred = machine.read_only = False
    machine.hook = True
    if node in world.daemons and world.daemons[node].config.serving != world.options.serving:
        serving.serve(world, node, world.options.serving)
    serving.probe_later(world, node)


def _slow_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return (dice.choice(("hangs", "3000ms", "12000ms", "12000ms")),)


SERVICE_FAULTS: dict[str, Fault] = {
    "service-stops-slowly": Fault(_slow_stop, 3, LONG, _slow_words),
    "service-not-killable": Fault(_not_killable, 1, LONG, lambda dice, nodes: (dice.choice(("9000ms", "15000ms")),)),
    "service-status-lies": Fault(_status_lies, 2, LONG),
    "daemon-stays-away": Fault(_stays_away, 3, (9000, 20_000, 40_000), lambda dice, nodes: dice.choice(((), (LETS_GO,)))),
    "all-start-anew": Fault(_all_daemons_start_anew, 1, (3000, 9000)),
    "read-only": Fault(_read_only, 1, (9000, 20_000, 60_000)),
    "hook-missing": Fault(_no_hook, 1, (9000, 20_000, 60_000)),
}
