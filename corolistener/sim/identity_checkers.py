"""A VM is its UUID: what must never be done to an instance, and which are lawfully in nobody's care.

Truth is what hypervisors have, and the newest ledger that any node has in memory or on disk.
"""

from typing import TYPE_CHECKING

from corolistener.core.actions import MigrateVm, ResumeVm, ShutDownVm, StopVm, SuspendVm, TicketedAction
from corolistener.core.ledger import Ledger, Rows
from corolistener.ids import NodeId, VmName
from corolistener.sim.instances import UUID, Instance, image_of

if TYPE_CHECKING:
    from corolistener.sim.vms import Estate


def image(ledger: Ledger, name: VmName) -> VmName:
    """What executes of the VM that the ledger knows by this name."""
    row = ledger.placements.get(name)
    return image_of(row.vm) if row is not None else name


def instance(estate: "Estate", node: NodeId, image: VmName) -> Instance | None:
    """What a node has of a VM."""
    copies = estate.nodes[node].hypervisor.copies.values()
    return next((copy for copy in copies if image_of(copy.vm) == image), None)


def strange(estate: "Estate", node: NodeId, image: VmName) -> bool:
    """It is in nobody's care, rightly: the newest ledger has no row of it, and its user, the settings or its name say why."""
    copy, ledger = instance(estate, node, image), estate.newest()
    if copy is None or ledger.row_of(copy.vm) is not None:
        return False
    hidden = copy.vm.name in estate.nodes[node].hypervisor.hidden
    return copy.let_go or hidden or copy.vm.name in ledger.placements or copy.vm.uuid != UUID + copy.vm.name


def touches(estate: "Estate", node: NodeId, action: TicketedAction) -> str | None:
    """An action is carried out on another VM than the ledger's."""
    if not isinstance(action, SuspendVm | StopVm | ShutDownVm | MigrateVm | ResumeVm):
        return None
    copy, ledger = estate.nodes[node].hypervisor.copies.get(action.name), estate.newest()
    if copy is None or not copy.vm.is_same(action.uuid) or ledger.row_of(copy.vm) is not None:
        return None
    row = ledger.placements.get(action.name)
    if row is None or isinstance(action, ResumeVm):
        return None
    return f"{type(action).__name__}({action.name}) on node {node} touches {copy.vm.uuid}, and the ledger's is {row.vm.uuid}"


def forgets(estate: "Estate", ledger: Ledger, rows: Rows) -> str | None:
    """A row goes though its VM was neither let go nor shut down by its user, nor has another name now."""
    renamed = {row.vm.uuid for row in rows.placed}
    for name in rows.forgotten:
        row, users = ledger.placements.get(name), estate.users
        if row is None or row.vm.uuid in renamed | users.ended or name in users.let_go | users.shut_down:
            continue
        return f"{name} is forgotten, and runs on {sorted(estate.executions.now.get(image_of(row.vm), {}))}"
    return None
