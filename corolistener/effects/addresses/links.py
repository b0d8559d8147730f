"""Devices and their addresses as the kernel last told us, and the two changes of an address.

Notifications have a socket of their own: on a shared one, another program's notification with our sequence number
would pass for our answer. It is read without waiting, so that whoever needs the newest state calls read() first. The
kernel queues the notification of a change before it acknowledges the request; of IPv6 additions it may tell later.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyroute2 import AsyncIPRoute, IPRSocket, NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK

from corolistener.effects.addresses.frames import Ip
from corolistener.effects.addresses.requests import Requests, Verb

GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
QUEUE_BYTES = 4 << 20
UP_AND_RUNNING = 0x1 | 0x40
ETHERNET = 1
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Link:
    """One device. `mac` is empty where it is not Ethernet's."""

    index: int
    name: str
    mac: bytes
    running: bool


class Links:
    """Every device and address of this network namespace. `changed` is called after each batch of news."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._links: dict[int, Link] = {}
        self._addresses: set[tuple[int, bytes, int]] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._lost = False
        self._requests = Requests()

    async def open(self) -> None:
        """Raises OSError or NetlinkError: no netlink here."""
        self._news = IPRSocket(rcvbuf=QUEUE_BYTES)
        self._news.bind(groups=GROUPS)
        self._news.socket.setblocking(False)
        self._requests.open()
        await self._dump()
        asyncio.get_running_loop().add_reader(self._news.fileno(), self.read)

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._news.fileno())
        if self._refreshing:
            self._refreshing.cancel()
        self._news.close()
        self._requests.close()

    def find(self, name: str) -> Link | None:
        """The device of this name."""
        return next((link for link in self._links.values() if link.name == name), None)

    def ours(self, mac: bytes) -> bool:
        """Whether one of our own devices has this address: then it is no stranger's."""
        return any(link.mac == mac for link in self._links.values())

    def prefixes(self, link: Link, ip: Ip) -> list[int]:
        """The prefix lengths with which `ip` is on the device; none if it is not there."""
        return sorted(length for index, raw, length in self._addresses if (index, raw) == (link.index, ip.packed))

    def add(self, link: Link, ip: Ip, prefix: int) -> bool:
        """Put an address on a device; False if exactly this one was there. Raises OSError with the kernel's words."""
        added = self._ask(Verb.ADD, link, ip, prefix, errno.EEXIST)
        self._addresses.add((link.index, ip.packed, prefix))
        return added

    def remove(self, link: Link, ip: Ip, prefix: int) -> bool:
        """Take an address off a device; False if it was not there. Raises OSError with the kernel's words."""
        removed = self._ask(Verb.REMOVE, link, ip, prefix, errno.EADDRNOTAVAIL, errno.ENODEV)
        self._addresses.discard((link.index, ip.packed, prefix))
        return removed

    def _ask(self, verb: Verb, link: Link, ip: Ip, prefix: int, *harmless: int) -> bool:
        """One request; False if it was refused for a `harmless` reason."""
        try:
            self._requests.ask(verb, link.index, ip, prefix)
        except OSError as refused:
            if refused.errno in harmless:
                return False
            raise
        return True

    def read(self) -> None:
        """Take in all news that has arrived; never waits."""
        news = False
        while batch := self._receive():
            news = True
            for message in batch:
                self._apply(message)
        if news:
            self._changed()

    def _receive(self) -> list[Any]:
        try:
            return list(self._news.get())
        except BlockingIOError:
            return []
        except OSError:  # ENOBUFS: we were too slow, and news was lost
            self._lost = True
            if self._refreshing is None:
                self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
            return []

    def _apply(self, message: Any) -> None:
        event = message.get("event")
        if event in ("RTM_NEWLINK", "RTM_DELLINK"):
            if message["family"] != socket.AF_UNSPEC:
                return  # AF_BRIDGE: the device became or is no longer a port; it lives on
            self._links.pop(message["index"], None)
            if event == "RTM_NEWLINK":
                self._links[message["index"]] = _link(message)
        elif event in ("RTM_NEWADDR", "RTM_DELADDR"):
            there = self._addresses.add if event == "RTM_NEWADDR" else self._addresses.discard
            there(_address(message))

    async def _dump(self) -> None:
        async with AsyncIPRoute(groups=0) as kernel:
            links = [_link(message) async for message in await kernel.link("dump")]
            addresses = [_address(message) async for message in await kernel.addr("dump")]
        self._links = {link.index: link for link in links}
        self._addresses = set(addresses)

    async def _refresh(self) -> None:
        """Ask for everything again, until the kernel has given one consistent answer and nothing was lost meanwhile."""
        while self._lost:
            self._lost = False
            try:
                await self._dump()
            except (NetlinkError, OSError):
                self._lost = True
                await asyncio.sleep(RETRY_S)
            self.read()
        self._refreshing = None
        self._changed()


def _link(message: Any) -> Link:
    text = message.get("address") if message["ifi_type"] == ETHERNET else None
    mac = bytes.fromhex(text.replace(":", "")) if text else b""
    running = message["flags"] & UP_AND_RUNNING == UP_AND_RUNNING
    return Link(message["index"], message.get("ifname") or "", mac, running)


def _address(message: Any) -> tuple[int, bytes, int]:
    text = message.get("local") or message.get("address") or ""
    family = message["family"]
    raw = socket.inet_pton(family, text) if text and family in (socket.AF_INET, socket.AF_INET6) else b""
    return message["index"], raw, message["prefixlen"]
