"""What members report and the ledger does not say: VMs to adopt, VMs that their users stopped, moved, renamed or let go.

Settings and metadata decide about adoption only: a reported instance of a VM that the ledger knows counts whatever they say.
A VM is its UUID. Two VMs of one name freeze that name, and neither is touched. Rules: safety.md, rules 1, 9 and 12.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from corolistener.core import moves
from corolistener.core.capacity import Vm
from corolistener.core.group import Peer
from corolistener.core.ledger import Placed
from corolistener.core.notes import NoteCode
from corolistener.core.reports import Report, VmState
from corolistener.core.state import State
from corolistener.ids import NodeId, VmName


@dataclass(slots=True)
class Draft:
    """The next change of the ledger while it is made. `nodes`: where each VM that is about to be adopted runs."""

    s: State
    placed: dict[VmName, Placed] = field(default_factory=dict)
    forgotten: set[VmName] = field(default_factory=set)
    nodes: dict[VmName, list[NodeId]] = field(default_factory=dict)
    names: dict[str, VmName] = field(default_factory=dict)

    def named(self, name: VmName) -> Placed | None:
        """The row of this name, as it will be."""
        row = self.placed.get(name)
        return row if row is not None or name in self.forgotten else self.s.keeping.ledger.placements.get(name)

    def row_of(self, vm: Vm) -> Placed | None:
        """The row of this VM, as it will be."""
        row = self.named(vm.name)
        if row is not None and row.vm.is_same(vm.uuid):
            return row
        name = self.names.get(vm.uuid) or self.s.keeping.ledger.names.get(vm.uuid)
        return self.named(name) if name is not None else None

    def place(self, row: Placed) -> None:
        """This row comes, or takes the place of the one of its name."""
        self.placed[row.vm.name] = row
        if row.vm.uuid:
            self.names[row.vm.uuid] = row.vm.name

    def forget(self, row: Placed, why: str) -> None:
        """This row goes."""
        self.forgotten.add(row.vm.name)
        self.placed.pop(row.vm.name, None)
        self.s.out.note(NoteCode.VM_FORGOTTEN, vm=row.vm.name, node=row.node, why=why)


def reconcile(s: State) -> tuple[dict[VmName, Placed], set[VmName]]:
    """The rows that come or change, and the names of those that go."""
    draft = Draft(s)
    for node in sorted(s.unread & set(s.group.present)):
        peer, before = s.group.peers[node], len(draft.placed) + len(draft.forgotten)
        if not peer.disallowed:
            for report in peer.inventory.copies:
                _read(draft, node, report)
            _ended(draft, node, peer)
        if len(draft.placed) + len(draft.forgotten) == before:
            s.unread.discard(node)
    _thaw(draft)
    return draft.placed, draft.forgotten


def _read(draft: Draft, node: NodeId, report: Report) -> None:
    row, name = draft.row_of(report.vm), report.vm.name
    if name in draft.forgotten:
        return
    if row is None or row.vm.name in draft.nodes:
        if report.state is VmState.RUNNING and not report.unmanaged:
            _adopt(draft, node, report, row)
    elif row.vm.name != name:
        _renamed(draft, row, node, report)
    elif report.let_go and row.node == node and not row.to:
        draft.forget(row, report.unmanaged)
    elif (changed := _reported(row, node, report)) != row:
        _freezes(draft, row, changed)


def _adopt(draft: Draft, node: NodeId, report: Report, row: Placed | None) -> None:
    """A VM that the ledger does not know is placed where it runs; it is frozen if it runs twice, or has another VM's name."""
    s, other = draft.s, draft.named(report.vm.name)
    if row is None and other is not None and not vacant(s, other):
        why = f"has the name of another VM, {report.vm.uuid}, which runs on node {node}"
        _freezes(draft, other, other if other.frozen else replace(other, frozen=why))
        return
    nodes = draft.nodes.setdefault(row.vm.name if row is not None else report.vm.name, [])
    nodes.append(node)
    twice = "runs on nodes " + ", ".join(str(each) for each in nodes) if len(nodes) > 1 else ""
    s.out.note(NoteCode.VM_FROZEN if twice else NoteCode.VM_PLACED, vm=report.vm.name, node=nodes[0], why=twice)
    generation = other.generation + 1 if other is not None else 1
    draft.place(replace(row, frozen=twice) if row is not None else Placed(report.vm, node, generation))


def vacant(s: State, row: Placed) -> bool:
    """The name is free: its VM was shut down, and no member has an instance or a definition of it."""
    if row.on or row.to or row.frozen or not moves.released(s, row, row.node):
        return False
    peers = [s.group.peers[node].inventory for node in s.group.present]
    return all(said.complete and row.vm.name not in said.dormant and said.instance_of(row.vm) is None for said in peers)


def _renamed(draft: Draft, row: Placed, node: NodeId, report: Report) -> None:
    """Its user gave it another name. The row follows if it runs where it belongs; elsewhere it is a second instance."""
    s, name = draft.s, report.vm.name
    if row.to or row.frozen or report.state is None:
        return
    if node == row.node and draft.named(name) is None and row.vm.name not in s.group.peers[node].inventory.by_name:
        draft.forget(row, f"it is called {name} now")
        draft.place(replace(row, vm=report.vm, on=row.on or report.state is VmState.RUNNING))
    elif node not in row.holders and report.state is VmState.RUNNING:
        _freezes(draft, row, replace(row, frozen=f"runs as {name} on node {node}"))


def _reported(row: Placed, node: NodeId, report: Report) -> Placed:
    """A placement after a member's report about its instance."""
    if report.stray and not row.frozen and (row.to or node not in row.holders):
        return replace(row, frozen=f"was started by hand on node {node}")
    if node in row.holders:
        on = row.on or report.state is VmState.RUNNING
        vm = report.vm if report.vm.definition and not report.unmanaged else replace(report.vm, definition=row.vm.definition)
        vm = vm if vm.uuid else replace(vm, uuid=row.vm.uuid)
        return row if on is row.on and vm == row.vm else replace(row, vm=vm, on=on)
    return row


def _freezes(draft: Draft, row: Placed, changed: Placed) -> None:
    if changed == row:
        return
    draft.place(changed)
    if changed.frozen and not row.frozen:
        draft.s.out.note(NoteCode.VM_FROZEN, vm=row.vm.name, why=changed.frozen)


def _ended(draft: Draft, node: NodeId, peer: Peer) -> None:
    """VMs that their users shut down, and of these the ones that they undefined."""
    s = draft.s
    for name in peer.inventory.ended:
        row = draft.named(name)
        if row is not None and row.node == node and row.on and not row.to and moves.knows(s, name, node):
            draft.place(replace(row, on=False))
    for name in peer.inventory.undefined:
        row = draft.named(name)
        if row is not None and row.node == node and vacant(s, row):
            draft.forget(row, "it was undefined")


def _thaw(draft: Draft) -> None:
    """Frozen VMs of which nobody has a second instance any more, and whose name no other VM has."""
    s = draft.s
    rows = s.keeping.ledger.placements
    peers = [s.group.peers[node].inventory for node in s.group.present]
    frozen = [
        rows[name] for name in sorted(s.keeping.ledger.frozen) if name not in draft.placed and name not in draft.forgotten
    ]
    if not frozen or not all(said.complete for said in peers):
        return
    for row in frozen:
        if not _contested(row, [report for said in peers if (report := said.by_name.get(row.vm.name)) is not None]):
            instances = [report for said in peers if (report := said.instance_of(row.vm)) is not None]
            if len(instances) <= 1 and not any(report.stray for report in instances):
                draft.place(replace(row, frozen=""))


def _contested(row: Placed, reports: Iterable[Report]) -> bool:
    """Another VM of this name, which is to be adopted too, runs."""
    return any(not row.vm.is_same(each.vm.uuid) and each.state is not None and not each.unmanaged for each in reports)
