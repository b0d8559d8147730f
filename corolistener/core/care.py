"""This node's own copies of VMs and its watchdog: what runs here, and what must not.

A copy goes on running under the lease. It is started, resumed or destroyed only by a placement that is stable in an open
ledger. Without the lease everything is suspended, and stays so until this node is part of a quorate line again, admitted,
and that line's ledger is stable. Rules: safety.md, "Lease, grace, watchdog", "Placement", "Coming back".
"""

from collections.abc import Mapping
from dataclasses import replace

from corolistener.core import images, pauses, strangers, unknown
from corolistener.core.actions import (
    MarkVm,
    MigrateVm,
    Multicast,
    Reason,
    ResumeVm,
    ShutDownVm,
    StartVm,
    StopVm,
    SuspendVm,
    Until,
)
from corolistener.core.aims import aim
from corolistener.core.config import OnShutdown
from corolistener.core.copies import Copies
from corolistener.core.events import CopyChanged, DefinitionSeen, HypervisorLost, Listed, Outcome, Pause, Result
from corolistener.core.fencing import deadline_ms
from corolistener.core.instance import CAUSE_MS, SHUT_DOWN_MS, Aim, Copy, Deed
from corolistener.core.keeping import firm, stable
from corolistener.core.ledger import NOBODY, Known, Placed, Version, same_chapter
from corolistener.core.lifecycle import Mode
from corolistener.core.moves import report_of
from corolistener.core.notes import NoteCode
from corolistener.core.relocation import Placement, due
from corolistener.core.reports import Inventory, Report, VmState
from corolistener.core.state import State
from corolistener.core.telling import inventory
from corolistener.core.troubles import noted, troubled
from corolistener.ids import Instant, NodeId, Ticket, VmName

EMPTYING_MS = 180_000
"""How long a node that leaves waits for its VMs to be moved off before it shuts them down."""


def licensed(s: State, now: Instant) -> bool:
    """What runs here may go on running."""
    return s.lease.valid(now) and s.mode in (Mode.ADOPTING, Mode.RUNNING)


def waiting(s: State, now: Instant) -> bool:
    """A new process: what a former one of this boot left running goes on, until it must be clear whether there is a quorum."""
    young = not s.leased and s.adopt_until is not None and now < s.adopt_until
    return young and s.mode in (Mode.ADOPTING, Mode.RUNNING) and not (s.matched and not s.quorum.quorate)


def announced(s: State) -> Known:
    """What this node says of itself."""
    timing, armed_ms = s.config.timing, 0 if s.unarming else s.watchdog_ms
    stop_ms = s.config.serving.announced_ms
    return Known(s.me, s.config.boot, timing.lease_ms, timing.grace_ms, armed_ms, s.config.care.weak, stop_ms)


def known(s: State, upto: int) -> bool:
    """The line's stable ledger knows this incarnation and what it announced."""
    return upto >= 0 and s.group.settled and s.me in s.group.peers and s.keeping.ledger.known.get(s.me) == announced(s)


def admitted(s: State, upto: int) -> bool:
    """That, and nothing is to be reconciled."""
    return known(s, upto) and not s.group.peers[s.me].disallowed


def seen(s: State, event: Listed | CopyChanged | HypervisorLost | DefinitionSeen, now: Instant) -> None:
    """The hypervisor's word."""
    rows = s.keeping.ledger.placements
    coming = {name for name in s.keeping.ledger.moving if rows[name].to == s.me}
    steady = licensed(s, now) and not s.copies.held and s.emptying is None
    match event:
        case Listed(copied, defined):
            strangers.listed(s, defined)
            s.copies.listed(copied, now, s.shelf.spread, coming, steady, s.config.timing)
        case CopyChanged(name, copied, by_user):
            if copied is None:
                s.copies.gone(name, by_user, now, s.config.timing)
            else:
                s.copies.seen(copied, s.shelf.spread, coming, steady, now, s.config.timing)
        case HypervisorLost():
            s.copies.lost()
        case DefinitionSeen(name, uuid):
            strangers.seen(s, name, uuid)
    strangers.judge(s, sure=False)
    if not s.leased and unknown.responsible(s):
        s.dirty = True  # a former process of this boot had them


def reported(s: State, sender: NodeId, said: Inventory) -> None:
    """A member says what it has. That matters here where it is about a VM that waits here; and where some have to start before
    others, all of it does."""
    peer, waiting = s.group.peers.get(sender), s.copies.waiting
    if not waiting or peer is None:
        return
    had, has = peer.inventory.by_name, said.by_name
    if sender == s.me or s.keeping.ledger.ordered or any(name in had or name in has for name in waiting):
        s.copies.turn += 1


def tend(s: State, now: Instant) -> None:
    """Take the difference between what is wanted of each copy and what there is to its lane."""
    copies = s.copies
    unknown.look(s, now)
    if not s.config.care.hypervisor or s.mode in (Mode.LEFT, Mode.BROKEN) or waiting(s, now):
        return
    may_run, upto = licensed(s, now), stable(s)
    ready = admitted(s, upto)
    copies.since = None if may_run else copies.since if copies.since is not None else now
    if not may_run:
        copies.held = True
    elif ready:
        copies.held, s.taken_in = False, True
    here = (
        s.group.line,
        s.group.settled,
        s.mode,
        stopping(s, now),
        len(s.shelf.have),
        abandoned(s, now),
        s.taken_in,
        unknown.over(s, now),
    )
    rows = (s.keeping.concerned, min(upto, copies.upto), s.keeping.ledger.panic is None, ready)
    others = (s.news, upto, s.keeping.version) if copies.waiting else ()
    stamp = (may_run, copies.held, copies.turn, here, rows, others)
    if stamp == copies.looked and all(now < at for at in _due(copies)):
        return
    copies.looked = stamp
    _tend(s, may_run, upto, ready and not copies.held, now)


def _tend(s: State, may_run: bool, upto: int, ready: bool, now: Instant) -> None:
    copies, ledger = s.copies, s.keeping.ledger
    strangers.judge(s, sure=may_run and s.keeping.open)
    rows, mine = ledger.placements, ledger.at.get(s.me, set()) if may_run and upto >= 0 else set()
    for name in mine - set(copies.vms):
        copies.vms[name] = Copy(rows[name].vm, definition=rows[name].vm.definition)
    for name in [name for name, copy in copies.vms.items() if name not in mine and copy.idle]:
        del copies.vms[name]
    ending, worthless = stopping(s, now), abandoned(s, now)
    copies.upto = max((s.keeping.changed.get(name, 0) for name in copies.vms), default=0)
    copies.waiting.clear()
    startable = _startable(s, mine, upto) if ready and ledger.panic is None else frozenset()
    for name, copy in sorted(copies.vms.items()):
        if copy.foreign:
            if copies.known and may_run and (deed := strangers.amends(copy, name in rows, now)) is not None:
                _carry_out(s, name, copy, deed, None, now)
            continue
        noted(s, copy, now)
        row = ledger.row_of(copy.vm)
        row_name = row.vm.name if row is not None else name
        sure = may_run and firm(s, row_name, upto) and (ready or copies.held)
        other = _other(s, row)
        if sure and not copies.held and row is not None and strangers.by_hand(s, copy, row, other):
            strangers.found(s, copy, row)
        if sure and row is not None:
            troubled(s, copy, row)
        wish = aim(copy, row, s.me, may_run, copies.held, sure, name in startable, other)
        if wish is Aim.SUSPEND and unknown.spared(s, name, now):
            continue
        if ledger.panic is not None and wish is not Aim.SUSPEND and not worthless:
            continue
        if ending and wish not in (Aim.SUSPEND, Aim.DESTROY):
            wish = Aim.END
        if (worthless or images.locks(s, name, copy)) and copy.quiet:
            wish = Aim.DESTROY
        if name in mine and (copy.state is not VmState.RUNNING or row is None or row.to != NOBODY):
            copies.waiting.add(name)
        deed = copy.next(wish, row.generation if row is not None else 0, now)
        if deed is not None and (copies.known or deed in (Deed.SUSPEND, Deed.DESTROY)):  # else it could only fail
            _carry_out(s, name, copy, deed, row, now)


def abandoned(s: State, now: Instant) -> bool:
    """The others may take it for proven, by the passing of time, that nothing runs here: from now on the memory of what is
    suspended may be outdated, and while it is there it holds the locks of images that they need (decisions/0010)."""
    over = _abandoned_at(s)
    return over is not None and now >= over


def _abandoned_at(s: State) -> Instant | None:
    """They count a lease more, from a change that was not before the last heartbeat by which this node was confirmed."""
    if s.copies.since is None or not s.leased or not s.quorum.exclusive:
        return None
    least = least_ms(s)
    return Instant(s.copies.since + least) if least is not None else None


def least_ms(s: State) -> int | None:
    """How long after the end of its lease the passing of time may prove something about this node; None for never."""
    since = replace(announced(s), lease_ms=0)
    waits = [deadline_ms(kind, since, s.config.timing) for kind in s.config.care.proofs]
    return min((each for each in waits if each is not None), default=None)


def _due(copies: Copies) -> list[Instant]:
    """When copies are to be looked at again though nothing has changed."""
    at = [
        copy.retry_at for copy in copies.vms.values() if copy.ticket is None and (copy.failures or copy.crashes or copy.marks)
    ]
    asked = [copy.asked_at for copy in copies.vms.values() if copy.ticket is None and copy.state is not None]
    ends = [copy.ended_at for copy in copies.vms.values()]
    at += [Instant(each + CAUSE_MS) for each in ends if each is not None]
    at += [each for copy in copies.vms.values() for each in pauses.due(copy)]
    return at + [Instant(each + SHUT_DOWN_MS) for each in asked if each is not None]


def _other(s: State, row: Placed | None) -> Report | None:
    """What the other side of a migration says of its copy."""
    return report_of(s, row.vm.name, row.to if row.node == s.me else row.node) if row is not None and row.to else None


def _startable(s: State, mine: set[VmName], upto: int) -> frozenset[VmName]:
    """The VMs that this node may start now. The others of the cluster count only where some have to start before others."""
    rows, copies = s.keeping.ledger.placements, s.copies.vms
    wanted = [
        name
        for name in sorted(mine)
        if _wanted(rows[name]) and firm(s, name, upto) and not copies[name].ended and _defined(s, rows[name])
    ]
    if not any(copies[name].state is None and rows[name].node == s.me for name in wanted):
        return frozenset()
    inventories = {node: s.group.peers[node].inventory for node in s.group.present}
    failing = {(each.name, node) for node, said in inventories.items() for each in said.troubles}
    among = rows if s.keeping.ledger.ordered else mine
    placed = [row for row in (rows[name] for name in among) if _wanted(row) and row.node in inventories]
    idle, busy = list[Placement](), list[Placement]()
    for row in placed:
        copy = _there(row, inventories)
        paused = copy is not None and copy.pause in (Pause.USER.value, Pause.BUSY.value)
        if (copy is None or copy.state is not VmState.RUNNING) and not paused and (row.vm.name, row.node) not in failing:
            (idle if copy is None else busy).append(Placement(row.vm, row.node))
    again = {name for name in wanted if copies[name].failures or copies[name].crashes}
    chosen = due(idle, busy, s.config.care.parallel_starts)
    return frozenset(each.vm.name for each in chosen if each.node == s.me and each.vm.name in wanted) | again


def _there(row: Placed, inventories: Mapping[NodeId, Inventory]) -> Report | None:
    """A copy of this VM, its node's own one first: while any member has one, it is not begun."""
    copy = inventories[row.node].instance_of(row.vm)
    return copy or next((found for said in inventories.values() if (found := said.instance_of(row.vm)) is not None), None)


def _defined(s: State, row: Placed) -> bool:
    """Its definition is here: without it the hypervisor could not start it."""
    return not row.vm.definition or (row.vm.name, row.vm.definition) in s.shelf.have


def _wanted(row: Placed) -> bool:
    return row.on and not row.frozen and row.to == 0


def _carry_out(s: State, name: VmName, copy: Copy, deed: Deed, row: Placed | None, now: Instant) -> None:
    ticket, generation = s.out.ticket(), row.generation if row is not None else 0
    copy.begin(ticket, deed, generation)
    s.copies.begun += 1
    until = Until(s.group.ring, s.lease.ends or Instant(0))
    match deed:
        case Deed.START:
            s.out.do(StartVm(ticket, copy.vm if row is None else row.vm, generation, until, Reason.PLACED))
        case Deed.RESUME:
            s.out.do(ResumeVm(ticket, name, until, Reason.PLACED, copy.vm.uuid))
        case Deed.SUSPEND:
            s.out.do(SuspendVm(ticket, name, _why_suspended(s, copy, row), copy.vm.uuid))
        case Deed.DESTROY:
            moved = row is not None and s.me not in row.holders
            leaves = Reason.LEAVING if images.locks(s, name, copy) else Reason.OUTDATED
            reason = Reason.WORTHLESS if abandoned(s, now) else Reason.MOVED if moved else leaves
            s.out.do(StopVm(ticket, name, reason, copy.vm.uuid))
        case Deed.MARK:
            s.out.do(MarkVm(ticket, name, generation, copy.vm.uuid, copy.pause is Pause.USER))
        case Deed.SHUT_DOWN:
            copy.asked_at = now
            s.out.do(ShutDownVm(ticket, name, Reason.ORDERED if copy.stopping else Reason.LEAVING, copy.vm.uuid))
        case Deed.MIGRATE:
            assert row is not None
            entry = s.entry(row.to)
            copy.tried, copy.stuck = (generation, row.to), ""
            address = entry.address if entry is not None else ""
            s.out.do(MigrateVm(ticket, name, row.to, address, until, Reason.ORDERED, copy.vm.uuid))


def _why_suspended(s: State, copy: Copy, row: Placed | None) -> Reason:
    if copy.stray or s.mode is Mode.LEAVING:
        return Reason.STRAY if copy.stray else Reason.LEAVING
    if s.copies.since is not None or s.copies.held:
        return s.why_not
    return Reason.MOVED if row is not None and s.me not in row.holders else Reason.IN_DOUBT


DONE = {
    Deed.START: NoteCode.VM_STARTED,
    Deed.RESUME: NoteCode.VM_RESUMED,
    Deed.SUSPEND: NoteCode.VM_SUSPENDED,
    Deed.DESTROY: NoteCode.VM_STOPPED,
    Deed.SHUT_DOWN: NoteCode.VM_SHUT_DOWN,
}


def finished(s: State, ticket: Ticket, outcome: Outcome, now: Instant) -> bool:
    """A deed, or a feed, has ended; False where it was none of these."""
    if ticket == s.feeding:
        s.feeding = None
        return True
    copy = next((copy for copy in s.copies.vms.values() if copy.ticket == ticket), None)
    if copy is None or copy.deed is None:
        return False
    copy.end(outcome, now, s.config.timing)
    s.copies.turn += 1
    name, code = copy.vm.name, DONE.get(copy.deed)
    if outcome.result is Result.DONE:
        if code is not None:
            s.out.note(code, vm=name, generation=copy.generation)
    elif outcome.result is not Result.SUPERSEDED and copy.failures & (copy.failures - 1) == 0:
        s.out.note(NoteCode.VM_FAILED, vm=name, deed=copy.deed.value, why=outcome.why or outcome.result.value)
    return True


# -- what the others are told


def say(s: State, now: Instant) -> None:
    """The inventory, whenever it is another one."""
    if not s.config.care.hypervisor or not s.group.settled or s.me not in s.group.peers:
        return
    copies, at = s.copies, s.keeping.version if s.keeping.open else Version()
    compared = (copies.turn, copies.begun, copies.known, at, tuple(s.shelf.refused.items()))
    if compared == copies.compared:
        return
    said, told = replace(inventory(copies, s.keeping.ledger, s.me, s.shelf.refused), at=at), copies.told
    if said != told or _overtaken(s, told):
        copies.told, copies.turn = said, copies.turn + 1
        s.out.do(Multicast(said))
        unknown.told(s, now)
    else:
        copies.compared = compared


def told_at_rest(s: State) -> bool:
    """The others were told that everything here is suspended or gone; or this node is of no line, and they do not listen."""
    told = s.copies.told
    if not s.config.care.hypervisor or s.me not in s.group.peers or not s.group.joined:
        return True
    return told is not None and told.complete and all(each.state is VmState.SUSPENDED for each in told.copies)


def _overtaken(s: State, told: Inventory) -> bool:
    """The master waits for what this node says of a VM whose row has changed since it last said anything."""
    ledger, version, changed = s.keeping.ledger, s.keeping.version, s.keeping.changed
    if not s.keeping.open or told.at == version:
        return False
    rows, troubled = ledger.placements, {each.name for each in told.troubles} | set(told.ended)
    mine = [name for name in ledger.at.get(s.me, ()) if name in troubled or rows[name].to or not rows[name].on]
    old = not same_chapter(told.at, version)
    return any(old or told.at.index < changed.get(name, 0) for name in mine)


def stopping(s: State, now: Instant) -> bool:
    """What is still here is to shut down: it was not moved off in time, or is not to be."""
    how = s.config.care.on_shutdown
    if s.emptying is None or how is OnShutdown.REFUSE:
        return False
    return how is OnShutdown.STOP or now >= s.emptying + EMPTYING_MS or nobody_takes(s)


def nobody_takes(s: State) -> bool:
    """No member is left that may be given VMs: all others leave as well, or are excused. Waiting for one would be in vain."""
    excused = s.keeping.ledger.excused
    able = [node for node in s.group.present if node not in excused and s.group.peers[node].capacity is not None]
    return s.me in excused and not able and not any(row.to for row in s.keeping.ledger.on(s.me))


def deadline(s: State) -> list[Instant]:
    """When to look again."""
    at = _due(s.copies) + unknown.deadline(s)
    if s.copies.any and (over := _abandoned_at(s)) is not None:
        at.append(over)
    if s.emptying is not None:
        at += [s.ask_at, Instant(s.emptying + EMPTYING_MS), Instant(s.emptying + EMPTYING_MS + SHUT_DOWN_MS)]
    if s.copies.any and not s.leased and s.adopt_until is not None:
        at.append(s.adopt_until)
    return at
