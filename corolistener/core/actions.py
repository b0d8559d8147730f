"""What to do: the only way the core reaches the world.

The contract of the engine, which every effect may rely on:

- Actions of one lane run in order, actions of different lanes in any order. Where A must precede B in another lane, the
  core waits for Finished(A) before it returns B.
- Every action with a `ticket` ends in exactly one Finished.
- An action list may be cut anywhere by a crash: each action is idempotent.
- Actions on a VM carry its `uuid`, where it is known: another VM of the same name is left alone (safety.md, rule 9).
- `until` (ring, not_after), where present, is looked at again immediately before the call: superseded actions are dropped
  and end as Outcome(SUPERSEDED).
"""

from dataclasses import dataclass
from enum import Enum

from corolistener.core.capacity import Vm
from corolistener.core.config import CloudAddress, ConfigId
from corolistener.core.ledger import Rows, Version
from corolistener.core.messages import Change, Definition, Message
from corolistener.core.notes import Note
from corolistener.core.reasons import Reason as Reason
from corolistener.core.view import RingId
from corolistener.core.wishes import Wishes
from corolistener.ids import Instant, NodeId, Ticket, VmName


class Lock(Enum):
    """The two files VMmanager reads, by the last part of their names."""

    SERVICE = "service"
    RELOCATED = "relocated"


@dataclass(frozen=True, slots=True)
class Until:
    """An action with this may start only in this ring and only before `not_after`."""

    ring: RingId
    not_after: Instant


@dataclass(frozen=True, slots=True)
class Multicast:
    """Send to the group, in agreed order. Lane `ring`; a ring that cannot take it now is retried by the lane."""

    message: Message


@dataclass(frozen=True, slots=True)
class HoldAddress:
    """Put the cloud IP on its device and announce it; keeps an address already there. Lane `address`."""

    ticket: Ticket
    address: CloudAddress
    until: Until
    reason: Reason


@dataclass(frozen=True, slots=True)
class AnnounceAddress:
    """Announce an address that is held already: after a heal, or when another station answers for it. Lane `address`."""

    ticket: Ticket
    address: CloudAddress
    until: Until


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Take the cloud IP off its device; done if it is not there. Lane `address`."""

    ticket: Ticket
    address: CloudAddress
    reason: Reason


@dataclass(frozen=True, slots=True)
class TakeLock:
    """Create a lock file with O_EXCL; keeps one that is ours, renames aside what is not. Lane `lock`."""

    ticket: Ticket
    lock: Lock
    until: Until
    reason: Reason


@dataclass(frozen=True, slots=True)
class ReleaseLock:
    """Remove a lock file; done if it is not there. Lane `lock`."""

    ticket: Ticket
    lock: Lock
    reason: Reason


@dataclass(frozen=True, slots=True)
class TakeDatabase:
    """Run the `moved` hook: take the database replica into use. Lane `service`.

    `former` is who served before; None where nobody else is known to have served since this node did.
    """

    ticket: Ticket
    until: Until
    former: NodeId | None


@dataclass(frozen=True, slots=True)
class StartService:
    """Start the manager; done if it runs. `ports` are ihttpd's. Lane `service`."""

    ticket: Ticket
    until: Until
    ports: tuple[int, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class StopService:
    """Stop the manager in order; done if it does not run. Lane `service`."""

    ticket: Ticket
    reason: Reason


@dataclass(frozen=True, slots=True)
class KillService:
    """Kill all processes of the manager, and those that are starting or stopping it. It is done when none of them runs. It ends
    every other action of its lane. Lane `service`."""

    ticket: Ticket
    reason: Reason


@dataclass(frozen=True, slots=True)
class PrepareConfig:
    """Compute the text of a changed corosync.conf from the file whose id is `base`; nothing is written.

    Ends in Prepared, or Failed with the administrator's line. `version` is the new config_version, `members` must all
    be in the new nodelist. Lane `config`.
    """

    ticket: Ticket
    base: ConfigId
    version: int
    change: Change
    members: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """Read the own file; ends in Prepared with its text, if its id is still `config`. Lane `config`."""

    ticket: Ticket
    config: ConfigId


@dataclass(frozen=True, slots=True)
class InstallConfig:
    """Validate a text and put it in place of the own file, keeping that one as `.VERSION`. Lane `config`."""

    ticket: Ticket
    config: ConfigId
    text: bytes


@dataclass(frozen=True, slots=True)
class WithdrawConfig:
    """Put the kept file `previous` back, if the own file is still `config`. Lane `config`."""

    ticket: Ticket
    config: ConfigId
    previous: ConfigId


@dataclass(frozen=True, slots=True)
class ReloadConfig:
    """Ask corosync to reload everywhere. Lane `config`."""

    ticket: Ticket
    config: ConfigId


@dataclass(frozen=True, slots=True)
class Record:
    """Write a change of the ledger to disk, so that a loss of power leaves it; all of it where `whole`. Lane `store`.

    `heard`: the newest version that each other node has announced to be on its disk (core/witness).
    """

    ticket: Ticket
    version: Version
    rows: Rows
    whole: bool
    heard: tuple[tuple[NodeId, Version], ...] = ()


@dataclass(frozen=True, slots=True)
class StartVm:
    """Create a copy of a VM, suspended, with its generation written on it; done if there is one. Lane `vm:NAME`."""

    ticket: Ticket
    vm: Vm
    generation: int
    until: Until
    reason: Reason


@dataclass(frozen=True, slots=True)
class ResumeVm:
    """Let a suspended copy run. Lane `vm:NAME`."""

    ticket: Ticket
    name: VmName
    until: Until
    reason: Reason
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class SuspendVm:
    """Let a copy execute nothing, and keep its memory; done if there is none. Lane `vm:NAME`."""

    ticket: Ticket
    name: VmName
    reason: Reason
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class StopVm:
    """Destroy a copy; done if there is none. Lane `vm:NAME`."""

    ticket: Ticket
    name: VmName
    reason: Reason
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class MarkVm:
    """Write its generation on a copy, and whether its user has `suspended` it. Lane `vm:NAME`."""

    ticket: Ticket
    name: VmName
    generation: int
    uuid: str = ""
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class MigrateVm:
    """Move a running copy to the hypervisor at `address`, live. Lane `vm:NAME`. Both sides report where it ended."""

    ticket: Ticket
    name: VmName
    to: NodeId
    address: str
    until: Until
    reason: Reason
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class ShutDownVm:
    """Ask a VM's own system to shut down; done when it has been asked. Lane `vm:NAME`."""

    ticket: Ticket
    name: VmName
    reason: Reason
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class EditVm:
    """Write an administrator's wishes into the definition of a VM that is here. Lane `vm:NAME`."""

    ticket: Ticket
    name: VmName
    wishes: Wishes
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class KeepDefinitions:
    """Write definitions of VMs to disk, so that a loss of power leaves them. Lane `store`."""

    ticket: Ticket
    texts: tuple[Definition, ...]


@dataclass(frozen=True, slots=True)
class ReadDefinition:
    """Read a kept definition, to tell it to another node; ends with its text. Lane `store`."""

    ticket: Ticket
    name: VmName
    definition: str


@dataclass(frozen=True, slots=True)
class Fence:
    """Make sure by its fence agent that a lost node is off. Lane `fence:NODE`."""

    ticket: Ticket
    node: NodeId
    boot: str
    until: Until


@dataclass(frozen=True, slots=True)
class Spare:
    """End what is switching a node off, where that can still be helped: it is back. Lane `fence:NODE`."""

    ticket: Ticket
    node: NodeId


@dataclass(frozen=True, slots=True)
class KillNode:
    """End corosync on a member, by corosync itself: it leaves the ring, and that is no fencing. Lane `corosync`."""

    ticket: Ticket
    node: NodeId
    until: Until


@dataclass(frozen=True, slots=True)
class TellExpected:
    """Tell votequorum how many votes to expect, on every member. Lane `corosync`."""

    ticket: Ticket
    votes: int


@dataclass(frozen=True, slots=True)
class FeedWatchdog:
    """Keep the watchdog quiet; `until` None: everything is confirmed suspended, and that needs no lease. Lane `watchdog`."""

    ticket: Ticket
    until: Until | None


@dataclass(frozen=True, slots=True)
class DisarmWatchdog:
    """Stop the watchdog for good. Lane `watchdog`."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell the operator who asked `request` how it goes (`done` False) or went. `code` is stable; "ok" is success."""

    request: int
    done: bool
    code: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """The farewell has been delivered and everything is let go: this process may end."""


TicketedAction = (
    HoldAddress
    | AnnounceAddress
    | DropAddress
    | TakeLock
    | ReleaseLock
    | TakeDatabase
    | StartService
    | StopService
    | KillService
    | PrepareConfig
    | ReadConfig
    | InstallConfig
    | WithdrawConfig
    | ReloadConfig
    | Record
    | StartVm
    | ResumeVm
    | SuspendVm
    | StopVm
    | MarkVm
    | MigrateVm
    | ShutDownVm
    | EditVm
    | KeepDefinitions
    | ReadDefinition
    | Fence
    | Spare
    | KillNode
    | TellExpected
    | FeedWatchdog
    | DisarmWatchdog
)
Action = TicketedAction | Multicast | Answer | Leave | Note
