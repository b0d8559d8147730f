"""VMs that no ledger has ever known, on a node that is being installed: they go on until the cluster adopts them.

The daemons of a new cluster are started one after the other, and for some time no quorum of them is there. The VMs that run
meanwhile are in nobody's care, so nobody starts them elsewhere, and nothing would be gained by suspending them. That ends when
others may have adopted them: members that hold a quorum were told of them. From then on the node has one lease, as if that
message had been a heartbeat. Rules: safety.md, rule 13.
"""

from corolistener.core.lifecycle import Mode
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId, VmName


def unknown(s: State, name: VmName) -> bool:
    """No ledger that this node has ever had names this VM, and no label says that it was placed once.

    A node whose disk lost the ledger is new as well; the label in the VM's metadata is what tells the two apart.
    """
    copy = s.copies.vms.get(name)
    unlabelled = copy is None or (copy.generation == 0 and not copy.stray and copy.ticket is None)
    return s.blank and not s.taken_in and unlabelled and name not in s.keeping.ledger.placements


def spared(s: State, name: VmName, now: Instant) -> bool:
    """It may go on although this node has no lease yet."""
    return not over(s, now) and unknown(s, name)


def over(s: State, now: Instant) -> bool:
    """Others may have adopted what is here, and this node does not know that; or it leaves after they heard of it. From its
    first lease on a process is like any other: what runs here runs under a lease."""
    if s.leased and not s.lease.valid(now):
        return True
    at = heard_at(s)
    return at is not None and (s.mode is Mode.LEAVING or (now >= at + s.lease_ms and not s.lease.valid(now)))


def responsible(s: State) -> bool:
    """There is an instance here, or may be one, that some ledger may know."""
    copies = [(name, copy) for name, copy in s.copies.vms.items() if not copy.foreign]
    return any(not unknown(s, name) for name, copy in copies if copy.state is not None or copy.doubt or copy.risky)


def told(s: State, now: Instant) -> None:
    """This node says what it has. If a quorum may hear that, its VMs may be adopted from now on."""
    if s.copies.any:
        look(s, now)
        at, nodes = s.told_first if s.told_first is not None else (now, frozenset[NodeId]())
        s.told_first = at, nodes | set(s.group.here)


def look(s: State, now: Instant) -> None:
    """Note when those that were told become a quorum. That may be later than the telling: votes are counted late, and a quorum
    device may vote at any time."""
    if s.told_of_at is None and s.told_first is not None and s.quorum.needed:
        at, nodes = s.told_first
        if _enough(s, nodes):
            s.told_of_at = at
        else:
            s.told_first = now, nodes


def heard_at(s: State) -> Instant | None:
    """Since when others may have adopted what is here. What was said before the votes were known is judged by the votes."""
    if s.told_of_at is None and s.told_first is not None:
        at, nodes = s.told_first
        return at if not s.quorum.needed or _enough(s, nodes) else None
    return s.told_of_at


def _enough(s: State, nodes: frozenset[NodeId]) -> bool:
    """These nodes are a quorum, or the device's votes can make them one before this node hears of it."""
    return s.quorum.holds(nodes) or (nodes != {s.me} and s.quorum.may_hold(nodes))


def deadline(s: State) -> list[Instant]:
    """When it is over."""
    at = heard_at(s) if s.blank and not s.taken_in else None
    return [Instant(at + s.lease_ms)] if at is not None else []
