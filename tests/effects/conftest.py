"""Stations: network namespaces that a test makes for itself, and that vanish with it however it ends."""

import asyncio
import ctypes
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest

from corolistener.core.actions import AnnounceAddress, DropAddress, HoldAddress, Reason, Until
from corolistener.core.config import CloudAddress
from corolistener.core.events import Event
from corolistener.core.view import RingId
from corolistener.effects.addresses.cloud import Addresses
from corolistener.effects.addresses.frames import announcement
from corolistener.ids import Instant, NodeId, Ticket

T = TypeVar("T")
CLONE_NEWNET, CLONE_NEWNS, MS_REC_PRIVATE = 0x40000000, 0x20000, 0x44000
LIMIT_S = 30.0
NODE_MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
GHOST = "02:00:00:00:00:99"
libc = ctypes.CDLL(None, use_errno=True)

FOUR = CloudAddress("10.9.0.5", 32, "vmbr0")
SIX = CloudAddress("fd09::5", 128, "vmbr0")
BOTH = pytest.mark.parametrize("cloud", [FOUR, SIX], ids=["IPv4", "IPv6"])
ETHERTYPE = {FOUR: 0x0806, SIX: 0x86DD}
NODAD = {FOUR: "", SIX: "nodad"}  # with duplicate address detection another station would find us and give way
UNTIL = Until(RingId(7, NodeId(1)), Instant(1 << 40))


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, other users' files")


def in_thread(work: Callable[[], T]) -> T:
    """Run a function in a thread of its own, which may enter namespaces and takes them with it when it ends."""
    results: list[T] = []
    failures: list[BaseException] = []

    def inside() -> None:
        try:
            results.append(work())
        except BaseException as failure:  # noqa: BLE001 - raised again where the test can see it
            failures.append(failure)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def in_mounts_of_its_own(work: Callable[[], T], *empty: str) -> T:
    """Run a function where its mounts are its own and vanish with it; the directories `empty` are empty there."""

    def inside() -> T:
        assert libc.unshare(CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
        assert libc.mount(None, b"/", None, MS_REC_PRIVATE, None) == 0
        for path in empty:
            assert libc.mount(b"none", path.encode(), b"tmpfs", 0, b"") == 0
        return work()

    return in_thread(inside)


async def eventually(condition: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """The first true value of `condition`; fails after a generous limit."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, "it never became true"
        await asyncio.sleep(0.01)
    return value


class Station:
    """One network namespace. Its holder ends when we do, and the namespace with it."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.ip("link set lo up")

    def close(self) -> None:
        """Let the namespace go."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(10)
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    @property
    def pid(self) -> int:
        """A process inside."""
        return self._holder.pid

    def ip(self, *commands: str) -> None:
        """Run `ip` commands in order."""
        text = "".join(f"{command}\n" for command in commands)
        subprocess.run([*self._enter, "ip", "-batch", "-"], input=text, text=True, check=True, timeout=LIMIT_S)

    def show(self, *words: str) -> list[dict[str, Any]]:
        """What `ip -j` answers."""
        done = subprocess.run([*self._enter, "ip", "-j", *words], capture_output=True, check=True, timeout=LIMIT_S)
        return json.loads(done.stdout or b"[]")

    def addresses(self, device: str) -> list[tuple[str, int]]:
        """Address and prefix length of everything on a device that is not link-local."""
        found = [info for link in self.show("addr", "show", "dev", device) for info in link["addr_info"]]
        return [(info["local"], info["prefixlen"]) for info in found if info["scope"] == "global"]

    def neighbour(self, address: str, device: str) -> str | None:
        """The MAC that this station believes `address` has."""
        return next((entry.get("lladdr") for entry in self.show("neigh", "show", address, "dev", device)), None)

    def set(self, path: str, value: str) -> None:
        """Write a setting below /proc/sys/net."""
        self.call(lambda: Path(f"/proc/sys/net/{path}").write_text(value))

    def packets(self, protocol: int, device: str) -> socket.socket:
        """A packet socket on a device, never blocking."""

        def opened() -> socket.socket:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(protocol))
            found.bind((device, protocol))
            return found

        return self.call(opened)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine inside, with a loop of its own."""
        return self.call(lambda: asyncio.run(asyncio.wait_for(work, 4 * LIMIT_S)))

    def call(self, work: Callable[[], T]) -> T:
        """Run a function inside: in a thread, because a network namespace is entered by threads, not by processes."""

        def inside() -> T:
            with open(f"/proc/{self.pid}/ns/net") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return work()

        return in_thread(inside)

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]


class Segment:
    """A node with its bridge vmbr0, and a peer whose device wire0 is plugged into it."""

    def __init__(self, node: Station, peer: Station) -> None:
        self.node, self.peer = node, peer
        node.ip(f"link add wire1 type veth peer name wire0 netns {peer.pid}", "link set wire1 up")
        self.plug()
        peer.ip(
            f"link set wire0 address {PEER_MAC}",
            "link set wire0 up",
            "addr add 10.9.0.2/24 dev wire0",
            "addr add fd09::2/64 dev wire0 nodad",
        )

    def plug(self) -> None:
        """Make the bridge, with the wire to the peer in it."""
        self.node.ip(
            f"link add vmbr0 address {NODE_MAC} type bridge forward_delay 0",
            "link set wire1 master vmbr0",
            "link set vmbr0 up",
        )


@pytest.fixture
def station() -> Iterator[Callable[[], Station]]:
    """Makes stations for one test."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    made: list[Station] = []

    def make() -> Station:
        made.append(Station())
        return made[-1]

    yield make
    for each in reversed(made):
        each.close()


@pytest.fixture
def segment(station: Callable[[], Station]) -> Segment:
    """A node and a peer on one wire."""
    return Segment(station(), station())


def hold(cloud: CloudAddress) -> HoldAddress:
    return HoldAddress(Ticket(1), cloud, UNTIL, Reason.ELECTED)


def drop(cloud: CloudAddress) -> DropAddress:
    return DropAddress(Ticket(2), cloud, Reason.NOT_MASTER)


def announce(cloud: CloudAddress) -> AnnounceAddress:
    return AnnounceAddress(Ticket(3), cloud, UNTIL)


@asynccontextmanager
async def opened(cloud: CloudAddress | None, **options: Any) -> AsyncIterator[tuple[Addresses, list[Event]]]:
    """An open effect and what it has observed so far."""
    seen: list[Event] = []
    effect = Addresses(cloud, seen.append, **options)
    await effect.open()
    try:
        yield effect, seen
    finally:
        await effect.close()


def ghostly(cloud: CloudAddress) -> bytes:
    """An announcement of `cloud` by a station that does not exist."""
    return announcement(ip_address(cloud.ip), bytes.fromhex(GHOST.replace(":", "")))


def speak(segment: Segment, *frames: bytes) -> None:
    """Let the peer send raw frames."""
    with segment.peer.packets(0, "wire0") as found:
        for frame in frames:
            found.send(frame)


class Ear:
    """Collects the MACs for which the peer hears `cloud` announced; `announces` is written apart from our own frames."""

    def __init__(self, segment: Segment, cloud: CloudAddress) -> None:
        self._socket, self._cloud = segment.peer.packets(ETHERTYPE[cloud], "wire0"), cloud
        self.macs: list[str] = []

    def listen(self) -> list[str]:
        """All of them so far."""
        while True:
            try:
                frame = self._socket.recv(2048)
            except BlockingIOError:
                return self.macs
            if mac := self.announces(frame):
                self.macs.append(mac)

    def announces(self, frame: bytes) -> str | None:
        """The MAC that `frame` gives the address, if it is an announcement."""
        to = frame[:6].hex(":")
        if self._cloud is FOUR:
            address = socket.inet_aton(FOUR.ip)
            request = frame[12:22] == bytes.fromhex("08060001080006040001")
            right = to == "ff:ff:ff:ff:ff:ff" and request and frame[28:32] == frame[38:42] == address
            return frame[22:28].hex(":") if right else None
        address = socket.inet_pton(socket.AF_INET6, SIX.ip)
        right = to == "33:33:00:00:00:01" and frame[54:55] == b"\x88" and frame[62:78] == address
        return frame[80:86].hex(":") if right else None

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(segment: Segment, request: pytest.FixtureRequest) -> Iterator[Ear]:
    """The peer's ear for the test's `cloud`."""
    found = Ear(segment, request.getfixturevalue("cloud"))
    yield found
    found.close()
