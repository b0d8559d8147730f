"""A virtual corosync: rings with agreed order, CPG, quorum and votes.

What is true of the real one (behaviour/corosync-3.md and exec/cpg.c) is true here: messages of a ring come in one order;
a ring that breaks may have let a last message through to its sender's side alone; a new ring's news comes as group changes
first (left, then one for each that joined) and the totem callback last; quorum comes on another descriptor, before or
after; a ring's sequence is higher by four than any that its nodes have seen; what is said while the ring is broken is sent
in the next one.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from corolistener.core.events import (
    Departure,
    QuorumChanged,
    RingChanged,
    Running,
    VotesCounted,
)
from corolistener.core.view import RingId
from corolistener.engine.speech import Heard
from corolistener.ids import NodeId
from corolistener.sim import votequorum
from corolistener.sim.arbiter import Arbiter
from corolistener.sim.heap import Chance, Heap
from corolistener.sim.rings import Item, Process, Ring, group_news
from corolistener.sim.votequorum import Counting, FileRead
from corolistener.wire.ring import MAGIC

LOSS_MS = (3630, 2200, 4200)
MERGE_MS = (150, 50, 600)
LEAVE_MS = (60, 40, 90)
STIR_MS = (3000, 500, 7000)
LAG_MS = (1, 1, 3)
QUORUM_LAG_MS = (1, 0, 40)
UNSENT_MOST = 40
CROSSING = 0.3
SAMPLE = "debian"
"""The cluster name in the file with which a distribution starts corosync."""
PACKED = 180
"""Bytes that corosync adds to each message in a packet."""

Tell = Callable[[NodeId, list[Heard]], None]


@dataclass(slots=True)
class Corosync:
    """One node's corosync. `joined`: its client's own join was delivered; `life` counts its clients. `votes` is its
    votequorum, with the file that it runs with; `alone`: it was with no other since it started."""

    ring: Ring
    votes: Counting
    processes: set[Process] = field(default_factory=set)
    """Those in the group."""
    outbox: deque[Item] = field(default_factory=deque)
    joined: bool = False
    life: int = 0
    pid: int = 0
    """Its client."""
    deliver_due: int = 0
    batch: list[None] | None = None
    """An entry for each item that is to be delivered at `deliver_due`, until then."""
    news_due: int = 0
    news: int = 0
    alone: bool = True
    frozen: bool = False
    told: VotesCounted | None = None

    @property
    def group(self) -> set[NodeId]:
        return {node for node, _ in self.processes}

    @property
    def file(self) -> FileRead:
        return self.votes.file


class Totem:
    """All of them, and the network between. `parts` says in which part of a cut network each node is, `deaf` which two of one
    part do not hear each other, in one direction or both: they are never in one ring, and whoever hears both disturbs it."""

    def __init__(self, heap: Heap, chance: Chance, tell: Tell, refused: Callable[[NodeId], None]) -> None:
        self.heap, self.chance, self.tell, self.refused = heap, chance, tell, refused
        self.nodes: dict[NodeId, Corosync] = {}
        self.parts: dict[NodeId, int] = {}
        self.deaf: set[frozenset[NodeId]] = set()
        self._restless = 0
        self.sequence: dict[NodeId, int] = {}
        self.narrow: dict[NodeId, int] = {}
        """How many bytes the paths of a node carry in one packet, where corosync takes them for wider."""
        self.clean: set[NodeId] = set()
        self.quorum_first = False
        self.late: dict[NodeId, int] = {}
        """So many ms after its end the next client of a node leaves the group."""
        self.arbiter = Arbiter(self, heap, chance, self._recounted)
        self.strangers: set[NodeId] = set()
        """Nodes whose corosync was started with another file than the cluster's: they meet each other only."""
        self.crossing = False
        """Announcements of expected votes cross at the next reload of files that differ."""

    # What happens to nodes and network

    def start(self, node: NodeId, file: FileRead) -> None:
        """corosync starts: alone at first."""
        seq = self.sequence[node] = self.sequence.get(node, 0) + 4
        votes = Counting.begin(node, file)
        self.nodes[node] = Corosync(Ring(RingId(seq, node), (node,), done={node: 0}, votes={node: votes}), votes)
        self.clean.discard(node)
        self.reconsider()

    def stop(self, node: NodeId, clean: bool) -> None:
        """corosync ends; who stops it cleanly tells the others at once."""
        if self.nodes.pop(node, None) is not None:
            if clean:
                self.clean.add(node)
            self.reconsider()

    def freeze(self, node: NodeId, frozen: bool) -> None:
        """The whole machine stands still, or goes on."""
        if node in self.nodes:
            self.nodes[node].frozen = frozen
            self.reconsider()

    def cut(self, parts: Iterable[Iterable[NodeId]]) -> None:
        """The network falls into these parts; who is not named is in part 0."""
        self.parts = {node: number for number, part in enumerate(parts, 1) for node in part}
        self.reconsider()

    def hush(self, pairs: Iterable[tuple[NodeId, NodeId]]) -> None:
        """These two and two cannot be in one ring any more, and rings that others form do not last; without any all is well."""
        self.deaf = {frozenset(pair) for pair in pairs}
        self._restless += 1
        self._stir(self._restless)

    def _stir(self, turn: int) -> None:
        """Now it is these who find together, now those."""
        if turn == self._restless:
            self.reconsider()
            if self.deaf:
                self._restless = turn + 1
                self.heap.after(self.chance.vary(*STIR_MS), lambda: self._stir(turn + 1))

    def hold(self, ring: Ring) -> None:
        """The ring carries nothing any more."""
        ring.held = True

    def release(self, ring: Ring) -> None:
        """It does again, if it is still there."""
        ring.held = False
        self._go_on(ring)

    def widen(self, node: NodeId) -> None:
        """corosync knows now what the paths of this node carry."""
        self.narrow.pop(node, None)
        if node in self.nodes and (ring := self.nodes[node].ring).lost is not None and not self.narrow:
            ring.lost = None
            self._go_on(ring)

    def mend(self) -> None:
        """All paths carry what corosync thinks, and every ring carries messages."""
        for node in list(self.narrow):
            self.widen(node)
        for corosync in self.nodes.values():
            if corosync.ring.held:
                self.release(corosync.ring)

    def _go_on(self, ring: Ring) -> None:
        if ring.limit is None:
            for node in ring.nodes:
                for _ in range(len(ring.log) - ring.done[node]):
                    self._schedule(ring, node)

    def hears(self, node: NodeId, other: NodeId) -> bool:
        if (node in self.strangers) is not (other in self.strangers):
            return False
        return self.parts.get(node, 0) == self.parts.get(other, 0) and frozenset((node, other)) not in self.deaf

    def reconsider(self) -> None:
        """Something has changed: rings break, and others form in their time."""
        components = self._components()
        of = {node: component for component in components for node in component}
        rings = {id(corosync.ring): corosync.ring for corosync in self.nodes.values()}
        for ring in rings.values():
            whole = all(node in of and of[node] == of[ring.nodes[0]] and self._in(node, ring) for node in ring.nodes)
            if whole and ring.limit is not None:
                self._mend(ring)
            elif not whole and ring.limit is None:
                self._break(ring, of)
        for component in components:
            inside = {id(self.nodes[node].ring): self.nodes[node].ring for node in component}
            gone = {node for ring in inside.values() for node in ring.nodes} - component
            if gone or len(inside) > 1:
                delay = LEAVE_MS if gone and gone <= self.clean else LOSS_MS if gone else MERGE_MS
                self.heap.after(self.chance.vary(*delay), partial(self._form, component))

    def _in(self, node: NodeId, ring: Ring) -> bool:
        return node in self.nodes and self.nodes[node].ring is ring

    def _components(self) -> list[frozenset[NodeId]]:
        """Who can be in one ring: all of each hear each other. Where that is not one way only, another one's turn comes."""
        awake = sorted(node for node, corosync in self.nodes.items() if not corosync.frozen)
        first = self._restless % len(awake) if self.deaf and awake else 0
        found: list[set[NodeId]] = []
        for node in awake[first:] + awake[:first]:
            for component in found:
                if all(self.hears(node, other) for other in component):
                    component.add(node)
                    break
            else:
                found.append({node})
        return [frozenset(component) for component in found]

    def _break(self, ring: Ring, of: dict[NodeId, frozenset[NodeId]]) -> None:
        """Each side gets some of what is on its way, all of a side the same."""
        limits: dict[frozenset[NodeId], int] = {}
        ring.limit = {}
        for node in ring.nodes:
            side = of.get(node, frozenset((node,)))
            if side not in limits:
                least = max(ring.done[other] for other in ring.nodes if other in side)
                limits[side] = self.chance.vary(len(ring.log), least, len(ring.log))
            ring.limit[node] = limits[side]

    def _mend(self, ring: Ring) -> None:
        """The network came back before anybody gave the ring up."""
        ring.limit = None
        self._go_on(ring)
        for node in ring.nodes:
            self._flush(node)

    # Forming a ring

    def _form(self, component: frozenset[NodeId]) -> None:
        if component not in self._components():
            return
        former = {id(self.nodes[node].ring): self.nodes[node].ring for node in component}
        if len(former) == 1 and set(next(iter(former.values())).nodes) == component:
            return
        newest = max(self.nodes[node].file.version for node in component)
        stale = [n for n in sorted(component) if self.nodes[n].alone and self.nodes[n].file.version < newest]
        if stale and len(component) > 1:
            for node in stale:
                self.stop(node, clean=True)
                self.refused(node)
            return
        nodes = tuple(sorted(component))
        seq = max(self.sequence[node] for node in nodes) + 4
        ring = Ring(RingId(seq, nodes[0]), nodes, done=dict.fromkeys(nodes, 0))
        for old in former.values():
            if old.limit is None:
                old.limit = dict.fromkeys(old.nodes, len(old.log))
        sides = [[n for n in nodes if self.nodes[n].ring is old] for old in former.values()]
        for old, side in zip(list(former.values()), sides, strict=True):
            self._recover(old, side)
        everybody = sorted({each for side in sides for each in self.nodes[side[0]].processes if each[0] in side})
        gone = {node for old in former.values() for node in old.nodes} - component
        ring.votes = {node: self.nodes[node].votes for node in nodes}
        for each in ring.votes.values():
            each.casts = False
        self.arbiter.formed(ring, list(former.values()))
        votequorum.joined(ring.votes, bool(gone) and gone <= self.clean)
        for side in sides:
            for node in side:
                self._enter(node, ring, set(side), everybody)
        for node in nodes:
            self._flush(node)
        self.heap.after(votequorum.WINDOW_MS, partial(self._stand_alone, ring))

    def _recover(self, ring: Ring, side: list[NodeId]) -> None:
        """Who comes from one ring together has delivered the same of it: the part all of them can have, and their own."""
        assert ring.limit is not None
        upto = max(*(ring.done[node] for node in side), *(ring.limit[node] for node in side))
        for node in side:
            for index in range(ring.done[node], len(ring.log)):
                if index < upto or ring.log[index].node in side:
                    self._apply(node, ring.log[index])

    def _enter(self, node: NodeId, ring: Ring, side: set[NodeId], everybody: list[Process]) -> None:
        corosync = self.nodes[node]
        corosync.batch = None
        corosync.ring = ring
        corosync.alone = corosync.alone and len(ring.nodes) == 1
        self.sequence[node] = ring.id.seq
        events: list[Heard] = []
        left = sorted(each for each in corosync.processes if each[0] not in side)
        members = corosync.processes - set(left)
        if left:
            events.append(group_news(members, (), tuple((n, Departure.NODEDOWN) for n, _ in left)))
        for other in everybody:
            if other not in members:
                members |= {other}
                events.append(group_news(members, (other[0],), ()))
        corosync.processes = members
        events.append(RingChanged(ring.id, ring.nodes))
        if self.quorum_first or self.chance.happens(0.3):
            self._tell_quorum(node, 0)
        else:
            self._tell_quorum(node, self.chance.vary(*QUORUM_LAG_MS))
        if corosync.joined:
            self._later(node, events, self.chance.vary(*LAG_MS))

    # What is said

    def connect(self, node: NodeId, pid: int) -> None:
        """A daemon joins the group through its corosync."""
        self.nodes[node].told, self.nodes[node].pid = None, pid
        self._tell_quorum(node, 0)
        self._put(node, Item(node, life=self.nodes[node].life, pid=pid))

    def other(self, item: Item) -> None:
        """Another process than the daemon joins, leaves or says something."""
        if item.node in self.nodes:
            self._put(item.node, item)

    def disconnect(self, node: NodeId, reason: Departure) -> None:
        """A daemon left its corosync."""
        corosync = self.nodes.get(node)
        if corosync is None:
            return
        corosync.joined = False
        corosync.life += 1
        corosync.told = None
        gone = Item(node, reason=reason, pid=corosync.pid)
        self.heap.after(self.late.pop(node), partial(self.other, gone)) if node in self.late else self._put(node, gone)

    def say(self, node: NodeId, data: bytes) -> bool:
        """A message to the group; False where corosync takes none for the moment."""
        corosync = self.nodes.get(node)
        if corosync is None:
            return True
        if len(corosync.outbox) >= UNSENT_MOST or (corosync.outbox and self.chance.happens(0.2)):
            return False
        self._put(node, Item(node, data, pid=corosync.pid))
        return True

    def _put(self, node: NodeId, item: Item) -> None:
        corosync = self.nodes[node]
        if corosync.ring.limit is not None or corosync.frozen:
            corosync.outbox.append(item)
            return
        corosync.ring.log.append(item)
        if node in self.narrow and corosync.ring.lost is None and self._packet(node, corosync.ring) > self.narrow[node]:
            corosync.ring.lost = len(corosync.ring.log) - 1
        for other in corosync.ring.nodes:
            self._schedule(corosync.ring, other)

    def _packet(self, node: NodeId, ring: Ring) -> int:
        """Bytes of what a node's daemon has on its way: corosync packs it together.

        What another program says in the group is not counted: no daemon can leave room for it.
        """
        process = node, self.nodes[node].pid
        own = [item.data for item in ring.log[ring.done[node] :] if (item.node, item.pid) == process and item.data is not None]
        return sum(len(data) + PACKED for data in own if data.startswith(MAGIC))

    def _flush(self, node: NodeId) -> None:
        if node not in self.nodes:
            return
        waiting, self.nodes[node].outbox = self.nodes[node].outbox, deque()
        for item in waiting:
            self._put(node, item)

    def _schedule(self, ring: Ring, node: NodeId) -> None:
        corosync = self.nodes.get(node)
        if corosync is not None:
            due = max(corosync.deliver_due, corosync.news_due, self.heap.now + self.chance.vary(*LAG_MS))
            if corosync.batch is not None and due == corosync.deliver_due:
                corosync.batch.append(None)
                return
            corosync.batch, corosync.deliver_due = [None], due
            self.heap.at(due, partial(self._deliver, ring, node, corosync.batch))

    def _deliver(self, ring: Ring, node: NodeId, batch: list[None]) -> None:
        """What comes in the same moment is read in one go, as by a dispatch of the real one."""
        corosync = self.nodes.get(node)
        if corosync is None:
            return
        if corosync.batch is batch:
            corosync.batch = None
        if corosync.ring is not ring or corosync.frozen:
            return
        first, upto = ring.done[node], ring.carried if ring.limit is None else ring.limit[node]
        events: list[Heard] = []
        for item in ring.log[first : min(first + len(batch), upto)]:
            events += self._taken(node, item)
        if events:
            self._later(node, events, 0)

    def _apply(self, node: NodeId, item: Item) -> None:
        """Hand one item of the order to a node's corosync, and to its client."""
        if events := self._taken(node, item):
            self._later(node, events, 0)

    def _taken(self, node: NodeId, item: Item) -> list[Heard]:
        """One item of the order is taken in by a node's corosync; what its client is to be told."""
        corosync = self.nodes[node]
        corosync.ring.done[node] += 1
        events: list[Heard] = []
        if item.data is not None:
            events = [item.read()]
        elif item.reason is None:
            corosync.processes.add((item.node, item.pid))
            events = [group_news(corosync.processes, (item.node,), ())]
            if item.node == node and item.life == corosync.life:
                corosync.joined = True
                events.append(RingChanged(corosync.ring.id, corosync.ring.nodes))
        elif (item.node, item.pid) in corosync.processes:
            corosync.processes.discard((item.node, item.pid))
            events = [group_news(corosync.processes, (), ((item.node, item.reason),))]
        return events if corosync.joined else []

    def _later(self, node: NodeId, events: list[Heard], lag: int) -> None:
        """News on CPG's descriptor keep their order."""
        corosync = self.nodes[node]
        corosync.news_due = max(corosync.news_due, self.heap.now + lag)
        if not corosync.news and corosync.news_due == self.heap.now:
            self.tell(node, events)
            return
        life = corosync.life

        def tell() -> None:
            corosync.news -= 1
            if self.nodes.get(node) is corosync and corosync.life == life:
                self.tell(node, events)

        corosync.news += 1
        self.heap.at(corosync.news_due, tell)

    # Quorum

    def quorate(self, node: NodeId) -> bool:
        return votequorum.quorate(self.nodes[node].ring.votes, node)

    def _recounted(self, node: NodeId) -> None:
        if node in self.nodes:
            self._tell_quorum(node, 0)

    def _stand_alone(self, ring: Ring) -> None:
        """last_man_standing_window after a ring has formed."""
        if self.lives(ring) and votequorum.stands_alone(ring.votes):
            for node in ring.votes:
                self._recounted(node)

    def lives(self, ring: Ring) -> bool:
        """It has not broken, and all its nodes are in it."""
        return ring.limit is None and all(self._in(node, ring) for node in ring.nodes)

    def expect(self, node: NodeId, votes: int) -> bool:
        """votequorum is told how many votes to expect, at this node and for its ring; False where it refuses."""
        ring = self.nodes[node].ring if node in self.nodes else None
        if ring is None or not self.lives(ring) or not votequorum.told(ring.votes, votes):
            return False
        for other in ring.votes:
            self._tell_quorum(other, 1)
        return True

    def _tell_quorum(self, node: NodeId, lag: int) -> None:
        corosync, life = self.nodes[node], self.nodes[node].life

        def tell(votes: bool) -> None:
            if self.nodes.get(node) is not corosync or corosync.life != life:
                return
            if votes:
                counted = votequorum.counted(corosync.ring.votes, node)
                if counted != corosync.told:
                    corosync.told = counted
                    self.tell(node, [counted])
            else:
                self.tell(node, [QuorumChanged(corosync.ring.id, self.quorate(node))])

        if lag:
            self.heap.after(lag, lambda: tell(False))
        else:
            tell(False)
        self.heap.after(lag + self.chance.vary(3, 1, 20), lambda: tell(True))

    def reload(self, node: NodeId, read: Callable[[NodeId], FileRead]) -> None:
        """Every node of the ring reads its own file again; where they differ, announcements may cross."""
        ring = self.nodes[node].ring
        votes = {other: each for other, each in ring.votes.items() if self._in(other, ring)}
        files = {other: read(other)._replace(cluster=each.file.cluster) for other, each in votes.items()}
        differ = votequorum.disagree(votes, files)
        crossing = differ and (self.crossing or self.chance.happens(CROSSING))
        self.crossing = self.crossing and not crossing
        votequorum.reread(votes, files, crossing)
        for other in votes:
            self._tell_quorum(other, 1)
            self.tell(other, [self.runs(other)])

    def runs(self, node: NodeId) -> Running:
        """What the corosync of this node says that it runs with."""
        file = self.nodes[node].file
        return Running(file.version, file.cluster, node, (f"172.31.224.{node}",) if file.cluster != SAMPLE else ("127.0.0.1",))
