"""Where the parts of the core put what they decide: actions in order, and tickets that are never used twice."""

from dataclasses import dataclass, field

from corolistener.core.actions import Action
from corolistener.core.notes import Note, NoteCode
from corolistener.ids import Ticket


@dataclass(slots=True)
class Out:
    """One per core; emptied by every step."""

    actions: list[Action] = field(default_factory=list)
    tickets: int = 0

    def ticket(self) -> Ticket:
        self.tickets += 1
        return Ticket(self.tickets)

    def do(self, action: Action) -> None:
        self.actions.append(action)

    def note(self, code: NoteCode, **fields: object) -> None:
        self.actions.append(Note(code, tuple((name.rstrip("_"), str(value)) for name, value in fields.items())))

    def take(self) -> list[Action]:
        taken, self.actions = self.actions, []
        return taken
