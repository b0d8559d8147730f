"""A pause has a reason: this node's own, its user's will, something that is being done with the VM, or a trouble of the VM.

Rules: safety.md, rule 11. On a node that is not sure whose pause it is, the pause counts as its own, and ends with the next
lease: a VM that stays suspended for ever after an outage is worse than a pause that its user has to ask for again.
"""

from corolistener.core.config import Timing
from corolistener.core.events import Copied, Pause
from corolistener.core.instance import Copy, Deed
from corolistener.core.reports import VmState
from corolistener.ids import Instant

TROUBLES = {
    Pause.IO_ERROR: "I/O error",
    Pause.PANICKED: "its system has crashed",
    Pause.WATCHDOG: "its own watchdog has stopped it",
    Pause.OTHER: "it does not stay resumed",
}
"""OTHER is one only soon after this node has resumed it."""
HOLD_MS = 60_000
"""A VM that runs for so long after a pause is well again."""
YOUNG_MS = 5000
"""After its first list a new process does not take a pause for a user's: the former one may have asked for it."""


def noticed(copy: Copy, was: VmState | None, copied: Copied, steady: bool, now: Instant, timing: Timing) -> None:
    """Take in the hypervisor's reason. `was`: the state before. `steady`: this node wants nothing but that its VMs run."""
    had, copy.labelled = copy.pause, copied.pause is Pause.USER
    seen, copy.unseen = not copy.unseen, False
    if copied.generation == copy.started and copy.labelled is (had is Pause.USER):
        copy.marks = 0
    if copied.state is VmState.RUNNING:
        copy.pause, copy.woken = Pause.OTHER, False
        copy.ours = copy.deed is Deed.SUSPEND and (copy.ticket is not None or copy.failures > 0)
        return
    copy.pause = copied.pause
    if copy.pause is Pause.CALL and _users(copy, was, had, steady and seen):
        copy.pause = Pause.USER
        copy.pause_untold = had is not Pause.USER
    if copy.pause is Pause.USER and copy.woken:
        copy.pause = Pause.CALL
    if copy.pause is Pause.OTHER and not (was is VmState.RUNNING and copy.deed is Deed.RESUME):
        return
    if copy.pause in TROUBLES and (was is not VmState.SUSPENDED or had is not copy.pause):
        _trouble(copy, now, timing)


def _users(copy: Copy, was: VmState | None, had: Pause, steady: bool) -> bool:
    """A pause by a call is its user's: it began under the lease while this node had asked for nothing."""
    if was is VmState.SUSPENDED:
        return had is Pause.USER
    return was is VmState.RUNNING and steady and not copy.ours and copy.deed is not Deed.MIGRATE


def _trouble(copy: Copy, now: Instant, timing: Timing) -> None:
    """It is suspended by a trouble of its own, perhaps soon after it was resumed: the next step waits longer each time."""
    if now >= copy.paused_at + HOLD_MS:
        copy.pauses = 0
    copy.pauses, copy.paused_at = copy.pauses + 1, now
    copy.pause_untold = copy.pause is not Pause.PANICKED  # that one is told as a crash
    if copy.pause is Pause.PANICKED:
        copy.crashed(now, timing)
    else:
        wait = min(timing.retry_most_ms, timing.retry_first_ms * 2 ** min(copy.pauses - 1, 16))
        copy.again_at = Instant(now + wait)
    copy.why = TROUBLES[copy.pause]


def recovered(copy: Copy, now: Instant) -> bool:
    """It has run for so long since its last pause that this is over. True if that is news."""
    if not copy.pauses or copy.state is not VmState.RUNNING or now < copy.paused_at + HOLD_MS:
        return False
    copy.pauses, copy.elsewhere = 0, 0
    copy.why = copy.why if copy.crashes or copy.failures else ""
    return True


def due(copy: Copy) -> list[Instant]:
    """When to look at it again."""
    return [copy.again_at, Instant(copy.paused_at + HOLD_MS)] if copy.pauses else []
