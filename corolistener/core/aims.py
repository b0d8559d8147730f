"""What is wanted of a copy: the placement of its VM, and what this node may do, as one decision."""

from corolistener.core.instance import Aim, Copy, Deed
from corolistener.core.ledger import Placed
from corolistener.core.reports import Report, VmState
from corolistener.ids import NodeId


def aim(
    copy: Copy,
    placed: Placed | None,
    me: NodeId,
    licensed: bool,
    held: bool,
    firm: bool,
    due: bool,
    other: Report | None = None,
) -> Aim:
    """What is wanted of a copy, its VM's placement being `placed`.

    `licensed`: this node has a lease. `held`: it has lost one since it last was admitted. `firm`: the placement is stable in
    a ledger that is open, which alone lets anything be started, resumed or destroyed. `due`: it may be started now. `other`:
    what the other side of a migration reports.
    """
    here = firm and placed is not None and placed.node == me
    if not licensed or (copy.stray and (not here or placed is None or placed.to)):
        return Aim.SUSPEND
    if firm and placed is not None and me not in placed.holders:
        # A stale copy is suspended, and worthless.
        return Aim.DESTROY if copy.quiet else Aim.SUSPEND
    if held:
        return Aim.SUSPEND
    if copy.stopping and copy.state is not None:
        return Aim.END
    if not firm or placed is None or placed.frozen:
        return Aim.KEEP
    if placed.to:
        return moving(copy, placed, me, other)
    if placed.node != me or not placed.on or copy.ended or copy.ended_at is not None:
        return Aim.KEEP
    if copy.gave_up:
        return Aim.DESTROY if copy.state is not None else Aim.KEEP
    # What is just being started is seen before its label is written.
    unmarked = copy.generation == 0 and (copy.state is VmState.RUNNING or (copy.ticket is not None and copy.deed is Deed.START))
    if copy.state is not None and copy.generation != placed.generation and not unmarked:
        return Aim.DESTROY
    return Aim.RUN if copy.state is not None or due else Aim.KEEP


def moving(copy: Copy, placed: Placed, me: NodeId, other: Report | None) -> Aim:
    """What is wanted of a copy while its VM goes to another node. Nothing is started or resumed here, whatever happens.

    What is left over on one side when the other one runs, or has not let go, is destroyed; of two that are suspended nobody
    knows which has the memory that the disk goes with, so both end (core/moves).
    """
    if me == placed.node:
        if not placed.live:
            return Aim.END
        if copy.state is VmState.SUSPENDED and other is not None and other.state is VmState.RUNNING:
            return Aim.DESTROY
        return Aim.MOVE if copy.tried != (placed.generation, placed.to) else Aim.KEEP
    abandoned = copy.state is VmState.SUSPENDED and other is not None and bool(other.stuck)
    return Aim.DESTROY if abandoned else Aim.KEEP
