"""What operators, and the master itself, change of corosync.conf: the contents of `Proposed` and of a rewrite."""

from dataclasses import dataclass

from corolistener.ids import NodeId


@dataclass(frozen=True, slots=True)
class PushText:
    """Replace the whole file. Its config_version must not be lower than the one in force."""

    text: bytes


@dataclass(frozen=True, slots=True)
class RevertTo:
    """The kept file `corosync.conf.VERSION`, with a new version."""

    version: int


@dataclass(frozen=True, slots=True)
class AddNode:
    """A new entry of the nodelist; id 0 lets the master choose the lowest free one."""

    address: str
    id: NodeId = NodeId(0)
    name: str = ""
    priority: int = 0
    replication: bool | None = None


@dataclass(frozen=True, slots=True)
class EditNode:
    """Change what is not None."""

    id: NodeId
    name: str | None = None
    priority: int | None = None
    replication: bool | None = None


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Take a node that is not a member out of the nodelist."""

    id: NodeId


@dataclass(frozen=True, slots=True)
class SetPriorities:
    """Priorities only, as a takeover does."""

    priorities: tuple[tuple[NodeId, int], ...]


@dataclass(frozen=True, slots=True)
class Restamp:
    """The file in force with a new version: two files had the same one."""


Change = PushText | RevertTo | AddNode | EditNode | RemoveNode | SetPriorities | Restamp
