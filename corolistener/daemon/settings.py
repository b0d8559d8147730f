"""The settings: corolistener.toml and, for what it does not say of the cloud IP, VMmanager's own file.

Each key is declared once, below, with its kind and default; conf/corolistener.toml explains them. An unknown key, a
value of the wrong kind or values that do not fit together are ConfigErrors with file, line and what was expected.
"""

import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import corolistener
from corolistener.core.config import Care, CloudAddress, OnTakeover, ProofKind, Timing
from corolistener.daemon import kinds, vmmgr
from corolistener.daemon.kinds import Kind
from corolistener.daemon.reading import Known, Reading, Remark, kinds_of
from corolistener.effects import trust
from corolistener.errors import ConfigError
from corolistener.wire.control import RUN_DIRECTORY
from corolistener.wire.pull import PORT

PATH = "/etc/corolistener/corolistener.toml"
"""Read where the command line names no other; need not exist."""
LEASE_SLACK_MS = 500
"""safety.md: what a lease lasts beyond a membership change and two heartbeats."""
LOG_SEED, LOG = "/usr/local/mgr5/var/corolistener.log", "/var/log/corolistener.log"
ON_TAKEOVER = Kind("one of 'swap', 'keep'", OnTakeover)


def _proofs(value: object) -> tuple[ProofKind, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise ValueError
    return tuple(ProofKind(each) for each in value)


PROOFS = Kind("a list of one or more of " + ", ".join(f"'{kind.value}'" for kind in ProofKind) + ", each once", _proofs)


def shipped_hook(name: str) -> str:
    """Where a program of vmmgr_hooks/ is: beside the package in a checkout, else where an installation puts it."""
    beside = Path(corolistener.__file__).resolve().parent.parent / "vmmgr_hooks"
    installed = [Path(prefix, "share/corolistener/vmmgr_hooks") for prefix in (sysconfig.get_path("data"), sys.prefix)]
    places = [directory / name for directory in (beside, *installed)]
    return str(next((place for place in places if place.exists()), places[1]))


@dataclass(frozen=True, slots=True)
class Cluster:
    """[cluster]: which corosync.conf, and how it is shared."""

    corosync_conf: Annotated[str, kinds.PATH] = "/etc/corosync/corosync.conf"
    key_file: Annotated[str, kinds.PATH] = "/etc/corolistener/key"
    pull_port: Annotated[int, kinds.PORT] = PORT
    on_takeover: Annotated[OnTakeover, ON_TAKEOVER] = OnTakeover.SWAP


@dataclass(frozen=True, slots=True)
class Cloud:
    """[cloud]: the address that follows the master, as written; `Settings.address` is what it comes to."""

    ip: Annotated[str | None, kinds.ADDRESS] = None
    device: Annotated[str, kinds.DEVICE] = "vmbr0"
    mask: Annotated[str | None, kinds.MASK] = None


@dataclass(frozen=True, slots=True)
class Service:
    """[service]: what runs only on the master. A `unit` is told to the shipped hook, which then asks systemd."""

    hook: Annotated[str, kinds.PATH] = shipped_hook("service")
    unit: Annotated[str | None, kinds.UNIT] = None
    moved: Annotated[str | None, kinds.PATH] = None
    timeout_s: Annotated[float, kinds.seconds(1, 3600)] = 60.0
    killable: Annotated[bool, kinds.FLAG] = True


@dataclass(frozen=True, slots=True)
class Locks:
    """[locks]"""

    directory: Annotated[str, kinds.PATH] = "/tmp"


@dataclass(frozen=True, slots=True)
class Paths:
    """[paths]: directories `state` and `run`, file `log` (None: `Settings.log` chooses)."""

    state: Annotated[str, kinds.PATH] = "/var/lib/corolistener"
    run: Annotated[str, kinds.RUN_DIRECTORY] = RUN_DIRECTORY
    log: Annotated[str | None, kinds.PATH] = None


@dataclass(frozen=True, slots=True)
class Vmmgr:
    """[vmmgr]"""

    conf: Annotated[str, kinds.PATH] = "/usr/local/mgr5/etc/vmmgr.conf"


@dataclass(frozen=True, slots=True)
class Fencing:
    """[fencing]: which proofs count, and durations; their argument is in safety.md.

    `lease_ms` None: the least that corosync's timers allow.
    """

    proofs: Annotated[tuple[ProofKind, ...], PROOFS] = Care().proofs
    heartbeat_ms: Annotated[int, kinds.milliseconds(20, 60_000)] = 500
    lease_ms: Annotated[int | None, kinds.milliseconds(100, 3_600_000)] = None
    grace_ms: Annotated[int, kinds.milliseconds(0, 600_000)] = 2000
    margin_ms: Annotated[int, kinds.milliseconds(0, 600_000)] = 1000
    restart_ms: Annotated[int, kinds.milliseconds(0, 600_000)] = 5000
    hello_ms: Annotated[int, kinds.milliseconds(100, 600_000)] = 2000
    watchdog_timeout_ms: Annotated[int, kinds.milliseconds(1000, 600_000)] = 10_000
    watchdog: Annotated[Literal["required", "automatic", "off"], kinds.one_of("required", "automatic", "off")] = "automatic"
    watchdog_device: Annotated[str, kinds.PATH] = "/dev/watchdog"
    disallowed: Annotated[Literal["kill", "hold"], kinds.one_of("kill", "hold")] = "kill"
    weak_watchdogs: Annotated[bool, kinds.FLAG] = False
    start_grace_s: Annotated[float, kinds.seconds(0, 3600)] = 60.0


@dataclass(frozen=True, slots=True)
class Agent:
    """One [[fencing.agent]]: a program that can switch off each of `nodes` (ids or names), with its options as it reads them.

    In the values of options {node} stands for the node's id and {name} for its name. They may hold passwords: never shown.
    """

    nodes: Annotated[tuple[int | str, ...], kinds.NODES]
    program: Annotated[str, kinds.AGENT]
    options: Annotated[tuple[tuple[str, str], ...], kinds.OPTIONS] = field(default=(), repr=False)
    timeout_s: Annotated[float, kinds.seconds(1, 3600)] = 60.0
    then: Annotated[Literal["on", "off"], kinds.one_of("on", "off")] = "on"


@dataclass(frozen=True, slots=True)
class Vms:
    """[vms]: the hypervisor, and which of its VMs are in the cluster's care. Without a `uri` there is no hypervisor.

    `shared_storage` names what every node reaches: path prefixes, `pool:NAME`, and the network protocols rbd and iscsi.
    """

    uri: Annotated[str | None, kinds.URI] = None
    migrate_uri: Annotated[str, kinds.PEER_URI] = "qemu+tls://{address}/system"
    manage: Annotated[Literal["shared", "tagged", "all"], kinds.one_of("shared", "tagged", "all")] = "shared"
    shared_storage: Annotated[tuple[str, ...], kinds.STORAGES] = ()
    reserved_memory_percent: Annotated[int, kinds.whole(0, 90, "percent")] = 10
    max_per_node: Annotated[int | None, kinds.whole(1, 10_000)] = None
    parallel_starts: Annotated[int, kinds.whole(1, 64)] = Care().parallel_starts
    on_shutdown: Annotated[Literal["migrate", "stop", "refuse"], kinds.one_of("migrate", "stop", "refuse")] = "migrate"
    migrate_tls: Annotated[bool, kinds.FLAG] = True


@dataclass(frozen=True, slots=True)
class Control:
    """[control]: the group that may read the client socket; None is root alone."""

    group: Annotated[str | None, kinds.GROUP] = None


TABLES: dict[str, type[Any]] = {
    "cluster": Cluster,
    "cloud": Cloud,
    "service": Service,
    "locks": Locks,
    "paths": Paths,
    "vmmgr": Vmmgr,
    "fencing": Fencing,
    "vms": Vms,
    "control": Control,
}
ELEMENTS: dict[str, type[Any]] = {"fencing.agent": Agent}
"""Arrays of tables."""
LATER: dict[str, tuple[str, ...]] = {
    "store": ("url",),
    "metrics": ("listen",),
}
"""Keys that have a meaning but no effect in this version: a warning."""
DATABASE = "database"
"""This table may hold anything: that it is there makes nodes with `replication: off` the last choice as master."""
KNOWN = Known(TABLES, ELEMENTS, LATER, (DATABASE,))
VMMGR_NAMES = {"CloudIp": "ip", "CloudIpDev": "device", "CloudMask": "mask"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was set, and defaults for the rest. `path` is the file, "" where there is none."""

    path: str = field(default="", compare=False)
    cluster: Cluster = Cluster()
    cloud: Cloud = Cloud()
    service: Service = Service()
    locks: Locks = Locks()
    paths: Paths = Paths()
    vmmgr: Vmmgr = Vmmgr()
    fencing: Fencing = Fencing()
    agents: tuple[Agent, ...] = ()
    vms: Vms = Vms()
    control: Control = Control()
    database: bool = False
    address: CloudAddress | None = None
    warnings: tuple[Remark, ...] = field(default=(), compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    @property
    def log(self) -> str:
        """The log file: the one set, else the seed's where VMmanager's tree exists, else /var/log's."""
        return self.paths.log or (LOG_SEED if Path(LOG_SEED).parent.is_dir() else LOG)

    def programs(self) -> tuple[str, ...]:
        """What the daemon runs as root: the service's hooks, and the fence agents."""
        hooks = (self.service.hook, self.service.moved)
        return (*(hook for hook in hooks if hook is not None), *(agent.program for agent in self.agents))

    def least_lease_ms(self, token_ms: int, consensus_ms: int, device_ms: int = 0) -> int:
        """The shortest lease that outlives a membership change (safety.md, "Lease, grace, watchdog")."""
        return token_ms + consensus_ms + device_ms + 2 * self.fencing.heartbeat_ms + LEASE_SLACK_MS

    def timing(self, token_ms: int, consensus_ms: int, device_ms: int = 0) -> Timing:
        """The core's durations for corosync's timers (runtime.config.totem.*, and with a quorum device its
        sync_timeout). Raises ConfigError where lease_ms is shorter than they allow."""
        given = self.fencing
        least = self.least_lease_ms(token_ms, consensus_ms, device_ms)
        if given.lease_ms is not None and given.lease_ms < least:
            device = f" + sync_timeout {device_ms}" if device_ms else ""
            raise ConfigError(
                self.path,
                self.lines.get("fencing.lease_ms", 0),
                f"lease_ms {given.lease_ms} would end during a membership change: it must be at least token {token_ms}"
                f" + consensus {consensus_ms}{device} + 2 * heartbeat_ms {given.heartbeat_ms} + {LEASE_SLACK_MS}"
                f" = {least} ms",
            )
        return Timing(
            heartbeat_ms=given.heartbeat_ms,
            lease_ms=given.lease_ms or least,
            grace_ms=given.grace_ms,
            restart_ms=given.restart_ms,
            hello_ms=given.hello_ms,
            margin_ms=given.margin_ms,
            start_grace_ms=int(given.start_grace_s * 1000),
        )


def load(path: str | None = None) -> Settings:
    """The settings in `path`, or with None those in PATH if it exists. Raises the first ConfigError there is."""
    examined = examine(path)
    if examined.settings is None:
        raise examined.problems[0]
    return examined.settings


def load_to_run(path: str | None = None) -> Settings:
    """As load(), for the daemon, which runs the programs that they name. Raises ConfigError also where others than root can
    change one of these."""
    settings = load(path)
    for problem in trust.objections(settings.programs()):
        raise problem
    return settings


def problems(path: str | None = None) -> list[ConfigError]:
    """Everything wrong with the settings, by file and line; empty where load() would succeed."""
    return examine(path).problems


class Examined(NamedTuple):
    """What there is to say about the settings: `settings` is None where there are problems."""

    settings: Settings | None
    problems: list[ConfigError]
    warnings: list[Remark]


def examine(path: str | None = None) -> Examined:
    """Read the settings and find everything wrong and doubtful at once."""
    reading = _Reading(path or PATH, KNOWN)
    reading.read_toml(must_exist=path is not None)
    reading.read_vmmgr()
    address = reading.address()
    reading.check_together()
    settings = None
    if not reading.problems:
        settings = reading.settings(address)
    reading.problems.sort(key=lambda problem: (problem.path != reading.path, problem.path, problem.line))
    return Examined(settings, reading.problems, reading.warnings)


class _Reading(Reading):
    """One reading of the settings, with what only these tables need."""

    def read_vmmgr(self) -> None:
        """What VMmanager says of the cloud IP, where the TOML does not."""
        said = self.given["vmmgr"].get("conf")
        path = str(said.value) if said else Vmmgr().conf
        if said and not Path(path).exists():
            self.refuse(said.line, f"vmmgr.conf: there is no file {path}")
        try:
            found = vmmgr.read(path, tuple(VMMGR_NAMES))
        except ConfigError as error:
            self.problems.append(error)
            return
        for name, given in found.items():
            key = VMMGR_NAMES[name]
            if key not in self.given["cloud"]:
                self.take_value(self.given["cloud"], key, kinds_of(Cloud)[key], given, shown=name)

    def address(self) -> CloudAddress | None:
        """The cloud IP with its prefix length, once both are known."""
        cloud = self.given["cloud"]
        if "ip" not in cloud:
            if not self.problems:  # else it may be one of them
                self.warnings.append(Remark("", 0, "no cloud IP is configured: no address will follow the master"))
            return None
        ip = str(cloud["ip"].value)
        family = 6 if ":" in ip else 4
        prefix = 128 if family == 6 else 32
        mask = cloud.get("mask")
        if mask is None:
            text = f"no mask is given for {ip}: it will be held as /{prefix}"
            self.warnings.append(Remark(cloud["ip"].path, cloud["ip"].line, text))
        else:
            try:
                prefix = kinds.prefix_length(str(mask.value), family)
            except ValueError as error:
                why = f"the mask {mask.value} does not fit {ip}: expected {error}"
                self.problems.append(ConfigError(mask.path, mask.line, why))
        device = cloud["device"].value if "device" in cloud else Cloud().device
        return CloudAddress(ip, prefix, str(device))

    def check_together(self) -> None:
        """Values that are fine alone and not together."""
        service, fencing = self.given["service"], self.given["fencing"]
        if "hook" in service and "unit" in service:
            self.refuse(service["unit"].line, "service.unit: expected either hook or unit, found both")
        restart, timeout = (
            fencing[key].value if key in fencing else getattr(Fencing(), key) for key in ("restart_ms", "watchdog_timeout_ms")
        )
        if int(str(restart)) >= int(str(timeout)):
            line = max(fencing[key].line for key in ("restart_ms", "watchdog_timeout_ms") if key in fencing)
            why = f"restart_ms {restart} must be less than watchdog_timeout_ms {timeout}"
            self.refuse(line, f"{why}: else the watchdog resets a node whose daemon is only being restarted")
        self.check_agents()
        self.check_vms()

    def check_agents(self) -> None:
        """An agent for several nodes must be told which: else it switches off one and proves another to be off."""
        for position, agent in enumerate(self.elements["fencing.agent"]):
            nodes, options = (agent[key].value if key in agent else () for key in ("nodes", "options"))
            if isinstance(nodes, tuple) and len(nodes) > 1 and not names_a_node(options):
                line = self.line("fencing", "agent", str(position), "options")
                why = f"fencing.agent: {len(nodes)} nodes, but no option with {{node}} or {{name}} says which of them is meant"
                self.refuse(line, why)

    def check_vms(self) -> None:
        """What is legal, and hardly meant."""
        given = self.given["vms"]
        if self.problems or not given:
            return
        first = min(each.line for each in given.values())
        if "uri" not in given:
            self.warn(first, "[vms] has no effect without vms.uri: there is no hypervisor")
        elif self.made("vms").manage == "shared" and not self.made("vms").shared_storage:
            self.warn(first, 'vms.shared_storage names no storage: with manage = "shared" no VM is in the cluster\'s care')

    def settings(self, address: CloudAddress | None) -> Settings:
        """The outcome of a reading without problems."""
        return Settings(
            path=self.path if self.exists else "",
            database=DATABASE in self.present,
            address=address,
            agents=self.made_elements("fencing.agent"),
            warnings=tuple(self.warnings),
            lines=self.lines(),
            **{name: self.made(name) for name in TABLES},
        )


def names_a_node(options: object) -> bool:
    """Whether an agent's options say which node is meant."""
    return isinstance(options, tuple) and any("{node}" in value or "{name}" in value for _, value in options)
