"""The nodelist changes while nodes run and VMs are cared for: an operator adds a machine and starts it, or removes one that is
off and adds it again later. As people do it: with orders to any node that answers, tried again until they are carried out.
"""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.config import ConfigId
from corolistener.core.messages import AddNode, RemoveNode
from corolistener.ids import NodeId
from corolistener.sim.conffile import cluster_of
from corolistener.sim.fault import Fault, Undo

if TYPE_CHECKING:
    from corolistener.sim.world import World

ADDRESS = "172.31.224.%d"
AGAIN_MS = 2000
REMOVALS = 12
"""An operator tries so often to remove a node, and then lets it be."""
AWAY_MS = (4000, 20_000, 40_000)


def file_with(world: "World", node: NodeId) -> bytes | None:
    """The file in force, as a node with a daemon has it, where it lists this node: what an operator copies to a new machine."""
    newest = _newest(world)
    return newest if newest and cluster_of(newest).node(node) is not None else None


def _newest(world: "World") -> bytes:
    return max((_in_force(world, other) for other in world.daemons), default=(ConfigId(), b""))[1]


def _in_force(world: "World", node: NodeId) -> tuple[ConfigId, bytes]:
    cluster, text = world.machines[node].disk.load()
    agreed = world.daemons[node].pump.core.state.agreed
    return (agreed, text) if cluster.id == agreed else (ConfigId(), b"")


def join(world: "World", node: NodeId) -> bool:
    """One try: an order to add the node, or, where it is in force, its file and its power. Whether that is done."""
    machine = world.machines[node]
    text = file_with(world, node)
    if text is None:
        if _all_there(world):  # one after the other: each node that is listed and off may be the one that costs the quorum
            _ask(world, node, AddNode(ADDRESS % node, node))
        return False
    if not machine.powered:
        machine.disk.text = text
        world.power_on(node)
    return True


def _all_there(world: "World") -> bool:
    newest = _newest(world)
    listed = {entry.id for entry in cluster_of(newest).nodes} if newest else set[NodeId]()
    rings = {world.totem.nodes[node].ring.nodes if node in world.totem.nodes else () for node in listed}
    return len(rings) == 1 and listed <= world.daemons.keys()


def _ask(world: "World", node: NodeId, change: AddNode | RemoveNode) -> None:
    """Whoever is lowest is asked, or another one where that has just been tried."""
    others = [other for other in sorted(world.daemons) if other != node]
    if others:
        world.ask(others[world.requests % len(others)], change)


def joining(world: "World", node: NodeId) -> None:
    """Try it until it is done."""
    if not join(world, node):
        world.heap.after(AGAIN_MS, partial(joining, world, node))


def _joins(world: "World", node: NodeId, words: Sequence[str]) -> None:
    joining(world, node)


def _removed(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """The node is switched off and removed; at the end it is added again, and started."""
    world.power_off(node)
    gone = True

    def remove(tries: int) -> None:
        others = [other for other in world.daemons if other != node]
        if gone and others and tries and file_with(world, node) is not None:
            _ask(world, node, RemoveNode(node))
        if gone and tries:
            world.heap.after(AGAIN_MS, partial(remove, tries - 1))

    def back() -> None:
        nonlocal gone
        gone = False
        joining(world, node)

    remove(REMOVALS)
    return back


def outside(world: "World") -> list[NodeId]:
    """The nodes that have no power, or that the file in force does not list."""
    return [node for node, machine in world.machines.items() if not machine.powered or file_with(world, node) is None]


LIST_FAULTS: dict[str, Fault] = {"node-joins": Fault(_joins), "node-removed": Fault(_removed, 1, AWAY_MS)}

Drawn = tuple[int, str, str, tuple[str, ...], int | None]
"""When, what, where, its words, how long."""


def draw_lists(seed: int, nodes: Sequence[NodeId], now: int, ends: int) -> tuple[tuple[NodeId, ...], list[Drawn]]:
    """In a quarter of all runs: the nodes that are not listed at first, and when they come; and who is removed. By dice of its
    own, so that all else of a seed is what it was before."""
    dice = Random(f"lists of {seed}")
    if len(nodes) < 3 or dice.random() < 0.75:
        return (), []
    later = tuple(sorted(dice.sample(nodes, min(len(nodes) - 2, dice.choice((0, 1, 1, 2, 4))))))
    found: list[Drawn] = []
    at = dice.randint(now, ends)
    for node in later:
        found.append((at, "node-joins", f"n{node}", (), None))
        at = dice.choice((at, dice.randint(now, ends)))
    for _ in range(dice.choice((0, 1, 1, 2))):
        found.append((dice.randint(now, ends), "node-removed", f"n{dice.choice(nodes)}", (), dice.choice(AWAY_MS)))
    return later, found
