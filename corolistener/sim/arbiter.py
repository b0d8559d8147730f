"""A virtual quorum device (corosync-qdevice and its arbiter): it votes for one ring at a time, or for none."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from corolistener.ids import NodeId
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.votequorum import total

if TYPE_CHECKING:
    from corolistener.sim.rings import Ring
    from corolistener.sim.totem import Totem

LOOK_MS = (1500, 500, 3000)
HANDOVER_MS = (800, 200, 3000)


class Arbiter:
    """`holder` is the ring that has the vote. `works`: nodes reach it. `tell` is called for each node whose votes changed.

    Who had the vote has been told that it is gone before another ring gets it; a ring that has broken delivers nothing more.
    """

    def __init__(self, totem: "Totem", heap: Heap, chance: Chance, tell: Callable[[NodeId], None]) -> None:
        self.totem, self.heap, self.chance, self.tell = totem, heap, chance, tell
        self.holder: Ring | None = None
        self.works = True
        self._free_at = 0

    def formed(self, ring: "Ring", former: "list[Ring]") -> None:
        """A ring has formed of nodes of `former` ones: it takes the vote over from one that is no more, and nobody waits."""
        if self.works and (self.holder in former or self._holder() is None) and self.heap.now >= self._free_at:
            self._grant(ring)
        self.heap.after(self.chance.vary(*LOOK_MS), self.look)

    def look(self) -> None:
        """Give the vote to a ring that is quorate by it, if the one that has it is not."""
        if not self.works or self.heap.now < self._free_at:
            return
        rings = {id(each.ring): each.ring for each in self.totem.nodes.values() if self.totem.lives(each.ring)}
        better = [ring for ring in rings.values() if self._quorate_with(ring)]
        holder = self._holder()
        if not better or (holder is not None and self._quorate_with(holder)):
            return
        best = min(better, key=lambda ring: (-total(ring.votes), ring.id))
        if holder is None:
            self._grant(best)
            self._news(best)
        else:
            self.move(best)

    def move(self, ring: "Ring") -> None:
        """Another ring gets the vote, some time after the one that has it was told."""
        if ring is not self.holder:
            self.take()
            self._free_at = self.heap.now + self.chance.vary(*HANDOVER_MS)
            self.heap.at(self._free_at, partial(self._hand_over, ring))

    def _hand_over(self, ring: "Ring") -> None:
        if self.works and self._holder() is None and self.totem.lives(ring):
            self._grant(ring)
            self._news(ring)
        else:
            self.look()

    def take(self) -> None:
        """It votes for nobody."""
        holder, self.holder = self.holder, None
        if holder is not None:
            for each in holder.votes.values():
                each.casts = False
            self._news(holder)

    def work(self, works: bool) -> None:
        """It cannot be reached, or it can again."""
        self.works = works
        self.look() if works else self.take()

    def _grant(self, ring: "Ring") -> None:
        self.holder = ring
        for each in ring.votes.values():
            each.casts = each.file.device > 0

    def _news(self, ring: "Ring") -> None:
        for node in ring.votes:
            self.tell(node)

    def _holder(self) -> "Ring | None":
        """The ring that has the vote, as long as any node may still be in it: one that has broken may be mended."""
        there = self.holder is not None and any(each.ring is self.holder for each in self.totem.nodes.values())
        return self.holder if there else None

    def _quorate_with(self, ring: "Ring") -> bool:
        each = ring.votes.values()
        return sum(node.own for node in each) + max(node.file.device for node in each) >= max(node.quorum for node in each)
