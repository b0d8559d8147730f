"""Edits of corosync.conf: each returns a new Document that differs in the bytes of what was edited and in no other.

New lines look like their neighbours: indentation, the blanks around colon and brace, and the line ending are copied.
Every edit is read back before it is returned. What cannot be written as corosync.conf (a value with a line break, a
brace or blanks at its ends, a line that gets too long) raises ConfigError and changes nothing.
"""

from collections.abc import Iterable, Sequence

from corolistener.coroconf.lines import BLANKS, Kind, Line
from corolistener.coroconf.tree import Document, Entry, Section, encoded, parse
from corolistener.errors import ConfigError

Edit = tuple[int, int, Sequence[Line]]
"""Lines from the first number to before the second, counted from 0, become these."""
Pairs = Iterable[tuple[str, str]]
"""Keys and values of a new section, in the order they are to be written."""


def set_value(document: Document, section: Section, key: str, value: str) -> Document:
    """The document with `key: value` in the section: the value's bytes replaced, or a line added."""
    return set_values(document, key, ((section, value),))


def set_values(document: Document, key: str, values: Iterable[tuple[Section, str]]) -> Document:
    """The same for several sections, none inside another, each with a value of its own. Read back once, not once for each."""
    edits, shown = list[Edit](), ""
    for section, value in values:
        entry = section.entry(key)
        if entry is not None and entry.value == value:
            continue
        shown = f"{key}: {value}"
        if entry is not None:
            edits.append((entry.line - 1, entry.line, (_with_value(document, entry, value),)))
        else:
            at = section.entries[-1].line if section.entries else section.line
            line = _model_entry(document, section)._replace(name=_raw(document, key), value=_raw(document, value))
            edits.append((at, at, (line,)))
    return _edited(document, sorted(edits, key=lambda edit: edit[:2]), shown) if edits else document


def replace_value(document: Document, entry: Entry, value: str) -> Document:
    """The document with another value for that entry. The same value gives the same document."""
    if entry.value == value:
        return document
    line = _with_value(document, entry, value)
    return _changed(document, entry.line - 1, entry.line, (line,), f"{entry.key}: {value}")


def _with_value(document: Document, entry: Entry, value: str) -> Line:
    return document.lines[entry.line - 1]._replace(value=_raw(document, value))


def remove(document: Document, entry: Entry) -> Document:
    """The document without that entry's line."""
    return _changed(document, entry.line - 1, entry.line, (), entry.key)


def remove_section(document: Document, section: Section) -> Document:
    """The document without the section: its lines from the opening to the closing one, comments between included."""
    return _changed(document, section.line - 1, section.end, (), section.name)


def add_section(document: Document, parent: Section, name: str, entries: Pairs) -> Document:
    """The document with a new section after the parent's last of that name, or else at the parent's end."""
    siblings = [sibling for sibling in parent.subsections if sibling.name == name]
    at = siblings[-1].end if siblings else parent.end - 1
    opening = _model_opening(document, parent, siblings)
    model = _model_entry(document, siblings[-1]) if siblings else _first_entry(document, opening)
    body = [model._replace(name=_raw(document, key), value=_raw(document, value)) for key, value in entries]
    closing = Line(Kind.CLOSE, opening.before, b"}", b"", b"", opening.after)
    new = (opening._replace(name=_raw(document, name)), *body, closing)
    return _changed(document, at, at, new, f"section {name}")


def _changed(document: Document, start: int, end: int, new: Sequence[Line], what: str) -> Document:
    """Lines start..end (0-based, end excluded) replaced by `new`, read back and compared."""
    return _edited(document, [(start, end, new)], what)


def _edited(document: Document, edits: Sequence[Edit], what: str) -> Document:
    """All of these edits, which are in the order of the file and do not overlap, read back and compared."""
    wanted: list[Line] = []
    done = 0
    for start, end, new in edits:
        wanted += document.lines[done:start]
        if wanted and start == len(document.lines) and not wanted[-1].ending:
            wanted[-1] = wanted[-1]._replace(after=wanted[-1].after + _ending(document))
        wanted += new
        done = end
    wanted += document.lines[done:]
    start = edits[0][0]
    try:
        result = parse(b"".join(line.to_bytes() for line in wanted), document.path)
    except ConfigError as error:
        raise ConfigError(document.path, error.line, f"cannot write {what!r}: {error.why}", error.text) from None
    if [(line.kind, line.name, line.value) for line in result.lines] != [(line.kind, line.name, line.value) for line in wanted]:
        raise ConfigError(document.path, start + 1, f"cannot write {what!r}: corosync would read it differently")
    return result


def _raw(document: Document, text: str) -> bytes:
    """The text as the file's bytes."""
    try:
        return encoded(text)
    except UnicodeEncodeError:
        raise ConfigError(document.path, 0, f"cannot write {text!r}: it has no bytes") from None


def _ending(document: Document) -> bytes:
    """The file's own line ending: that of its first line, LF in a file without any."""
    return document.lines[0].ending if document.lines and document.lines[0].ending else b"\n"


def _step(document: Document) -> bytes:
    """What one level of this file is indented by: from the first section inside which something is; a tab if none."""
    for section in (document.root, *(item for item in document.root.walk() if isinstance(item, Section))):
        if section.path and section.items:
            outer = document.lines[section.line - 1].before
            inner = document.lines[section.items[0].line - 1].before
            if inner.startswith(outer) and len(inner) > len(outer):
                return inner[len(outer) :]
    return b"\t"


def _model_entry(document: Document, section: Section) -> Line:
    """A line to copy for a new entry of this section: its last one, or one made to fit under its opening line."""
    if section.entries:
        line = document.lines[section.entries[-1].line - 1]
        between = line.between if line.value else line.between.rstrip(BLANKS) + b" "
        return line._replace(between=between, after=_after(document, line))
    if not section.path:
        return Line(Kind.ENTRY, b"", b"", b": ", b"", _ending(document))
    return _first_entry(document, document.lines[section.line - 1])


def _first_entry(document: Document, opening: Line) -> Line:
    return Line(Kind.ENTRY, opening.before + _step(document), b"", b": ", b"", _after(document, opening))


def _model_opening(document: Document, parent: Section, siblings: Sequence[Section]) -> Line:
    """A line to copy for the opening of a new section in the parent."""
    if siblings:
        line = document.lines[siblings[-1].line - 1]
        return line._replace(after=_after(document, line))
    if not parent.path:
        return Line(Kind.OPEN, b"", b"", b" {", b"", _ending(document))
    within = document.lines[parent.line - 1]
    return Line(Kind.OPEN, within.before + _step(document), b"", b" {", b"", _after(document, within))


def _after(document: Document, line: Line) -> bytes:
    """The line's ending without what else stands after its value (blanks, bytes behind a NUL)."""
    return line.ending or _ending(document)
