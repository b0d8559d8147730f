"""Look for mistakes before they matter: settings, corosync.conf, this machine, corosync, the other nodes.

One line each: ok, warning (works, but hardly as meant) or error. Exit status 1 if there is an error.
"""

import argparse
import dataclasses
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from corolistener.cli import check_safety, check_vms, render
from corolistener.cli.verbs import Parser
from corolistener.client import ClientError, connect_to_read
from corolistener.core.config import ProofKind
from corolistener.coroconf.facts import Facts, read_facts
from corolistener.coroconf.problems import Severity
from corolistener.coroconf.tree import Document, parse
from corolistener.coroconf.validate import problems
from corolistener.corosync.cmap import Cmap
from corolistener.corosync.errors import CsError, LibraryUnavailable, NotExist
from corolistener.daemon import last_good
from corolistener.daemon import settings as settings_module
from corolistener.daemon.settings import Settings
from corolistener.effects.confstore import Versions
from corolistener.effects.keys import AUTHKEY, load_keys
from corolistener.effects.probes import Needs, directories
from corolistener.effects.probes import problems as problems_here
from corolistener.effects.pull import Pull, compare
from corolistener.effects.whoami import node_here
from corolistener.errors import ConfigError, CorolistenerError

OK, WARNING, ERROR = "ok", "warning", "error"
LEVELS = {Severity.ERROR: ERROR, Severity.WARNING: WARNING, Severity.INFO: OK}
FUTURE_S = 60
"""A file this much newer than now was written under another clock."""
PATIENCE_S = 2.0
"""How long the other nodes may take to say what file they have."""
CONSENSUS_PERCENT = 120
"""corosync's default: consensus is 1.2 * token."""
UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check. `line` is 0 where no line of a file is meant, `path` empty where no file is."""

    level: str
    topic: str
    text: str
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}: " if self.line else f"{self.path}: " if self.path else ""
        return f"{self.level:<8} {self.topic}: {where}{self.text}"


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What the checks look at. `document` and `facts` are None where corosync.conf cannot be read, `cmap` where corosync
    does not run."""

    settings: Settings
    document: Document | None
    facts: Facts | None
    cmap: Cmap | None


def arguments(parser: Parser) -> None:
    """--json"""
    parser.add_argument("--json", action="store_true", help="for programs; keys are stable")


def run(args: argparse.Namespace) -> int:
    """1 if anything is an error."""
    found = list(findings(args.config))
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        print("\n".join(map(str, found)))
    return int(any(finding.level == ERROR for finding in found))


def findings(config: str | None) -> Iterator[Finding]:
    """Everything there is to say, in the order in which it should be mended."""
    examined = settings_module.examine(config)
    for problem in examined.problems:
        yield Finding(ERROR, "settings", problem.why, problem.path, problem.line)
    for warning in examined.warnings:
        yield Finding(WARNING, "settings", warning.text, warning.path, warning.line)
    if examined.settings is None:
        yield Finding(WARNING, "settings", "nothing else is checked until they can be read")
        yield from _last_good(config)
        return
    settings = examined.settings
    yield Finding(OK, "settings", settings.path or "no file, defaults throughout")
    document, facts, told = _corosync_conf(settings.cluster.corosync_conf)
    yield from told
    cmap, told = _corosync()
    yield from told
    found = Found(settings, document, facts, cmap)
    try:
        for check in CHECKS:
            yield from check(found)
    finally:
        if cmap is not None:
            cmap.close()


def _last_good(config: str | None) -> Iterator[Finding]:
    """What a daemon does meanwhile that has run before."""
    try:
        with connect_to_read(last_good.run_directory(config)) as daemon:
            unusable = daemon.status().get("unusable")
    except ClientError:
        return
    how = "runs with the last good ones" if unusable else "has not read them yet; after a restart it uses the last good ones"
    yield Finding(WARNING, "daemon", f"it {how}")


def _corosync_conf(path: str) -> tuple[Document | None, Facts | None, list[Finding]]:
    """The file, parsed; what corosync 3 would refuse or ignore in it, and what corolistener needs."""
    topic = "corosync.conf"
    try:
        document = parse(Versions(path).read(), path)
    except ConfigError as error:
        quoted = f": {error.text.strip()!r}" if error.text.strip() else ""
        return None, None, [Finding(ERROR, topic, error.why + quoted, error.path, error.line)]
    told = [Finding(LEVELS[each.severity], topic, each.text, path, each.line) for each in problems(document)]
    try:
        facts = read_facts(document)
    except ConfigError:  # problems() has said so
        return document, None, told
    text = f"{path}: version {facts.config_version}, cluster {facts.cluster_name!r}, {len(facts.nodes)} nodes"
    return document, facts, [*told, Finding(OK, topic, text)]


def _corosync() -> tuple[Cmap | None, list[Finding]]:
    try:
        cmap = Cmap()
    except LibraryUnavailable:
        return None, [Finding(ERROR, "corosync", "it does not run, or not where this program can see it")]
    except CsError as error:
        return None, [Finding(ERROR, "corosync", f"it cannot be asked: {error}")]
    return cmap, [Finding(OK, "corosync", "it runs and answers")]


def _node(found: Found) -> Iterator[Finding]:
    """Which node of the nodelist this machine is."""
    if found.facts is None:
        return
    here = node_here(found.facts.nodes)
    entry = found.facts.node(here) if here is not None else None
    if entry is None:
        listed = ", ".join(address for node in found.facts.nodes for address in node.addresses[:1]) or "none"
        text = f"no address of this machine is in the nodelist ({listed})"
        yield Finding(ERROR, "node", text, found.settings.cluster.corosync_conf)
        return
    yield Finding(OK, "node", f"this is node {entry.nodeid}, {entry.addresses[0]}, priority {entry.prio}")
    name = _get(found.cmap, "totem.cluster_name")
    if name is not None and name != found.facts.cluster_name:
        text = f"corosync runs cluster {name}, the file says {found.facts.cluster_name or 'none'}"
        yield Finding(ERROR, "node", f"{text}: systemctl restart corosync")
    local = _get(found.cmap, "runtime.votequorum.this_node_id")
    if isinstance(local, int) and local != entry.nodeid:
        yield Finding(ERROR, "node", f"corosync runs as node {local}, but the addresses are those of node {entry.nodeid}")


def _versions(found: Found) -> Iterator[Finding]:
    """Whether every node has loaded the same config_version, and that of the file here."""
    running = _running(found.cmap)
    if found.facts is not None and len(running) < len(found.facts.nodes):
        yield from _elsewhere(found)
    if found.cmap is None:
        return
    told = ", ".join(f"node {node} has {version}" for node, version in sorted(running.items()))
    if len(set(running.values())) > 1:
        yield Finding(ERROR, "versions", f"the nodes run with different versions of corosync.conf: {told}")
        return
    version = next(iter(running.values()), None)
    if found.facts is not None and version not in (None, found.facts.config_version):
        text = f"corosync runs with version {version}, the file is version {found.facts.config_version}: reload it"
        yield Finding(WARNING, "versions", text, found.settings.cluster.corosync_conf)
        return
    yield Finding(OK, "versions", f"{len(running)} nodes have joined, all with version {version}")


def _running(cmap: Cmap | None) -> dict[int, object]:
    """The config_version that corosync runs with on each node that it meets; empty where it does not run here."""
    prefix = "runtime.members."
    running = {}
    for key in cmap.keys(prefix) if cmap is not None else ():
        node, _, name = key.removeprefix(prefix).partition(".")
        if name == "status" and _get(cmap, key) == "joined":
            running[int(node)] = _get(cmap, f"{prefix}{node}.config_version")
    return running


def _elsewhere(found: Found) -> Iterator[Finding]:
    """Where corosync does not meet all nodes: whether it may be this file, which the others have replaced."""
    cluster = found.settings.cluster
    keys = (Path(cluster.key_file), AUTHKEY)
    try:
        asked = compare(Pull(Path(cluster.corosync_conf), keys, cluster.pull_port, timeout_s=PATIENCE_S))
    except CorolistenerError:  # file and key have findings of their own
        return
    if asked.chosen is not None and asked.local is not None:
        who = next(answer.node for answer in asked.answers if answer.id == asked.chosen)
        text = f"version {asked.local.version}, but {asked.chosen.version} on node {who}: corosync ends when it meets that"
        yield Finding(ERROR, "versions", f"{text}; `corolistener config pull`, then start corosync", cluster.corosync_conf)
    elif asked.answers:
        names = ", ".join(str(answer.node) for answer in asked.answers)
        yield Finding(OK, "versions", f"no newer file on the nodes that answer: {names}")
    elif found.cmap is None:
        yield Finding(WARNING, "versions", "no other node answers, so nobody knows whether this file is the newest")


def _times(found: Found) -> Iterator[Finding]:
    """The sums of safety.md, with the timers corosync runs with, or else those of the file."""
    token, consensus, source = _timers(found)
    if not token:
        return
    settings, fencing = found.settings, found.settings.fencing
    try:
        timing = settings.timing(token, consensus)
    except ConfigError as error:
        yield Finding(ERROR, "lease", error.why, error.path, error.line)
        return
    terms = f"token {token} + consensus {consensus} + 2 * heartbeat {fencing.heartbeat_ms} + 500, timers of {source}"
    least = settings.least_lease_ms(token, consensus)
    chosen = f"{timing.lease_ms} ms ({terms})" if timing.lease_ms == least else f"{timing.lease_ms} ms, at least {least}"
    yield Finding(OK, "lease", chosen)
    text = f"a lost master has let go of the service after {timing.vacated_ms} ms"
    yield Finding(OK, "lease", f"{text} (lease {timing.lease_ms} + grace {timing.grace_ms})")
    deadline = timing.vacated_ms + fencing.watchdog_timeout_ms + fencing.margin_ms
    terms = f"that + watchdog {fencing.watchdog_timeout_ms} + margin {fencing.margin_ms}"
    yield Finding(OK, "lease", f"an armed watchdog would have reset it after {deadline} ms ({terms})")
    if settings.vms.uri:
        yield Finding(OK, "lease", _outage(settings))


def _outage(settings: Settings) -> str:
    """From how many seconds without quorum on the memory of the VMs is given up: the others may have gone on."""
    fencing = settings.fencing
    terms = {"grace": fencing.grace_ms, "margin": fencing.margin_ms}
    if ProofKind.SUSPEND not in fencing.proofs:
        if ProofKind.WATCHDOG not in fencing.proofs or fencing.watchdog == "off":
            return "an outage of the network of all nodes boots no VM anew, however long it is: no deadline is a proof"
        terms = {"grace": fencing.grace_ms, "watchdog": fencing.watchdog_timeout_ms, "margin": fencing.margin_ms}
    shown = " + ".join(f"{name} {ms}" for name, ms in terms.items())
    return f"an outage of more than {sum(terms.values()) / 1000:g} s boots all VMs anew ({shown})"


def _timers(found: Found) -> tuple[int, int, str]:
    """(token, consensus, where they are from) in ms; 0 where nobody knows."""
    values = [_get(found.cmap, f"runtime.config.totem.{name}") for name in ("token", "consensus")]
    if isinstance(values[0], int) and isinstance(values[1], int):
        return values[0], values[1], "corosync"
    if found.facts is None or found.document is None:
        return 0, 0, ""
    token = found.facts.effective_token_ms
    return token, found.document.integer("totem.consensus") or token * CONSENSUS_PERCENT // 100, "corosync.conf"


def _address(found: Found) -> Iterator[Finding]:
    """Whether the cloud IP could be held here now."""
    address = found.settings.address
    if address is None:
        return
    where = f"{address.ip}/{address.prefix} on {address.device}"
    if address.device in (name for _, name in socket.if_nameindex()):
        yield Finding(OK, "cloud IP", where)
    else:
        yield Finding(ERROR, "cloud IP", f"{where}: there is no such device here now")


def _service(found: Found) -> Iterator[Finding]:
    """The programs; a unit is the hook's business, so the hook must be there as well."""
    service = found.settings.service
    if service.unit:
        yield Finding(OK, "service", f"systemd unit {service.unit}")
    for name, program in (("hook", service.hook), ("moved", service.moved)):
        if program is None:
            continue
        if os.path.isfile(program) and os.access(program, os.X_OK):
            yield Finding(OK, "service", f"{name} {program}")
        else:
            yield Finding(ERROR, "service", f"{name}: there is no program that can be run", program)


def _agents(found: Found) -> Iterator[Finding]:
    """The fence agents: programs that can be run, for nodes that there are, with passwords that nobody else reads."""
    settings, known = found.settings, set[int | str]()
    for node in found.facts.nodes if found.facts is not None else ():
        known |= {node.nodeid, node.name}
    for agent in settings.agents:
        if os.path.isfile(agent.program) and os.access(agent.program, os.X_OK):
            yield Finding(OK, "fence agent", f"{agent.program} for {', '.join(map(str, agent.nodes))}")
        else:
            yield Finding(ERROR, "fence agent", "there is no program that can be run", agent.program)
        if strange := [str(node) for node in agent.nodes if found.facts is not None and node not in known]:
            yield Finding(WARNING, "fence agent", f"no such node in the nodelist: {', '.join(strange)}", settings.path)
    if any(agent.options for agent in settings.agents) and os.stat(settings.path).st_mode & 0o077:
        yield Finding(WARNING, "fence agent", "others may read the agents' options: chmod 0600", settings.path)


def _vms(found: Found) -> Iterator[Finding]:
    """Where there is a hypervisor."""
    nodes = found.facts.nodes if found.facts is not None else ()
    me = node_here(nodes)
    for level, text, path in check_vms.look(found.settings, [(n.nodeid, n.name) for n in nodes if n.nodeid != me]):
        yield Finding(level, "vms", text, path)


def _safety(found: Found) -> Iterator[Finding]:
    """Whether others than root can change what this node does."""
    for level, topic, text, path in check_safety.look(found.settings, found.document):
        yield Finding(level, topic, text, path)


def _locks(found: Found) -> Iterator[Finding]:
    """Whether others can remove or rename lock files: only in a directory of root's, sticky if others may write."""
    path = found.settings.locks.directory
    try:
        look = os.stat(path)
    except OSError as error:
        yield Finding(ERROR, "locks", error.strerror or str(error), path)
        return
    if not stat.S_ISDIR(look.st_mode):
        yield Finding(ERROR, "locks", "it is no directory", path)
    elif look.st_uid != 0:
        yield Finding(ERROR, "locks", "its owner is not root, and could remove the lock files", path)
    elif look.st_mode & 0o022 and not look.st_mode & stat.S_ISVTX:
        yield Finding(ERROR, "locks", "others may write there and it is not sticky: chmod +t, or 0755", path)
    else:
        yield Finding(OK, "locks", f"{path} is safe")


def _key(found: Found) -> Iterator[Finding]:
    paths = (Path(found.settings.cluster.key_file), AUTHKEY)
    try:
        load_keys(paths)
    except ConfigError as error:
        yield Finding(ERROR, "key", error.why, error.path)
    else:
        yield Finding(OK, "key", f"{next(path for path in paths if path.exists())}")


def _drop_in(found: Found) -> Iterator[Finding]:
    """Whether corosync.service fetches the newest corosync.conf before it starts."""
    for directory in UNIT_DIRECTORIES:
        for path in sorted(Path(directory, "corosync.service.d").glob("*.conf")):
            if path.is_file() and "config pull" in path.read_text(errors="replace"):
                yield Finding(OK, "drop-in", str(path))
                return
    text = "corosync.service does not run `corolistener config pull` before it starts: install the drop-in of conf/"
    yield Finding(WARNING, "drop-in", f"{text}, else a node that was away comes back with an old file and is refused")


def _clock(found: Found) -> Iterator[Finding]:
    """Files from the future: this clock, or the one they were written under, is wrong."""
    settings, now = found.settings, time.time()
    paths = (settings.path, settings.cluster.corosync_conf, settings.cluster.key_file, settings.vmmgr.conf)
    ahead = {path: os.stat(path).st_mtime - now for path in paths if os.path.exists(path)}
    late = {path: seconds for path, seconds in ahead.items() if seconds > FUTURE_S}
    for path, seconds in late.items():
        yield Finding(WARNING, "clock", f"written {seconds:.0f} s in the future: one of the clocks is wrong", path)
    if not late:
        yield Finding(OK, "clock", f"none of {len(ahead)} files is from the future")


def _writable(found: Found) -> Iterator[Finding]:
    """A master creates files in these directories; only root can tell."""
    if os.geteuid() == 0:
        for why in problems_here(Needs(directories(found.settings.locks.directory, found.settings.paths.state))):
            yield Finding(ERROR, "places", f"this node cannot be master: {why}")


def _daemon(found: Found) -> Iterator[Finding]:
    try:
        with connect_to_read(found.settings.paths.run) as daemon:
            status = daemon.status()
    except ClientError as error:
        yield Finding(WARNING, "daemon", str(error))
        return
    if status.get("hook") == "silent":
        text = "libvirt does not call the hook, so VMs start by hand where they are not placed: `corolistener hooks status`"
        yield Finding(WARNING, "daemon", f"{text}; restart libvirtd if the hook is there")
    if status.get("panic"):
        yield Finding(ERROR, "daemon", render.panic(status["panic"]))
    if status["mode"] == "broken":
        yield Finding(ERROR, "daemon", "it has stopped deciding because an invariant was violated; see its log")
    else:
        yield Finding(OK, "daemon", f"it runs, version {status['version']}, role {status['role']}")
    if status.get("unusable"):
        yield Finding(WARNING, "daemon", "it still runs with the last good settings: systemctl reload corolistener")
    for node in status["nodes"]:
        if "cannot-serve" in node["why"]:
            why = render.obstacle(node, "cannot-serve")
            yield Finding(ERROR, "daemon", f"node {node['id']} cannot become master: {why}")


CHECKS: tuple[Callable[[Found], Iterable[Finding]], ...] = (
    _node,
    _versions,
    _times,
    _address,
    _service,
    _agents,
    _vms,
    _safety,
    _locks,
    _writable,
    _key,
    _drop_in,
    _clock,
    _daemon,
)


def _get(cmap: Cmap | None, key: str) -> object:
    try:
        return None if cmap is None else cmap.get(key)
    except NotExist:
        return None
