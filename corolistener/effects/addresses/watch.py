"""Watching for another station that answers for the address we hold.

Whoever shares the address shows itself by what it says: an answer to somebody's question, an announcement of its own,
or the answer to our announcement. Where nobody asks nobody answers, so we ask, every ten seconds: one frame to the
whole segment and some 0.1 ms of our time, 0.001 % of a core.
"""

import asyncio
from collections.abc import Callable

from corolistener.effects.addresses import frames
from corolistener.effects.addresses.frames import Ip, ethertype
from corolistener.effects.addresses.links import Link
from corolistener.effects.addresses.wire import Listener, Speaker

QUIET_S = 1.0
"""After one conflict the kernel drops the next ones for so long: a flood of them costs us nothing."""


class Watch:
    """Calls `conflict` with the MAC of a station that is not `ours`, at most once in QUIET_S; idle until begin().

    `device` gives the device as it is at the moment.
    """

    def __init__(
        self,
        speaker: Speaker,
        device: Callable[[], Link | None],
        ours: Callable[[bytes], bool],
        conflict: Callable[[str], None],
        ask_ms: int,
    ) -> None:
        self._speaker, self._device, self._ours, self._conflict = speaker, device, ours, conflict
        self._ask_s = ask_ms / 1000
        self._listeners = {kind: Listener(kind, self._heard) for kind in (frames.ETHERTYPE_ARP, frames.ETHERTYPE_IPV6)}
        self._ip: Ip | None = None
        self._asking: asyncio.TimerHandle | None = None
        self._quiet: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Raises OSError: no right to packet sockets (CAP_NET_RAW)."""
        for listener in self._listeners.values():
            listener.open()

    def close(self) -> None:
        self.end()
        for listener in self._listeners.values():
            listener.close()

    def begin(self, ip: Ip) -> None:
        """Watch over `ip` on the device as it is now."""
        self.end()
        self._ip = ip
        self._listen()
        self._asking = asyncio.get_running_loop().call_later(self._ask_s, self._ask)

    def end(self) -> None:
        """We no longer hold it: whoever speaks for it now may."""
        for timer in (self._asking, self._quiet):
            if timer:
                timer.cancel()
        if self._ip:
            self._listeners[ethertype(self._ip)].deafen()
        self._ip = self._asking = self._quiet = None

    def _listen(self) -> None:
        self._quiet = None
        if self._ip and (link := self._device()):
            self._listeners[ethertype(self._ip)].listen(frames.foreign(self._ip, link.index))

    def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        self._asking = loop.call_later(self._ask_s, self._ask)
        link = self._device()
        if self._ip and link and link.mac:
            try:
                self._speaker.say(frames.question(self._ip, link.mac), link.name)
            except OSError:
                pass  # the device is down: nobody hears us, and we hear nobody

    def _heard(self, frame: bytes) -> None:
        mac = frames.speaker(frame)
        if self._ip is None or self._ours(mac):  # another device of ours on the same wire answers for all our addresses
            return
        self._listeners[ethertype(self._ip)].deafen()
        self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._listen)
        self._conflict(mac.hex(":"))
