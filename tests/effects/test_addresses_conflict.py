"""Another station answers for the cloud IP, or only seems to."""

import asyncio
import socket
import struct
import time

from corolistener.core.config import CloudAddress
from corolistener.core.events import AddressConflict

from .conftest import BOTH, FOUR, GHOST, NODAD, NODE_MAC, PEER_MAC, SIX, drop, eventually, ghostly, hold, opened, speak


@BOTH
def test_a_second_station_that_announces_the_address(segment, cloud):
    intruder = CloudAddress(cloud.ip, cloud.prefix, "wire0")

    async def intrude():
        async with opened(intruder) as (effect, _):
            await effect.perform(hold(intruder))

    async def story():
        async with opened(cloud, ask_ms=1 << 30) as (effect, seen):
            await effect.perform(hold(cloud))
            await asyncio.sleep(0.1)
            assert seen == []
            await asyncio.to_thread(segment.peer.run, intrude())
            await eventually(lambda: seen == [AddressConflict(PEER_MAC)])
            await effect.perform(drop(cloud))
            await asyncio.to_thread(segment.peer.run, intrude())
            await asyncio.sleep(0.2)
            assert seen == [AddressConflict(PEER_MAC)], "what we do not hold may be anybody's"

    segment.node.run(story())


@BOTH
def test_a_second_station_that_keeps_silent_is_asked(segment, cloud):
    async def story():
        async with opened(cloud, ask_ms=50) as (effect, seen):
            await effect.perform(hold(cloud))
            await asyncio.sleep(0.3)
            assert seen == [], "nobody but us has it"
            segment.peer.ip(f"addr add {cloud.ip}/{cloud.prefix} dev wire0 {NODAD[cloud]}")
            await eventually(lambda: seen)
            assert set(seen) == {AddressConflict(PEER_MAC)}

    segment.node.run(story())


@BOTH
def test_ordinary_traffic_is_no_conflict_and_wakes_nobody(segment, cloud):
    async def story():
        async with opened(cloud, ask_ms=50) as (effect, _):
            heard = []
            for listener in effect._watch._listeners.values():
                listener._heard = heard.append
            segment.node.ip("addr add 10.9.0.1/24 dev vmbr0", "addr add fd09::1/64 dev vmbr0 nodad")
            await effect.perform(hold(cloud))
            segment.peer.ip("neigh flush dev wire0")
            for target in (cloud.ip, "fd09::1" if cloud is SIX else "10.9.0.1"):
                await asyncio.to_thread(ping, segment.peer, target)
            assert segment.peer.neighbour(cloud.ip, "wire0") == NODE_MAC
            speak(segment, tagged(ghostly(cloud)))
            assert heard == []
            speak(segment, ghostly(cloud))
            await eventually(lambda: heard == [ghostly(cloud)])

    segment.node.run(story())


def ping(station, target):
    """Make the kernel of a station resolve a neighbour: a datagram to the discard port does it."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET

    def send():
        with socket.socket(family, socket.SOCK_DGRAM) as found:
            found.sendto(b"", (target, 9))

    station.call(send)
    end = time.monotonic() + 10
    while station.neighbour(target, "wire0") is None and time.monotonic() < end:
        time.sleep(0.01)


def tagged(frame):
    """The same frame in virtual LAN 7."""
    return frame[:12] + struct.pack("!HH", 0x8100, 7) + frame[12:]


@BOTH
def test_a_flood_of_conflicts_is_told_once_a_second(segment, cloud):
    async def story():
        async with opened(cloud) as (effect, seen):
            await effect.perform(hold(cloud))
            begin = time.monotonic()
            for _ in range(40):
                speak(segment, *[ghostly(cloud)] * 25)
                await asyncio.sleep(0)
            await eventually(lambda: seen)
            assert set(seen) == {AddressConflict(GHOST)}
            assert len(seen) <= 1 + (time.monotonic() - begin)
            await asyncio.sleep(1.1)
            told = len(seen)
            speak(segment, ghostly(cloud))
            await eventually(lambda: len(seen) == told + 1)

    segment.node.run(story())


def test_a_second_device_of_ours_on_the_same_wire_is_no_stranger(segment):
    # Linux answers on every device for every address it has, so the other device's MAC appears beside vmbr0's.
    segment.peer.ip(
        "link add segment type bridge forward_delay 0",
        "link set wire0 master segment",
        f"link add own0 type veth peer name own1 netns {segment.node.pid}",
        "link set own0 master segment",
        "link set own0 up",
        "link set segment up",
    )
    segment.node.ip("link set own1 up", "addr add 10.9.0.1/24 dev own1")

    async def story():
        async with opened(FOUR, ask_ms=50) as (effect, seen):
            answers = []
            ours = effect._watch._ours
            effect._watch._ours = lambda mac: answers.append(ours(mac)) or answers[-1]
            await effect.perform(hold(FOUR))
            await eventually(lambda: answers)
            assert set(answers) == {True}
            assert seen == []

    segment.node.run(story())
