"""By whose will a copy ended: the user's, ours, or nobody's.

libvirt says how: SHUTDOWN tells first whether the VM's own system turned itself off or the node told QEMU to end; STOPPED
follows. Whoever calls libvirt to destroy, shut down or save a VM does that by will. A crash, a QEMU that was killed, and a
copy that has migrated are nobody's will, and what we asked for is ours.
"""

import math
from collections.abc import Callable

import libvirt

from corolistener.ids import VmName

STOPPED_S = 10.0
"""libvirt's word of a copy that we have destroyed comes at the latest so long after."""
SHUT_DOWN_S = 900.0
"""A system that we asked to shut down, and that does so later than this, does it for another reason."""
WILFUL = (
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT,
)
REMEMBERED = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: True,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: True,
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: True,
    libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT: True,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: False,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: False,
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: False,
}
"""What the state of a VM that is shut off says of the will. libvirtd forgets it when it is restarted."""


class Ends:
    """What is known of ends that the core has not been told of. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[VmName, float] = {}
        self._turned_off: dict[VmName, int] = {}
        self._ended: dict[VmName, bool] = {}

    def ask(self, name: VmName, within_s: float = math.inf) -> None:
        """We have it ended, within so many seconds from now."""
        self._asked[name] = self._clock() + within_s

    def begin(self, name: VmName) -> None:
        """We start it: what was asked of an earlier copy is past."""
        self._asked.pop(name, None)

    def shutdown(self, name: VmName, detail: int) -> None:
        """libvirt's SHUTDOWN."""
        self._turned_off[name] = detail

    def stopped(self, name: VmName, detail: int) -> None:
        """libvirt's STOPPED."""
        ours = self._asked.get(name, -math.inf) >= self._clock()
        if self._asked.get(name) != math.inf:  # else the call has not come back, and says when it is over
            self._asked.pop(name, None)
        told = self._turned_off.pop(name, None) == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST
        killed = told and detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN
        self._ended[name] = not ours and not killed and detail in WILFUL

    def take(self, name: VmName) -> bool | None:
        """Whether the user ended it; None: it has not ended since this was asked last."""
        return self._ended.pop(name, None)

    def remembered(self, name: VmName, reason: int) -> bool | None:
        """Whether its user ended it, where no event was heard of that; None: libvirt does not know."""
        by_user = REMEMBERED.get(reason)
        ours = self._asked.get(name, -math.inf) >= self._clock()
        return by_user and not ours if by_user is not None else None

    def forget(self) -> None:
        """The connection is another one: ends that were not told may be old."""
        self._turned_off.clear()
        self._ended.clear()
