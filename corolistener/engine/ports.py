"""What the engine needs from whoever drives it: the daemon with real neighbours, the simulator with virtual ones."""

from collections.abc import Callable
from typing import Protocol

from corolistener.core.actions import Answer, TicketedAction
from corolistener.core.events import Outcome
from corolistener.core.messages import Message
from corolistener.core.notes import Note

Finish = Callable[[Outcome], None]
Cancel = Callable[[], None]


class Effect(Protocol):
    """One lane's neighbour.

    `start` begins the action and returns at once; `finish` is called exactly once, from the loop, never from inside
    `start`'s caller's stack frame of another action. `Cancel` gives up waiting (the deadline has passed); a `finish` after
    that is ignored.
    """

    def start(self, action: TicketedAction, finish: Finish) -> Cancel: ...


class Ring(Protocol):
    """The group. `send` returns False where the ring cannot take these bytes now: they are offered again.

    `message` is the one that is whole with them; None where more of its parts follow.
    """

    def send(self, data: bytes, message: Message | None) -> bool: ...


class Teller(Protocol):
    """Where notes and answers go, and the word that the process may end."""

    def note(self, note: Note) -> None: ...

    def answer(self, answer: Answer) -> None: ...

    def leave(self) -> None: ...
