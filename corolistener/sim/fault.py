"""What a kind of fault is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from corolistener.ids import NodeId

if TYPE_CHECKING:
    from corolistener.sim.world import World

Undo = Callable[[], None]
Strike = Callable[["World", NodeId, Sequence[str]], Undo | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` returns what ends it. `words` draws its details, `lasts` are the durations to choose from."""

    strike: Strike
    weight: int = 1
    lasts: tuple[int, ...] = ()
    words: Callable[[Random, Sequence[NodeId]], tuple[str, ...]] = lambda dice, nodes: ()
