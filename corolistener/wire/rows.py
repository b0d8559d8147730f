"""Rows of the ledger as text and back, for the disk: JSON, one object a row.

Versions may be mixed, as on the ring: fields that are unknown are ignored, missing ones take their default, so a file that
a newer program with the same schema has written can be read by an older one. The names of the kinds are for ever.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from corolistener.core.ledger import Excused, Known, Ledger, Panic, Placed, Proven, Rows, Version


@dataclass(frozen=True, slots=True)
class Owner:
    """`Ledger.cluster` and `owned`."""

    cluster: str
    owned: bool = False


Row = Placed | Known | Proven | Excused | Panic | Version | Owner
KINDS: dict[str, type[Row]] = {
    "placed": Placed,
    "known": Known,
    "proven": Proven,
    "excused": Excused,
    "panic": Panic,
    "version": Version,
    "owner": Owner,
}
_NAMES = {kind: name for name, kind in KINDS.items()}
_ENCODER = msgspec.json.Encoder()
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in KINDS.items()}


def key_of(row: Row) -> str:
    """What tells a row from the others of its kind; '' where there is only one."""
    match row:
        case Placed():
            return row.vm.name
        case Known() | Proven() | Excused():
            return str(row.node)
        case Panic() | Version() | Owner():
            return ""


def encode(row: Row) -> tuple[str, str, str]:
    """(kind, key, text) of a row."""
    return _NAMES[type(row)], key_of(row), _ENCODER.encode(row).decode()


def decode(kind: str, key: str, text: str) -> Row:
    """The row that `encode` made this of. Raises ValueError for anything else."""
    if kind not in _DECODERS:
        raise ValueError(f"{kind!r} is no kind of row")
    row: Row = _DECODERS[kind].decode(text)
    if key_of(row) != key:
        raise ValueError(f"the row {kind} {key!r} is about {key_of(row)!r}")
    return row


def present(rows: Rows) -> Iterator[Row]:
    """The rows that a change, or a whole ledger, puts in."""
    yield from rows.placed
    yield from rows.known
    yield from rows.proven
    yield from rows.excused
    if rows.panic is not None:
        yield rows.panic
    if rows.cluster:
        yield Owner(rows.cluster, rows.owned)


def absent(rows: Rows) -> Iterator[tuple[str, str]]:
    """(kind, key) of the rows that a change takes out, before it puts others in."""
    for name in rows.forgotten:
        yield "placed", name
    for node in rows.dismissed:
        yield from ((kind, str(node)) for kind in ("known", "proven", "excused"))
    for node in rows.voided:
        yield "proven", str(node)
    for node in rows.recalled:
        yield "excused", str(node)
    if rows.calm:
        yield "panic", ""


def whole(found: Iterable[Row]) -> tuple[Version, Rows]:
    """The ledger that consists of these rows, in any order."""
    version, panic, owner = Version(), None, Owner("")
    placed, known, proven, excused = list[Placed](), list[Known](), list[Proven](), list[Excused]()
    for row in found:
        match row:
            case Version():
                version = row
            case Panic():
                panic = row
            case Owner():
                owner = row
            case Placed():
                placed.append(row)
            case Known():
                known.append(row)
            case Proven():
                proven.append(row)
            case Excused():
                excused.append(row)
    ledger = Ledger()
    ledger.take(
        Rows(
            tuple(placed),
            tuple(known),
            tuple(proven),
            panic=panic,
            excused=tuple(excused),
            cluster=owner.cluster,
            owned=owner.owned,
        )
    )
    return version, ledger.rows()
