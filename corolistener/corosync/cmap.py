"""corosync's map of configuration and run-time state (libcmap): typed values under dotted keys.

`corolistener -l` imports this without a daemon to ask, hence nothing here imports typing, dataclasses or logging.
"""

from __future__ import annotations

from collections import namedtuple
from enum import IntEnum, IntFlag

from ._cmap import ffi, lib
from .errors import InvalidParam, NoSections, NotExist, check
from .handle import TYPE_CHECKING, Handle, Library, c_string, encoded, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple

    from ._cdata import CData, Chars
    from ._cmap import NotifyValue

Value = int | float | str | bytes

FIRST_SIZE = 512
"""Bytes offered for a value at first: nearly every value fits, so that get() is one question and one answer."""


class Map(IntEnum):
    """What to connect to: configuration and run-time state, or the read-only counters under `stats.`."""

    ICMAP = 0
    STATS = 1


class Type(IntEnum):
    """How corosync keeps a value; here INT and UINT are int, FLOAT and DOUBLE float, STRING str, BINARY bytes."""

    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    INT64 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    BINARY = 12


class Event(IntFlag):
    """What can happen to a key."""

    DELETED = 1
    MODIFIED = 2
    ADDED = 4


EVERY_EVENT = Event.ADDED | Event.MODIFIED | Event.DELETED

if TYPE_CHECKING:

    class KeyChanged(NamedTuple):
        """A tracked key was changed; `new` is None if it was deleted, `old` is None if it was added."""

        event: Event
        key: str
        new: Value | None
        old: Value | None

else:
    KeyChanged = namedtuple("KeyChanged", "event key new old")

_NUMBERS: dict[int, str] = {
    Type.INT8: "int8_t *",
    Type.UINT8: "uint8_t *",
    Type.INT16: "int16_t *",
    Type.UINT16: "uint16_t *",
    Type.INT32: "int32_t *",
    Type.UINT32: "uint32_t *",
    Type.INT64: "int64_t *",
    Type.UINT64: "uint64_t *",
    Type.FLOAT: "float *",
    Type.DOUBLE: "double *",
}
_library = Library(ffi, lib.cmap_fd_get, lib.cmap_dispatch, lib.cmap_finalize, lib.CS_DISPATCH_ONE_NONBLOCKING)


class Cmap(Handle):
    """A connection to one of corosync's maps. Values, once tracked: KeyChanged.

    A key is 3 to 255 of the characters a-z A-Z 0-9 . _ - / :, which corosync checks when it is created: NameTooLong.
    """

    def __init__(self, which: Map = Map.ICMAP) -> None:
        """Connect; raises LibraryUnavailable without corosync, Access without the right, TryAgain when it is busy."""
        handle = ffi.new("cmap_handle_t *")
        check("cmap_initialize_map", lib.cmap_initialize_map(handle, which))
        super().__init__(_library, handle[0])

    def dispatch(self) -> list[KeyChanged]:
        """What has happened since the last call, oldest first; never blocks. See Handle for what it raises."""
        return self._dispatch()

    def get(self, key: str) -> Value:
        """The value of `key`; raises NotExist."""
        return _value(*self._read(_key("cmap_get", key)))

    def get_typed(self, key: str) -> tuple[Type, Value]:
        """The value of `key` and how corosync keeps it; raises NotExist."""
        kind, raw = self._read(_key("cmap_get", key))
        return Type(kind), _value(kind, raw)

    def set(self, key: str, value: Value, kind: Type) -> None:
        """Create or change `key`, value and kind; BINARY and STRING up to 16 KiB, or InvalidParam.

        Raises Access if the key is read-only, OverflowError or TypeError if `value` is no `kind`.
        """
        raw = _raw(value, kind)
        self._call(lib.cmap_set, _key("cmap_set", key), ffi.from_buffer(raw), len(raw), kind)

    def delete(self, key: str) -> None:
        """Remove `key`; raises NotExist, or Access if it is read-only."""
        self._call(lib.cmap_delete, _key("cmap_delete", key))

    def inc(self, key: str) -> None:
        """Add one to a number; raises NotExist, InvalidParam if it is no integer."""
        self._call(lib.cmap_inc, _key("cmap_inc", key))

    def dec(self, key: str) -> None:
        """Subtract one from a number; raises NotExist, InvalidParam if it is no integer."""
        self._call(lib.cmap_dec, _key("cmap_dec", key))

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with `prefix`, sorted; all keys without one."""
        start = c_string("cmap_iter_init", prefix, lib.CMAP_KEYNAME_MAXLEN) if prefix else ffi.NULL
        iteration, name = ffi.new("cmap_iter_handle_t *"), ffi.new("char[]", lib.CMAP_KEYNAME_MAXLEN + 1)
        self._call(lib.cmap_iter_init, start, iteration)
        found = []
        try:
            while True:
                self._call(lib.cmap_iter_next, iteration[0], name, ffi.NULL, ffi.NULL)
                found.append(text(ffi.string(name)))
        except NoSections:
            return sorted(found)
        finally:
            lib.cmap_iter_finalize(self._handle, iteration[0])

    def iterate(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Keys that begin with `prefix`, sorted, and their values; what is deleted meanwhile is left out."""
        for key in self.keys(prefix):
            try:
                yield key, self.get(key)
            except NotExist:
                continue

    def track_add(self, key: str, *, prefix: bool = False, events: Event = EVERY_EVENT) -> int:
        """Ask for a value at each of `events` of `key`, or of all keys that begin with it; returns the track's handle.

        A key need not exist yet. Setting the value that is there already is no event.
        """
        name = c_string("cmap_track_add", key, lib.CMAP_KEYNAME_MAXLEN) if key else ffi.NULL
        flags = events | (lib.CMAP_TRACK_PREFIX if prefix else 0)
        track = ffi.new("cmap_track_handle_t *")
        self._call(lib.cmap_track_add, name, flags, lib.cmap_key_changed, ffi.NULL, track)
        return track[0]

    def track_delete(self, track: int) -> None:
        """End what track_add() began; raises BadHandle for a `track` that is not there."""
        self._call(lib.cmap_track_delete, track)

    def _read(self, key: bytes) -> tuple[int, bytes]:
        """Type and bytes of a value of any size, which may grow while we ask."""
        size, kind = ffi.new("size_t *", FIRST_SIZE), ffi.new("cmap_value_types_t *")
        while True:
            offered = size[0]
            buffer = ffi.new("char[]", offered)
            try:
                self._call(lib.cmap_get, key, buffer, size, kind)
            except InvalidParam:
                self._call(lib.cmap_get, key, ffi.NULL, size, kind)
                if size[0] <= offered:
                    raise
            else:
                return kind[0], ffi.buffer(buffer, size[0])[:]


def _key(call: str, key: str) -> bytes:
    return c_string(call, key, lib.CMAP_KEYNAME_MAXLEN)


def _value(kind: int, raw: bytes) -> Value:
    """Bytes of corosync's as Python's; a kind unknown to this version stays bytes."""
    if kind == Type.STRING:
        return text(raw.partition(b"\0")[0])
    number = _NUMBERS.get(kind)
    return ffi.cast(number, ffi.from_buffer(raw))[0] if number else raw


def _raw(value: Value, kind: Type) -> bytes:
    """The opposite of `_value`."""
    if isinstance(value, (str, bytes)):
        if kind != (Type.STRING if isinstance(value, str) else Type.BINARY):
            raise TypeError(f"{value!r} is no {kind.name}")
        return encoded(value)
    if kind not in _NUMBERS:
        raise TypeError(f"{value!r} is no {kind.name}")
    return ffi.buffer(ffi.new(_NUMBERS[kind], value))[:]


def _noted(value: NotifyValue) -> Value | None:
    return _value(value.type, ffi.buffer(value.data, value.len)[:]) if value.type else None


@ffi.def_extern("cmap_key_changed", onerror=_library.failed)
def _key_changed(handle: int, track: int, event: int, key: Chars, new: NotifyValue, old: NotifyValue, context: CData) -> None:
    value = KeyChanged(Event(event), text(ffi.string(key)), _noted(new), _noted(old))
    _library.inboxes[handle].values.append(value)
