"""What events do to the cloud address: it was removed, its device has appeared, another machine answers for it."""

from corolistener.core.actions import AnnounceAddress, Until
from corolistener.core.events import AddressConflict, AddressGone, DeviceCame
from corolistener.core.notes import NoteCode
from corolistener.core.state import State
from corolistener.ids import Instant


def heard(s: State, event: AddressGone | DeviceCame | AddressConflict, now: Instant) -> None:
    match event:
        case AddressGone():
            if s.duties.address.had is not False:
                s.out.note(NoteCode.ADDRESS_LOST)
                s.duties.address.lost(now)
        case DeviceCame():
            s.duties.address.retry_at = now
        case AddressConflict(mac):
            s.out.note(NoteCode.ADDRESS_CONFLICT, mac=mac)
            if s.acting:
                announce(s)


def announce(s: State) -> None:
    """Tell the neighbours whose address it is, as long as the lease allows it."""
    if s.config.cloud is not None and s.lease.ends is not None:
        until = Until(s.group.ring, s.lease.ends)
        s.out.do(AnnounceAddress(s.out.ticket(), s.config.cloud, until))
