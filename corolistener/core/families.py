"""Whose neighbour's an action is, and in which order domain it is carried out."""

from typing import Literal, assert_never

from corolistener.core.actions import (
    AnnounceAddress,
    DisarmWatchdog,
    DropAddress,
    EditVm,
    FeedWatchdog,
    Fence,
    HoldAddress,
    InstallConfig,
    KeepDefinitions,
    KillNode,
    KillService,
    MarkVm,
    MigrateVm,
    PrepareConfig,
    ReadConfig,
    ReadDefinition,
    Record,
    ReleaseLock,
    ReloadConfig,
    ResumeVm,
    ShutDownVm,
    Spare,
    StartService,
    StartVm,
    StopService,
    StopVm,
    SuspendVm,
    TakeDatabase,
    TakeLock,
    TellExpected,
    TicketedAction,
    WithdrawConfig,
)

Family = Literal["address", "lock", "service", "config", "store", "vm", "fence", "watchdog", "corosync"]
"""Kinds of lanes: each has one neighbour."""


def family_of(action: TicketedAction) -> Family:
    """Whose neighbour's an action is."""
    match action:
        case HoldAddress() | AnnounceAddress() | DropAddress():
            return "address"
        case TakeLock() | ReleaseLock():
            return "lock"
        case TakeDatabase() | StartService() | StopService() | KillService():
            return "service"
        case PrepareConfig() | ReadConfig() | InstallConfig() | WithdrawConfig() | ReloadConfig():
            return "config"
        case Record() | KeepDefinitions() | ReadDefinition():
            return "store"
        case StartVm() | ResumeVm() | SuspendVm() | StopVm() | MarkVm() | MigrateVm() | ShutDownVm() | EditVm():
            return "vm"
        case Fence() | Spare():
            return "fence"
        case FeedWatchdog() | DisarmWatchdog():
            return "watchdog"
        case KillNode() | TellExpected():
            return "corosync"
        case _:
            assert_never(action)


def lane_of(action: TicketedAction) -> str:
    """The order domain of an action that ends in Finished: its family, and each VM's and each fenced node's own."""
    match action:
        case StartVm():
            return f"vm:{action.vm.name}"
        case ResumeVm() | SuspendVm() | StopVm() | MarkVm() | MigrateVm() | ShutDownVm() | EditVm():
            return f"vm:{action.name}"
        case Fence() | Spare():
            return f"fence:{action.node}"
        case _:
            return family_of(action)
