"""What programs without privileges cost: places of their own, a share of the loop's time, and answers made once for all.

Root and libvirt's hook are served at once. Everybody else is a reader: their requests wait in one queue, and after a turn that
took t seconds the next one comes 9 t later, so that all readers together have a tenth of the loop. One request of a connection
is carried out at a time, and none while its last answer has not been read.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

Frame = dict[str, Any]

PLACES = 64
"""Connections of readers, all together."""
PLACES_EACH = 32
"""Connections of one user."""
IDLE_S, UNREAD_S, LOOK_S = 60.0, 10.0, 2.0
"""A connection that asks nothing is ended after this long, and one that does not read its answer; looked at every LOOK_S."""
FRAME_MOST = 64 * 1024
"""Bytes of a reader's request."""
PIECE = 32 * 1024
"""Bytes of an answer that are given to the kernel at once: the rest stays in the one copy that all readers share."""
TURN_S, REST, LEAST_REST_S = 0.002, 9, 0.002
SNAPSHOT_S, SNAPSHOTS_MOST = 1.0, 32
SHARED = ("status", "vms", "plan")
"""What all who ask within SNAPSHOT_S get the same answer to."""


class Reader(Protocol):
    """A connection of somebody without privileges."""

    uid: int
    since: float
    """When it last asked, or took something of its answer."""

    @property
    def busy(self) -> bool:
        """It has asked and waits, or does not read."""
        ...

    def turn(self) -> None:
        """Take the next request up."""
        ...

    def hang_up(self) -> None: ...


class Readers:
    """All of them. `note` tells the log."""

    def __init__(self, note: Callable[[str, dict[str, str]], None]) -> None:
        self._note = note
        self._here: dict[Reader, None] = {}
        self._ready: deque[Reader] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._refused = 0
        self._rests_until = 0.0
        """The pause holds also where nobody was waiting when it began: one who asks again at once has no more of the loop."""

    def admit(self, reader: Reader) -> bool:
        """Whether there is a place, after the one that has been idle for longest has made way."""
        each = Counter(other.uid for other in self._here)
        among = [other for other in self._here if each[reader.uid] < PLACES_EACH or other.uid == reader.uid]
        if each[reader.uid] >= PLACES_EACH or len(self._here) >= PLACES:
            idle = min((other for other in among if not other.busy), key=lambda other: other.since, default=None)
            self._refused += 1
            if self._refused & (self._refused - 1) == 0:
                self._note(
                    "control-full", {"uid": str(reader.uid), "connections": str(len(self._here)), "times": str(self._refused)}
                )
            if idle is None:
                return False
            idle.hang_up()
            self.forget(idle)
        self._here[reader] = None
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        return True

    def forget(self, reader: Reader) -> None:
        """It has gone."""
        self._here.pop(reader, None)

    def ready(self, reader: Reader) -> None:
        """It has something to ask."""
        self._ready.append(reader)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._rests_until, self._turn)

    def _turn(self) -> None:
        self._timer, began = None, time.monotonic()
        while self._ready and time.monotonic() < began + TURN_S:
            reader = self._ready.popleft()
            if reader in self._here:
                reader.turn()
        self.rest(time.monotonic() - began)

    def rest(self, took_s: float) -> None:
        """What took so long was theirs: they wait the longer."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._rests_until = max(self._rests_until, loop.time() + max(LEAST_REST_S, REST * took_s))
        self._timer = loop.call_at(self._rests_until, self._turn) if self._ready else None

    def _look(self) -> None:
        """End who is idle for too long, and who does not read."""
        now = time.monotonic()
        for reader in list(self._here):
            if now > reader.since + (UNREAD_S if reader.busy else IDLE_S):
                reader.hang_up()
        self._sweep = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self._here else None

    def close(self) -> None:
        for timer in (self._timer, self._sweep):
            if timer is not None:
                timer.cancel()


class Snapshots:
    """Answers as text, each made once in SNAPSHOT_S."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[float, bytes]] = {}

    async def answer(self, verb: str, args: Frame, make: Callable[[], Awaitable[Frame]]) -> bytes:
        """The JSON of what `make` returns. Raises what it raises."""
        key, now = (verb, json.dumps(args, sort_keys=True)), time.monotonic()
        self._kept = {each: kept for each, kept in self._kept.items() if now < kept[0] + SNAPSHOT_S}
        if key in self._kept:
            return self._kept[key][1]
        text = json.dumps(await make(), separators=(",", ":")).encode()
        if verb in SHARED:
            while len(self._kept) >= SNAPSHOTS_MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = now, text
        return text
