"""What a node says in the ring, and hears: long messages in parts, few bytes on their way, heartbeats before everything.

corosync carries a message of any length, and everything that others say waits behind it; where the path has become narrow
(a port's MTU) a large packet is not carried at all, and the whole ring waits for it. So no node has more on its way than
fits into one small packet; the next is sent when that has come back. Messages keep their order. Only heartbeats overtake:
they say nothing about the messages before them.

A part counts for nobody until all have come. Whoever joins has not heard the first ones, so all forget what is not whole
whenever somebody may have joined, and its sender begins anew: what a message changes, it changes at one place of the order
for all. A daemon of before parts does not know them: where one is in the group, everything is sent in one piece.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from corolistener.core.events import BadMessage, CorosyncLost, Delivered, Event, GroupChanged, RingChanged, Speaking
from corolistener.core.messages import PARTS_SINCE, Heartbeat, Hello, Message
from corolistener.errors import PeerError
from corolistener.ids import Instant, NodeId
from corolistener.wire import parts
from corolistener.wire import ring as wire
from corolistener.wire.parts import SHORT_MOST, Part

COST = 180
"""What corosync adds to each message in a packet, in bytes: most of it is the name of the group."""
BULK_MOST = SHORT_MOST + COST
"""Bytes of this node, without its heartbeat, that may be on their way at once."""
PACKET_MOST = BULK_MOST + 290
"""The same with its heartbeat: in one packet, encrypted, it is carried where a path carries 1000 bytes (measured: 830)."""
UNKNOWN_MS = 500
"""So long a long message waits for the first word of a daemon that has just joined: it says whether it knows parts."""
TOLD_EVERY = 8
"""After so many parts of a message the core hears that its sender is speaking."""
ASK_AGAIN_MS = 20


@dataclass(frozen=True, slots=True)
class Piece:
    """A part was delivered: news for the pump, not for the core."""

    sender: NodeId
    part: Part
    pid: int = 0


Heard = Event | Piece


def heard(sender: NodeId, data: bytes, pid: int = 0) -> Delivered | BadMessage | Piece:
    """What the ring has delivered, of this process of a node."""
    try:
        found = wire.decode(data, sender)
        return Piece(sender, found, pid) if isinstance(found, Part) else Delivered(sender, found, pid)
    except PeerError as error:
        return BadMessage(sender, error.why, pid)


class Frame(NamedTuple):
    """What is given to the ring at once; `message` is the one that is whole with it, None for the parts before the last."""

    data: bytes
    message: Message | None


@dataclass(slots=True)
class Long:
    """A long message on its way: it is done when its last part has come back, or begins anew."""

    message: Message
    frames: deque[bytes]
    total: int
    back: int = 0


@dataclass(slots=True)
class Parts:
    """What has been heard of a long message."""

    number: int
    chunks: list[bytes] = field(default_factory=list)


class Speech:
    """One node's. `pid` is this process, 0 if all that comes from this node is its own. `decode` is wire.decode; the simulator
    remembers what many nodes hear."""

    def __init__(self, me: NodeId, pid: int = 0, decode: Callable[[bytes, NodeId], Message | Part] = wire.decode) -> None:
        self.me, self.pid, self.decode = me, pid, decode
        self.waiting: deque[tuple[Message, bytes]] = deque()
        self.beat: Frame | None = None
        self.long: Long | None = None
        self.on_their_way: deque[tuple[int, bool]] = deque()
        """What each frame costs that has not come back, and whether it is a heartbeat."""
        self.number = 0
        self.level: dict[NodeId, int] = {}
        self.unknown: dict[NodeId, Instant] = {}
        """Members that have said nothing yet, and since when they are here."""
        self.partial: dict[tuple[NodeId, int], Parts] = {}
        """By node and process: another process of a node may say something between two parts of its daemon."""
        self.joined = False
        """This process is in the group."""

    # What this node says

    def say(self, message: Message) -> None:
        """Put a message at the end of those that wait. Raises what wire.encode raises, for one that no bytes can say."""
        data = wire.encode(message)
        if isinstance(message, Heartbeat):
            self.beat = Frame(data, message)
        else:
            self.waiting.append((message, data))

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self.waiting) + (self.long is not None) + (self.beat is not None)

    def forget(self) -> None:
        """Nothing that waits is said any more, and what was on its way may never come back."""
        self.waiting.clear()
        self.on_their_way.clear()
        self.beat = self.long = None

    def next(self, now: Instant) -> Frame | None:
        """What to give to the ring now. It is offered again until `sent` takes note of it."""
        if self.beat is not None:
            # It waits only for an older heartbeat and another frame that a new ring has not given back yet.
            return self._if_room(self.beat, PACKET_MOST)
        if self.long is None and self.waiting and not self._begin(now):
            return None
        if self.long is not None:
            frames = self.long.frames
            return self._if_room(Frame(frames[0], self.long.message if len(frames) == 1 else None)) if frames else None
        return self._if_room(Frame(self.waiting[0][1], self.waiting[0][0])) if self.waiting else None

    def _if_room(self, frame: Frame, most: int = BULK_MOST) -> Frame | None:
        costs = len(frame.data) + COST
        together = costs + sum(cost for cost, _ in self.on_their_way)
        bulk = costs + sum(cost for cost, beat in self.on_their_way if not beat)
        return frame if not self.on_their_way or (together <= PACKET_MOST and bulk <= most) else None

    def _begin(self, now: Instant) -> bool:
        """Whether the first of those that wait can be said; a long one is cut into its parts."""
        message, data = self.waiting[0]
        if len(data) <= SHORT_MOST:
            return True
        self.unknown = {node: since for node, since in self.unknown.items() if now < since + UNKNOWN_MS}
        old = any(level < PARTS_SINCE for level in self.level.values())
        if self.unknown and not old:
            return False
        if not old or len(data) > wire.MOST:
            self.waiting.popleft()
            self._cut(message, data)
        return True

    def _cut(self, message: Message, data: bytes) -> None:
        self.number += 1
        frames = parts.cut(data, self.number, wire.PART_HEAD)
        self.long = Long(message, deque(frames), len(frames))

    def sent(self, frame: Frame) -> None:
        """The ring has taken it."""
        self.on_their_way.append((len(frame.data) + COST, frame is self.beat))
        if frame is self.beat:
            self.beat = None
            return
        if self.long is not None:
            self.long.frames.popleft()
        else:
            self.waiting.popleft()

    @property
    def looks_again(self) -> Instant | None:
        """When a long message need not wait for first words any more."""
        if not self.unknown or self.long is not None or not self.waiting or len(self.waiting[0][1]) <= SHORT_MOST:
            return None
        return Instant(max(self.unknown.values()) + UNKNOWN_MS)

    # What is heard

    def taken(self, event: Heard, now: Instant) -> Event | None:
        """The event as the core is to have it; None for what only matters here."""
        match event:
            case Piece(sender, part, pid):
                return self._part(sender, part, pid)
            case Delivered(sender, message, pid):
                if isinstance(message, Heartbeat | Hello):
                    self._knows(sender, message.protocol)
                if self._mine(sender, pid):
                    self._back()
            case GroupChanged():
                self._group(event, now)
            case RingChanged():
                self._begin_anew()
            case CorosyncLost():
                self.forget()
                self.partial.clear()
                self.joined = False
            case _:
                pass
        return event

    def _knows(self, sender: NodeId, level: int) -> None:
        if sender != self.me:
            self.level[sender] = level
            self.unknown.pop(sender, None)

    def _mine(self, sender: NodeId, pid: int) -> bool:
        """Whether it came from this process, not from another one of this node."""
        return sender == self.me and (not pid or not self.pid or pid == self.pid)

    def _back(self) -> None:
        """The oldest of my frames has come back. What is no message of ours came from another program on this node."""
        if self.on_their_way:
            self.on_their_way.popleft()

    def _part(self, sender: NodeId, part: Part, pid: int) -> Event | None:
        self._knows(sender, PARTS_SINCE)
        if self._mine(sender, pid):
            self._back()
            if self.long is not None and part.number == self.number:
                self.long.back += 1
                if part.last:
                    self.long = None
        heard = self.partial.get((sender, pid))
        if part.at == 0:
            heard = self.partial[sender, pid] = Parts(part.number)
        if heard is None or heard.number != part.number or part.at != len(heard.chunks):
            return None  # its beginning was said before somebody joined: it begins anew
        heard.chunks.append(part.data)
        if not part.last:
            return Speaking(sender, pid) if part.at % TOLD_EVERY == TOLD_EVERY - 1 else None
        del self.partial[sender, pid]
        return self._whole(sender, heard, pid)

    def _whole(self, sender: NodeId, heard: Parts, pid: int) -> Event:
        try:
            message = self.decode(parts.joined(heard.chunks, sender), sender)
        except PeerError as error:
            return BadMessage(sender, error.why, pid)
        if isinstance(message, Part):
            return BadMessage(sender, "a part in parts", pid)
        if isinstance(message, Hello):
            self._knows(sender, message.protocol)
        return Delivered(sender, message, pid)

    def _group(self, event: GroupChanged, now: Instant) -> None:
        there = event.processes or tuple((node, 0) for node in event.members)
        self.partial = {each: heard for each, heard in self.partial.items() if each in there}
        for node, _ in event.left:
            if node not in event.members:
                self.level.pop(node, None)
                self.unknown.pop(node, None)
        known = bool(self.pid and event.processes)
        joins = self.me in event.joined and not (known and self.joined)  # else it is another process of this node
        self.joined = (self.me, self.pid) in event.processes if known else self.me in event.members
        if joins:  # what was said before reaches nobody: this node was in no group
            self.forget()
        for node in event.members if joins else event.joined:
            self.level.pop(node, None)
            if node != self.me:
                self.unknown[node] = now
        if event.joined:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Somebody may have joined in the middle of long messages: they begin anew, whoever's they are.

        One whose only part is on its way and has not come back will be whole for all.
        """
        self.partial.clear()
        if self.long is not None and (self.long.frames or self.long.back):
            message, self.long = self.long.message, None
            self.waiting.appendleft((message, wire.encode(message)))
