"""What a node's disk remembers of the ledger. A write that was not finished is there whole or not at all, as SQLite's are."""

from dataclasses import dataclass, field

from corolistener.core.actions import Record
from corolistener.core.events import Recalled
from corolistener.core.ledger import Ledger, Version
from corolistener.ids import VmName


@dataclass(slots=True)
class Memory:
    """The ledger at the newest version that was written. `full`: nothing more can be written."""

    version: Version = Version()
    ledger: Ledger = field(default_factory=Ledger)
    full: bool = False
    definitions: dict[tuple[VmName, str], bytes] = field(default_factory=dict)

    def write(self, action: Record) -> None:
        if action.whole:
            self.ledger = Ledger()
        self.ledger.take(action.rows)
        self.version = action.version

    def recalled(self) -> Recalled:
        """What a starting daemon is told."""
        return Recalled(self.version, self.ledger.rows())
