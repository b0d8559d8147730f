"""The ledger: who runs what, what is known of each node, and what is proven, as one versioned value.

Every member of a line applies the same rows in the same order, so equal versions mean equal content. A version is
(sequence of a quorate ring, chapter within it, index): whoever forms a line later has a higher one than any part of the
cluster that went on without a quorum, so the highest version among a quorum contains everything that ever was stable.
Rules: safety.md, "Words of this page" and "Placement".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from corolistener.core.capacity import Vm
from corolistener.core.config import ProofKind
from corolistener.core.view import Epoch
from corolistener.ids import Instant, NodeId, Ticket, VmName

NOBODY = NodeId(0)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A place in the ledger's history. `seq` is the sequence of the ring, `chapter` counts the openings within it.

    `opener` is the incarnation of who opened it: two openings that never met may have the same number, with other content.
    """

    seq: int = 0
    chapter: int = 0
    index: int = 0
    opener: str = ""

    def __str__(self) -> str:
        return f"{self.seq}.{self.chapter}.{self.index}"


def same_chapter(one: Version, other: Version) -> bool:
    """Their indices may be compared."""
    return (one.seq, one.chapter, one.opener) == (other.seq, other.chapter, other.opener)


@dataclass(frozen=True, slots=True)
class Placed:
    """`vm` belongs on `node`. `generation` rises whenever it is to be started anew.

    `to`: it goes there, `live` or by being shut down here first, and counts as on both nodes until that has ended; NOBODY
    otherwise. `on` False: its user has shut it down, so it is not owed. `frozen`: why nothing is decided about it; ''
    otherwise. `tried`: the nodes that could not keep it running since somebody last asked for it. `asked`: the node that it
    goes to is to say once more whether anything of it has come there (core/moves).
    """

    vm: Vm
    node: NodeId
    generation: int = 1
    to: NodeId = NOBODY
    on: bool = True
    frozen: str = ""
    live: bool = True
    tried: tuple[NodeId, ...] = ()
    asked: bool = False

    @property
    def holders(self) -> tuple[NodeId, ...]:
        """The nodes that may have its memory."""
        return (self.node,) if self.to == NOBODY else (self.node, self.to)


@dataclass(frozen=True, slots=True)
class Known:
    """What a node announced: its boot, and within which times it has suspended everything, or is reset, once it is lost.

    `watchdog_ms` is the timeout of an armed watchdog, read back; 0 where none is armed. `weak`: why the watchdog may stand
    still together with the node: the node is a virtual machine, or the watchdog is software; '' for neither.
    `stop_ms`: how long after its lease its service may still run, because it cannot be killed; 0 where `grace_ms` is enough.
    """

    node: NodeId
    boot: str
    lease_ms: int
    grace_ms: int
    watchdog_ms: int = 0
    weak: str = ""
    stop_ms: int = 0


@dataclass(frozen=True, slots=True)
class Proven:
    """A lost node's incarnation runs nothing any more. `by`: who saw it, in words."""

    node: NodeId
    boot: str
    kind: ProofKind
    by: str = ""


@dataclass(frozen=True, slots=True)
class Excused:
    """A node is given no VMs; `drained`: those that it has are moved off. `by`: who said so.

    `incarnation`: it is only as long as this process leaves; '' until somebody takes it back.
    """

    node: NodeId
    drained: bool = False
    by: str = ""
    incarnation: str = ""


@dataclass(frozen=True, slots=True)
class Panic:
    """Nothing is decided about VMs until a human says so."""

    reason: str
    evidence: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A change of the ledger, or all of it: rows replace those of the same VM or node. `voided` proofs and `recalled` excuses
    are no more; `calm` ends a panic. Of `dismissed` nodes nothing is known any more. `cluster`: whose ledger it is, from its
    first chapter on."""

    placed: tuple[Placed, ...] = ()
    known: tuple[Known, ...] = ()
    proven: tuple[Proven, ...] = ()
    forgotten: tuple[VmName, ...] = ()
    voided: tuple[NodeId, ...] = ()
    panic: Panic | None = None
    calm: bool = False
    excused: tuple[Excused, ...] = ()
    recalled: tuple[NodeId, ...] = ()
    dismissed: tuple[NodeId, ...] = ()
    cluster: str = ""
    owned: bool = False

    def __bool__(self) -> bool:
        return self != EMPTY

    @staticmethod
    def together(changes: Iterable["Rows"]) -> "Rows":
        """All of them, later ones winning: what one write stores for several changes."""
        ledger, calm = Ledger(), False
        gone, voided, recalled, dismissed = set[VmName](), set[NodeId](), set[NodeId](), set[NodeId]()
        for rows in changes:
            ledger.take(rows)
            gone = (gone | set(rows.forgotten)) - {each.vm.name for each in rows.placed}
            voided = (voided | set(rows.voided)) - {each.node for each in rows.proven}
            recalled = (recalled | set(rows.recalled)) - {each.node for each in rows.excused}
            dismissed = (dismissed | set(rows.dismissed)) - {each.node for each in rows.known}
            calm = rows.calm or (calm and rows.panic is None)
        return replace(
            ledger.rows(),
            forgotten=tuple(sorted(gone)),
            voided=tuple(sorted(voided)),
            recalled=tuple(sorted(recalled)),
            dismissed=tuple(sorted(dismissed)),
            calm=calm,
        )


EMPTY = Rows()


@dataclass(slots=True)
class Ledger:
    """The content: placements by VM, what is known, proven and excused by node, and the panic, if any. Its version is kept
    beside it. `cluster` is made once, with the first chapter of all, and tells this ledger from that of any other cluster,
    whatever the two are called; '' while there is none. `owned`: it has had a change, which needs a stable first
    chapter. Before that a minority may have stored the first chapter and be lost, and the others begin another one.

    `at`, `frozen`, `moving` and `names` are indices: the VMs that may have their memory on each node, those that are frozen, or
    go to another node, and the names of all by UUID. `orders` is how many have each start order.
    """

    placements: dict[VmName, Placed] = field(default_factory=dict)
    known: dict[NodeId, Known] = field(default_factory=dict)
    proofs: dict[NodeId, Proven] = field(default_factory=dict)
    panic: Panic | None = None
    excused: dict[NodeId, Excused] = field(default_factory=dict)
    cluster: str = ""
    owned: bool = False
    at: dict[NodeId, set[VmName]] = field(default_factory=dict, compare=False)
    frozen: set[VmName] = field(default_factory=set, compare=False)
    moving: set[VmName] = field(default_factory=set, compare=False)
    orders: dict[int, int] = field(default_factory=dict, compare=False)
    names: dict[str, VmName] = field(default_factory=dict, compare=False)

    def row_of(self, vm: Vm) -> Placed | None:
        """The row of this VM: the one of its UUID, whatever it is called; where a UUID is unknown, the one of its name."""
        row = self.placements.get(vm.name)
        if row is not None and row.vm.is_same(vm.uuid):
            return row
        name = self.names.get(vm.uuid)
        return self.placements.get(name) if name is not None else None

    @property
    def ordered(self) -> bool:
        """Some VMs have to start before others."""
        return len(self.orders) > 1

    def take(self, rows: Rows) -> None:
        """Apply a change."""
        for name in (*rows.forgotten, *(each.vm.name for each in rows.placed)):
            gone = self.placements.pop(name, None)
            if gone is None:
                continue
            self.frozen.discard(name)
            self.moving.discard(name)
            if self.names.get(gone.vm.uuid) == name:
                del self.names[gone.vm.uuid]
            self._ordered(gone, -1)
            for node in gone.holders:
                self.at[node].discard(name)
        for node in rows.dismissed:
            self.known.pop(node, None)
            self.proofs.pop(node, None)
            self.excused.pop(node, None)
        for node in rows.voided:
            self.proofs.pop(node, None)
        for node in rows.recalled:
            self.excused.pop(node, None)
        self.excused.update({each.node: each for each in rows.excused})
        self.known.update({each.node: each for each in rows.known})
        self.proofs.update({each.node: each for each in rows.proven})
        for each in rows.placed:
            self.placements[each.vm.name] = each
            if each.vm.uuid:
                self.names[each.vm.uuid] = each.vm.name
            self._ordered(each, 1)
            for node in each.holders:
                self.at.setdefault(node, set()).add(each.vm.name)
            if each.frozen:
                self.frozen.add(each.vm.name)
            if each.to:
                self.moving.add(each.vm.name)
        if rows.panic is not None or rows.calm:
            self.panic = rows.panic
        self.cluster, self.owned = rows.cluster or self.cluster, self.owned or rows.owned

    def _ordered(self, row: Placed, more: int) -> None:
        order = row.vm.start_order
        self.orders[order] = self.orders.get(order, 0) + more
        if not self.orders[order]:
            del self.orders[order]

    def rows(self) -> Rows:
        """All of it, sorted."""
        return Rows(
            placed=tuple(self.placements[name] for name in sorted(self.placements)),
            known=tuple(self.known[node] for node in sorted(self.known)),
            proven=tuple(self.proofs[node] for node in sorted(self.proofs)),
            panic=self.panic,
            excused=tuple(self.excused[node] for node in sorted(self.excused)),
            cluster=self.cluster,
            owned=self.owned,
        )

    def proven(self, node: NodeId) -> Proven | None:
        """The proof about the newest incarnation known of a node, if there is one."""
        proof, known = self.proofs.get(node), self.known.get(node)
        return proof if proof is not None and (known is None or proof.boot == known.boot) else None

    def on(self, node: NodeId) -> tuple[Placed, ...]:
        """What may have its memory on a node, by name."""
        return tuple(self.placements[name] for name in sorted(self.at.get(node, ())))

    def holders(self) -> tuple[NodeId, ...]:
        """Every node that may have a VM, sorted."""
        return tuple(sorted(node for node, names in self.at.items() if names))


def unlawful(ledger: Ledger, rows: Rows, released: Callable[[Placed, NodeId], bool] = lambda row, node: False) -> str:
    """Why this change must not be made, or ''. `released`: that member reported that it has no copy, and makes none.

    A VM changes its node only with a higher generation, and for each node that may have its memory and keeps it no longer
    there is a proof, or that node's own word.
    """
    after = Ledger(known=dict(ledger.known), proofs=dict(ledger.proofs))
    after.take(Rows(known=rows.known, proven=rows.proven, voided=rows.voided))
    for each in rows.placed:
        before = ledger.placements.get(each.vm.name)
        if before is None:
            continue
        name = each.vm.name
        left = [node for node in before.holders if node not in each.holders]
        if before.frozen and ledger.panic is None and left and any(after.proven(node) is None for node in left):
            return f"{name} is frozen: {before.frozen}"
        unproven = [node for node in left if after.proven(node) is None and not released(before, node)]
        if unproven:
            return f"{name} moved from node {unproven[0]} without a proof"
        if each.node not in before.holders and each.generation <= before.generation:
            return f"{name} moved to node {each.node} in generation {each.generation}"
        if each.generation < before.generation:
            return f"{name} went back to generation {each.generation}"
    return ""


@dataclass(slots=True)
class Keeping:
    """The ledger here. `open`: what is delivered in this line changes it. `changed`: at which index of this chapter a VM's row
    last did. `acks`: what the members said they have on disk; `stored`, what this one has. `reached`: see keeping.stable."""

    ledger: Ledger = field(default_factory=Ledger)
    version: Version = Version()
    open: bool = False
    reached: int = -1
    sure: frozenset[NodeId] = frozenset()
    """The nodes that the ledger knew when all of it was last stable, or when this node took it from a disk or a chapter."""
    changed: dict[VmName, int] = field(default_factory=dict)
    acks: dict[NodeId, Version] = field(default_factory=dict)
    opening: Epoch | None = None
    """The line in which my chapter is on its way."""
    proposing: bool = False
    """My change is on its way."""
    concerned: int = 0
    """Counts the changes of VMs that are here or belong here, and the chapters."""
    unshelved: set[VmName] = field(default_factory=set)
    """VMs whose rows have come since somebody last looked whether their definitions are here."""
    stored: Version = Version()
    heard: dict[NodeId, Version] = field(default_factory=dict)
    """The newest version that each other node has announced to be on its disk."""
    doubt: str = ""
    """Why what this node remembers is no witness of what was committed (core/witness); '' where it is one."""
    trusted: bool = False
    """An operator ordered to open the ledger with what the members of this view remember."""
    unwritten: list[Rows] = field(default_factory=list)
    naming: set[tuple[VmName, str]] = field(default_factory=set)
    """The definitions that what is unwritten names."""
    texts_first: bool = False
    """Nothing of it is written before texts that it names are on the disk."""
    whole: bool = False
    writing: tuple[Ticket, Version] | None = None
    failures: int = 0
    retry_at: Instant = Instant(0)

    @property
    def behind(self) -> bool:
        """Something is to be written, and nothing is being written."""
        return self.writing is None and self.version != self.stored

    def close(self) -> None:
        """The line is another one: nothing is delivered to this ledger before its next chapter."""
        self.open = self.proposing = self.trusted = False
        self.opening, self.reached = None, -1
        self.acks.clear()
        self.changed.clear()

    def take(self, rows: Rows, whole: bool = False) -> None:
        """Rows came into force: they are in the ledger, and to be written."""
        if whole:
            self.ledger = Ledger()
            self.nothing_unwritten()
        self.ledger.take(rows)
        self.unshelved.update(each.vm.name for each in rows.placed)
        self.whole = self.whole or whole
        self.to_write(rows)

    def to_write(self, rows: Rows) -> None:
        self.unwritten.append(rows)
        self.naming.update((each.vm.name, each.vm.definition) for each in rows.placed)

    def nothing_unwritten(self) -> None:
        self.unwritten = []
        self.naming.clear()
