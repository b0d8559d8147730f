"""A device that is missing, comes, goes, is down, changes: what that means for the address on it."""

import asyncio

import pytest

from corolistener.core.events import AddressConflict, AddressGone, DeviceCame, Result
from corolistener.effects.addresses import links
from corolistener.errors import EffectError

from .conftest import BOTH, FOUR, NODAD, PEER_MAC, eventually, hold, opened


@BOTH
def test_the_device_is_missing_and_appears(segment, cloud):
    segment.node.ip("link del vmbr0")

    async def story():
        async with opened(cloud, ask_ms=50) as (effect, seen):
            assert not await effect.present(cloud)
            with pytest.raises(EffectError, match="device vmbr0 does not exist"):
                await effect.perform(hold(cloud))
            segment.plug()
            await eventually(lambda: seen == [DeviceCame()])
            await effect.perform(hold(cloud))
            segment.peer.ip(f"addr add {cloud.ip}/{cloud.prefix} dev wire0 {NODAD[cloud]}")
            await eventually(lambda: AddressConflict(PEER_MAC) in seen)

    segment.node.run(story())


@BOTH
def test_the_device_vanishes_while_the_address_is_held(segment, cloud):
    async def story():
        async with opened(cloud) as (effect, seen):
            await effect.perform(hold(cloud))
            segment.node.ip("link del vmbr0")
            await eventually(lambda: seen)
            segment.plug()
            await eventually(lambda: len(seen) > 1)
            assert seen == [AddressGone(), DeviceCame()]
            await effect.perform(hold(cloud))
            assert segment.node.addresses("vmbr0") == [(cloud.ip, cloud.prefix)]
            segment.node.ip("link set vmbr0 down", "link set vmbr0 name elsewhere", "link set elsewhere up")
            await eventually(lambda: seen[2:] == [AddressGone()])
            assert not await effect.present(cloud)

    segment.node.run(story())


@pytest.mark.parametrize("cloud", [FOUR], ids=["IPv4"])  # the kernel forgets IPv6 addresses of a device that goes down
def test_a_device_that_is_down_is_announced_when_it_is_up(segment, cloud, ear):
    segment.node.ip("link set vmbr0 down")

    async def story():
        async with opened(cloud) as (effect, _):
            outcome = await effect.perform(hold(cloud))
            assert (outcome.result, outcome.facts) == (Result.DONE, (("unannounced", "Network is down"),))
            await asyncio.sleep(1.2)
            assert ear.listen() == []
            segment.node.ip("link set vmbr0 up")
            await eventually(ear.listen)

    segment.node.run(story())


@BOTH
def test_a_bridge_with_a_new_mac_is_announced(segment, cloud, ear):
    async def story():
        async with opened(cloud) as (effect, _):
            await effect.perform(hold(cloud))
            await eventually(lambda: len(ear.listen()) == 3)
            segment.node.ip("link set vmbr0 address 02:00:00:00:00:11")
            await eventually(lambda: ear.listen()[3:4] == ["02:00:00:00:00:11"])

    segment.node.run(story())


def test_news_that_was_lost_is_asked_for(segment, monkeypatch):
    monkeypatch.setattr(links, "QUEUE_BYTES", 2048)

    async def story():
        async with opened(FOUR) as (effect, seen):
            await effect.perform(hold(FOUR))
            refreshed = []
            dump = effect._links._dump

            async def counted():
                refreshed.append(1)
                await dump()

            effect._links._dump = counted
            # The loop stands still meanwhile: the queue of 2 KiB overflows long before the end.
            segment.node.ip(
                *(f"link add tap{n} type veth peer name pat{n}" for n in range(50)),
                *(f"link del tap{n}" for n in range(50)),
                "link del vmbr0",
            )
            segment.plug()
            await eventually(lambda: len(seen) == 2)
            assert seen == [AddressGone(), DeviceCame()]
            assert refreshed
            await effect.perform(hold(FOUR))
            assert segment.node.addresses("vmbr0") == [(FOUR.ip, 32)]

    segment.node.run(story())
