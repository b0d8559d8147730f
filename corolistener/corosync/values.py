"""Values that more than one library of corosync speaks of. `corolistener -l` comes through here: no import of typing."""

from __future__ import annotations

from collections import namedtuple

from .handle import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple

    class RingId(NamedTuple):
        """Name of one membership: the representative's node id and a sequence that only grows. Equal rings, equal id."""

        node: int
        seq: int

else:
    RingId = namedtuple("RingId", "node seq")
