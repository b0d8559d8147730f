"""Faults about what a node takes care of: its own daemon, what that daemon knows of its hypervisor, and how a node leaves.

In a world without VMs they do nothing, or what they do to the daemon alone.
"""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.events import Delivered, Departure, GroupChanged
from corolistener.core.messages import Message
from corolistener.errors import InvariantViolation
from corolistener.ids import NodeId
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.settings import USUAL

if TYPE_CHECKING:
    from corolistener.sim.world import Daemon, World

ASK_MS = 1000


class Poison(Delivered):
    """What a member said, and the decision cannot be made of it."""

    def __init__(self) -> None:
        object.__setattr__(self, "sender", NodeId(1))

    @property
    def message(self) -> Message:
        raise InvariantViolation("poison", "no core can take this message in")


def _restarted(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """The daemon is restarted as an upgrade does it. `words`: after how many ms the next process begins, and how many ms after
    it was connected with corosync it knows the capacity of its node."""
    pause, late = map(int, words)
    if node not in world.daemons:
        return
    world.daemon_ends(node, Departure.PROCDOWN)
    world.heap.after(pause, partial(_begins, world, node, late))


def _restart(world: "World", node: NodeId) -> None:
    world.daemon_ends(node, Departure.PROCDOWN)
    world.start_daemon(node)


def see(world: "World", node: NodeId) -> None:
    """The settings of this node are those of the others again, they name its hypervisor, and the daemon is restarted."""
    estate = world.estate
    if estate is not None and (node in estate.blind or node in estate.other_settings):
        estate.blind.discard(node)
        estate.other_settings.pop(node, None)
        _restart(world, node)


def _other_settings(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """The daemon is restarted with settings that the others do not have. `words`: KEY=VALUE."""
    if world.estate is None or node not in world.daemons:
        return None
    world.estate.other_settings[node] = (*USUAL, *(_setting(word) for word in words))
    _restart(world, node)
    return None


def _setting(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _settings_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    words = (
        f"fencing.proofs={'+'.join(('farewell', 'operator', *dice.choice((('agent',), ('watchdog',), ()))))}",
        f"vms.on_shutdown={dice.choice(('migrate', 'stop', 'refuse'))}",
        f"fencing.disallowed={dice.choice(('kill', 'hold'))}",
        "vms.manage=tagged",
    )
    return tuple(dice.sample(words, dice.randint(1, len(words))))


def _begins(world: "World", node: NodeId, late: int) -> None:
    if world.estate is not None:
        world.estate.unmeasured.add(node)
        world.wait(partial(_connected, node), lambda _: world.heap.after(late, partial(_measured, world, node)))
    world.start_daemon(node)


def _connected(node: NodeId, world: "World") -> NodeId | None:
    daemon = world.daemons.get(node)
    return node if daemon is not None and daemon.connected else None


def _unmeasured(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """The hypervisor does not say what the node has."""
    if world.estate is None:
        return None
    world.estate.unmeasured.add(node)
    world.estate.measure(node)
    return partial(_measured, world, node)


def _measured(world: "World", node: NodeId) -> None:
    if world.estate is not None:
        world.estate.unmeasured.discard(node)
        world.estate.measure(node)


def _poisoned(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """A message on which the decision fails reaches the node, or (`all`) every node that is in its ring."""
    corosync = world.totem.nodes.get(node)
    nodes = corosync.ring.nodes if corosync is not None and words == ("all",) else (node,)
    hit = {other: world.daemons[other] for other in nodes if other in world.daemons}
    for other, daemon in hit.items():
        daemon.poisoned = True
        daemon.take(Poison())
        if daemon.pump.broken is not None:
            _retires(world, other, daemon)

    def end() -> None:
        for other, daemon in hit.items():
            if world.daemons.get(other) is daemon:
                _restart(world, other)

    return end


def _retires(world: "World", node: NodeId, daemon: "Daemon") -> None:
    """As the real one does: it leaves the group, and looks from time to time who is in it."""
    if daemon.connected:
        daemon.connected = False
        world.totem.disconnect(node, Departure.LEAVE)

    def look() -> None:
        if world.daemons.get(node) is daemon:
            corosync = world.totem.nodes.get(node)
            there = tuple(sorted(corosync.group - {node})) if corosync is not None else ()
            daemon.take(GroupChanged(there, ()))
            world.heap.after(ASK_MS, look)

    look()


def _stopped_twice(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """SIGTERM, and a second one after some ms: who asks twice has no time."""
    world.ask_to_leave(node)
    world.heap.after(int(words[0]), partial(world.ask_to_leave, node))
    return partial(world.start_daemon, node)


def _uri_removed(world: "World", node: NodeId, words: Sequence[str]) -> Undo | None:
    """The settings name no hypervisor any more, and the daemon is restarted; after that it may be told to stop (`stopped`)."""
    estate = world.estate
    if estate is None or node not in world.daemons:
        return None
    estate.blind.add(node)
    _restart(world, node)
    if words == ("stopped",):
        world.heap.after(3000, partial(world.ask_to_leave, node))

    return partial(see, world, node)


def _all_stopped(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """All hosts are shut down together: each daemon is asked to leave within a few seconds, in the order of `words`, and the
    machine has no power any more a while after its daemon has ended."""
    for number, word in enumerate(words):
        other = NodeId(int(word.removeprefix("n")))
        world.heap.after(number * 400, partial(world.ask_to_leave, other))

    def back() -> None:
        for other in world.machines:
            world.start_daemon(other)

    return back


def _all_cut(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """The network of all nodes is off."""
    world.totem.cut([[other] for other in world.machines])
    return lambda: world.totem.cut([])


def _not_installed(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """There is no daemon on this node yet."""
    world.daemon_ends(node, None)
    if world.estate is not None:
        world.estate.nodes[node].watchdog.disarm()


def _installed(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """Its daemon is started for the first time."""
    world.start_daemon(node)


def installation(dice: Random, boots: Sequence[tuple[int, NodeId]], now: int) -> list[tuple[int, str, NodeId]]:
    """When which node is not installed yet, and is: daemons come one after the other, on nodes where VMs run already."""
    found = [(when, "not-installed", node) for when, node in boots]
    for _, node in dice.sample(list(boots), len(boots)):
        now += dice.choice((500, 4000, 10_000))
        found.append((now, "daemon-installed", node))
    return found


def _restart_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return (str(dice.choice((20, 300, 1000, 2000))), str(dice.choice((0, dice.randint(1, 40), dice.randint(1, 40), 3000))))


CARE_FAULTS: dict[str, Fault] = {
    "daemon-restarted": Fault(_restarted, 6, (), _restart_words),
    "poisoned": Fault(_poisoned, 1, (2000, 9000, 25_000), lambda dice, nodes: (dice.choice(("all", "all", "one")),)),
    "daemon-stopped-twice": Fault(
        _stopped_twice, 2, (9000, 25_000), lambda dice, nodes: (dice.choice(("1", "300", "2000", "8000")),)
    ),
    "all-stopped": Fault(
        _all_stopped, 1, (60_000, 120_000), lambda dice, nodes: tuple(f"n{node}" for node in dice.sample(nodes, len(nodes)))
    ),
    "uri-removed": Fault(
        _uri_removed, 2, (4000, 12_000, 40_000), lambda dice, nodes: ("stopped",) if dice.random() < 0.6 else ()
    ),
    "other-settings": Fault(_other_settings, 2, (), _settings_words),
    "all-cut": Fault(_all_cut, 2, (1000, 4000, 9000, 14_000, 25_000)),
    "not-installed": Fault(_not_installed, 0),
    "daemon-installed": Fault(_installed, 0),
    "capacity-unknown": Fault(_unmeasured, 1, (20, 500, 4000)),
}
"""A fault's name, as stories and seeds say it."""
