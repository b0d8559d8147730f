"""Requests looked at where they come in: what no message, file or log line could carry is refused here, with one line."""

from collections.abc import Iterator
from typing import Any

from corolistener.errors import RequestRefused

WHOLE_MOST = 2**53 - 1
"""Whole numbers up to here survive JSON, every message and every file."""
DEEP_MOST = 4
TEXT_MOST = 1024
"""Bytes of a text; only a whole file may be longer."""
LIST_MOST = 1000
SHOWN_MOST = 60
LONG = {("config-push", "text")}
"""Arguments that hold a whole file: what reads them bounds them."""

Frame = dict[str, Any]


def shown(value: object) -> str:
    """A value in an error's text: on one line, printable, short."""
    text = ascii(value)
    return text if len(text) <= SHOWN_MOST else f"{text[:SHOWN_MOST]}…"


def one_line(text: str) -> str:
    """A text that may have a client's own words in it, as terminals may show it."""
    return "".join(each if each.isprintable() else "?" for each in text)


def check(verb: str, args: Frame) -> None:
    """Raises RequestRefused `bad-request` for an argument that is too large, too long, too deep or no text."""
    for name, value in args.items():
        try:
            _name(name)
            for each in _leaves(value, 1):
                _leaf(each, (verb, name) in LONG)
        except ValueError as error:
            raise RequestRefused("bad-request", f"{verb}: {shown(name)}: {error}") from None


def _name(name: str) -> None:
    if not name.isascii() or len(name) > SHOWN_MOST:
        raise ValueError("no argument is called so")


def _leaves(value: object, depth: int) -> Iterator[object]:
    if depth > DEEP_MOST:
        raise ValueError(f"lists within lists, more than {DEEP_MOST} deep")
    if isinstance(value, dict | list):
        if len(value) > LIST_MOST:
            raise ValueError(f"{len(value)} values; {LIST_MOST} at most")
        for each in value.items() if isinstance(value, dict) else value:
            yield from _leaves(list(each) if isinstance(each, tuple) else each, depth + 1)
    else:
        yield value


def _leaf(value: object, long: bool) -> None:
    if isinstance(value, float):
        raise ValueError("not a whole number, or too large")
    if isinstance(value, int) and not -WHOLE_MOST <= value <= WHOLE_MOST:
        raise ValueError(f"a number beyond {WHOLE_MOST}")
    if isinstance(value, str):
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError("a text that is no Unicode") from None
        if "\0" in value:
            raise ValueError("a text with a NUL in it")
        if size > TEXT_MOST and not long:
            raise ValueError(f"a text of {size} bytes; {TEXT_MOST} at most")
