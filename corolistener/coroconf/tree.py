"""corosync.conf as a tree that loses nothing: sections and entries over the file's lines, comments and all.

`parse` accepts what the parser of corosync 3.1.7 accepts in structure and names, and refuses the rest with file, line
and text. What corosync thinks of a value is in `accept`, what it makes of the whole in `validate`. A Document never
changes; `edit` makes new ones.

Names are paths as corosync keeps them in cmap: `totem.config_version`, `nodelist.node`. A section written as
`totem.interface { }` is the same as `interface { }` inside `totem { }`. A key given twice has the later value.

Named tuples, here and in `facts`: `corolistener -l` reads this file, and dataclasses alone cost it 10 ms.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from corolistener.coroconf.lines import Kind, Line, Refused, cut, read
from corolistener.errors import ConfigError

PATH_BYTES = 254
"""Longest cmap path plus its dot (ICMAP_KEYNAME_MAXLEN is 255 and must hold path, dot, name and a NUL)."""
KEY_BYTES_MIN = 3
"""Shortest cmap key."""
KEY_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:")
"""What a cmap key may be made of (exec/icmap.c)."""


def decoded(raw: bytes) -> str:
    """Bytes of the file as text; bytes that are not UTF-8 survive as surrogates, see `encoded`."""
    return raw.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    """The inverse of `decoded`."""
    return text.encode("utf-8", "surrogateescape")


class Entry(NamedTuple):
    """A key with its value. `line` is 1-based; `path` is the key's full name."""

    path: str
    key: str
    value: str
    line: int


class Section(NamedTuple):
    """A section from its opening line to its closing one, 1-based. The file is the section "" from line 0 to n+1."""

    path: str
    name: str
    line: int
    end: int
    items: tuple["Entry | Section", ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The section's own entries in file order, those of its subsections not among them."""
        return tuple(item for item in self.items if isinstance(item, Entry))

    @property
    def subsections(self) -> tuple["Section", ...]:
        """The sections directly inside this one, in file order."""
        return tuple(item for item in self.items if isinstance(item, Section))

    def entry(self, key: str) -> Entry | None:
        """The section's last entry of that key: the one that counts."""
        return next((entry for entry in reversed(self.entries) if entry.key == key), None)

    def get(self, key: str) -> str | None:
        """The value that counts for the key in this section, None where it is not set."""
        entry = self.entry(key)
        return None if entry is None else entry.value

    def walk(self) -> Iterator["Entry | Section"]:
        """Everything inside this section, however deep, in file order; a section comes before its contents."""
        for item in self.items:
            yield item
            if isinstance(item, Section):
                yield from item.walk()


class Document(NamedTuple):
    """A parsed file. `path` is its name in messages, `lines[n - 1]` its line n, `root` its tree.

    Rules look entries and sections up by path, some of them once for each node of the nodelist: hence the indexes.
    """

    path: str
    lines: tuple[Line, ...]
    root: Section
    last: Mapping[str, Entry]
    """The entry that counts, by path."""
    by_path: Mapping[str, tuple[Section, ...]]
    """Sections in file order, by path."""

    def to_bytes(self) -> bytes:
        """The file, byte for byte."""
        return b"".join(line.to_bytes() for line in self.lines)

    def entries(self) -> Iterator[Entry]:
        """Every entry of the file in its order."""
        return (item for item in self.root.walk() if isinstance(item, Entry))

    def sections(self, path: str) -> tuple[Section, ...]:
        """Every section of that path, in file order; none is an empty tuple."""
        return self.by_path.get(path, ())

    def entry(self, path: str) -> Entry | None:
        """The last entry of that path, the one that counts."""
        return self.last.get(path)

    def get(self, path: str) -> str | None:
        """The value that counts for `path`, None where it is not set."""
        entry = self.entry(path)
        return None if entry is None else entry.value

    def integer(self, path: str, least: int = 0, most: int = 2**32 - 1) -> int | None:
        """The value that counts for `path` as an integer, None where not set. Raises ConfigError outside the range."""
        entry = self.entry(path)
        return None if entry is None else integer(self, entry, least, most)

    def refuse(self, line: int, why: str) -> ConfigError:
        """The error to raise for that line (0: for the whole file)."""
        text = decoded_for_message(self.lines[line - 1].to_bytes()) if 0 < line <= len(self.lines) else ""
        return ConfigError(self.path, line, why, text)


def integer(document: Document, entry: Entry, least: int, most: int) -> int:
    """The entry's value as a plain decimal number. Raises ConfigError naming line and range."""
    value = entry.value
    if value.isascii() and value.isdigit() and len(value) <= 20 and least <= int(value) <= most:
        return int(value)
    raise document.refuse(entry.line, f"{entry.key} must be a number from {least} to {most}")


def decoded_for_message(raw: bytes) -> str:
    """A line as it may be shown: printable whatever is in it, and not longer than a terminal likes."""
    return raw.decode("utf-8", "replace").rstrip("\r\n")[:200]


def parse(data: bytes, path: str = "corosync.conf") -> Document:
    """Reads the file's bytes. Raises ConfigError with line and text for what corosync's parser refuses."""
    builder = _Builder(path)
    start = 0
    for raw in cut(data):
        start += len(raw)
        try:
            builder.take(read(raw, last=start == len(data)))
        except Refused as refused:
            raise ConfigError(path, len(builder.lines) + 1, str(refused), decoded_for_message(raw)) from None
    return builder.document()


class _Open:
    """A section whose closing brace has not come yet."""

    def __init__(self, path: str, name: str, line: int) -> None:
        self.path, self.name, self.line = path, name, line
        self.items: list[Entry | Section] = []

    def inside(self, name: str) -> str:
        """Path of something of that name in this section."""
        return f"{self.path}.{name}" if self.path else name


class _Builder:
    """Takes lines one after the other and grows the tree."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: list[Line] = []
        self.open = [_Open("", "", 0)]
        self.last: dict[str, Entry] = {}
        self.sections: dict[str, list[Section]] = {}

    def take(self, line: Line) -> None:
        """Adds one line. Raises Refused."""
        if line.kind is Kind.OPEN:
            self._open(decoded(line.name))
        elif line.kind is Kind.ENTRY:
            self._entry(decoded(line.name), decoded(line.value))
        elif line.kind is Kind.CLOSE:
            self._close()
        self.lines.append(line)

    def document(self) -> Document:
        """The finished tree. Raises ConfigError where a section was not closed."""
        if len(self.open) > 1:
            section = self.open[-1]
            text = decoded_for_message(self.lines[section.line - 1].to_bytes())
            raise ConfigError(self.path, section.line, "this section is never closed", text)
        root = Section("", "", 0, len(self.lines) + 1, tuple(self.open[0].items))
        by_path = {path: tuple(sections) for path, sections in self.sections.items()}
        return Document(self.path, tuple(self.lines), root, self.last, by_path)

    def _open(self, name: str) -> None:
        within = self.open[-1]
        _check_length(within.path, name)
        self.open.append(_Open(within.inside(name), name, len(self.lines) + 1))

    def _entry(self, key: str, value: str) -> None:
        within = self.open[-1]
        _check_length(within.path, key)
        path = within.inside(key)
        _check_name(path)
        self.last[path] = entry = Entry(path, key, value, len(self.lines) + 1)
        within.items.append(entry)

    def _close(self) -> None:
        if len(self.open) == 1:
            raise Refused("a closing brace without a section to close")
        done = self.open.pop()
        section = Section(done.path, done.name, done.line, len(self.lines) + 1, tuple(done.items))
        self.open[-1].items.append(section)
        self.sections.setdefault(section.path, []).append(section)  # of one path none is in another: they close in file order


def _check_length(path: str, name: str) -> None:
    if len(encoded(path)) + len(encoded(name)) + 1 > PATH_BYTES:
        raise Refused(f"the name with its sections' names is longer than {PATH_BYTES - 1} bytes")


def _check_name(path: str) -> None:
    raw = encoded(path)
    if len(raw) < KEY_BYTES_MIN:
        raise Refused(f"a key outside a section needs at least {KEY_BYTES_MIN} characters")
    if not KEY_CHARACTERS.issuperset(raw):
        raise Refused("the key, with its sections' names, may be made of letters, digits and . _ - / : only")
