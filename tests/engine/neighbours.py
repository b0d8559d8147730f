"""Neighbours for the engine's tests: they remember what they were asked, and end it when the test says so."""

from dataclasses import dataclass, field

from corolistener.core.actions import Answer, TicketedAction
from corolistener.core.events import Outcome, Result
from corolistener.core.messages import Message
from corolistener.core.notes import Note
from corolistener.engine.ports import Cancel, Finish

DONE = Outcome(Result.DONE)


@dataclass
class Slow:
    """An effect that ends when told to. `cancelled` are those nobody waits for any more."""

    begun: list[TicketedAction] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    cancelled: list[TicketedAction] = field(default_factory=list)

    def start(self, action: TicketedAction, finish: Finish) -> Cancel:
        self.begun.append(action)
        self.finishes.append(finish)
        return lambda: self.cancelled.append(action)


class Prompt(Slow):
    """An effect that has ended before `start` returns."""

    def start(self, action: TicketedAction, finish: Finish) -> Cancel:
        cancel = super().start(action, finish)
        finish(DONE)
        return cancel


class Raising(Slow):
    """A port with a bug; `late` says whether it had already said how it ended."""

    def __init__(self, late: bool = False) -> None:
        super().__init__()
        self.late = late

    def start(self, action: TicketedAction, finish: Finish) -> Cancel:
        super().start(action, finish)
        if self.late:
            finish(DONE)
        raise OSError("the port is broken")


@dataclass
class Radio:
    """A ring that takes messages or does not. `heard` are those that were said to their end, `said` all frames."""

    takes: bool = True
    heard: list[Message] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)

    def send(self, data: bytes, message: Message | None) -> bool:
        if self.takes:
            self.said.append(data)
            if message is not None:
                self.heard.append(message)
        return self.takes


@dataclass
class Listener:
    """Keeps what is told."""

    notes: list[Note] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    left: bool = False

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)

    def leave(self) -> None:
        self.left = True
