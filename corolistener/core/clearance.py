"""Whether a VM may be started on this node now, whoever is about to: the last question before a hypervisor does it."""

from corolistener.core.care import licensed
from corolistener.core.instance import Deed
from corolistener.core.keeping import firm, stable
from corolistener.core.ledger import Placed
from corolistener.core.state import State
from corolistener.ids import Instant, VmName


def objection(s: State, name: VmName, now: Instant) -> str:
    """Why this VM must not be started here now, in words; '' where nothing speaks against it.

    A VM that the ledger does not know is not ours to judge. One that it knows is started under the lease, and only where
    it belongs by a row that is stable, where it is just arriving, or where this daemon is about to start it. A panic is no
    objection: it stops the daemons, not people.
    """
    row = s.keeping.ledger.placements.get(name)
    if row is None:
        return ""
    if not licensed(s, now):
        return "this node has no lease: no quorum confirms that it may run vms"
    copy = s.copies.vms.get(name)
    if copy is not None and copy.ticket is not None and copy.deed in (Deed.START, Deed.RESUME):
        return ""  # the lane has just looked at the lease, and the row was stable when it was asked
    if s.copies.held:
        return "this node was without a lease, and is not admitted again yet"
    if row.frozen:
        return f"{name} is frozen: it {row.frozen}"
    if not firm(s, name, stable(s)):
        return f"where {name} belongs is not on the disks of a majority yet"
    if copy is not None and row.node == s.me and copy.gave_up == row.generation:
        return f"this node has given {name} up, and another one may be starting it"
    return _misplaced(s, row)


def _misplaced(s: State, row: Placed) -> str:
    """It belongs elsewhere, or is on its way: only what is migrated may begin on the node that it goes to."""
    if row.to:
        arriving = row.to == s.me and row.live
        return "" if arriving else f"{row.vm.name} is on its way from node {row.node} to node {row.to}"
    return "" if row.node == s.me else f"{row.vm.name} belongs on node {row.node}"
