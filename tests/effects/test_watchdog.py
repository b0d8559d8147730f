"""The watchdog without hardware: whether one is used, and what is done to it. With a kernel: tests/lab/kernel_guest.py."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corolistener.core.actions import DisarmWatchdog, FeedWatchdog
from corolistener.core.events import Result
from corolistener.effects.watchdog import Mode, Taken, Watchdog
from corolistener.effects.watchdog_device import DeviceFile
from corolistener.errors import EffectError
from corolistener.ids import Ticket

LIMIT_S = 60
FEED, DISARM = FeedWatchdog(Ticket(1), None), DisarmWatchdog(Ticket(2))


class Drawn:
    """A device that exists on paper: it writes down what is done to it. `answers` holds a feed up until it is set."""

    def __init__(self, timeout_ms: int = 10_000, stoppable: bool = True, descriptor: int | None = 7) -> None:
        self._timeout_ms, self._stoppable, self._descriptor = timeout_ms, stoppable, descriptor
        self.done: list[str] = []
        self.threads: set[int] = set()
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def take(self, kept: int | None, timeout_ms: int) -> Taken:
        self._note("adopt" if kept is not None else "arm")
        descriptor = kept if kept is not None else self._descriptor
        return Taken("drawn", self._timeout_ms, kept is not None, self._stoppable, descriptor)

    def feed(self) -> None:
        self._note("feed")
        self.asked.set()
        self.answers.wait(LIMIT_S)

    def stop(self) -> None:
        if not self._stoppable:
            raise EffectError("stop", "nowayout")
        self._note("stop")

    def release(self) -> None:
        self._note("release")

    def _note(self, what: str) -> None:
        self.done.append(what)
        self.threads.add(threading.get_ident())


def told(device: Drawn, what: str) -> Callable[..., bool]:
    """A keeper that writes into the same list, so that the order is seen."""

    def tell(*descriptor: int) -> bool:
        device.done.append(" ".join((what, *map(str, descriptor))))
        return True

    return tell


@pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.AUTOMATIC])
def test_armed_kept_fed_and_disarmed(mode: Mode) -> None:
    device = Drawn(9000)

    async def story() -> None:
        dog = Watchdog(mode, device, 10_000, keep=told(device, "keep"), forget=told(device, "forget"))
        assert await dog.open() == 9000
        facts = dict(dog.found)
        assert (facts["timeout_ms"], facts["asked_ms"], facts["kept"], facts["adopted"]) == ("9000", "10000", "yes", "no")
        assert (await dog.perform(FEED)).result is Result.DONE
        assert (await dog.perform(DISARM)).facts == (("stopped", "yes"),)
        assert (await dog.perform(DISARM)).facts == (("armed", "no"),)
        with pytest.raises(EffectError, match="no watchdog is armed"):
            await dog.perform(FEED)
        await dog.close()

    asyncio.run(story())
    assert device.done == ["arm", "keep 7", "feed", "stop", "forget", "release"]
    assert len(device.threads) == 1
    assert threading.get_ident() not in device.threads


@pytest.mark.parametrize("mode", list(Mode))
def test_a_descriptor_that_was_kept_is_adopted_in_every_mode_and_not_fed(mode: Mode) -> None:
    """Also by one that would not use a watchdog, or not with this timeout: the others build on it."""
    device = Drawn(3000)

    async def story() -> None:
        dog = Watchdog(mode, device, 10_000, longer_than_ms=5000, kept=9, keep=told(device, "keep"))
        assert await dog.open() == 3000
        assert dict(dog.found)["adopted"] == "yes"
        await dog.close()

    asyncio.run(story())
    assert device.done == ["adopt"]


def test_close_leaves_it_ticking() -> None:
    device = Drawn()

    async def story() -> None:
        dog = Watchdog(Mode.REQUIRED, device, 10_000)
        await dog.open()
        await dog.close()

    asyncio.run(story())
    assert device.done == ["arm"]


def test_off_touches_nothing() -> None:
    device = Drawn()

    async def story() -> int:
        dog = Watchdog(Mode.OFF, device, 10_000)
        timeout_ms = await dog.open()
        assert (await dog.perform(DISARM)).result is Result.DONE
        await dog.close()
        return timeout_ms

    assert asyncio.run(story()) == 0
    assert device.done == []


def test_a_timeout_shorter_than_a_restart_is_of_no_use() -> None:
    device = Drawn(5000)

    async def story() -> None:
        dog = Watchdog(Mode.AUTOMATIC, device, 10_000, longer_than_ms=5000, keep=told(device, "keep"))
        assert await dog.open() == 0
        assert "a timeout of 5000 ms" in dict(dog.found)["unused"]
        with pytest.raises(EffectError, match="a timeout of 5000 ms"):
            await Watchdog(Mode.REQUIRED, device, 10_000, longer_than_ms=5000).open()

    asyncio.run(story())
    assert device.done == ["arm", "stop", "release"] * 2


def test_a_short_timeout_is_better_than_a_certain_reset() -> None:
    """One that cannot be stopped is used, whatever its timeout: it ticks already."""
    device = Drawn(5000, stoppable=False)

    async def story() -> None:
        dog = Watchdog(Mode.AUTOMATIC, device, 10_000, longer_than_ms=5000)
        assert await dog.open() == 5000
        await dog.perform(FEED)

    asyncio.run(story())
    assert device.done == ["arm", "feed"]


def test_one_that_cannot_be_stopped_stays_armed() -> None:
    """Disarming fails, and the descriptor stays where it is kept."""
    device = Drawn(stoppable=False)

    async def story() -> None:
        dog = Watchdog(Mode.REQUIRED, device, 10_000, keep=told(device, "keep"), forget=told(device, "forget"))
        await dog.open()
        with pytest.raises(EffectError, match="nowayout"):
            await dog.perform(DISARM)
        await dog.perform(FEED)

    asyncio.run(story())
    assert device.done == ["arm", "keep 7", "feed"]


def test_a_device_that_hangs_delays_neither_the_loop_nor_the_next_feed() -> None:
    """A feed that would wait for an earlier one is refused: it would come when it is perhaps no longer allowed."""
    device = Drawn()

    async def story() -> None:
        dog = Watchdog(Mode.REQUIRED, device, 10_000)
        await dog.open()
        device.answers.clear()
        hanging = asyncio.create_task(dog.perform(FEED))
        assert await asyncio.to_thread(device.asked.wait, LIMIT_S)
        hanging.cancel()  # the lane's deadline
        with pytest.raises(EffectError, match="has not answered"):
            await dog.perform(FEED)
        device.answers.set()
        await dog.perform(DISARM)  # after the hanging one, in the same thread

    asyncio.run(story())
    assert device.done == ["arm", "feed", "stop", "release"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing", "No such file or directory: load the driver"),
        ("plain", "is no device"),
        ("/dev/null", "it does not behave as a watchdog"),
        ("plain/watchdog", "Not a directory"),
    ],
)
def test_what_is_no_watchdog(tmp_path: Path, path: str, why: str) -> None:
    """Required: an error that says what to do. Automatic: a note, and none is announced."""
    (tmp_path / "plain").touch()
    device = DeviceFile(str(tmp_path / path))

    async def story() -> None:
        with pytest.raises(EffectError, match=why):
            await Watchdog(Mode.REQUIRED, device, 10_000).open()
        dog = Watchdog(Mode.AUTOMATIC, device, 10_000)
        assert await dog.open() == 0
        assert why in dict(dog.found)["unused"]
        assert dict(dog.found)["mode"] == "automatic"

    asyncio.run(story())


def test_a_kept_descriptor_that_is_no_watchdog() -> None:
    """It is said, and nothing else is opened in its place."""
    descriptor = os.open("/dev/null", os.O_WRONLY)
    os.set_inheritable(descriptor, True)
    try:
        with pytest.raises(EffectError, match="it does not behave as a watchdog"):
            DeviceFile("/dev/null").take(descriptor, 10_000)
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
