"""What can happen to votes: votequorum is told what to expect, one side's file shrinks, a quorum device votes for others."""

from collections.abc import Sequence
from random import Random

from corolistener.ids import NodeId
from corolistener.sim import accounts
from corolistener.sim.conffile import read as file_read
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.totem import SAMPLE
from corolistener.sim.votequorum import FileRead
from corolistener.sim.world import World


def _told(world: World, node: NodeId, words: Sequence[str]) -> None:
    """`corosync-quorumtool -e NUMBER` at this node."""
    world.totem.expect(node, int(words[0]))


def _side_shrinks(world: World, node: NodeId, words: Sequence[str]) -> None:
    """At each node of this one's side, which has no majority, corosync reads a file without the others. Then the file is as it
    was, and corosync goes on with what it has read until it reads again."""
    corosync = world.totem.nodes.get(node)
    if corosync is None or accounts.in_most(world, node):
        return
    gone = [other for other in world.machines if other not in corosync.ring.nodes]
    world.totem.reload(node, lambda each: file_read(without(world.machines[each].disk.text, gone)))


def _reload_read(world: World, node: NodeId, words: Sequence[str]) -> None:
    """`corosync-cfgtool -R` at this node: every node of its ring reads its own file."""
    world.reload(node)


def without(text: bytes, gone: Sequence[NodeId]) -> bytes:
    """The file without these nodes' entries."""
    head, *nodes = text.split(b"\tnode {\n")
    last, _, tail = nodes[-1].partition(b"\t}\n")
    nodes[-1] = last + b"\t}\n"
    kept = [part for part in nodes if not any(b"nodeid: %d\n" % other in part for other in gone)]
    return head + b"".join(b"\tnode {\n" + part for part in kept) + tail


def _device_lost(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.totem.arbiter.work(False)
    return lambda: world.totem.arbiter.work(True)


def _device_moves(world: World, node: NodeId, words: Sequence[str]) -> None:
    """The device votes for this node's side from soon on."""
    if node in world.totem.nodes and world.totem.arbiter.works:
        world.totem.arbiter.move(world.totem.nodes[node].ring)


def _sample(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """corosync is started with its distribution's sample: another cluster name, and one vote of one is a quorum."""
    world.stop_corosync(node)
    world.totem.strangers.add(node)
    if world.machines[node].powered:
        world.totem.start(node, FileRead(0, ((node, 1),), 1, cluster=SAMPLE))
        world.connect_later(node)

    def back() -> None:
        """Somebody types `systemctl restart corosync`."""
        if node in world.totem.nodes and node in world.totem.strangers:
            world.stop_corosync(node)
            world.start_corosync(node)

    return back


def _crossing(world: World, node: NodeId, words: Sequence[str]) -> None:
    """Announcements of expected votes cross at the next reload of files that differ."""
    world.totem.crossing = True


def _number(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return (str(dice.randint(1, len(nodes))),)


VOTES_FAULTS: dict[str, Fault] = {
    "votes-told": Fault(_told, 3, (), _number),
    "side-shrinks": Fault(_side_shrinks, 2),
    "reload-read": Fault(_reload_read),
    "device-lost": Fault(_device_lost, 2, (300, 4000, 9000, 20_000)),
    "device-moves": Fault(_device_moves, 3),
    "sample-started": Fault(_sample, 2, (4000, 12_000, 30_000)),
    "announcements-cross": Fault(_crossing),
}
"""A fault's name, as stories and seeds say it. They are drawn by dice of their own (seeds_votes)."""
