"""A witness of what happens on a machine and on its wire, that knows nothing of corolistener.

As a program (stdlib alone, `python -I witness.py`) it prints one JSON object a line, at once:

    {"kind": "ready", …}
    {"kind": "address", "what": "new"|"deleted", "address", "prefix", "device", "tentative", …}
    {"kind": "arp", "op": "request"|"reply", "sender", "target", "mac", "gratuitous", "device", "direction", …}
    {"kind": "na", "address", "mac", "solicited", "override", "device", "direction", …}

each with `wall` (CLOCK_REALTIME) and `boottime` (CLOCK_BOOTTIME) in ns: for frames the kernel's own stamp, for
addresses the moment the news was read. `Witness` runs it and collects the lines.
"""

import argparse
import array
import fnmatch
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.machine import Init

Fact = dict[str, Any]

SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35  # asm-generic/socket.h
ETH_P_ALL, ETH_P_ARP = 0x0003, 0x0806
PACKET_OUTGOING = 4
NETLINK_ROUTE, RTM_NEWADDR, RTM_DELADDR = 0, 20, 21
RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100
IFA_ADDRESS, IFA_LOCAL, IFA_F_TENTATIVE = 1, 2, 0x40

# arp, or ip6 whose next header is icmp6 of type 136: nothing else reaches us, however busy the wire.
FILTER = [
    (0x28, 0, 0, 12), (0x15, 5, 0, 0x0806), (0x15, 0, 5, 0x86DD), (0x30, 0, 0, 20), (0x15, 0, 3, 58),
    (0x30, 0, 0, 54), (0x15, 0, 1, 136), (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0),
]  # fmt: skip


def packet_socket() -> socket.socket:
    """Every ARP and neighbour advertisement on every device, with the kernel's time stamps."""
    taps = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    program = array.array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in FILTER))
    attached = struct.pack("HP", len(FILTER), program.buffer_info()[0])
    taps.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)
    taps.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    while select.select([taps], [], [], 0)[0]:
        taps.recv(1)  # came before the filter did
    return taps


def netlink_socket() -> socket.socket:
    """The kernel's news of addresses, both families."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
    news.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    return news


def stamps(wall: int | None = None) -> Fact:
    """A moment (default: now) on both clocks, ns."""
    now, boottime = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return {"wall": wall or now, "boottime": boottime - (now - wall if wall else 0)}


def mac(raw: bytes) -> str:
    """A hardware address in its usual form."""
    return raw.hex(":")


def frame_fact(frame: bytes) -> Fact | None:
    """What a frame that passed FILTER says; None if it is too short to say it."""
    try:
        if struct.unpack_from("!H", frame, 12)[0] == ETH_P_ARP:
            op, sender_mac, sender, _, target = struct.unpack_from("!6xH6s4s6s4s", frame, 14)
            kind = {1: "request", 2: "reply"}.get(op, str(op))
            fact = {"kind": "arp", "op": kind, "mac": mac(sender_mac), "gratuitous": sender == target}
            return fact | {"sender": socket.inet_ntoa(sender), "target": socket.inet_ntoa(target)}
        flags, address = struct.unpack_from("!4xI16s", frame, 54)
    except struct.error:
        return None
    fact = {"kind": "na", "address": socket.inet_ntop(socket.AF_INET6, address), "mac": mac(frame[6:12])}
    return fact | {"solicited": bool(flags & 0x40000000), "override": bool(flags & 0x20000000)}


def frame_facts(taps: socket.socket) -> Iterator[Fact]:
    """The fact of one received frame, if it is one."""
    frame, ancillary, _, (device, _, kind, *_) = taps.recvmsg(2048, 64)
    fact = frame_fact(frame)
    if fact is not None:
        walls = [struct.unpack("qq", raw) for _, what, raw in ancillary if what == SO_TIMESTAMPNS]
        direction = "out" if kind == PACKET_OUTGOING else "in"
        stamped = stamps(walls[0][0] * 10**9 + walls[0][1] if walls else None)
        yield fact | {"device": device, "direction": direction} | stamped


def attributes(data: bytes) -> dict[int, bytes]:
    """The netlink attributes in `data` by type."""
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        found[kind] = data[at + 4 : at + length]
        at += max(4, length + 3 & ~3)
    return found


def address_facts(news: socket.socket) -> Iterator[Fact]:
    """The facts of one datagram of address news."""
    data, at, now = news.recv(65536), 0, stamps()
    while at + 16 <= len(data):
        length, what = struct.unpack_from("IH", data, at)
        if what in (RTM_NEWADDR, RTM_DELADDR):
            family, prefix, flags, _, index = struct.unpack_from("BBBBI", data, at + 16)
            said = attributes(data[at + 24 : at + length])
            raw = said.get(IFA_LOCAL) or said[IFA_ADDRESS]
            fact = {"kind": "address", "what": "new" if what == RTM_NEWADDR else "deleted"}
            fact |= {"address": socket.inet_ntop(family, raw), "prefix": prefix, "device": device_name(index)}
            yield fact | {"tentative": bool(flags & IFA_F_TENTATIVE)} | now
        at += max(16, length + 3 & ~3)


def device_name(index: int) -> str:
    """The name of a device, or its number once it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def watch(pattern: str, incoming: bool) -> Iterator[Fact]:
    """Facts, for ever: addresses, and the frames on devices that match `pattern`."""
    taps, news = packet_socket(), netlink_socket()
    yield {"kind": "ready"} | stamps()
    while True:
        ready, _, _ = select.select([taps, news], [], [])
        if news in ready:
            yield from address_facts(news)
        if taps in ready:
            for fact in frame_facts(taps):
                if fnmatch.fnmatch(fact["device"], pattern) and not (incoming and fact["direction"] == "out"):
                    yield fact


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="Print what happens to addresses and on the wire, one JSON object a line.")
    parser.add_argument("--device", default="*", metavar="PATTERN", help="only frames on matching devices (default: all)")
    parser.add_argument("--incoming", action="store_true", help="only frames that come in")
    options = parser.parse_args()
    for fact in watch(options.device, options.incoming):
        print(json.dumps(fact), flush=True)


class Witness:
    """The program above, running in the namespaces of `init` and writing to `file`."""

    def __init__(self, init: "Init", file: Path, *options: str) -> None:
        self.file = file
        argv = [sys.executable, "-I", str(Path(__file__).resolve()), *options]
        with file.open("w") as out:
            self._running: subprocess.Popen[Any] = init.popen(argv, stdin=subprocess.DEVNULL, stdout=out)
        self.wait(lambda fact: fact["kind"] == "ready", "the witness is ready")

    def facts(self) -> list[Fact]:
        """Everything seen so far, oldest first."""
        return [json.loads(line) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, wanted: Callable[[Fact], bool], what: str, limit: float = 30) -> Fact:
        """The first fact that is `wanted`, as soon as there is one; AssertionError with `what` after `limit` s."""
        from lab.waiting import wait_for  # not at the top: the program runs without the lab

        return wait_for(lambda: next(filter(wanted, self.facts()), None) or {}, what, limit, 0.01)

    def stop(self) -> None:
        """End it; what it has seen stays readable."""
        self._running.kill()
        self._running.wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
