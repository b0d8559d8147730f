"""What a node says and hears: parts and their order, heartbeats first, few bytes on their way, joiners, older daemons."""

import hashlib

import pytest

from corolistener.core.config import ConfigId
from corolistener.core.events import BadMessage, CorosyncLost, Delivered, Departure, Event, GroupChanged, RingChanged, Speaking
from corolistener.core.messages import PARTS_SINCE, Absent, Farewell, Heartbeat, Message, Text, Wanted
from corolistener.core.view import RingId
from corolistener.engine.speech import BULK_MOST, COST, PACKET_MOST, UNKNOWN_MS, Frame, Heard, Piece, Speech, heard
from corolistener.ids import Instant, NodeId
from corolistener.wire import parts
from corolistener.wire import ring as wire
from corolistener.wire.parts import SHORT_MOST, Part

ME, OTHER, THIRD, RING = NodeId(1), NodeId(2), NodeId(3), RingId(8, NodeId(1))
NOW = Instant(1000)
BEAT, FILE = Heartbeat(RING, 1, protocol=PARTS_SINCE), ConfigId(1, "a" * 64)


def long(size: int, word: bytes = b"x") -> Text:
    """A message that cannot be packed."""
    text = b""
    while len(text) < size:
        word = hashlib.sha256(word).digest()
        text += word
    return Text(FILE, text[:size])


class Ring:
    """Two or three nodes: every frame that one says comes to all, in one order, when `turn` is called."""

    def __init__(self, *nodes: NodeId) -> None:
        self.nodes = {node: Speech(node) for node in nodes}
        self.got: dict[NodeId, list[Message]] = {node: [] for node in nodes}
        self.log: list[tuple[NodeId, bytes]] = []
        self.tell(GroupChanged(nodes, nodes), RingChanged(RING, nodes))
        for node in nodes:
            self.nodes[node].say(BEAT)
        self.run()
        for said in self.got.values():
            said.clear()

    def tell(self, *events: Event) -> None:
        for speech in self.nodes.values():
            for event in events:
                speech.taken(event, NOW)

    def say(self, now: Instant = NOW) -> None:
        for node, speech in self.nodes.items():
            while speech and (frame := speech.next(now)) is not None:
                self.log.append((node, frame.data))
                speech.sent(frame)

    def deliver(self, *only: NodeId) -> None:
        log, self.log = self.log, []
        for sender, data in log:
            for node in only or tuple(self.nodes):
                event = self.nodes[node].taken(heard(sender, data), NOW)
                if isinstance(event, Delivered):
                    self.got[node].append(event.message)
                assert not isinstance(event, BadMessage)

    def run(self, now: Instant = NOW) -> None:
        self.say(now)
        while self.log:
            self.deliver()
            self.say(now)


def test_a_long_message_comes_whole_and_in_its_place() -> None:
    ring = Ring(ME, OTHER)
    said = [Absent(RING, THIRD), long(5000), Farewell(), long(700, b"y"), Wanted(FILE, ME)]
    for message in said:
        ring.nodes[ME].say(message)
    ring.run()
    assert ring.got[ME] == ring.got[OTHER] == said
    assert not ring.nodes[ME]
    assert not ring.nodes[OTHER].partial


def test_no_more_is_on_its_way_than_fits_into_a_small_packet() -> None:
    ring = Ring(ME, OTHER)
    for number in range(5):
        ring.nodes[ME].say(Absent(RING, NodeId(number + 1)))
    ring.nodes[ME].say(long(3000))
    ring.say()
    most = 0
    while ring.log:
        most = max(most, sum(len(data) + COST for _, data in ring.log))
        ring.deliver()
        ring.say()
    assert SHORT_MOST < most <= BULK_MOST


def test_a_heartbeat_overtakes_whatever_waits() -> None:
    ring = Ring(ME, OTHER)
    ring.nodes[ME].say(long(20_000))
    ring.say()
    ring.deliver()
    ring.nodes[ME].say(BEAT)
    ring.say()
    assert wire.decode(ring.log[0][1], ME) == BEAT
    ring.run()
    assert [type(message) for message in ring.got[OTHER]] == [Heartbeat, Text]


def test_heartbeats_of_two_rings_and_a_part_are_not_in_one_packet() -> None:
    ring = Ring(ME, OTHER)
    speech = ring.nodes[ME]
    speech.say(long(3000))
    ring.say()
    speech.say(BEAT)
    ring.say()
    ring.tell(RingChanged(RingId(12, ME), (ME, OTHER)))
    speech.say(BEAT)
    ring.say()
    assert len(ring.log) == 2
    assert sum(len(data) + COST for _, data in ring.log) <= PACKET_MOST
    ring.run()
    assert sum(isinstance(each, Heartbeat) for each in ring.got[OTHER]) == 2


@pytest.mark.parametrize("heard_parts", range(1, 10))
def test_who_joins_in_the_middle_hears_it_from_its_beginning(heard_parts: int) -> None:
    ring = Ring(ME, OTHER)
    message = long(2500)
    ring.nodes[ME].say(message)
    for _ in range(heard_parts):
        ring.say()
        ring.deliver()
    ring.nodes[THIRD], ring.got[THIRD] = Speech(THIRD), []
    ring.tell(GroupChanged((ME, OTHER, THIRD), (THIRD,)))
    ring.nodes[THIRD].say(BEAT)
    ring.run()
    texts = {node: [each for each in got if isinstance(each, Text)] for node, got in ring.got.items()}
    before = [message] if len(ring.got[ME]) and heard_parts >= 9 and not texts[THIRD] else []
    assert texts[ME] == texts[OTHER] == [message]
    assert texts[THIRD] == ([] if before else [message])


def test_its_only_part_on_its_way_is_not_said_twice() -> None:
    ring = Ring(ME, OTHER)
    message = Text(FILE, b"x" * 5000)
    ring.nodes[ME].say(message)
    ring.say()
    assert len(ring.log) == 1
    ring.tell(RingChanged(RingId(12, ME), (ME, OTHER)))
    ring.run()
    assert ring.got[ME] == ring.got[OTHER] == [message]


def test_a_ring_change_in_the_middle_begins_anew_once() -> None:
    ring = Ring(ME, OTHER)
    message = long(2500)
    ring.nodes[ME].say(message)
    ring.say()
    ring.deliver()
    ring.say()  # one more is on its way, and comes in the next ring
    ring.tell(RingChanged(RingId(12, ME), (ME, OTHER)))
    ring.run()
    assert ring.got[ME] == ring.got[OTHER] == [message]


def test_what_another_program_of_this_node_says_frees_no_room() -> None:
    """Else two parts are on their way at once, in one packet that a narrow path does not carry."""
    speech = Speech(ME)
    speech.say(long(2500))
    frame = speech.next(NOW)
    assert frame is not None
    speech.sent(frame)
    garbage = heard(ME, b"garbage")
    assert isinstance(garbage, BadMessage)
    assert speech.taken(garbage, NOW) == garbage
    assert speech.next(NOW) is None


def test_an_older_daemon_gets_everything_in_one_piece() -> None:
    ring = Ring(ME, OTHER)
    ring.tell(GroupChanged((ME, OTHER, THIRD), (THIRD,)))
    old = Heartbeat(RING, 1)
    for speech in ring.nodes.values():
        speech.taken(Delivered(THIRD, old), NOW)
    message = long(5000)
    ring.nodes[ME].say(message)
    ring.say()
    assert [wire.decode(data, ME) for _, data in ring.log] == [message]


def test_a_long_message_waits_for_the_first_word_of_a_joiner_but_not_for_ever() -> None:
    ring = Ring(ME, OTHER)
    ring.tell(GroupChanged((ME, OTHER, THIRD), (THIRD,)))
    speech, message = ring.nodes[ME], long(5000)
    speech.say(message)
    assert speech.next(NOW) is None
    assert speech.looks_again == NOW + UNKNOWN_MS
    late = Instant(NOW + UNKNOWN_MS)
    frame = speech.next(late)
    assert frame is not None
    assert isinstance(heard(ME, frame.data), Piece)
    assert speech.looks_again is None


def test_its_own_join_forgets_what_was_said_before() -> None:
    speech = Speech(ME)
    speech.say(Farewell())
    frame = speech.next(NOW)
    assert frame is not None
    speech.sent(frame)
    speech.say(long(5000))
    speech.taken(CorosyncLost(), NOW)
    speech.say(Farewell())
    speech.taken(GroupChanged((ME,), (ME,)), NOW)
    assert not speech
    assert not speech.on_their_way
    speech.say(Absent(RING, OTHER))
    assert speech.next(NOW) == Frame(wire.encode(Absent(RING, OTHER)), Absent(RING, OTHER))


def test_the_core_hears_that_a_long_message_is_coming() -> None:
    ring = Ring(ME, OTHER)
    ring.nodes[ME].say(long(20_000))
    told: list[Event | None] = []
    ring.say()
    while ring.log:
        ((_, data),) = ring.log
        ring.log.clear()
        ring.nodes[ME].taken(heard(ME, data), NOW)
        told.append(ring.nodes[OTHER].taken(heard(ME, data), NOW))
        ring.say()
    assert Speaking(ME) in told
    assert isinstance(told[-1], Delivered)


def event_of(speech: Speech, part: Part) -> Event | None:
    found: Heard = Piece(OTHER, part)
    return speech.taken(found, NOW)


def test_parts_that_are_no_message_are_told_as_such() -> None:
    speech = Speech(ME)
    assert isinstance(event_of(speech, Part(1, 0, 1, b"no zlib")), BadMessage)
    assert event_of(speech, Part(2, 1, 3, b"")) is None
    assert event_of(speech, Part(2, 0, 3, b"")) is None
    assert event_of(speech, Part(3, 1, 3, b"")) is None
    for data in (wire.PART_HEAD, wire.PART_HEAD + bytes(12), wire.PART_HEAD + bytes(5)):
        assert isinstance(heard(OTHER, data), BadMessage)


def test_another_process_of_this_node_does_not_take_the_place_of_what_this_one_said() -> None:
    """Its join is not this process's own, and what it says again is not what this one has on its way."""
    speech = Speech(ME, pid=7)
    speech.taken(GroupChanged((ME,), (ME,), processes=((ME, 7),)), NOW)
    speech.say(BEAT)
    frame = speech.next(NOW)
    assert frame is not None
    speech.sent(frame)
    speech.say(BEAT)
    speech.taken(GroupChanged((ME,), (ME,), processes=((ME, 7), (ME, 8))), NOW)
    speech.taken(heard(ME, frame.data, 8), NOW)
    assert len(speech) == len(speech.on_their_way) == 1
    speech.taken(heard(ME, frame.data, 7), NOW)
    assert not speech.on_their_way


def test_another_process_does_not_break_into_the_parts_of_its_nodes_daemon() -> None:
    speech = Speech(OTHER, pid=9)
    frames = parts.cut(wire.encode(long(3000)), 1, wire.PART_HEAD)
    events = []
    for frame in frames:
        events.append(speech.taken(heard(ME, frame, 7), NOW))
        speech.taken(heard(ME, frames[0], 8), NOW)
    assert isinstance(events[-1], Delivered)
    speech.taken(heard(ME, frames[0], 7), NOW)
    speech.taken(GroupChanged((ME, OTHER), (), ((ME, Departure.PROCDOWN),), processes=((ME, 7), (OTHER, 9))), NOW)
    assert [isinstance(speech.taken(heard(ME, frame, 7), NOW), Delivered) for frame in frames[1:]][-1]
