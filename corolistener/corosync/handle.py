"""What the connections to all five libraries have in common: calling, dispatching, closing."""

from __future__ import annotations

from .errors import OK, BadHandle, InvalidParam, NameTooLong, TryAgain, check

TYPE_CHECKING = False  # importing typing takes 3 ms, more than all of this room; `corolistener -l` has no time for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self, TypeVarTuple

    from ._cdata import FFI

    Arguments = TypeVarTuple("Arguments")

MOST_AT_ONCE = 64
"""Upper bound of one dispatch(), so that a flood of messages cannot keep the caller from its other work."""


class Inbox:
    """What the callbacks of one handle have copied and nobody has fetched yet."""

    __slots__ = ("failure", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.failure: BaseException | None = None


class Library:
    """The calls that every library has under a name of its own, and the inboxes of its open handles."""

    def __init__(
        self,
        ffi: FFI,
        fd_get: Callable[[int, Any], int],
        dispatch: Callable[[int, int], int],
        finalize: Callable[[int], int],
        one_nonblocking: int,
    ) -> None:
        self.ffi, self.fd_get, self.dispatch, self.finalize = ffi, fd_get, dispatch, finalize
        self.one_nonblocking = one_nonblocking
        self.inboxes: dict[int, Inbox] = {}

    def failed(self, kind: type[BaseException], failure: BaseException, traceback: TracebackType) -> None:
        """Keep what a callback raised until dispatch() is back from C: it must not pass through C's frames.

        Every callback calls its first argument `handle`; that is how the inbox is found.
        """
        self.inboxes[traceback.tb_frame.f_locals["handle"]].failure = failure


class Handle:
    """One connection to corosync; a context manager.

    Calls other than dispatch() wait for corosync's answer, without limit should corosync itself be stopped. They raise
    the CsError of the status; TryAgain is not retried here. When corosync has gone, fileno() becomes readable and
    every call raises LibraryUnavailable: close the handle and open another; what was not dispatched by then is lost.
    After close() every call raises BadHandle.

    A handle belongs to one thread at a time. dispatch() keeps 1 MiB of message on the C stack: call it from the main
    thread, or from one whose stack is known to be large enough.
    """

    def __init__(self, library: Library, handle: int) -> None:
        """Take over a `handle` that C has just opened."""
        self._library, self._handle = library, handle
        self._inbox = library.inboxes[handle] = Inbox()
        fd = library.ffi.new("int *")
        try:
            self._call(library.fd_get, fd)
        except BaseException:
            self.close()
            raise
        self._fd = fd[0]

    def fileno(self) -> int:
        """The descriptor that is readable when dispatch() has something to do; the handle keeps owning it."""
        if not self._handle:
            raise BadHandle("fileno")
        return self._fd

    def close(self) -> None:
        """Give the connection back; never raises, also twice and also when corosync has gone."""
        handle, self._handle = self._handle, 0
        if handle:
            self._library.finalize(handle)  # its status only says whether corosync was still there to hear it
            del self._library.inboxes[handle]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, function: Callable[[int, *Arguments], int], *arguments: *Arguments) -> None:
        """Call `function` of C with this handle; raises the CsError of what it answers."""
        if not self._handle:
            raise BadHandle(function.__name__)
        check(function.__name__, function(self._handle, *arguments))

    def _dispatch(self) -> list[Any]:
        """What callbacks copied, oldest first, at most MOST_AT_ONCE of them; empty if there is nothing. Never blocks.

        Bad news waits behind good: values that were copied before the connection broke are returned first, and the
        next dispatch() raises. What a callback raised is raised at once; the values before it are returned by the next one.
        """
        library, inbox = self._library, self._inbox
        if not self._handle:
            raise BadHandle(library.dispatch.__name__)
        status = OK
        for _ in range(MOST_AT_ONCE):
            status = library.dispatch(self._handle, library.one_nonblocking)
            if inbox.failure is not None:
                failure, inbox.failure = inbox.failure, None
                raise failure
            if status != OK:
                break
        values, inbox.values = inbox.values, []
        if not values and status != TryAgain.status:  # TryAgain: nothing is there
            check(library.dispatch.__name__, status)
        return values


def text(raw: bytes) -> str:
    """C's bytes as str; bytes that are not UTF-8 survive the way back through `encoded`."""
    return raw.decode("utf-8", "surrogateescape")


def encoded(name: str | bytes) -> bytes:
    """The opposite of `text`; bytes are taken as they are."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def c_string(call: str, name: str, most: int) -> bytes:
    """`name` for a C function that copies it into `most` bytes without looking; raises NameTooLong, InvalidParam."""
    raw = encoded(name)
    if len(raw) > most:
        raise NameTooLong(call)
    if b"\0" in raw:
        raise InvalidParam(call)
    return raw
