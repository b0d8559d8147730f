"""What cffi hands out, as far as this room uses it. Types only: there is no such module at run time."""

from collections.abc import Callable
from types import TracebackType
from typing import Generic, Literal, TypeVar, overload

F = TypeVar("F", bound=Callable[..., None])
T = TypeVar("T")

class CData:
    """Anything of C's."""

class Array(CData, Generic[T]):
    """A C array, or a pointer to one or many."""
    def __getitem__(self, index: int, /) -> T: ...

class Integers(Array[int]):
    def __setitem__(self, index: int, value: int, /) -> None: ...

class Chars(CData):
    def __len__(self) -> int: ...

class Buffer:
    def __getitem__(self, index: int | slice, /) -> bytes: ...

class FFI:
    NULL: CData
    def buffer(self, cdata: CData, size: int = -1, /) -> Buffer: ...
    def from_buffer(self, python_buffer: bytes, /) -> Chars: ...
    def string(self, cdata: CData, maxlen: int = -1, /) -> bytes: ...
    @overload
    def unpack(self, cdata: Chars, length: int, /) -> bytes: ...
    @overload
    def unpack(self, cdata: Array[T], length: int, /) -> list[T]: ...
    def def_extern(
        self, name: str, *, onerror: Callable[[type[BaseException], BaseException, TracebackType], None]
    ) -> Callable[[F], F]: ...
    def new(self, cdecl: Literal["int *"], /) -> Integers: ...
