"""What libvirt says of a VM, read in one go. Everything here blocks: it runs in a thread."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import libvirt

from corolistener.core.capacity import Vm
from corolistener.core.events import Copied, Pause
from corolistener.core.reports import VmState
from corolistener.core.wishes import Wishes
from corolistener.effects.vm.lines import Connection, Domain, Fault, Lines, code
from corolistener.effects.vm.settings import Manage, VmSettings
from corolistener.effects.vm.storages import POOL, storage_of
from corolistener.effects.vm.texts import Content, canonical, content, digest
from corolistener.ids import NodeId, VmName

LOOKS_MOST = 5
DEFINITION = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
STILL = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_CRASHED)
"""States in which a copy executes nothing. One that was suspended by its own system (pmsuspended) may wake up by itself."""
PAUSES = {
    libvirt.VIR_DOMAIN_PAUSED_UNKNOWN: Pause.CALL,
    libvirt.VIR_DOMAIN_PAUSED_USER: Pause.CALL,
    libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: Pause.CALL,
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: Pause.IO_ERROR,
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: Pause.WATCHDOG,
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: Pause.PANICKED,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: Pause.STARTING,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: Pause.BUSY,
}
"""What libvirt's reasons mean. The other ones (migration, dump, save, snapshot) say BUSY as long as that is under way."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes a VM ours. `pools`: the paths of declared pools."""

    settings: VmSettings
    me: NodeId
    pools: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sight:
    """A VM that libvirt knows. `why` says why it would not be adopted, "" where it would; `copied` is its instance, None where
    there is none: that is reported whatever the settings say.

    `id` is libvirt's number of the copy, another one after every start. `text` is its definition, empty where it is not defined
    here: a copy that was started without that, or is just arriving. `off`: libvirt's reason for which it is shut off.
    """

    name: VmName
    uuid: str
    id: int
    why: str
    copied: Copied | None
    text: bytes
    autostart: bool
    mistakes: tuple[str, ...] = ()
    off: int = 0


def find(connection: Connection, name: VmName) -> Domain | None:
    """The domain of that name; None where libvirt knows none."""
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def look(lines: Lines, rules: Rules, name: VmName) -> Sight | None:
    """One VM as it is; None: libvirt knows none of that name."""
    with lines.line() as connection:
        for _ in range(LOOKS_MOST):
            domain = find(connection, name)
            if domain is None:
                return None
            try:
                sight = read(domain, rules, name)
            except libvirt.libvirtError as error:
                if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
                    continue  # it went while we looked
                raise
            after = find(connection, name)
            if after is not None and (max(after.ID(), -1), after.UUIDString()) == (sight.id, sight.uuid):
                return sight
        raise Fault(f"{name} never stands still")


def survey(lines: Lines, rules: Rules) -> dict[VmName, Sight]:
    """Every VM that libvirt knows."""
    with lines.line() as connection:
        names = sorted(VmName(domain.name()) for domain in connection.listAllDomains())
    found = ((name, look(lines, rules, name)) for name in names)
    return {name: sight for name, sight in found if sight is not None}


def read(domain: Domain, rules: Rules, name: VmName) -> Sight:
    """A domain as it is, if it stands still meanwhile."""
    number, active = max(domain.ID(), -1), domain.isActive()
    now, secure = domain.XMLDesc(0), domain.XMLDesc(DEFINITION)
    state, reason = domain.state()
    text = b""
    try:
        live, written = content(now), content(secure)
        if domain.isPersistent():
            text = canonical(secure)
        vm, why = judge(name, written, live, rules, digest(text) if text else live.definition)
    except (ElementTree.ParseError, ValueError, OverflowError) as error:
        live, written = Content(""), Content(domain.UUIDString())
        vm, why = Vm(name, 0, uuid=domain.UUIDString()), f"its definition cannot be read: {error}"
    runs = VmState.SUSPENDED if state in STILL else VmState.RUNNING
    pause = paused(domain, state, reason, live)
    autostart = False
    with contextlib.suppress(libvirt.libvirtError):  # a VM that is not defined here has no such thing
        autostart = bool(domain.autostart())
    return Sight(
        name=name,
        uuid=written.uuid,
        id=number if active else -1,
        why=why,
        copied=Copied(vm, runs, live.generation, why, written.wishes.managed is False, pause, live.ending) if active else None,
        text=text,
        autostart=autostart,
        mistakes=written.mistakes,
        off=reason if state == libvirt.VIR_DOMAIN_SHUTOFF else 0,
    )


def paused(domain: Domain, state: int, reason: int, live: Content) -> Pause:
    """Why a copy is suspended; USER where its label says that, also of one that runs again."""
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return Pause.PANICKED
    if state != libvirt.VIR_DOMAIN_PAUSED:
        return Pause.USER if live.suspended else Pause.OTHER
    pause = PAUSES.get(reason)
    if pause is None:
        return Pause.BUSY if working(domain) else Pause.OTHER
    return Pause.USER if pause is Pause.CALL and live.suspended else pause


def working(domain: Domain) -> bool:
    """A job is under way: a migration, a dump, a save. Of one that is just arriving only the other side has statistics."""
    try:
        return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
    except libvirt.libvirtError as error:
        return bool(code(error) == libvirt.VIR_ERR_OPERATION_UNSUPPORTED)


def judge(name: VmName, written: Content, live: Content, rules: Rules, definition: str) -> tuple[Vm, str]:
    """The VM as the planner shall see it, and why it is not ours ("" where it is)."""
    wishes = written.wishes
    disks = tuple(dict.fromkeys((*written.disks, *live.disks)))
    lies = {disk: storage_of(disk, rules.settings.shared_storage, rules.pools) for disk in disks}
    local = next((str(disk) for disk, storage in lies.items() if storage is None), "") or written.bound or live.bound
    nodes = wishes.nodes or None
    if local:
        nodes = frozenset({rules.me}) & (nodes if nodes is not None else frozenset({rules.me}))
    vm = Vm(
        name=name,
        memory_kib=live.memory_kib,
        cpus=live.cpus,
        priority=wishes.priority or 0,
        start_order=wishes.start_order or 0,
        storages=frozenset(storage for storage in lies.values() if storage is not None),
        together=wishes.together or frozenset(),
        apart=wishes.apart or frozenset(),
        nodes=nodes,
        definition=definition,
        uuid=written.uuid,
    )
    why = _unmanaged(wishes, local, rules.settings.manage)
    return (replace(vm, definition="") if why else vm), why  # nobody is told the text of what is not adopted


def _unmanaged(wishes: Wishes, local: str, manage: Manage) -> str:
    if wishes.managed is False:
        return "its metadata says manage no"
    match manage:
        case Manage.SHARED:
            return f"not on shared storage: {local}" if local else ""
        case Manage.TAGGED:
            return "" if wishes.managed else "its metadata does not say manage yes"
        case Manage.ALL:
            return ""


def find_pools(lines: Lines, declared: tuple[str, ...]) -> tuple[dict[str, str], frozenset[str]]:
    """The paths of the declared pools that libvirt knows ("" for one without), and those that are active."""
    paths: dict[str, str] = {}
    reached = set()
    with lines.line() as connection:
        for storage in declared:
            if not storage.startswith(POOL):
                continue
            try:
                pool = connection.storagePoolLookupByName(storage.removeprefix(POOL))
            except libvirt.libvirtError as error:
                if code(error) in (libvirt.VIR_ERR_NO_STORAGE_POOL, libvirt.VIR_ERR_NO_SUPPORT):
                    continue
                raise
            paths[storage] = ElementTree.fromstring(pool.XMLDesc(0)).findtext("target/path", "")
            if pool.isActive():
                reached.add(storage)
    return paths, frozenset(reached)
