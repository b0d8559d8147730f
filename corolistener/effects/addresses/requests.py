"""The two netlink requests that change an address (rtnetlink(7)); bytes and one socket.

Packed here and not by pyroute2, whose request and answer took 2 to 6 ms in a process that had been idle for half a second,
as before every takeover: most of it to bring its code back into the processor's caches. This is two system calls.

The kernel carries a request out, and queues its answer, before send() returns, so nothing here waits for an answer: one
that is not there by then was lost, and reading it fails (ENOBUFS, or EAGAIN). What send() itself may wait for is the kernel's
lock on the network configuration (3 ms at the most while 300 devices were being deleted, 0.02 ms as a rule), which no
timeout of a socket bounds; it is the same for every program and library.
"""

import os
import socket
import struct
from enum import Enum

from corolistener.effects.addresses.frames import Ip

SOL_NETLINK, CAP_ACK, EXT_ACK = 270, 10, 11  # linux/netlink.h; Python's socket module does not name them
HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
ADDRESS = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length with itself, type; what follows is filled up to a multiple of 4."""
REQUEST, ACK, EXCLUSIVE, CREATE = 0x1, 0x4, 0x200, 0x400
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO = 1, 2, 6
NODAD, FOREVER = 0x02, 0xFFFFFFFF
ERROR, EXPLAINED, EXPLANATION = 2, 0x200, 1
TYPE_MASK = 0x3FFF
ANSWER_BYTES = 4096


class Verb(Enum):
    """Type and flags of the request."""

    ADD = (20, REQUEST | ACK | CREATE | EXCLUSIVE)
    REMOVE = (21, REQUEST | ACK)


def request(verb: Verb, index: int, ip: Ip, prefix: int, number: int) -> bytes:
    """The bytes that put `ip` on the device `index`, or take it off; `number` (32 bits) comes back in the answer.

    IPv6: without duplicate address detection, which would keep it unusable for a second; and deprecated, so that no
    connection of the node's own takes it as its source and breaks when it moves. An IPv4 address is no source of that
    kind either, unless its mask makes it the subnet's first.
    """
    family, flags = (socket.AF_INET, 0) if ip.version == 4 else (socket.AF_INET6, NODAD)
    body = ADDRESS.pack(family, prefix, flags, 0, index) + _attribute(IFA_LOCAL, ip.packed) + _attribute(IFA_ADDRESS, ip.packed)
    if ip.version == 6:
        body += _attribute(IFA_CACHEINFO, struct.pack("=IIII", 0, FOREVER, 0, 0))
    kind, how = verb.value
    return HEADER.pack(HEADER.size + len(body), kind, how, number, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value


def refusal(answer: bytes, number: int) -> OSError | None:
    """What the kernel's answer to the request of this number says; None: done. Raises LookupError: it answers another."""
    _, kind, flags, answered, _ = HEADER.unpack_from(answer)
    if (kind, answered) != (ERROR, number):
        raise LookupError
    code = -struct.unpack_from("=i", answer, HEADER.size)[0]
    if code == 0:
        return None
    words = _explanation(answer) if flags & EXPLAINED else ""
    return OSError(code, words or os.strerror(code))


def _explanation(answer: bytes) -> str:
    """The kernel's own words. Before them: header, error code, and the header of what was asked (CAP_ACK)."""
    at = HEADER.size + 4 + HEADER.size
    while at + ATTRIBUTE.size <= len(answer):
        length, kind = ATTRIBUTE.unpack_from(answer, at)
        if kind & TYPE_MASK == EXPLANATION:
            return answer[at + ATTRIBUTE.size : at + length].rstrip(b"\0").decode(errors="replace")
        at += max(length + 3 & ~3, ATTRIBUTE.size)
    return ""


class Requests:
    """A socket of its own, so that its answers never queue behind news."""

    def __init__(self) -> None:
        self._number = 0

    def open(self) -> None:
        """Raises OSError: no netlink here."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        for option in (CAP_ACK, EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def ask(self, verb: Verb, index: int, ip: Ip, prefix: int) -> None:
        """Carry out one request. Raises OSError with the kernel's words if it was refused or not answered."""
        try:
            refused = self._exchange(verb, index, ip, prefix)
        except OSError:
            # A broken socket stays broken: the next request, the lane's retry, has a new one.
            self.close()
            self.open()
            raise
        if refused:
            raise refused

    def _exchange(self, verb: Verb, index: int, ip: Ip, prefix: int) -> OSError | None:
        self._number = self._number % 0xFFFFFFFF + 1
        self._socket.send(request(verb, index, ip, prefix, self._number))
        while True:
            try:
                return refusal(self._socket.recv(ANSWER_BYTES), self._number)
            except LookupError:
                continue  # to a request before this one
