"""The packet sockets: one to speak, one to listen with for each protocol.

They are opened once, at start: binding one to a protocol takes the kernel 8 ms and closing it 16 ms (a grace period),
which has no place in a takeover. A speaker that is never bound does not pay that; a listener hears all devices and is
told by its filter which one counts, so a device that appears later needs no binding either.
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable

from corolistener.effects.addresses.frames import DEAF

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's socket module does not name it
HEARD_BYTES = 8192
LONGEST = 128


class Speaker:
    """Sends whole frames from any device."""

    def open(self) -> None:
        """Raises OSError: no right to packet sockets (CAP_NET_RAW)."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)

    def close(self) -> None:
        self._socket.close()

    def say(self, frame: bytes, device: str) -> None:
        """Put one frame on the wire; raises OSError: device down, gone, or its queue full."""
        self._socket.sendto(frame, (device, int.from_bytes(frame[12:14], "big")))


class Listener:
    """Hears the incoming frames of one protocol that pass a filter; deaf until told otherwise."""

    def __init__(self, protocol: int, heard: Callable[[bytes], None]) -> None:
        self._protocol, self._heard = protocol, heard

    def open(self) -> None:
        """Raises OSError: no right to packet sockets (CAP_NET_RAW)."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(self._protocol))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HEARD_BYTES)
        self.deafen()
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def listen(self, program: bytes) -> None:
        """Let through what `program` (see frames) accepts."""
        code = ctypes.create_string_buffer(program, len(program))
        fprog = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)

    def deafen(self) -> None:
        """Let nothing through, and forget what has come through and was not heard yet."""
        self.listen(DEAF)
        while self._receive():
            pass

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(LONGEST)
        except OSError:  # nothing there, or the device just went: the next frame tells
            return b""

    def _readable(self) -> None:
        if frame := self._receive():
            self._heard(frame)
