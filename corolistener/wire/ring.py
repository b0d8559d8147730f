"""Ring messages: two bytes of magic, the protocol version, the type, then msgpack.

Unknown fields are ignored, missing ones take their default, so versions may be mixed; an unknown type, a wrong field or a
truncated text is a PeerError and never anything else. The numbers of the types are for ever.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec

from corolistener.core import messages as m
from corolistener.core import wishes as w
from corolistener.errors import PeerError
from corolistener.ids import NodeId
from corolistener.wire import parts
from corolistener.wire.parts import Part

MAGIC = b"CL"
VERSION = 1
MOST = 1_000_000
"""Bytes of one frame; CPG takes about 1 MiB."""

TYPES: dict[int, type[m.Message]] = {
    1: m.Hello,
    2: m.Heartbeat,
    3: m.Released,
    4: m.Absent,
    5: m.Farewell,
    6: m.Verdict,
    8: m.Refused,
    9: m.Offer,
    10: m.Wanted,
    11: m.Text,
    12: m.Stored,
    13: m.Unstored,
    14: m.Committed,
    15: m.Withdrawn,
    16: m.Inventory,
    17: m.Chapter,
    18: m.Entries,
    19: m.Confirm,
    20: m.Alarm,
    22: m.Granted,
    23: m.Definition,
    24: m.Lacking,
    31: m.OpenLedger,
    40: m.Vacated,
    41: m.Able,
}
PROPOSED, ORDERED, PART = 7, 21, 30
PART_HEAD = MAGIC + bytes((VERSION, PART))
CHANGES: dict[int, type[m.Change]] = {
    1: m.PushText,
    2: m.RevertTo,
    3: m.AddNode,
    4: m.EditNode,
    5: m.RemoveNode,
    6: m.SetPriorities,
    7: m.Restamp,
}
ORDERS: dict[int, type[w.Order]] = {
    1: w.StartOrder,
    2: w.StopOrder,
    3: w.MoveOrder,
    4: w.WishOrder,
    5: w.ExcuseOrder,
    6: w.FenceOrder,
    7: w.ForgetOrder,
}
_NUMBERS = {cls: number for number, cls in TYPES.items()}
_CHANGE_NUMBERS = {cls: number for number, cls in CHANGES.items()}
_ORDER_NUMBERS = {cls: number for number, cls in ORDERS.items()}
_STRICT = msgspec.msgpack.Encoder()
_DECODERS = {number: msgspec.msgpack.Decoder(cls) for number, cls in TYPES.items()}
_CHANGE_DECODERS = {number: msgspec.msgpack.Decoder(cls) for number, cls in CHANGES.items()}
_ORDER_DECODERS = {number: msgspec.msgpack.Decoder(cls) for number, cls in ORDERS.items()}
_PROPOSAL = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw])
_ORDER = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw, str])


def _packed(value: object) -> bytes:
    """msgpack. A text that is no Unicode (a file's or a program's bytes in it) is sent with a mark in their place."""
    try:
        return _STRICT.encode(value)
    except UnicodeEncodeError:
        return _STRICT.encode(_printable(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _printable(value: Any) -> Any:
    match value:
        case str():
            return sendable(value)
        case dict():
            return {key: _printable(each) for key, each in value.items()}
        case list() | tuple():
            return [_printable(each) for each in value]
    return value


def sendable(text: str) -> str:
    """The same text, with a mark for whatever is no Unicode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def encode(message: m.Message) -> bytes:
    """The bytes of one message, of any length. Raises what msgspec raises for what no message may hold."""
    if isinstance(message, m.Proposed):
        number = PROPOSED
        kind = _CHANGE_NUMBERS[type(message.change)]
        body = _packed((message.request, kind, msgspec.Raw(_packed(message.change))))
    elif isinstance(message, m.Ordered):
        number = ORDERED
        kind = _ORDER_NUMBERS[type(message.order)]
        body = _packed((message.request, kind, msgspec.Raw(_packed(message.order)), message.by))
    else:
        number = _NUMBERS[type(message)]
        body = _packed(message)
    return MAGIC + bytes((VERSION, number)) + body


def decode(data: bytes, sender: NodeId) -> m.Message | Part:
    """The message in `data`, or the part of one. Raises PeerError for anything that is none."""
    if len(data) < 4 or data[:2] != MAGIC:
        raise PeerError(sender, f"not a message of ours ({len(data)} bytes)")
    if data[2] != VERSION:
        raise PeerError(sender, f"protocol version {data[2]}, this is {VERSION}")
    if data[3] == PART:
        return parts.read(data[4:], sender)
    try:
        if data[3] == PROPOSED:
            return _proposed(data[4:])
        if data[3] == ORDERED:
            return _ordered(data[4:])
        decoder = _DECODERS.get(data[3])
        if decoder is None:
            raise PeerError(sender, f"message type {data[3]} is unknown")
        message: m.Message = decoder.decode(data[4:])
        return _shared(message) if isinstance(message, m.Inventory) else message
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise PeerError(sender, f"message type {data[3]}: {error}") from None


def _shared(inventory: m.Inventory) -> m.Inventory:
    """The same, made of reports that are there already: an inventory tells every copy of a node anew though one has changed,
    and the journal keeps hundreds of them."""
    return replace(inventory, copies=tuple(map(_known, inventory.copies)))


@lru_cache(maxsize=4096)
def _known(report: m.Report) -> m.Report:
    """The first of all equal ones."""
    return report


def _proposed(body: bytes) -> m.Proposed:
    request, kind, raw = _PROPOSAL.decode(body)
    decoder = _CHANGE_DECODERS.get(kind)
    if decoder is None:
        raise ValueError(f"change type {kind} is unknown")
    return m.Proposed(request, decoder.decode(raw))


def _ordered(body: bytes) -> m.Ordered:
    request, kind, raw, by = _ORDER.decode(body)
    decoder = _ORDER_DECODERS.get(kind)
    if decoder is None:
        raise ValueError(f"order type {kind} is unknown")
    return m.Ordered(request, decoder.decode(raw), by)
