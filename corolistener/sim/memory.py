"""What a node's disk remembers of the ledger. A write that was not finished is there whole or not at all, as SQLite's are."""

from collections import deque
from dataclasses import dataclass, field

from corolistener.core.actions import Record
from corolistener.core.events import Recalled
from corolistener.core.ledger import Ledger, Rows, Version
from corolistener.ids import NodeId, VmName

EVERY, MOST = 3, 30
"""A backup is made at every so-manieth write, and so many are kept."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The content at one time."""

    version: Version
    rows: Rows
    heard: dict[NodeId, Version]


@dataclass(slots=True)
class Memory:
    """The ledger at the newest version that was written. `full`: nothing more can be written. `heard`: the newest version that
    each other node has announced, as of the last write. `doubt`: why the file is not the one that was written here last, where
    its marks say so. `backups`: older contents, the newest last; none are made where `backed_up` is False."""

    version: Version = Version()
    ledger: Ledger = field(default_factory=Ledger)
    full: bool = False
    definitions: dict[tuple[VmName, str], bytes] = field(default_factory=dict)
    heard: dict[NodeId, Version] = field(default_factory=dict)
    doubt: str = ""
    was: Version = Version()
    """The version before the file went back, until all of it is written anew: what was on this disk and is no more."""
    backups: deque[Backup] = field(default_factory=lambda: deque(maxlen=MOST))
    backed_up: bool = True
    writes: int = 0

    def write(self, action: Record) -> None:
        if action.whole:
            self.ledger, self.doubt, self.was = Ledger(), "", Version()
        self.ledger.take(action.rows)
        self.version = action.version
        self.heard = dict(action.heard)
        self.writes += 1
        if self.backed_up and self.writes % EVERY == 0:
            self.backups.append(self.backup())

    def backup(self) -> Backup:
        """A copy of the file."""
        return Backup(self.version, self.ledger.rows(), dict(self.heard))

    def restore(self, backup: Backup, doubt: str) -> None:
        """The file is another one now. `doubt`: what its marks say of that; '' if they were restored with it."""
        self.was = max(self.was, self.version)
        self.version, self.heard, self.doubt = backup.version, dict(backup.heard), doubt
        self.ledger = Ledger()
        self.ledger.take(backup.rows)
        self.backups.clear()

    def recalled(self) -> Recalled:
        """What a starting daemon is told."""
        return Recalled(self.version, self.ledger.rows(), tuple(sorted(self.heard.items())), self.doubt)
