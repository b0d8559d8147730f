"""Whether a VM may be started on this node now, whoever is about to: the last question before a hypervisor does it."""

from collections.abc import Iterable

from corolistener.core.adoption import vacant
from corolistener.core.care import licensed
from corolistener.core.instance import Copy, Deed
from corolistener.core.keeping import firm, stable
from corolistener.core.ledger import Placed
from corolistener.core.state import State
from corolistener.ids import Instant, VmName


def objection(s: State, name: VmName, now: Instant, uuid: str = "", sharing: Iterable[VmName] = ()) -> str:
    """Why this VM must not be started here now, in words; '' where nothing speaks against it.

    A VM is its UUID: the row of the UUID counts, whatever the VM is called ('': only the name is known). A VM that the ledger
    does not know is not ours to judge, but it must not take the name of a VM in care, nor write to its disks (`sharing`: the
    VMs that have one of them). A VM that the ledger knows is started under the lease, and only where it belongs by a row that
    is stable, where it is just arriving, or where this daemon is about to start it. A panic is no objection: it stops the
    daemons, not people.
    """
    rows = s.keeping.ledger.placements
    row = rows.get(s.keeping.ledger.names.get(uuid, name))
    if row is not None and not row.vm.is_same(uuid):
        if not vacant(s, row):
            return f"another VM of this name is in the cluster's care, with UUID {row.vm.uuid}"
        row = None
    if row is not None:
        if not licensed(s, now):
            return "this node has no lease: no quorum confirms that it may run vms"
        copy = s.copies.vms.get(row.vm.name)
        if copy is not None and copy.ticket is not None and copy.deed in (Deed.START, Deed.RESUME):
            return ""  # the lane has just looked at the lease, and the row was stable when it was asked
        if why := _displaced(s, row, copy):
            return why
    others = [other for other in map(rows.get, sharing) if other is not None and other is not row]
    return next(filter(None, (_writes(s, other) for other in others)), "")


def _displaced(s: State, row: Placed, copy: Copy | None) -> str:
    """Why a VM of the ledger must not be started here by hand."""
    name = row.vm.name
    if s.copies.held:
        return "this node was without a lease, and is not admitted again yet"
    if row.frozen:
        return f"{name} is frozen: it {row.frozen}"
    if not firm(s, name, stable(s)):
        return f"where {name} belongs is not on the disks of a majority yet"
    if copy is not None and row.node == s.me and copy.gave_up == row.generation:
        return f"this node has given {name} up, and another one may be starting it"
    if row.to:
        arriving = row.to == s.me and row.live
        return "" if arriving else f"{name} is on its way from node {row.node} to node {row.to}"
    return "" if row.node == s.me else f"{name} belongs on node {row.node}"


def _writes(s: State, row: Placed) -> str:
    """Why nobody else may write to this VM's disks; '' if it is shut down everywhere."""
    peers = [s.group.peers[node].inventory for node in s.group.present]
    there = any(said.instance_of(row.vm) is not None for said in peers)
    return f"a disk of it belongs to {row.vm.name}, which is in the cluster's care" if row.on or there else ""
