"""Who leaves leaves no locks: which suspended instances are destroyed before the farewell (safety.md, rule 8)."""

from corolistener.core.instance import Copy
from corolistener.core.lifecycle import Mode
from corolistener.core.state import State
from corolistener.ids import VmName


def locks(s: State, name: VmName, copy: Copy) -> bool:
    """This node leaves, and the farewell lets others start this VM: what is suspended here would hold the lock of its image.

    Its memory is worthless from the farewell on, so nothing is lost. A frozen VM is started by nobody, and neither is one that
    is shut down; what a user started by hand is the user's. A node that nobody hears says no farewell that counts. On its way
    from one ring to the next it may be alone in the group, and those of the next ring hear it. A copy that was outdated before
    is no reason to stay.
    """
    row = s.keeping.ledger.placements.get(name)
    heard = s.mode is Mode.LEAVING and len({*s.group.here, *s.group.ring_nodes}) > 1 and s.keeping.ledger.panic is None
    held = copy.state is not None or copy.doubt or copy.risky
    return (
        heard
        and held
        and not copy.stray
        and not copy.foreign
        and row is not None
        and s.me in row.holders
        and row.on
        and not row.frozen
    )


def leaves_locks(s: State) -> bool:
    """Something is still to be destroyed before the farewell."""
    return s.config.care.hypervisor and any(locks(s, name, copy) for name, copy in s.copies.vms.items())
