"""Nothing waits in silence: the master tells every minute which VMs should run and do not, and why (safety.md, rule 12)."""

from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.core.vm_status import waiting
from corolistener.ids import Instant

EVERY_MS = 60_000
NAMES_MOST = 10
"""Names in one line: of ten thousand VMs that wait for the same reason the log gets one line, not ten thousand."""
TOLD = ("frozen", "given-up", "no-room", "unkept", "unplaced")
"""Reasons that are told here. A missing proof is told of the node (recovery), a panic of the cluster."""


def remind(s: State, now: Instant) -> None:
    """One line a reason, a minute after this node became master and every minute from then on."""
    if not s.acting or not s.keeping.open:
        s.remind_at = None
        return
    if s.remind_at is None:
        s.remind_at = Instant(now + EVERY_MS)
    if now < s.remind_at:
        return
    s.remind_at = Instant(now + EVERY_MS)
    found = waiting(s)
    for why in TOLD:
        if names := found.get(why):
            more = f" and {len(names) - NAMES_MOST} more" * (len(names) > NAMES_MOST)
            s.out.note(NoteCode.VM_WAITS, why=why, vms=len(names), names=", ".join(names[:NAMES_MOST]) + more)


def deadline(s: State) -> list[Instant]:
    """When to look again."""
    return [s.remind_at] if s.acting and s.remind_at is not None else []
