"""Saying where an address is: at once, and twice more for those who missed it (behaviour, "Becoming master", 1)."""

import asyncio
from collections.abc import Callable

from corolistener.effects.addresses.frames import Ip, announcement
from corolistener.effects.addresses.links import Link
from corolistener.effects.addresses.wire import Speaker

AGAIN_MS = (100, 1000)
"""When the repetitions go out after the first: a switch port or a bridge may still be learning when that one passes."""


class Announcer:
    """One series of announcements at a time; `device` gives the device as it is when a frame is due, and its MAC."""

    def __init__(self, speaker: Speaker, device: Callable[[], Link | None]) -> None:
        self._speaker, self._device = speaker, device
        self._timers: list[asyncio.TimerHandle] = []

    def begin(self, ip: Ip) -> str:
        """Start a series in place of the running one. Answers why the first frame did not go out, "" if it did."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(after / 1000, self._say, ip) for after in AGAIN_MS]
        return self._say(ip)

    def cancel(self) -> None:
        """Say nothing more: the address is about to leave."""
        while self._timers:
            self._timers.pop().cancel()

    def _say(self, ip: Ip) -> str:
        link = self._device()
        if link is None or not link.mac:
            return "not an Ethernet device" if link else "the device is gone"
        try:
            self._speaker.say(announcement(ip, link.mac), link.name)
        except OSError as error:
            return error.strerror or str(error)
        return ""
