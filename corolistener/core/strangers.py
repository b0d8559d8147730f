"""Instances on this node that are not ours to touch: VMs that the ledger does not know and that are not to be adopted, and VMs
that merely have the name of another one (safety.md, rules 1 and 9)."""

from corolistener.core.instance import Copy, Deed
from corolistener.core.keeping import firm, stable
from corolistener.core.ledger import Placed
from corolistener.core.notes import NoteCode
from corolistener.core.reports import Report, VmState
from corolistener.core.state import State
from corolistener.ids import Instant, VmName


def judge(s: State, sure: bool) -> None:
    """Which instances are not ours to touch. `sure`: this node has a lease, and acts by what is committed.

    One that bears a label was ours. Only a committed change lets it go, because until then its VM may be started elsewhere.
    """
    ledger, upto = s.keeping.ledger, stable(s)
    for name, copy in s.copies.vms.items():
        row = ledger.placements.get(name)
        if row is not None and copy.state is None and not row.vm.is_same(copy.vm.uuid):
            copy.becomes(row.vm)
        if copy.state is None or ledger.row_of(copy.vm) is not None:
            copy.foreign = False
            continue
        stranger = bool(copy.unmanaged) or row is not None
        free = copy.foreign or not copy.generation or (sure and upto >= 0 and firm(s, name, upto))
        copy.foreign = stranger and free


def listed(s: State, defined: tuple[tuple[VmName, str], ...]) -> None:
    """The hypervisor's whole list of definitions."""
    s.copies.defined = dict(defined)
    s.copies.undefined -= s.copies.defined.keys()


def seen(s: State, name: VmName, uuid: str) -> None:
    """A definition came or went. If its VM belongs here, a user took it away: we undefine only what belongs elsewhere."""
    copies, row = s.copies, s.keeping.ledger.placements.get(name)
    was = copies.defined.pop(name, "")
    copies.turn += 1
    if uuid:
        copies.defined[name] = uuid
        copies.undefined.discard(name)
    elif was and row is not None and row.node == s.me and not row.to and row.vm.is_same(was):
        copies.undefined.add(name)


def amends(copy: Copy, named: bool, now: Instant) -> Deed | None:
    """What is left of our care of an instance is taken back: it runs again if this node suspended it, and bears no label."""
    if copy.ticket is not None or now < copy.retry_at:
        return None
    if copy.state is VmState.SUSPENDED and copy.deed is Deed.SUSPEND:
        return Deed.RESUME
    return Deed.MARK if copy.generation and not named else None


def by_hand(s: State, copy: Copy, row: Placed, other: Report | None) -> bool:
    """Somebody else made this copy run. Of two that run while their VM moves it is the one without the label of its placement;
    where that does not tell, the one that was to leave."""
    if copy.stray or copy.state is not VmState.RUNNING:
        return False
    if s.me not in row.holders:
        return True
    if not row.to or copy.ticket is not None or other is None:
        return False
    mine, theirs = copy.generation == row.generation, other.generation == row.generation
    if other.state is not VmState.RUNNING:  # what comes by migration brings its label
        return other.state is None and s.me == row.to and theirs and not mine
    return not mine if mine is not theirs else s.me == row.node


def found(s: State, copy: Copy, row: Placed) -> None:
    """It runs, and somebody else made it run: the others are told."""
    copy.stray = True
    s.copies.turn += 1
    s.out.note(NoteCode.VM_STRAY, vm=copy.vm.name, belongs=row.node)
