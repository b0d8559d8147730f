"""Where in a TOML file a key stands. tomllib does not say, and an administrator needs the line.

A search, not a parser: it looks for a key among the lines of its table. Where it is fooled (a key inside a string of
several lines) the line is wrong and nothing else.
"""

import re

HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
AT_LINE = re.compile(r"line (\d+)")


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in PART.findall(dotted))


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Path of each key and table header to the 1-based line where it first stands.

    In an array of tables `[[a.b]]` the n-th element (from 0) is the part `str(n)`: ("a", "b", "0", "key").
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    elements: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if header := HEADER.match(line):
            table = _within(_parts(header[2]), elements)
            if header[1] == "[[":
                found.setdefault(table, number)
                elements[table] = elements.get(table, -1) + 1
                table = (*table, str(elements[table]))
            found.setdefault(table, number)
        elif key := KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    return found


def _within(table: tuple[str, ...], elements: dict[tuple[str, ...], int]) -> tuple[str, ...]:
    """A table below an array of tables belongs to its newest element."""
    for length in range(1, len(table)):
        if table[:length] in elements:
            return (*table[:length], str(elements[table[:length]]), *table[length:])
    return table


def line_of(text: str, *path: str) -> int:
    """The line of the key at `path`, or of the innermost table around it that has one, or 0."""
    lines = lines_of(text)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return next((line for parts, line in lines.items() if parts[: len(path)] == path), 0)


def line_in_message(message: str) -> int:
    """The line that one of tomllib's own errors speaks of, or 0."""
    match = AT_LINE.search(message)
    return int(match[1]) if match else 0
