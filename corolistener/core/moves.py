"""VMs that go to another node though theirs is here: migrated, drained, or given up by a node that cannot keep them running.

A move is a row of the ledger (`to`), and while it is there neither side starts or resumes anything by itself. It ends by what
both sides report of themselves, or by a proof: so it survives masters and daemons, and both ways in which a migration can
fail half-way. Rules: safety.md, "Placement".
"""

from dataclasses import replace

from corolistener.core.events import Pause
from corolistener.core.ledger import Excused, Placed, same_chapter
from corolistener.core.notes import NoteCode
from corolistener.core.placing import choose, shown
from corolistener.core.reports import Report, VmState
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId, VmName

PARALLEL_MOVES = 2
"""VMs that leave one node at a time: more would share its network, and each would take longer to be safe."""
AGAIN_MS = 60_000
"""When a VM that could not be moved, or that no node can keep running, is tried once more."""
LIMBO_MS = 5000
"""How long news of a VM that has left one node and does not run on the other yet may take."""


def report_of(s: State, name: VmName, node: NodeId) -> Report | None:
    """What a member says of its instance of the VM that has this name in the ledger; None where it has none, or is not here."""
    peer, row = s.group.peers.get(node), s.keeping.ledger.placements.get(name)
    if peer is None:
        return None
    return peer.inventory.by_name.get(name) if row is None else peer.inventory.instance_of(row.vm)


def knows(s: State, name: VmName, node: NodeId) -> bool:
    """That member knew the VM's row as it is now when it last said what it has.

    An index alone does not say so: what was said in a former chapter, or in a Hello, is older than this chapter's rows.
    """
    peer, here = s.group.peers.get(node), s.keeping.version
    if peer is None or not s.keeping.open:
        return False
    at = peer.inventory.at
    return same_chapter(at, here) and at.index >= s.keeping.changed.get(name, 0)


def incoming(s: State, node: NodeId) -> bool:
    """A VM may be on its way to this node."""
    ledger = s.keeping.ledger
    return any(ledger.placements[name].to == node for name in ledger.moving)


def released(s: State, row: Placed, node: NodeId) -> bool:
    """That member has no copy of the VM, knows this row, and makes none while the row is so: it is its own word."""
    peer, name = s.group.peers.get(node), row.vm.name
    if peer is None or node not in s.group.present or peer.disallowed or not peer.inventory.complete:
        return False
    if not knows(s, name, node) or report_of(s, name, node) is not None:
        return False
    given_up = any(each.name == name and each.given_up == row.generation for each in peer.inventory.troubles)
    return bool(row.to) or not row.on or (given_up and node == row.node)


def free(s: State, row: Placed, node: NodeId, lost: set[NodeId]) -> bool:
    """Nothing of the VM can be on this node: it says so, or it is proven about a lost one."""
    return node in lost or released(s, row, node)


# -- ends


def ended(s: State, lost: set[NodeId], now: Instant) -> dict[VmName, Placed]:
    """The moves that have come to an end, one way or the other. `lost`: nodes that are gone, and proven to run nothing."""
    ledger = s.keeping.ledger
    s.desk.limbo = {name: since for name, since in s.desk.limbo.items() if name in ledger.moving}
    rows = {name: ledger.placements[name] for name in sorted(ledger.moving)}
    found = {name: _ended(s, row, lost, now) for name, row in rows.items() if not row.frozen}
    return {name: row for name, row in found.items() if row is not None}


def _ended(s: State, row: Placed, lost: set[NodeId], now: Instant) -> Placed | None:
    here = report_of(s, row.vm.name, row.node)
    if free(s, row, row.node, lost):
        return _left(s, row, lost, now)
    if here is None or here.state is None or not free(s, row, row.to, lost):
        return None
    # A migration that is under way may still come to its end over there, whatever is proven of that node's daemon.
    if not here.stuck and (row.live or row.to not in lost):
        return None
    if (asked := _asked(s, row, lost, now)) is not row:
        return asked
    why = here.stuck or f"node {row.to} is lost"
    s.out.note(NoteCode.VM_NOT_MOVED, vm=row.vm.name, node=row.node, to=row.to, why=why)
    s.desk.again[row.vm.name] = Instant(now + AGAIN_MS)
    # A copy that is suspended now may have been running over there meanwhile: its memory is not trusted.
    anew = row.generation if here.state is VmState.RUNNING else row.generation + 1
    return replace(row, to=NodeId(0), live=True, asked=False, generation=anew)


def _asked(s: State, row: Placed, lost: set[NodeId], now: Instant) -> Placed | None:
    """The row, where it is sure that nothing has come to the node that it goes to; else what comes first, if anything does.

    What a migration brings there is the other side's doing: that node may have said that it has nothing before it came, and
    have stood still since. So the row is changed, which both answer, and its hypervisor's news have their time.
    """
    if not row.live or row.to in lost:
        return row
    if not row.asked:
        s.desk.limbo.pop(row.vm.name, None)
        return replace(row, asked=True)
    return row if _waited(s, row, now) else None


def _left(s: State, row: Placed, lost: set[NodeId], now: Instant) -> Placed | None:
    """Nothing of it is on the node that it left any more.

    What is suspended over there may be half of its memory. Whether it was all, its running tells, soon; else it is started
    anew. What is nowhere may be there already, and the news late.
    """
    there, off = report_of(s, row.vm.name, row.to), _shut_down(s, row)
    over, anew = replace(row, node=row.to, to=NodeId(0), live=True, asked=False), row.generation + 1
    if free(s, row, row.to, lost):
        if (asked := _asked(s, row, lost, now)) is not row:
            return asked
        if off or row.node in lost:
            return replace(row, to=NodeId(0), live=True, asked=False, on=not off)
        if row.to in lost:
            return replace(row, to=NodeId(0), live=True, asked=False, generation=anew)
        return _told(s, replace(over, generation=anew)) if not row.live or _waited(s, row, now) else None
    if there is None or there.state is None:
        return None
    if there.state is VmState.RUNNING:
        return _told(s, over)
    return _told(s, replace(over, generation=anew, on=not off)) if row.node in lost or _waited(s, row, now) else None


def _waited(s: State, row: Placed, now: Instant) -> bool:
    """It has been neither here nor there for long enough."""
    return now >= s.desk.limbo.setdefault(row.vm.name, now) + LIMBO_MS


def _told(s: State, row: Placed) -> Placed:
    s.out.note(NoteCode.VM_MOVED, vm=row.vm.name, node=row.node, generation=row.generation)
    return row


def _shut_down(s: State, row: Placed) -> bool:
    """Its user did, while it was moving; what is not moved live we shut down, and a restarted daemon does not know that."""
    name = row.vm.name
    return row.live and any(name in s.group.peers[node].inventory.ended for node in row.holders if knows(s, name, node))


# -- begins


def move(s: State, row: Placed, to: NodeId, live: bool) -> Placed:
    """The row by which a VM goes to another node; what is not running there is not migrated, but started over there."""
    copy = report_of(s, row.vm.name, row.node)
    live = live and copy is not None and copy.state is VmState.RUNNING
    s.out.note(NoteCode.VM_MOVES, vm=row.vm.name, node=row.node, to=to, live=live)
    return replace(row, to=to, live=live, tried=())


def drained(s: State, now: Instant) -> dict[VmName, Placed]:
    """The next moves off a node that is to be empty."""
    ledger = s.keeping.ledger
    for node, excused in sorted(ledger.excused.items()):
        if not excused.drained or node not in s.group.present or s.group.peers[node].disallowed:
            continue
        rows = [ledger.placements[name] for name in sorted(ledger.at.get(node, ()))]
        room = PARALLEL_MOVES - sum(1 for row in rows if row.to and row.node == node)
        waiting = [row for row in rows if row.on and not row.to and not row.frozen and _due(s, row, now)]
        waiting = [row for row in waiting if _managed(s, row) and not _resting(s, row)]
        if room > 0 and waiting and (found := _off(s, waiting, room, now)):
            return found
    return {}


def resting(s: State, row: Placed) -> str:
    """Why a VM that is suspended stays where it is: a move would lose its memory. '' where nothing is known against it."""
    copy = report_of(s, row.vm.name, row.node)
    pause = copy.pause if copy is not None else ""
    if pause == Pause.USER.value:
        return "its user has suspended it"
    return "the hypervisor is busy with it" if pause in (Pause.BUSY.value, Pause.STARTING.value) else ""


def _resting(s: State, row: Placed) -> bool:
    """Told, where it is its user's will: that may last."""
    why = resting(s, row)
    if why and why != "the hypervisor is busy with it":
        s.tell(f"vm-{row.vm.name}", NoteCode.VM_NOT_MOVED, vm=row.vm.name, why=why)
    return bool(why)


def _managed(s: State, row: Placed) -> bool:
    """Its node would still adopt it: what was let go by the settings there stays where it runs."""
    report = report_of(s, row.vm.name, row.node)
    return report is None or not report.unmanaged


def _off(s: State, waiting: list[Placed], room: int, now: Instant) -> dict[VmName, Placed]:
    planned, rows = choose(s, waiting, {row.node for row in waiting}), {row.vm.name: row for row in waiting}
    for each in planned.owed:
        s.tell(f"vm-{each.vm.name}", NoteCode.VM_NOT_MOVED, vm=each.vm.name, why=shown(each.refusals))
        s.desk.again[each.vm.name] = Instant(now + AGAIN_MS)
    return {each.vm.name: move(s, rows[each.vm.name], each.node, live=True) for each in planned.placements[:room]}


def due(s: State) -> list[Instant]:
    """When the master is to look again at what has not changed."""
    return [*s.desk.again.values(), *(Instant(since + LIMBO_MS) for since in s.desk.limbo.values())]


def _due(s: State, row: Placed, now: Instant) -> bool:
    return now >= s.desk.again.get(row.vm.name, now)


def given_up(s: State, now: Instant) -> dict[VmName, Placed]:
    """A VM that its node cannot keep running: another one tries, and when all have, the first one again after a while."""
    rows = s.keeping.ledger.placements
    for node in s.group.present:
        for trouble in s.group.peers[node].inventory.troubles:
            row = rows.get(trouble.name)
            if row is None or row.node != node or not row.on or row.frozen or row.to:
                continue
            if trouble.elsewhere == row.generation and (anew := _taken_off(s, row, trouble.why, now)) is not None:
                return {trouble.name: anew}
            if trouble.given_up != row.generation:
                continue
            if released(s, row, node) and (anew := _elsewhere(s, row, trouble.why, now)) is not None:
                return {trouble.name: anew}
    return {}


def _taken_off(s: State, row: Placed, why: str, now: Instant) -> Placed | None:
    """It does not run on and its copy is still there: that is ended only for a node that takes it and has not tried yet."""
    tried = (*row.tried, row.node)
    planned = choose(s, [row], tried)
    if planned.placements:
        return replace(move(s, row, planned.placements[0].node, live=False), tried=tried)
    s.tell(
        f"vm-{row.vm.name}", NoteCode.VM_NOT_MOVED, vm=row.vm.name, why=f"{why}; elsewhere: {shown(planned.owed[0].refusals)}"
    )
    s.desk.again.setdefault(row.vm.name, Instant(now + AGAIN_MS))
    return None


def _elsewhere(s: State, row: Placed, why: str, now: Instant) -> Placed | None:
    tried, generation = (*row.tried, row.node), row.generation + 1
    planned = choose(s, [row], tried)
    if planned.placements:
        to = planned.placements[0].node
        s.out.note(NoteCode.VM_PLACED, vm=row.vm.name, node=to, was=row.node, generation=generation, why=why)
        return replace(row, node=to, generation=generation, tried=tried)
    s.tell(f"vm-{row.vm.name}", NoteCode.VM_OWED, vm=row.vm.name, why=f"{why}; elsewhere: {shown(planned.owed[0].refusals)}")
    if row.vm.name not in s.desk.again:
        s.desk.again[row.vm.name] = Instant(now + AGAIN_MS)
    if not _due(s, row, now):
        return None
    del s.desk.again[row.vm.name]
    return replace(row, generation=generation, tried=())


def returned(s: State) -> tuple[NodeId, ...]:
    """Nodes that were excused for as long as they were leaving, and are back as another process."""
    return tuple(node for node, each in sorted(s.keeping.ledger.excused.items()) if _back(s, each))


def _back(s: State, excused: Excused) -> bool:
    peer = s.group.peers.get(excused.node)
    return bool(excused.incarnation) and peer is not None and peer.incarnation != excused.incarnation
