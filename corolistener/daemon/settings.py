"""The settings: corolistener.toml and, for what it does not say of the cloud IP, VMmanager's own file.

Each key is declared once, below, with its kind and default; conf/corolistener.toml explains them. An unknown key, a
value of the wrong kind or values that do not fit together are ConfigErrors with file, line and what was expected.
"""

import difflib
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import corolistener
from corolistener.core.config import Care, CloudAddress, OnTakeover, ProofKind, Timing
from corolistener.daemon import kinds, vmmgr
from corolistener.daemon.kinds import Kind
from corolistener.daemon.toml_lines import line_in_message, line_of
from corolistener.daemon.vmmgr import Given
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
    "control": Control,
}
LATER: dict[str, tuple[str, ...]] = {
    "fencing": ("watchdog", "disallowed", "agent"),
    "fencing.agent": ("nodes", "program", "options", "timeout_s", "then"),
    "vms": (
        "uri",
        "manage",
        "shared_storage",
        "reserved_memory_percent",
        "max_per_node",
        "parallel_starts",
        "on_shutdown",
    ),
    "store": ("url",),
    "metrics": ("listen",),
}
"""Keys that have a meaning but no effect in this version: a warning."""
DATABASE = "database"
"""This table may hold anything: that it is there makes nodes with `replication: off` the last choice as master."""
KINDS: dict[str, dict[str, Kind]] = {
    name: {key: hint.__metadata__[0] for key, hint in get_type_hints(table, include_extras=True).items()}
    for name, table in TABLES.items()
}
"""Kind of each key of each table."""
VMMGR_NAMES = {"CloudIp": "ip", "CloudIpDev": "device", "CloudMask": "mask"}


class Remark(NamedTuple):
    """What `check` warns of: legal, but hardly meant. `line` is 0 where no line says it."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}: " if self.line else f"{self.path}: "
        return (where if self.path else "") + self.text


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
    control: Control = Control()
    database: bool = False
    address: CloudAddress | None = None
    warnings: tuple[Remark, ...] = field(default=(), compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    @property
    def log(self) -> str:
        """The log file: the one set, else the seed's where VMmanager's tree exists, else /var/log's."""
        return self.paths.log or (LOG_SEED if Path(LOG_SEED).parent.is_dir() else LOG)

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
        )


def load(path: str | None = None) -> Settings:
    """The settings in `path`, or with None those in PATH if it exists. Raises the first ConfigError there is."""
    examined = examine(path)
    if examined.settings is None:
        raise examined.problems[0]
    return examined.settings


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
    reading = _Reading(path or PATH)
    reading.read_toml(must_exist=path is not None)
    reading.read_vmmgr()
    address = reading.address()
    reading.check_together()
    settings = None
    if not reading.problems:
        settings = reading.settings(address)
    reading.problems.sort(key=lambda problem: (problem.path != reading.path, problem.path, problem.line))
    return Examined(settings, reading.problems, reading.warnings)


class _Reading:
    """One reading of the settings: what was given, and what is to be said of it."""

    def __init__(self, path: str) -> None:
        self.path, self.text = path, ""
        self.exists = self.database = False
        self.given: dict[str, dict[str, Given]] = {name: {} for name in TABLES}
        self.problems: list[ConfigError] = []
        self.warnings: list[Remark] = []

    def read_toml(self, *, must_exist: bool) -> None:
        try:
            self.text = Path(self.path).read_text(encoding="utf-8")
            self.exists = True
            tables = tomllib.loads(self.text)
        except FileNotFoundError:
            if must_exist:
                self.refuse(0, "there is no such file")
        except OSError as error:
            self.refuse(0, error.strerror or str(error))
        except UnicodeDecodeError as error:
            self.refuse(0, f"not UTF-8: byte {error.start}")
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self.refuse(line_in_message(str(error)), f"not TOML: {error}")
        else:
            self.take_tables(tables)

    def take_tables(self, tables: dict[str, Any]) -> None:
        for name, table in tables.items():
            if name not in TABLES and name not in LATER and name != DATABASE:
                self.refuse(self.line(name), f"unknown table [{name}]" + _nearest(name, [*TABLES, *LATER, DATABASE]))
            elif not isinstance(table, dict):
                self.refuse(self.line(name), f"{name} is a table: write [{name}]")
            elif name == DATABASE:
                self.database = True
            else:
                self.take_table(name, table)

    def take_table(self, name: str, table: dict[str, Any]) -> None:
        known = KINDS.get(name, {})
        later = LATER.get(name, ())
        for key, value in table.items():
            line = self.line(name, key)
            if key in known:
                self.take_value(name, key, known[key], Given(value, self.path, line))
            elif key in later:
                self.warnings.append(Remark(self.path, line, f"{name}.{key} has no effect in this version"))
                self.take_later(f"{name}.{key}", value)
            else:
                self.refuse(line, f"unknown key {key!r} in [{name}]" + _nearest(key, [*known, *later]))

    def take_later(self, name: str, value: object) -> None:
        """The keys inside a table of a later version are known as well."""
        for position, element in enumerate(value if isinstance(value, list) else ()):
            for key in element if name in LATER and isinstance(element, dict) else ():
                if key not in LATER[name]:
                    line = self.line(*name.split("."), str(position), key)
                    self.refuse(line, f"unknown key {key!r} in [[{name}]]" + _nearest(key, LATER[name]))

    def take_value(self, table: str, key: str, kind: Kind, given: Given, named: str = "") -> None:
        try:
            value = kind.accept(given.value)
        except ValueError:
            why = f"{named or f'{table}.{key}'}: expected {kind.expected}, found {given.value!r}"
            self.problems.append(ConfigError(given.path, given.line, why))
        else:
            self.given[table][key] = Given(value, given.path, given.line)

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
                self.take_value("cloud", key, KINDS["cloud"][key], given, named=name)

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

    def settings(self, address: CloudAddress | None) -> Settings:
        """The outcome of a reading without problems."""
        tables = {
            name: table(**{key: given.value for key, given in self.given[name].items()}) for name, table in TABLES.items()
        }
        lines = {f"{name}.{key}": given.line for name in TABLES for key, given in self.given[name].items()}
        return Settings(
            path=self.path if self.exists else "",
            database=self.database,
            address=address,
            warnings=tuple(self.warnings),
            lines=lines,
            **tables,
        )

    def line(self, *path: str) -> int:
        return line_of(self.text, *path)

    def refuse(self, line: int, why: str) -> None:
        self.problems.append(ConfigError(self.path, line, why))


def _nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, [name for name in known if "." not in name], 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
