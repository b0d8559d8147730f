"""May this node act: corosync's word on quorum, joined with the ring we are in, and the lease that bounds it.

Quorum is corosync's word, and the votes are votequorum's. But that word is heeded only where it is also a majority of all votes
there are (core/whole): then, and only then, it excludes the others. The two descriptors (CPG and quorum) promise no order
between them, so the word counts for the ring whose id it carries. Lease: safety.md, "Lease, grace, watchdog".
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from corolistener.core.view import NO_RING, RingId
from corolistener.core.whole import Whole
from corolistener.ids import Instant, NodeId


@dataclass(slots=True)
class Quorum:
    """What votequorum last said, and what that is worth. `quorate`: its word `said`, if a majority of all votes is behind it.
    `offered`: what the quorum device could cast. `wholes`: see core/whole, none where nothing is known of lists."""

    ring: RingId = NO_RING
    quorate: bool = False
    needed: int = 0
    votes: dict[NodeId, int] = field(default_factory=dict)
    device: int = 0
    expected: int = 0
    own: int = 0
    """What this corosync expects itself; `expected` is the highest number among the members."""
    exclusive: bool = True
    """No two partitions can both be quorate. False only for two_node among two nodes."""
    said: bool = False
    two_node: bool = False
    offered: int = 0
    wholes: tuple[Whole, ...] = ()
    weighed: object = None
    """What `wholes` were last made from."""

    def holds(self, nodes: Iterable[NodeId]) -> bool:
        """These nodes, with the device where it votes for us, reach the quorum, and exclude all others."""
        nodes = nodes if isinstance(nodes, Collection) else frozenset(nodes)
        return bool(self.needed) and self._of(nodes) + self.device >= self.needed and self.most(nodes, self.device)

    def may_hold(self, nodes: Collection[NodeId]) -> bool:
        """The same with all votes that the device could cast."""
        device = max(self.device, self.offered)
        return bool(self.needed) and self._of(nodes) + device >= self.needed and self.most(nodes, device)

    def trusts(self, nodes: Iterable[NodeId]) -> bool:
        """These nodes alone reach the quorum: no quorate line can have gone on without one of them."""
        nodes = nodes if isinstance(nodes, Collection) else frozenset(nodes)
        return bool(self.needed) and self._of(nodes) >= self.needed and self.most(nodes, 0)

    def most(self, nodes: Collection[NodeId], device: int) -> bool:
        """These nodes, with as many votes of the device, exclude all others; two_node has nobody excluded."""
        return not self.exclusive or all(whole.most(nodes, device) for whole in self.wholes)

    def _of(self, nodes: Iterable[NodeId]) -> int:
        """Their votes; every heartbeat asks."""
        return sum(map(self.votes.__getitem__, self.votes.keys() & nodes))


@dataclass(slots=True)
class Recount:
    """See core/recount. `had`: the ring that was quorate last. `until`: until when votequorum is watched, because quorum went
    on a ring that stayed: no node was lost, so a reload or an operator did that. `since`: since when it asks for too much."""

    had: RingId = NO_RING
    until: Instant | None = None
    since: Instant | None = None


@dataclass(slots=True)
class Sent:
    """A heartbeat of mine that came back in this ring, and who was heard after it."""

    at: Instant
    heard: set[NodeId] = field(default_factory=set)


@dataclass(slots=True)
class Lease:
    """My right to act. It runs from the send time of my newest confirmed heartbeat.

    A heartbeat is confirmed when it was delivered back in ring R, R is quorate under that ring id, and later in R's
    order heartbeats came from members that together with me hold a quorum. So no later quorate view without me is older
    than that heartbeat.
    """

    count: int = 0
    next_at: Instant = Instant(0)
    in_flight: Instant | None = None
    returned: list[Sent] = field(default_factory=list)
    ends: Instant | None = None
    stalled: bool = False
    """It was told that my heartbeat does not come back."""
    stirred: bool = False
    """Something was heard, or the votes are others, since it was last looked whether a heartbeat is confirmed."""

    def stalls_at(self, stalled_ms: int) -> Instant | None:
        """When it is to be told that my heartbeat does not come back; None if that was told, or none is on its way."""
        return Instant(self.in_flight + stalled_ms) if self.in_flight is not None and not self.stalled else None

    def valid(self, now: Instant) -> bool:
        return self.ends is not None and now < self.ends

    def send(self, now: Instant, heartbeat_ms: int) -> int | None:
        """The number of the heartbeat to send now, or None: never a second one before the first has come back."""
        if self.in_flight is not None or now < self.next_at:
            return None
        self.count += 1
        self.in_flight = now
        self.next_at = Instant(now + heartbeat_ms)
        return self.count

    def came_back(self, count: int) -> None:
        """My heartbeat was delivered in the ring it was sent in."""
        if count == self.count and self.in_flight is not None:
            self.returned = [*self.returned[-3:], Sent(self.in_flight)]
            self.in_flight = None
            self.stirred = True

    def heard(self, sender: NodeId) -> None:
        """Somebody else's heartbeat was delivered in this ring."""
        for sent in self.returned:
            sent.heard.add(sender)
            self.stirred = True

    def confirm(self, now: Instant, me: NodeId, quorum: Quorum, lease_ms: int) -> None:
        """Extend the lease by the newest confirmed heartbeat; the ring must be known quorate."""
        self.stirred = False
        for index in range(len(self.returned) - 1, -1, -1):
            sent = self.returned[index]
            if quorum.holds({me, *sent.heard}):
                if sent.at + lease_ms > now:
                    self.ends = Instant(max(self.ends or 0, sent.at + lease_ms))
                del self.returned[: index + 1]
                return

    def new_ring(self, now: Instant) -> None:
        """What was heard in another ring confirms nothing in this one."""
        self.returned.clear()
        self.in_flight = None
        self.next_at = now
