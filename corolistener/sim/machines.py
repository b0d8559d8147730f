"""What a node touches: its disk, its devices, its programs. Virtual, with the faults that the real ones have."""

from collections.abc import Callable
from dataclasses import dataclass, field

from corolistener.core.actions import (
    AnnounceAddress,
    DropAddress,
    HoldAddress,
    InstallConfig,
    KeepDefinitions,
    KillService,
    Lock,
    PrepareConfig,
    ReadConfig,
    ReadDefinition,
    Record,
    ReleaseLock,
    ReloadConfig,
    StartService,
    StopService,
    TakeDatabase,
    TakeLock,
    TicketedAction,
    WithdrawConfig,
)
from corolistener.core.events import Outcome, Result
from corolistener.engine.ports import Cancel, Finish
from corolistener.ids import NodeId
from corolistener.sim import conffile
from corolistener.sim.conffile import Disk
from corolistener.sim.memory import Memory


@dataclass(slots=True)
class Machine:
    """The facts of one node that outlive its daemon. `device` is there or not; a fault's name in `hung` never ends."""

    id: NodeId
    disk: Disk
    memory: Memory = field(default_factory=Memory)
    boot: int = 0
    powered: bool = False
    booting: bool = False
    """It has power, and its daemon has not been started yet."""
    suspended: bool = False
    """Its clock has stood still: nothing that it measures itself is true."""
    went_back: int | None = None
    """Its ledger file went back, and had seen this many writes then."""
    address: bool = False
    locks: set[Lock] = field(default_factory=set)
    service: bool = False
    device: bool = True
    hook: bool = True
    """The program that starts and stops the service is there."""
    read_only: bool = False
    reload_refused: bool = False
    frozen: bool = False
    """The whole machine stands still: nothing executes."""
    barred: bool = False
    """Its daemon cannot start."""
    status_lies: bool = False
    stop_ms: int = 0
    """How long a stop of the service takes, where it is unusually long."""
    unkillable_ms: int = 0
    """The service is not ended by killing it, once the other nodes wait this long for it."""
    kills: int = 0
    """Counts what ended all earlier jobs of the service."""
    able_since: int = 0
    hung: set[str] = field(default_factory=set)
    jobs_until: int = 0

    def power_off(self) -> None:
        """Everything that lives in memory is gone, /tmp with it."""
        self.powered = self.booting = self.address = self.service = False
        self.locks.clear()
        self.hung.clear()
        self.frozen = False

    def problems(self, addressed: bool) -> tuple[str, ...]:
        """Why this machine cannot hold what a master has."""
        device, hook = self.device or not addressed, self.hook
        found = (("read-only file system", self.read_only), ("no device", not device), ("no hook", not hook))
        return tuple(why for why, wrong in found if wrong)

    def let_go(self) -> None:
        """What the small program does, when the daemon has ended for good."""
        self.address = self.service = False
        self.locks.clear()
        self.kills += 1


def do(machine: Machine, action: TicketedAction, reload: Callable[[], None]) -> Outcome:
    """Carry an action out, at this instant."""
    match action:
        case HoldAddress():
            if not machine.device:
                return Outcome(Result.FAILED, f"{action.address.device}: no such device")
            machine.address = True
        case AnnounceAddress() | TakeDatabase():
            pass
        case DropAddress():
            machine.address = False
        case TakeLock(lock=lock):
            if machine.read_only:
                return Outcome(Result.FAILED, "read-only file system")
            machine.locks.add(lock)
        case ReleaseLock(lock=lock):
            if machine.read_only and lock in machine.locks:
                return Outcome(Result.FAILED, "read-only file system")
            machine.locks.discard(lock)
        case StartService():
            if not machine.hook:
                return Outcome(Result.FAILED, "the hook does not exist")
            machine.service = True
        case StopService() | KillService():
            machine.service = False
        case Record():
            if machine.memory.full or machine.read_only:
                return Outcome(Result.FAILED, "no space left on device")
            machine.memory.write(action)
        case KeepDefinitions(texts=texts):
            if machine.memory.full or machine.read_only:
                return Outcome(Result.FAILED, "no space left on device")
            machine.memory.definitions.update({(each.name, each.definition): each.text for each in texts})
        case ReadDefinition(name=name, definition=definition):
            found = machine.memory.definitions.get((name, definition))
            return Outcome(Result.DONE, text=found) if found is not None else Outcome(Result.FAILED, "no such definition")
        case ReloadConfig():
            outcome = conffile.carry_out(machine.disk, machine.id, action)
            if outcome.result is not Result.DONE:
                return outcome
            if machine.reload_refused:
                return Outcome(Result.FAILED, "corosync refused the new configuration")
            reload()
        case PrepareConfig() | ReadConfig() | InstallConfig() | WithdrawConfig():
            return conffile.carry_out(machine.disk, machine.id, action)
        case _:
            raise TypeError(f"{type(action).__name__} has a neighbour of its own")
    return Outcome(Result.DONE)


def fault_of(action: TicketedAction) -> str:
    """The fault that keeps this action from ending."""
    match action:
        case StartService():
            return "service-start"
        case StopService():
            return "service-stop"
        case HoldAddress():
            return "address"
        case ReloadConfig():
            return "reload"
        case Record():
            return "store"
    return ""


LATENCY_MS: dict[type[object], tuple[int, int, int]] = {
    HoldAddress: (1, 0, 20),
    AnnounceAddress: (1, 0, 5),
    DropAddress: (1, 0, 20),
    TakeLock: (1, 0, 10),
    ReleaseLock: (1, 0, 10),
    TakeDatabase: (100, 0, 3000),
    StartService: (300, 50, 3000),
    StopService: (200, 20, 900),
    KillService: (30, 5, 300),
    Record: (4, 1, 120),
    KeepDefinitions: (4, 1, 120),
    ReadDefinition: (1, 1, 10),
    ReloadConfig: (40, 5, 300),
}
CONFIG_MS = (5, 1, 200)
Begin = Callable[[TicketedAction, Finish], Cancel]


class Port:
    """One lane's neighbour: the world says how long things take and what becomes of them."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def start(self, action: TicketedAction, finish: Finish) -> Cancel:
        return self._begin(action, finish)
