"""Parts: one long message of the ring, packed and cut into frames that fit into a small packet, and put together again.

A part is the magic, the version and the type of every message of the ring, then three numbers: which of the sender's long
messages it is of, which part, and of how many.
"""

import struct
import zlib
from typing import NamedTuple

from corolistener.errors import PeerError
from corolistener.ids import NodeId

SHORT_MOST = 340
"""Bytes of a message that is sent as it is, and of a part: with what corosync, knet and encryption add, and a heartbeat in the
same packet, it fits where a path carries 1000 bytes."""
LONG_MOST = 1 << 28
"""Bytes of a message that is put together from parts."""
HEAD = struct.Struct(">III")


class Part(NamedTuple):
    """One part of a long message: number `at` of `of`, counted from 0."""

    number: int
    at: int
    of: int
    data: bytes

    @property
    def last(self) -> bool:
        return self.at == self.of - 1


def cut(data: bytes, number: int, head: bytes) -> list[bytes]:
    """The frames of the parts of a message, `head` before each."""
    packed = zlib.compress(data, 1)
    room = SHORT_MOST - len(head) - HEAD.size
    total = -(-len(packed) // room)
    return [head + HEAD.pack(number, at, total) + packed[at * room : (at + 1) * room] for at in range(total)]


def read(body: bytes, sender: NodeId) -> Part:
    """The part in what follows the head. Raises PeerError."""
    if len(body) < HEAD.size:
        raise PeerError(sender, f"a part of {len(body)} bytes")
    number, at, of = HEAD.unpack_from(body)
    if not at < of:
        raise PeerError(sender, f"part {at} of {of}")
    return Part(number, at, of, body[HEAD.size :])


def joined(chunks: list[bytes], sender: NodeId) -> bytes:
    """The message that was cut into these. Raises PeerError."""
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(b"".join(chunks), LONG_MOST)
    except zlib.error as error:
        raise PeerError(sender, f"parts that do not fit together: {error}") from None
    if not unpacking.eof:
        raise PeerError(sender, f"parts of a message that has no end, or is longer than {LONG_MOST} bytes")
    return data
