"""One line of corosync.conf, cut and read exactly as corosync 3.1.7 reads it (exec/coroparse.c, parse_section).

A line is kept in five pieces whose concatenation is the line; what corosync sees of it is `name` and `value`.
Corosync's reader is older than it looks, and these are its rules:

- It reads with fgets into 512 bytes: a line has at most 510 bytes before its newline, a carriage return included.
- A line is a C string: what follows a NUL byte is not seen. A NUL in any but the last line is therefore a line
  without its newline, and refused as too long, unless it comes first: then the line is blank, however long.
- One carriage return before the newline belongs to the line ending; after that, blanks and tabs at the end go.
- `#` starts a comment only as the first byte that is not blank. In a value it is part of the value.
- Any `{` in what is left makes the line the opening of a section, else any `:` makes it a key, else any `}` closes.
- Nothing may follow `{`, nothing may stand beside `}`. A value may be empty and may contain `:`, `}` and `#`.
- A name's own trailing colons do not belong to it (`totem: {` opens `totem`), but its first byte always does.

Later versions differ in two points: a byte 0xA0 counts as a blank (which cuts some UTF-8 letters), and an empty key is
refused.
"""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

BLANKS = b" \t"
READ_BYTES = 511
"""What one fgets of corosync takes at most, the newline included."""


class Kind(Enum):
    """What a line is to corosync."""

    BLANK = "blank or comment"
    OPEN = "section start"
    ENTRY = "key and value"
    CLOSE = "section end"


class Refused(ValueError):
    """The line as such is not corosync.conf; str() is the reason. The parser knows where and raises ConfigError."""


class Line(NamedTuple):
    """One line in pieces: `before + name + between + value + after` are its bytes."""

    kind: Kind
    before: bytes
    name: bytes
    between: bytes
    value: bytes
    after: bytes

    def to_bytes(self) -> bytes:
        """The line as it stands in the file, line ending included."""
        return self.before + self.name + self.between + self.value + self.after

    @property
    def ending(self) -> bytes:
        """The line's own end: CR LF, LF, or nothing in the last line of some files."""
        if self.after.endswith(b"\r\n"):
            return b"\r\n"
        return b"\n" if self.after.endswith(b"\n") else b""


def cut(data: bytes) -> Iterator[bytes]:
    """The pieces one fgets after the other returns; joined they are `data`."""
    start = 0
    while start < len(data):
        newline = data.find(b"\n", start, start + READ_BYTES)
        end = newline + 1 if newline >= 0 else min(start + READ_BYTES, len(data))
        yield data[start:end]
        start = end


def read(raw: bytes, last: bool) -> Line:
    """The line `raw` in pieces. `last`: the end of the file follows. Raises Refused as corosync's parser would."""
    string = raw.split(b"\0", 1)[0]
    at_end = last and not raw.endswith(b"\n") and len(raw) < READ_BYTES
    if string and not string.endswith(b"\n") and not at_end:
        raise Refused(f"line too long (corosync takes {READ_BYTES - 1} bytes) or a NUL byte in it")
    text = string.removesuffix(b"\n").removesuffix(b"\r").rstrip(BLANKS)
    bare = text.lstrip(BLANKS)
    if not bare or bare.startswith(b"#"):
        return Line(Kind.BLANK, b"", b"", b"", b"", raw)
    before, after = text[: len(text) - len(bare)], raw[len(text) :]
    if b"{" in bare:
        return _opening(before, bare, after)
    if b":" in bare:
        return _entry(before, bare, after)
    if b"}" in bare:
        if bare != b"}":
            raise Refused("extra characters before or after the closing brace")
        return Line(Kind.CLOSE, before, bare, b"", b"", after)
    raise Refused("neither a section's start or end nor a key with a colon")


def _opening(before: bytes, bare: bytes, after: bytes) -> Line:
    head, _, rest = bare.partition(b"{")
    name = head[:1] + head[1:].rstrip(BLANKS + b":")
    if not name:
        raise Refused("a section without a name before its opening brace")
    if rest:
        raise Refused("extra characters after the opening brace")
    return Line(Kind.OPEN, before, name, bare[len(name) :], b"", after)


def _entry(before: bytes, bare: bytes, after: bytes) -> Line:
    head, colon, rest = bare.partition(b":")
    name, value = head.rstrip(BLANKS), rest.lstrip(BLANKS)
    if not value:  # the blanks where it would be stand before it, so that a value set later keeps them there
        rest, after = after[: len(after) - len(after.lstrip(BLANKS))], after.lstrip(BLANKS)
    between = head[len(name) :] + colon + rest[: len(rest) - len(value)]
    return Line(Kind.ENTRY, before, name, between, value, after)
