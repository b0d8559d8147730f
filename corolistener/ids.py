"""The names of things: types importable from every room, and nothing else.

They cost nothing at run time and keep a node id from being taken for a ticket or an instant.
"""

from typing import NewType

NodeId = NewType("NodeId", int)
"""corosync's nodeid, 1 .. 2**32-1."""

VmName = NewType("VmName", str)
"""Name of a virtual machine, unique in the cluster."""

Instant = NewType("Instant", int)
"""Milliseconds of this node's own CLOCK_BOOTTIME; means nothing on another node."""

Ticket = NewType("Ticket", int)
"""Name of one request to an effect; ends in exactly one Finished."""
