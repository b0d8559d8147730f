"""The one clock of the daemon: CLOCK_BOOTTIME in ms, which goes on while the machine sleeps (safety.md, "Words")."""

import time

from corolistener.ids import Instant


def now() -> Instant:
    """Milliseconds since this machine booted, asleep or not."""
    return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)
