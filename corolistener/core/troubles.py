"""VMs that this node cannot keep running, or cannot move: what is counted, given up, begun anew, and told."""

from corolistener.core.events import Pause
from corolistener.core.instance import CRASHES_MOST, STARTS_MOST, Copy
from corolistener.core.ledger import Placed
from corolistener.core.notes import NoteCode
from corolistener.core.pauses import TROUBLES, recovered
from corolistener.core.reports import VmState
from corolistener.core.state import State
from corolistener.ids import Instant

PAUSES_MOST, PAUSES_MOST_UNREACHED = 12, 3
"""After so many pauses by a trouble, each soon after the one before, another node should try: with twelve that takes four
minutes. A VM with a storage that this node does not reach waits for less."""


def noted(s: State, copy: Copy, now: Instant) -> None:
    """Take an end without a cause for a crash, and a pause for over, when it is time; log what is new of both."""
    if copy.explain(now, s.config.timing) or recovered(copy, now):
        s.copies.turn += 1
    if copy.crash_untold:
        copy.crash_untold = False
        s.out.note(NoteCode.VM_CRASHED, vm=copy.vm.name, crashes=copy.crashes)
    if copy.pause_untold:
        copy.pause_untold = False
        if copy.pause is Pause.USER:
            s.out.note(NoteCode.VM_PAUSED, vm=copy.vm.name, why="its user has suspended it")
        elif copy.pauses & (copy.pauses - 1) == 0:
            s.out.note(NoteCode.VM_PAUSED, vm=copy.vm.name, why=copy.why, times=copy.pauses)


def _helpless(s: State, copy: Copy, row: Placed) -> bool:
    """Another node should try: resuming has not helped often enough. The copy stays until one takes it."""
    if copy.elsewhere == row.generation or copy.state is not VmState.SUSPENDED or copy.pause not in TROUBLES:
        return False
    capacity = s.config.care.capacity
    reached = capacity is not None and copy.vm.storages <= capacity.storages
    return copy.pauses >= (PAUSES_MOST if reached else PAUSES_MOST_UNREACHED)


def troubled(s: State, copy: Copy, row: Placed) -> None:
    """Give up what cannot be kept running, begin anew when the master wants it, and forget a move that is over."""
    if (copy.gave_up and copy.gave_up != row.generation) or (copy.failing and row.node != s.me):
        copy.asked_again()
        s.copies.turn += 1
    if copy.ended and (not row.on or s.me not in row.holders or (row.to and not row.live)):
        copy.ended = False  # the ledger says so, and whoever wants it now has asked for it since; or it was shut down to move
        s.copies.turn += 1
    if row.node != s.me:
        return
    if copy.tried is not None and copy.tried != (row.generation, row.to):
        copy.tried, copy.stuck = None, ""
        s.copies.turn += 1
    if row.to and row.live and not copy.stuck and copy.ticket is None and (why := _hindered(s, copy, row)):
        copy.tried, copy.stuck = (row.generation, row.to), why
        s.copies.turn += 1
    if not copy.gave_up and not row.to and _helpless(s, copy, row):
        copy.elsewhere = row.generation
        s.copies.turn += 1
        s.out.note(NoteCode.VM_GIVEN_UP, vm=copy.vm.name, why=copy.why)
    starts = copy.failures if copy.failing and copy.state is None else 0
    if not copy.gave_up and not row.to and (copy.crashes >= CRASHES_MOST or starts >= STARTS_MOST):
        copy.gave_up = row.generation
        s.copies.turn += 1
        s.out.note(NoteCode.VM_GIVEN_UP, vm=copy.vm.name, why=copy.why)


def _hindered(s: State, copy: Copy, row: Placed) -> str:
    """Why a migration is not begun, or is over though it did not say how it ended; '' where nothing is known against it."""
    if copy.state is VmState.SUSPENDED:
        reasons = {**TROUBLES, Pause.USER: "by its user", Pause.OTHER: ""}
        why = reasons.get(copy.pause, "")
        return "" if copy.busy else f"it is suspended: {why}" if why else "it is suspended"
    if copy.state is not VmState.RUNNING:
        return ""
    if copy.tried == (row.generation, row.to):
        return "it was interrupted"
    peer = s.group.peers.get(row.to)
    able = peer is not None and not peer.disallowed and row.to in s.group.present and row.to not in s.keeping.ledger.excused
    return "" if able else f"node {row.to} takes no vms now"
