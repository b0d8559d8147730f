"""Instances on this node that are not ours to touch: VMs that the ledger does not know and that are not to be adopted, and VMs
that merely have the name of another one (safety.md, rules 1 and 9)."""

from corolistener.core.keeping import firm, stable
from corolistener.core.state import State


def judge(s: State, sure: bool) -> None:
    """Which instances are not ours to touch. `sure`: this node has a lease, and acts by what is committed.

    One that bears a label was ours. Only a committed change lets it go, because until then its VM may be started elsewhere.
    """
    ledger, upto = s.keeping.ledger, stable(s)
    for name, copy in s.copies.vms.items():
        if copy.state is None or ledger.row_of(copy.vm) is not None:
            copy.foreign = False
            continue
        stranger = bool(copy.unmanaged) or name in ledger.placements
        free = copy.foreign or not copy.generation or (sure and upto >= 0 and firm(s, name, upto))
        copy.foreign = stranger and free
