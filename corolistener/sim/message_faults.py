"""Faults of the ring as a carrier: a path that has become narrow, a ring that carries nothing for a while, long messages."""

import hashlib
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from corolistener.core.messages import PushText
from corolistener.ids import NodeId
from corolistener.sim.fault import Fault, Undo

if TYPE_CHECKING:
    from corolistener.sim.world import World

FOUND_MS = 30_000
"""So long corosync may need to find out how much a path carries: packets that are too large are lost until then."""


def _narrow(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """The MTU of this node's port becomes lower, and corosync does not know."""
    world.totem.narrow[node] = int(words[0])
    found = partial(world.totem.widen, node)
    world.heap.after(FOUND_MS, found)
    return found


def _stalls(world: "World", node: NodeId, words: Sequence[str]) -> Undo:
    """The ring that this node is in carries nothing, and does not break."""
    if node not in world.totem.nodes:
        return lambda: None
    ring = world.totem.nodes[node].ring
    world.totem.hold(ring)
    return partial(world.totem.release, ring)


def long_text(text: bytes, size: int) -> bytes:
    """A corosync.conf with a remark that cannot be packed: what is sent of it is nearly as long as the file."""
    remark, word = b"", text
    while len(remark) < size:
        word = hashlib.sha256(word).digest()
        remark += b"# " + word.hex().encode() + b"\n"
    return text + remark


def _long(world: "World", node: NodeId, words: Sequence[str]) -> None:
    """An operator pushes a long file."""
    world.ask(node, PushText(long_text(world.machines[node].disk.text, int(words[0]))))


def _bytes(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    """What a packet holds of messages, encrypted, at an MTU of 1000 (measured) and 1280."""
    return (str(dice.choice((830, 830, 1100))),)


MESSAGE_FAULTS: dict[str, Fault] = {
    "narrow": Fault(_narrow, 3, (3000, 12_000, 30_000), _bytes),
    "ring-stalls": Fault(_stalls, 1, (1000, 4000, 8000)),
    "long-push": Fault(_long, 2, (), lambda dice, nodes: (str(dice.choice((3000, 5000, 30_000))),)),
}
"""A fault's name, as stories and seeds say it."""
