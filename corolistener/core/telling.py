"""What the others are told of the instances on this node."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from corolistener.core.copies import Copies
from corolistener.core.events import Pause
from corolistener.core.instance import Copy
from corolistener.core.ledger import Ledger
from corolistener.core.reports import Inventory, Report, Trouble, VmState
from corolistener.ids import NodeId, VmName

NOTHING: Mapping[VmName, str] = MappingProxyType({})


def inventory(copies: Copies, ledger: Ledger, me: NodeId, unkept: Mapping[VmName, str] = NOTHING) -> Inventory:
    """What the others are told: everything that runs, but what the ledger does not know and its user did not let go. `unkept`:
    why definitions cannot be kept."""
    rows = ledger.placements
    there = [copy for _, copy in sorted(copies.vms.items()) if copy.there]
    told = [copy for copy in there if not copy.foreign or copy.let_go or copy.vm.name in rows]
    dormant, blocked = _definitions(copies, ledger)
    return Inventory(
        copies=tuple(_report(copy, unkept.get(copy.vm.name, "")) for copy in told),
        ended=tuple(sorted(name for name, copy in copies.vms.items() if copy.ended)),
        troubles=tuple(_trouble(name, copy) for name, copy in sorted(copies.vms.items()) if copy.failing),
        complete=copies.known,
        dormant=dormant,
        undefined=tuple(sorted(name for name in copies.undefined if name in rows and rows[name].node == me)),
        blocked=blocked,
    )


def _trouble(name: VmName, copy: Copy) -> Trouble:
    elsewhere = copy.elsewhere if copy.state is VmState.SUSPENDED else 0
    return Trouble(name, copy.why, copy.gave_up, elsewhere)


def _report(copy: Copy, unkept: str) -> Report:
    return Report(
        vm=copy.vm if copy.vm.definition == copy.definition else replace(copy.vm, definition=copy.definition),
        state=None if copy.doubt else copy.state,
        generation=copy.generation,
        stray=copy.stray,
        stuck=copy.stuck,
        unmanaged=copy.unmanaged,
        let_go=copy.let_go,
        pause="" if copy.doubt or copy.pause is Pause.CALL else copy.pause.value,
        unkept="" if copy.unmanaged else unkept,
    )


def _definitions(copies: Copies, ledger: Ledger) -> tuple[tuple[VmName, ...], tuple[tuple[VmName, str], ...]]:
    """The VMs of the ledger that are defined here and do not run, and the names of such that other VMs here have."""
    dormant, blocked = set[VmName](), list[tuple[VmName, str]]()
    for name, uuid in copies.defined.items():
        if (copy := copies.vms.get(name)) is not None and copy.there:
            continue
        row, known = ledger.placements.get(name), ledger.names.get(uuid)
        if row is not None and row.vm.is_same(uuid):
            dormant.add(name)
            continue
        if known is not None:
            dormant.add(known)
        if row is not None:
            blocked.append((name, uuid))
    return tuple(sorted(dormant)), tuple(sorted(blocked))
