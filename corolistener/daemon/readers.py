"""What programs without privileges cost: places of their own, a share of the loop's time, and answers made once for all.

Root and libvirt's hook are served at once. Everybody else is a reader: their requests wait in one queue, one is taken up in a
turn, and when a turn took t seconds of processor time the next one comes 9 t later: all readers together have a tenth of the
loop. One request of a connection is carried out at a time, and none before its last answer was read.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Protocol, TypeVar

Frame = dict[str, Any]
T = TypeVar("T")

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
HELD_MOST = 8 << 20
"""Bytes of all answers that readers have not read yet, each copy counted once."""
REST, LEAST_REST_S = 9, 0.002
NOTE_S = 10.0
"""A code that readers cause is in the log once in this time, with how often it was."""
SNAPSHOT_S, SNAPSHOTS_MOST = 1.0, 32
SHARED = ("status", "vms", "plan")
"""What all who ask within SNAPSHOT_S get the same answer to."""


class Spent:
    """Processor time that the steps of one coroutine take; what it waits for costs nothing."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def of(self, awaitable: Awaitable[T]) -> T:
        """What `awaitable` returns. Raises what it raises."""
        return await _Steps(awaitable, self)


class _Steps(Awaitable[T]):
    """Sends each step on to another awaitable, and adds up what the steps take."""

    def __init__(self, inner: Awaitable[T], spent: Spent) -> None:
        self._inner, self._spent = inner, spent

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._inner.__await__()
        step = partial(next, steps)
        while True:
            began = time.thread_time()
            try:
                waits_for = step()
            except StopIteration as end:
                value: T = end.value
                return value
            finally:
                self._spent.seconds += time.thread_time() - began
            try:
                yield waits_for
                step = partial(next, steps)
            except BaseException as error:  # noqa: BLE001 - a cancellation is the inner one's to handle
                step = partial(steps.throw, error)


class Reader(Protocol):
    """A connection of a program without privileges."""

    uid: int
    since: float
    """When it last asked, or took something of its answer."""

    @property
    def busy(self) -> bool:
        """It has asked and waits, or does not read."""
        ...

    @property
    def unread(self) -> bytes | None:
        """If it does not read: the text of its answer, as far as it is held here. Else None."""
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
        self._told: dict[str, tuple[float, int]] = {}
        """By code: when it was in the log last, and how often it happened since."""
        self._rests_until = 0.0
        """The pause holds also if the queue was empty when it began: a reader that asks again at once has to wait."""

    def note(self, code: str, fields: dict[str, str]) -> None:
        """Tell the log, at most once in NOTE_S for each code."""
        last, times = self._told.get(code, (None, 0))
        now = time.monotonic()
        if last is not None and now < last + NOTE_S:
            self._told[code] = last, times + 1
            return
        self._told[code] = now, 0
        self._note(code, {**fields, "times": str(times + 1)} if times else fields)

    def admit(self, reader: Reader) -> bool:
        """Whether there is a place. If all are taken, the reader that has been idle for the longest time makes way."""
        each = Counter(other.uid for other in self._here)
        if each[reader.uid] >= PLACES_EACH or len(self._here) >= PLACES:
            among = [other for other in self._here if each[reader.uid] < PLACES_EACH or other.uid == reader.uid]
            idle = min((other for other in among if not other.busy), key=lambda other: other.since, default=None)
            if idle is None:
                self.note("control-full", {"uid": str(reader.uid), "connections": str(len(self._here))})
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
        self._timer, began = None, time.thread_time()
        while self._ready:
            reader = self._ready.popleft()
            if reader in self._here:
                reader.turn()
                break
        self.rest(time.thread_time() - began)

    def rest(self, took_s: float) -> None:
        """What took so long was theirs: they wait the longer."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._rests_until = max(self._rests_until, loop.time() + max(LEAST_REST_S, REST * took_s))
        self._timer = loop.call_at(self._rests_until, self._turn) if self._ready else None

    def holds(self) -> None:
        """An answer is on its way to a reader. If all together hold too much, those that take the longest are hung up on."""
        unread = {reader: text for reader in self._here if (text := reader.unread) is not None}
        while sum({id(text): len(text) for text in unread.values()}.values()) > HELD_MOST:
            slowest = min(unread, key=lambda reader: reader.since)
            del unread[slowest]
            slowest.hang_up()

    def _look(self) -> None:
        """End the connections that have been idle for too long, or that do not read."""
        now = time.monotonic()
        for reader in list(self._here):
            if now > reader.since + UNREAD_S and reader.unread is not None:
                self.note("control-slow", {"uid": str(reader.uid)})
                reader.hang_up()
            elif now > reader.since + IDLE_S and not reader.busy:
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
