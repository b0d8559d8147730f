"""The pump: one event at a time, run to completion, and its actions to their lanes.

Whoever drives it (the daemon's loop, the simulator's heap) posts events from wherever they come and calls `run`. Nothing
here waits, and nothing reads a clock: `now` comes in with each call.
"""

import contextlib
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from corolistener.core.actions import Action, Answer, Leave, Multicast, TicketedAction
from corolistener.core.config import Config
from corolistener.core.events import Event, Finished, Outcome, Result, SendingLost, TimePassed
from corolistener.core.families import Family, family_of, lane_of
from corolistener.core.invariants import check
from corolistener.core.machine import Core
from corolistener.core.messages import Message
from corolistener.core.notes import Note, NoteCode
from corolistener.engine.journal import Journal
from corolistener.engine.lanes import DEADLINES_MS, Lane
from corolistener.engine.ports import Cancel, Effect, Finish, Ring, Teller
from corolistener.engine.speech import Heard, Speech
from corolistener.errors import InvariantViolation
from corolistener.ids import Instant, Ticket
from corolistener.wire.ring import sendable

MOST_EVENTS = 4096
MOST_SENDING = 256
SEND_AGAIN_MS = 20


def escaped(name: str, error: Exception) -> InvariantViolation:
    """An exception that nobody expected, as the violation that ends deciding."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return InvariantViolation(name, f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")


class Nobody:
    """In place of a neighbour that this node does not have: what is asked of it fails at once."""

    def start(self, action: TicketedAction, finish: Finish) -> Cancel:
        finish(Outcome(Result.FAILED, f"this node has nobody for {type(action).__name__}"))
        return lambda: None


NOBODY = Nobody()


class Pump:
    """One core, its lanes, its journal.

    `broken` is the violation that ended deciding, if any: everything is then let go, and the core only keeps VMs suspended.
    Then the driver must leave the group, and tell from time to time who is in it (core/broken).
    `steps` counts the events that the core has taken in: what feeds a watchdog of the process. No exception leaves `run`
    or `post`: whatever goes wrong inside ends in surrender, because a loop that is dead and silent keeps what it holds.
    """

    def __init__(
        self,
        config: Config,
        effects: Mapping[Family, Effect],
        ring: Ring,
        teller: Teller,
        deadlines_ms: Mapping[Family, int] = DEADLINES_MS,
    ) -> None:
        self.core = Core(config)
        self.journal = Journal(self.core)
        self.ring, self.teller = ring, teller
        self.events: deque[Heard] = deque()
        self.speech = Speech(config.me, config.pid)
        self.send_at: Instant | None = None
        self.broken: InvariantViolation | None = None
        self.steps = 0
        self.letting_go: list[Action] = []
        self.effects, self.deadlines_ms = effects, deadlines_ms
        self.lanes: dict[str, Lane] = {}

    def post(self, event: Heard) -> None:
        """Put an event at the end of the queue. More than MOST_EVENTS wait only if nobody runs the pump: that is surrender."""
        if len(self.events) < MOST_EVENTS:
            self.events.append(event)
        else:
            self.give_up(InvariantViolation("events-bounded", f"{MOST_EVENTS} events wait"))

    def _ended(self, ticket: Ticket, outcome: Outcome) -> None:
        self.post(Finished(ticket, replace(outcome, why=sendable(outcome.why)) if outcome.why else outcome))

    def run(self, now: Instant) -> None:
        """Handle everything that has been posted, and what follows from it."""
        try:
            self._run(now)
        except InvariantViolation as violation:
            self.give_up(violation)
        except Exception as error:  # noqa: BLE001 - what escapes from the pump ends in surrender, whatever it is
            self.give_up(escaped("pump-runs", error))
        self._let_go(now)

    def _run(self, now: Instant) -> None:
        if self.lanes:
            for lane in self.lanes.values():
                lane.expire(now)
            self.lanes = {name: lane for name, lane in self.lanes.items() if not lane.idle}
        self._send(now)
        while self.events:
            event = self.speech.taken(self.events.popleft(), now)
            if event is not None:
                self._step(event, now)
                self._advance(now)
            self._send(now)

    def pass_time(self, now: Instant) -> None:
        """`deadline` has come."""
        self.post(TimePassed())
        self.run(now)

    def deadline(self) -> Instant | None:
        """When `pass_time` is to be called at the latest."""
        if not self.lanes and not self.speech:
            return self.core.next_deadline()
        at = [self.core.next_deadline(), self.send_at, self.speech.looks_again]
        at += [lane.expires for lane in self.lanes.values()]
        return min((instant for instant in at if instant is not None), default=None)

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self.events and not self.speech and all(lane.idle for lane in self.lanes.values())

    def _step(self, event: Event, now: Instant) -> None:
        if self.broken is not None:
            self._step_broken(event, now)
            return
        before = self.core.state.mode
        try:
            actions = self.core.step(event, now)
            self.journal.keep(self.core, now, event, actions)
            check(self.core, actions, before, now)
            self.steps += 1
        except InvariantViolation as violation:
            self.give_up(violation)
        except Exception as error:  # noqa: BLE001 - a bug in the decision: nobody knows what it would do next
            self.journal.keep(self.core, now, event, [])
            self.give_up(escaped("step-returns", error))
        else:
            for action in actions:
                self._dispatch(action, now)
        self._let_go(now)

    def _step_broken(self, event: Event, now: Instant) -> None:
        """VMs stay suspended, and the watchdog is fed while that is sure. If this raises, too, the watchdog starves."""
        with contextlib.suppress(Exception):
            for action in self.core.step(event, now):
                self._dispatch(action, now)

    def give_up(self, violation: InvariantViolation) -> None:
        """Nothing is decided any more; the next run lets go of everything, which is all that is left to do."""
        if self.broken is not None:
            return
        self.broken = violation
        self.speech.forget()
        self.letting_go = self.core.surrender()
        fields = (("name", violation.name), ("evidence", violation.evidence))
        self.letting_go.insert(0, Note(NoteCode.BROKEN, fields))

    def _let_go(self, now: Instant) -> None:
        """What surrendering takes, one by one: that one of them cannot be done keeps no other from being done."""
        while self.letting_go:
            with contextlib.suppress(Exception):
                self._dispatch(self.letting_go.pop(0), now)

    def _dispatch(self, action: Action, now: Instant) -> None:
        match action:
            case Note():
                self.teller.note(action)
            case Multicast(message):
                self._say(message, now)
            case Answer():
                self.teller.answer(action)
            case Leave():
                self.teller.leave()
            case _:
                self._lane(action).submit(action, self.core.state.group.ring, now)

    def _lane(self, action: TicketedAction) -> Lane:
        """Lanes come and go with what is to be done: there is one for each VM and each fenced node."""
        name = lane_of(action)
        if name not in self.lanes:
            family = family_of(action)
            self.lanes[name] = Lane(self.effects.get(family, NOBODY), self.deadlines_ms[family], self._ended)
        return self.lanes[name]

    def _say(self, message: Message, now: Instant) -> None:
        """Send after what waits already. More than MOST_SENDING have waited for nobody: the core is told, and begins anew."""
        if len(self.speech) >= MOST_SENDING:
            self.speech.forget()
            self.post(SendingLost())
        self.speech.say(message)
        self._send(now)

    def _send(self, now: Instant) -> None:
        """What the ring cannot take now is offered again, so nothing is lost."""
        self.send_at = None
        while self.speech and (frame := self.speech.next(now)) is not None:
            if not self.ring.send(*frame):
                self.send_at = Instant(now + SEND_AGAIN_MS)
                return
            self.speech.sent(frame)

    def _advance(self, now: Instant) -> None:
        for lane in self.lanes.values():
            lane.advance(self.core.state.group.ring, now)
