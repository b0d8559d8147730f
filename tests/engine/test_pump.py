"""The pump: order of events and messages, what the ring does not take, a broken invariant, bounds."""

import pytest

from corolistener.core import invariants
from corolistener.core.actions import DropAddress, KillService, Reason, Record, ReleaseLock, SuspendVm, TicketedAction
from corolistener.core.config import CloudAddress, Cluster, Config, ConfigId, NodeEntry
from corolistener.core.events import (
    BadMessage,
    ChangeAsked,
    Delivered,
    Found,
    GroupChanged,
    LeaveAsked,
    Outcome,
    QuorumChanged,
    Result,
    RingChanged,
    SendingLost,
    TimePassed,
    VotesCounted,
)
from corolistener.core.families import Family
from corolistener.core.lifecycle import Mode
from corolistener.core.messages import Heartbeat, Hello, RevertTo, Wanted
from corolistener.core.notes import NoteCode
from corolistener.core.view import RingId
from corolistener.engine.lanes import DEADLINES_MS
from corolistener.engine.pump import MOST_EVENTS, MOST_SENDING, SEND_AGAIN_MS, Pump
from corolistener.engine.speech import heard
from corolistener.ids import Instant, NodeId, Ticket, VmName

from .neighbours import Listener, Prompt, Radio, Slow

ME, RING = NodeId(1), RingId(8, NodeId(1))
FILE = ConfigId(1, "a" * 64)
CONFIG = Config(
    ME, "boot", "run", Cluster(FILE, "vm", (NodeEntry(ME, priority=5),)), cloud=CloudAddress("192.0.2.10", 32, "vmbr0")
)
LANES: tuple[Family, ...] = ("address", "lock", "service", "config", "store")


class Node:
    """A pump with its neighbours, alone in its cluster; what it says comes back to it."""

    def __init__(self, effect: type[Slow] = Prompt, lanes: tuple[Family, ...] = LANES) -> None:
        self.radio, self.listener = Radio(), Listener()
        self.effects = {lane: effect() for lane in lanes}
        self.pump = Pump(CONFIG, self.effects, self.radio, self.listener)

    def join(self, now: int) -> None:
        self.pump.post(GroupChanged((ME,), (ME,)))
        self.pump.post(RingChanged(RING, (ME,)))
        self.pump.post(QuorumChanged(RING, True))
        self.pump.post(VotesCounted(1, ((ME, 1),), 1))
        self.pump.run(Instant(now))

    def echo(self, now: int) -> None:
        """The ring delivers everything that was said."""
        while self.radio.said:
            self.pump.post(heard(ME, self.radio.said.pop(0)))
            self.pump.run(Instant(now))

    @property
    def begun(self) -> list[TicketedAction]:
        """What was asked of the neighbours, the disk apart."""
        return [each for effect in self.effects.values() for each in effect.begun if not isinstance(each, Record)]

    @property
    def written(self) -> list[Record]:
        return [each for effect in self.effects.values() for each in effect.begun if isinstance(each, Record)]


def test_alone_in_a_cluster_of_one() -> None:
    node = Node()
    node.join(1000)
    node.echo(1001)
    assert node.pump.core.state.acting
    assert [type(action).__name__ for action in node.begun] == [
        "HoldAddress",
        "TakeLock",
        "TakeLock",
        "TakeDatabase",
        "StartService",
    ]
    assert node.pump.idle


def test_what_the_ring_does_not_take_is_offered_again() -> None:
    node = Node()
    node.radio.takes = False
    node.join(1000)
    assert len(node.pump.speech) == 2
    assert node.pump.deadline() == 1000 + SEND_AGAIN_MS
    node.pump.run(Instant(1000 + SEND_AGAIN_MS))
    assert node.radio.said == []
    node.radio.takes = True
    node.pump.pass_time(Instant(1000 + 2 * SEND_AGAIN_MS))
    node.echo(1050)
    assert [type(message) for message in node.radio.heard[:2]] == [Heartbeat, Hello]
    assert not node.pump.speech


def test_too_much_unsent_is_told_to_the_core_which_begins_anew() -> None:
    node = Node()
    node.join(1000)
    node.echo(1001)
    node.radio.takes = False
    node.pump.run(Instant(1002))
    for _ in range(MOST_SENDING + 1):
        node.pump._say(Wanted(FILE, ME), Instant(1003))
    assert isinstance(node.pump.events[-1], SendingLost)
    node.radio.heard.clear()
    node.pump.run(Instant(1004))
    assert len(node.pump.speech) < 5
    node.radio.takes = True
    node.pump.run(Instant(1030))
    node.echo(1031)
    assert any(isinstance(message, Hello) for message in node.radio.heard)
    assert node.pump.core.state.acting
    node.radio.heard.clear()
    node.pump.pass_time(Instant(1600))
    assert any(isinstance(message, Heartbeat) for message in node.radio.heard), "a lost heartbeat must not be waited for"


def test_events_that_nobody_handles_end_in_surrender() -> None:
    node = Node()
    for _ in range(MOST_EVENTS + 1):
        node.pump.post(BadMessage(NodeId(2), "x"))
    node.pump.run(Instant(1000))
    assert node.pump.broken is not None
    assert node.pump.broken.name == "events-bounded"
    assert {type(action) for action in node.begun} == {DropAddress, ReleaseLock, KillService}


class Deaf(Radio):
    """A ring whose `send` fails in a way that nobody expected."""

    def send(self, *said: object) -> bool:
        raise RuntimeError("no such thing")


def surrendered(node: Node) -> None:
    assert node.pump.broken is not None
    assert {type(action) for action in node.begun} == {DropAddress, ReleaseLock, KillService}
    assert node.pump.core.state.mode is Mode.BROKEN
    node.pump.pass_time(Instant(9000))
    assert node.pump.idle


def test_what_escapes_from_the_ring_ends_in_surrender() -> None:
    node = Node()
    node.pump.ring = Deaf()
    node.join(1000)
    surrendered(node)


def test_a_message_that_cannot_be_encoded_ends_in_surrender() -> None:
    node = Node()
    node.join(1000)
    node.echo(1001)
    for effect in node.effects.values():
        effect.begun.clear()
    node.pump.post(ChangeAsked(1, RevertTo(2**64)))
    node.pump.run(Instant(1002))
    surrendered(node)


def test_what_escapes_from_a_lane_or_a_teller_ends_in_surrender(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    monkeypatch.setattr(node.listener, "note", lambda note: 1 / 0)
    node.join(1000)
    surrendered(node)


def test_only_a_step_that_was_taken_counts() -> None:
    node = Node()
    node.pump.run(Instant(1000))
    assert node.pump.steps == 0
    node.pump.pass_time(Instant(1001))
    assert node.pump.steps == 1
    node.pump.post(Delivered(ME, None))  # type: ignore[arg-type]
    node.pump.run(Instant(1002))
    assert node.pump.steps == 1


def test_an_outcome_whose_reason_is_no_unicode_can_be_told() -> None:
    node = Node(Slow)
    node.join(1000)
    node.echo(1001)
    effect = node.effects["address"]
    effect.finishes[0](Outcome(Result.FAILED, "no device n\udce4me"))
    node.pump.run(Instant(1002))
    failed = [note for note in node.listener.notes if "no device" in str(note.fields)]
    assert [dict(note.fields)["why"] for note in failed] == ["no device n?me"]


def test_a_broken_invariant_lets_go_of_everything_and_decides_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.join(1000)
    node.echo(1001)
    for effect in node.effects.values():
        effect.begun.clear()
    monkeypatch.setitem(invariants.STANDING, "never", lambda s, actions, now: "the world is flat")
    node.pump.post(TimePassed())
    node.pump.run(Instant(1002))
    assert node.pump.broken is not None
    assert node.pump.broken.name == "never"
    assert node.listener.notes[-1].code is NoteCode.BROKEN
    assert {type(action) for action in node.begun} == {DropAddress, ReleaseLock, KillService}
    assert node.pump.core.state.mode is Mode.BROKEN
    said, begun = len(node.radio.heard), len(node.begun)
    node.pump.post(RingChanged(RingId(12, ME), (ME,)))
    node.pump.post(LeaveAsked())
    node.pump.run(Instant(9000))
    assert (len(node.radio.heard), len(node.begun)) == (said, begun)
    assert node.pump.core.next_deadline() is None


def test_a_bug_in_the_decision_is_a_broken_invariant() -> None:
    node = Node()
    node.join(1000)
    node.echo(1001)
    for effect in node.effects.values():
        effect.begun.clear()
    node.pump.post(Delivered(ME, None))  # type: ignore[arg-type]
    node.pump.run(Instant(1002))
    assert node.pump.broken is not None
    assert node.pump.broken.name == "step-returns"
    assert {type(action) for action in node.begun} == {DropAddress, ReleaseLock, KillService}
    assert node.pump.core.state.mode is Mode.BROKEN


def test_a_hanging_effect_ends_at_the_lanes_deadline() -> None:
    node = Node(Slow)
    node.join(1000)
    node.echo(1001)
    assert [type(action).__name__ for action in node.begun] == ["HoldAddress"]
    deadline = 1001 + DEADLINES_MS["address"]
    now = 1001
    while (due := node.pump.deadline()) is not None and due <= deadline:
        now = max(due, now)
        node.pump.pass_time(Instant(now))
        node.echo(now)
    failed = [note for note in node.listener.notes if note.code is NoteCode.EFFECT_FAILED]
    assert dict(failed[0].fields)["result"] == "timed-out"


def test_leaving_alone() -> None:
    node = Node()
    node.pump.post(Found())
    node.join(1000)
    node.echo(1001)
    node.pump.post(LeaveAsked())
    node.pump.run(Instant(1002))
    assert not node.listener.left
    node.echo(1003)
    assert node.listener.left


def test_the_ledger_is_written_as_soon_as_it_is_open() -> None:
    node = Node()
    node.join(1000)
    node.echo(1001)
    assert [record.version for record in node.written] == [node.pump.core.state.keeping.version]
    assert node.pump.core.state.keeping.stored == node.pump.core.state.keeping.version


def test_a_neighbour_that_this_node_does_not_have_fails_and_is_asked_again() -> None:
    node = Node(lanes=("address", "lock", "service", "config"))
    node.join(1000)
    node.echo(1001)
    assert node.pump.core.state.acting
    assert node.pump.broken is None
    refused = [note for note in node.listener.notes if note.code is NoteCode.NOT_RECORDED]
    assert dict(refused[0].fields)["why"] == "this node has nobody for Record"
    node.pump.pass_time(Instant(5000))
    assert len([note for note in node.listener.notes if note.code is NoteCode.NOT_RECORDED]) == 2
    node.pump._dispatch(SuspendVm(Ticket(99), VmName("web"), Reason.LEAVING), Instant(5001))
    node.pump.run(Instant(5001))
    assert node.pump.lanes == {} or all(lane.idle for lane in node.pump.lanes.values())
