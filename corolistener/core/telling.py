"""What the others are told of the instances on this node."""

from collections.abc import Container
from dataclasses import replace

from corolistener.core.copies import Copies
from corolistener.core.events import Pause
from corolistener.core.instance import Copy
from corolistener.core.reports import Inventory, Report, Trouble, VmState
from corolistener.ids import VmName


def inventory(copies: Copies, known: Container[VmName] = ()) -> Inventory:
    """What the others are told: everything that runs, but what the ledger does not know (`known` are its names) and nobody
    but its user ever cared for."""
    there = [copy for _, copy in sorted(copies.vms.items()) if copy.there]
    told = [copy for copy in there if not copy.foreign or copy.let_go or copy.vm.name in known]
    return Inventory(
        copies=tuple(
            Report(
                vm=each.vm if each.vm.definition == each.definition else replace(each.vm, definition=each.definition),
                state=None if each.doubt else each.state,
                generation=each.generation,
                stray=each.stray,
                stuck=each.stuck,
                unmanaged=each.unmanaged,
                let_go=each.let_go,
                pause="" if each.doubt or each.pause is Pause.CALL else each.pause.value,
            )
            for each in told
        ),
        ended=tuple(sorted(name for name, copy in copies.vms.items() if copy.ended)),
        troubles=tuple(_trouble(name, copy) for name, copy in sorted(copies.vms.items()) if copy.failing),
        complete=copies.known,
    )


def _trouble(name: VmName, copy: Copy) -> Trouble:
    elsewhere = copy.elsewhere if copy.state is VmState.SUSPENDED else 0
    return Trouble(name, copy.why, copy.gave_up, elsewhere)
