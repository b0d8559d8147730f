"""The line: which daemons agree on one table, and how it changes.

CPG carries no priority, so whenever somebody may have joined, everybody says Hello, and the line is formed from these
Hellos alone: every member sees the same ones in the same order and comes to the same line. A view that only lost members
needs no new round. While a round is open the former line goes on, less what it loses.

Everything here changes only by what CPG delivers, in its order; `seen`, `pending` and `round_since` hold this node's own clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

from corolistener.core.capacity import Capacity
from corolistener.core.config import ConfigId, NodeEntry
from corolistener.core.doubts import doubted
from corolistener.core.events import Departure, GroupChanged, RingChanged
from corolistener.core.ledger import Known, Version
from corolistener.core.messages import Committed, Hello, Stored
from corolistener.core.reports import NO_INVENTORY, Inventory
from corolistener.core.view import NO_RING, Epoch, RingId
from corolistener.ids import Instant, NodeId


@dataclass(frozen=True, slots=True)
class Peer:
    """What the line knows of one of its nodes, this one included."""

    boot: str
    incarnation: str
    file: ConfigId
    running: int = 0
    disallowed: bool = False
    holding: bool = False
    ledger: Version = Version()
    doubt: str = ""
    """Why its ledger is no witness of what was committed (core/witness)."""
    owner: str = ""
    """The cluster that its ledger belongs to."""
    owned: bool = False
    known: Known | None = None
    capacity: Capacity | None = None
    relied_on: tuple[tuple[str, str], ...] = ()
    unable: str = ""
    """Why it cannot hold what a master holds."""
    inventory: Inventory = NO_INVENTORY


NOWHERE = Epoch()
"""The place of a process that was never part of a quorate line."""

_but_inventory: Callable[[Peer], tuple[Any, ...]] = attrgetter(*[each.name for each in fields(Peer)][:-1])
"""Nothing is said as often as what a node has, and `replace` takes thrice as long."""


def peer_of(node: NodeId, hello: Hello, disallowed: bool, doubt: str = "") -> Peer:
    """What a Hello says of its sender."""
    announced = hello.boot, hello.lease_ms, hello.grace_ms, hello.watchdog_ms, hello.weak, hello.stop_ms
    known = Known(node, *announced) if hello.lease_ms else None
    return Peer(
        boot=hello.boot,
        incarnation=hello.incarnation,
        file=hello.file,
        running=hello.running,
        disallowed=disallowed,
        holding=hello.holding,
        ledger=hello.ledger,
        doubt=doubt,
        owner=hello.owner,
        owned=hello.owned,
        known=known,
        capacity=hello.capacity,
        relied_on=hello.relied_on,
        unable=hello.unable,
        inventory=hello.inventory,
    )


@dataclass(frozen=True, slots=True)
class Formed:
    """The outcome of a round: the line as every member computes it."""

    peers: dict[NodeId, Peer]
    agreed: ConfigId
    nodes: tuple[NodeEntry, ...]
    database: bool
    epoch: Epoch
    claims: frozenset[NodeId]
    unattended: frozenset[NodeId]
    pending: frozenset[NodeId]
    master: NodeId | None
    remembering: frozenset[NodeId]
    left_behind: frozenset[NodeId]
    starting: bool
    """The cluster is being started: none of them has seen a master that could act."""
    first: NodeId
    met: frozenset[NodeId] = frozenset()


def form(hellos: dict[NodeId, Hello], ring: RingId, committed: Committed | None = None) -> Formed:
    """One line from everybody's Hello, and from what came into force while they were said. Pure: same input, same line.

    The newest place on the quorate line wins: who was left behind and had duties is disallowed until a verdict, unless
    that leaves nobody. A node whose daemon was merely restarted (`pending` for the others) was not left behind, and neither
    was one that has been of their line all the time (`_staying`).
    """
    key = {node: (hello.epoch, not hello.lapsed) for node, hello in hellos.items()}
    newest = max(key.values())
    current = sorted(node for node in hellos if key[node] == newest)
    pending = frozenset(n for node in current for n in hellos[node].pending)
    excused = pending | _staying(hellos, current)
    behind = frozenset(node for node in hellos if key[node] != newest and node not in excused)
    first = hellos[min(current, key=lambda node: (-hellos[node].agreed.version, node))]
    force = committed if committed is not None and committed.config.version > first.agreed.version else None
    shut_out = {
        node for node, hello in hellos.items() if hello.disallowed or (node in behind and (hello.dirty or hello.holding))
    }
    if shut_out >= set(hellos):
        shut_out -= set(current)
    claimed = {n for hello in hellos.values() for n in hello.claims if n not in hellos}
    claimed |= {node for node, hello in hellos.items() if hello.holding}
    doubts = doubted(hellos)
    step = max((hello.epoch.step for hello in hellos.values() if hello.epoch.seq == ring.seq), default=-1)
    return Formed(
        peers={node: peer_of(node, hello, node in shut_out, doubts.get(node, "")) for node, hello in sorted(hellos.items())},
        agreed=force.config if force is not None else first.agreed,
        nodes=force.nodes if force is not None else first.nodes,
        database=any(hellos[node].database for node in current),
        epoch=Epoch(ring.seq, step + 1),
        claims=frozenset(claimed),
        unattended=frozenset(n for hello in hellos.values() for n in hello.unattended if n not in hellos and n in claimed),
        pending=pending - set(hellos),
        master=first.master or None,
        remembering=frozenset(n for n, hello in hellos.items() if hello.epoch != Epoch() or hello.holding),
        left_behind=behind,
        starting=all(hello.epoch == NOWHERE or hello.starting for hello in hellos.values()),
        first=first.first,
        met=frozenset(hellos).union(*(hello.met for hello in hellos.values())),
    )


def _staying(hellos: dict[NodeId, Hello], current: list[NodeId]) -> frozenset[NodeId]:
    """Nodes that every node of the newest line had in its line while it spoke, and that have not lost their lease since.

    The line cannot have gone on without such a node, whatever `epoch` its Hello has. A daemon that was just restarted has none
    before it knows the votes, and the line may step while a Hello is on its way: neither means that the node was left behind.
    """
    views = [hellos[node].view for node in current]
    return frozenset(n for n, hello in hellos.items() if not hello.lapsed and all(n in view for view in (hello.view, *views)))


@dataclass(slots=True)
class Group:
    """This node's sight of ring, group, round and line.

    `members` is CPG's word, `down` the nodes that CPG said went down in a ring it has not named yet: it tells of the
    group first and of the ring last, so until then nothing is decided. `sent` marks my Hello that is on its way.
    `line` is the place of this line: it steps with everything that is delivered and changes it or its master. In this ring and
    group, `excused` are those who are not waited for in a round until they say Hello, and `committed` the newest configuration
    that came into force.
    """

    me: NodeId
    ring: RingId = NO_RING
    ring_nodes: tuple[NodeId, ...] = ()
    members: tuple[NodeId, ...] = ()
    joined: bool = False
    """This daemon is in the group of a known ring."""
    down: set[NodeId] = field(default_factory=set)
    freed: set[NodeId] = field(default_factory=set)
    """Those whose daemon has ended for good: what Hellos of this ring and group claim for them is older."""
    open: bool = False
    round_since: Instant = Instant(0)
    sent: tuple[RingId, tuple[NodeId, ...]] | None = None
    said: dict[NodeId, Hello] = field(default_factory=dict)
    excused: set[NodeId] = field(default_factory=set)
    committed: Committed | None = None
    peers: dict[NodeId, Peer] = field(default_factory=dict)
    pending: dict[NodeId, Instant] = field(default_factory=dict)
    seen: dict[NodeId, Instant] = field(default_factory=dict)
    declared: dict[NodeId, Instant] = field(default_factory=dict)
    spoke: dict[NodeId, Instant] = field(default_factory=dict)
    """When a part of a long message of each node last came: its Hello may be on its way behind it, or be it."""
    line: Epoch = Epoch()
    formed_once: bool = False
    counted: tuple[object, tuple[NodeId, ...]] = ((), ())
    """What `present` was last made from, and what it was then: it is asked for at every turn, and seldom another one."""
    filed: tuple[list[object], dict[NodeId, ConfigId]] = field(default_factory=lambda: ([], {}))
    """The same of `files`."""

    @property
    def here(self) -> tuple[NodeId, ...]:
        """The nodes whose daemon is in the group. A member whose node is not in the ring is a ghost of corosync's."""
        nodes = set(self.ring_nodes)
        return tuple(node for node in self.members if node in nodes)

    @property
    def settled(self) -> bool:
        """What CPG tells of one change has been told to its end, and everybody in the group has said Hello."""
        return self.joined and not self.down and not self.open

    @property
    def present(self) -> tuple[NodeId, ...]:
        """The nodes of the line whose daemon is in the group."""
        made_from = self.ring_nodes, self.members, tuple(self.peers)
        if self.counted[0] != made_from:
            here = set(self.ring_nodes) & set(self.members)
            self.counted = made_from, tuple(node for node in sorted(self.peers) if node in here)
        return self.counted[1]

    @property
    def files(self) -> dict[NodeId, ConfigId]:
        """The corosync.conf of each node of the line whose daemon is in the group. Not to be changed."""
        made_from = [self.present, *[peer.file for peer in self.peers.values()]]
        if self.filed[0] != made_from:
            self.filed = made_from, {node: self.peers[node].file for node in self.present}
        return self.filed[1]

    def open_round(self, now: Instant) -> None:
        self.open, self.round_since = True, now
        self.spoke.clear()
        self.said.clear()

    def _fresh(self) -> None:
        """Ring or group have changed. All members see that at one place of the order; a round may open at another."""
        self.joined = self.ring.seq != NO_RING.seq and self.me in self.members
        self.excused.clear()
        self.freed.clear()
        self.committed = None

    def ring_changed(self, event: RingChanged, now: Instant) -> tuple[NodeId, ...]:
        """A new ring: who fell out of the line with it. The silence before it was the ring's, not the peers'."""
        grew = not set(event.nodes) <= set(self.ring_nodes)
        self.ring, self.ring_nodes = event.ring, event.nodes
        self._fresh()
        self.down.clear()
        lost = self._lose(node for node in {*self.peers, *self.pending} if node not in event.nodes)
        self.line = Epoch(event.ring.seq, 0)
        self.seen = dict.fromkeys(self.peers, now)
        if grew or self.open or self.me not in self.peers:
            self.open_round(now)
        return lost

    def group_changed(self, event: GroupChanged, now: Instant) -> tuple[NodeId, ...]:
        """CPG's membership: who fell out of the line. A daemon that vanished from a living node is merely pending."""
        self.members = event.members
        self._fresh()
        down = {node for node, why in event.left if why is Departure.NODEDOWN}
        self.down |= down & set(self.ring_nodes)
        for node, _ in event.left:
            if node in self.peers and node not in down:
                self.pending[node] = now
                del self.peers[node]
        lost = self._lose(node for node in down if node in self.peers or node in self.pending)
        if event.joined or self.open:
            self.open_round(now)
        return lost

    def _lose(self, nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
        lost = tuple(sorted(nodes))
        for node in lost:
            self.peers.pop(node, None)
            self.pending.pop(node, None)
        if self.peers and all(peer.disallowed for peer in self.peers.values()):
            # Nobody is left to give a verdict: those who are here are the line.
            self.peers = {node: replace(peer, disallowed=False) for node, peer in self.peers.items()}
        return lost

    def step(self) -> None:
        """The line has changed within its ring."""
        self.line = replace(self.line, step=self.line.step + 1)

    def lose(self, node: NodeId) -> bool:
        """A farewell or an Absent was delivered: the node is not of the line any more."""
        if node in self.ring_nodes:
            self.said.pop(node, None)
            self.excused.add(node)
        if node not in self.peers and node not in self.pending:
            return False
        self._lose((node,))
        self.step()
        return True

    def hello(self, sender: NodeId, hello: Hello, now: Instant) -> None:
        """Count a Hello that was said for this ring and this group; where no round is open, it opens one.

        Everybody says one Hello a round, and none before the last has come back, so none counts for a later round.
        """
        if sender == self.me and self.sent == (hello.ring, hello.members):
            self.sent = None
        if (hello.ring, hello.members) != (self.ring, self.here) or sender not in self.here:
            return
        if not self.open:
            self.open_round(now)
        self.said[sender] = hello
        self.excused.discard(sender)

    def stored(self, sender: NodeId, message: Stored) -> None:
        """A node's corosync.conf is another one now, or its corosync has read it."""
        if sender in self.said:
            self.said[sender] = replace(self.said[sender], file=message.config, running=message.running)
        if sender in self.peers:
            self.peers[sender] = replace(self.peers[sender], file=message.config, running=message.running)

    def vacated(self, sender: NodeId) -> None:
        """The sender is no daemon: nobody waits for a Hello from it."""
        if sender in self.ring_nodes:
            self.said.pop(sender, None)
            self.excused.add(sender)
            self.freed.add(sender)

    def able(self, sender: NodeId, why: str) -> bool:
        """A node can hold what a master holds, or cannot; True where that is news."""
        if sender in self.said:
            self.said[sender] = replace(self.said[sender], unable=why)
        if sender not in self.peers or self.peers[sender].unable == why:
            return False
        self.peers[sender] = replace(self.peers[sender], unable=why)
        return True

    def inventoried(self, sender: NodeId, inventory: Inventory) -> None:
        """A node has other copies of VMs now."""
        if sender in self.said:
            self.said[sender] = replace(self.said[sender], inventory=inventory)
        if sender in self.peers:
            self.peers[sender] = Peer(*(*_but_inventory(self.peers[sender]), inventory))

    def came_into_force(self, committed: Committed) -> None:
        """A configuration was committed: Hellos for this ring and group that were said before do not know of it."""
        if self.committed is None or committed.config.version > self.committed.config.version:
            self.committed = committed

    def withdrawn(self, config: ConfigId) -> None:
        """It is not to come into force any more."""
        if self.committed is not None and self.committed.config == config:
            self.committed = None

    @property
    def starting(self) -> bool:
        """Nobody who has spoken in the open round was ever part of a quorate line: the cluster is being started."""
        return all(hello.epoch == NOWHERE for hello in self.said.values())

    @property
    def awaited(self) -> set[NodeId]:
        """Nodes whose Hello the open round waits for: those in the group; at a start of the cluster, those of the ring."""
        there = {*self.here, *self.ring_nodes} if self.starting else {*self.here}
        return there - set(self.said) - self.excused

    @property
    def complete(self) -> bool:
        """Everybody who is to speak in the open round has spoken."""
        return self.open and bool(self.said) and not self.awaited

    def close_round(self, now: Instant) -> Formed:
        """Form the line."""
        formed = form(self.said, self.ring, self.committed)
        if self.freed:
            kept = [each - self.freed for each in (formed.claims, formed.unattended, formed.pending)]
            formed = replace(formed, claims=kept[0], unattended=kept[1], pending=kept[2])
        self.said.clear()
        self.open = False
        self.peers = dict(formed.peers)
        self.pending = {node: self.pending.get(node, now) for node in formed.pending if node in self.ring_nodes}
        self.seen = dict.fromkeys(self.peers, now)
        self.declared.clear()
        self.line = formed.epoch
        self.formed_once = True
        return formed

    def silent(self, now: Instant, hello_ms: int, lease_ms: int | None, restart_ms: int) -> tuple[NodeId, ...]:
        """Whom to declare absent: silent in an open round, without heartbeats, or with a daemon that did not return."""
        found: set[NodeId] = set()
        if self.open and now >= self.round_since + hello_ms:
            found |= {node for node in self.awaited if now >= self.spoke.get(node, self.round_since) + hello_ms}
        if lease_ms is not None and now >= min(self.seen.values(), default=now) + lease_ms:
            found |= {node for node in self.present if now >= self.seen.get(node, now) + lease_ms}
        found |= {node for node, since in self.pending.items() if now >= since + restart_ms and node not in self.members}
        return tuple(sorted(found - {self.me}))

    def hellos_due(self, hello_ms: int) -> list[Instant]:
        """When a node whose Hello has not come may be declared absent."""
        return [Instant(since + hello_ms) for since in (self.round_since, *self.spoke.values())]

    def silences(self, lease_ms: int, last: Instant) -> list[Instant]:
        """When another node may be declared absent: the first such instant after `last` is among them."""
        oldest = min(self.seen.values(), default=None)
        if oldest is not None and oldest + lease_ms > last and oldest != self.seen.get(self.me):
            return [Instant(oldest + lease_ms)]
        return [Instant(seen + lease_ms) for node, seen in self.seen.items() if node != self.me]

    def disconnected(self) -> None:
        """corosync is gone: no ring, no group, no line."""
        self.ring, self.ring_nodes, self.members = NO_RING, (), ()
        self.open, self.sent = False, None
        self._fresh()
        self.down.clear()
        self.said.clear()
        self.peers.clear()
        self.pending.clear()
