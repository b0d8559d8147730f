"""corosync.conf as the lane `config` means it: what the core needs to know of a file, and what its actions do to one.

Only PrepareConfig knows what a change means; the other actions move bytes that were agreed on. Where the files are is the
business of a Store: the daemon's is a directory, the simulator's is in memory.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from corolistener.core.actions import InstallConfig, PrepareConfig, ReadConfig, ReloadConfig, WithdrawConfig
from corolistener.core.config import Cluster, ConfigId, NodeEntry
from corolistener.core.events import Outcome, Result
from corolistener.core.messages import AddNode, EditNode, PushText, RemoveNode, Restamp, RevertTo, SetPriorities
from corolistener.coroconf.facts import Facts, NodeFacts, read_facts
from corolistener.coroconf.rewrite import (
    NodeSpec,
    with_node_added,
    with_node_edited,
    with_node_removed,
    with_priorities,
    with_version,
)
from corolistener.coroconf.successor import validate_successor
from corolistener.coroconf.tree import encoded, parse
from corolistener.errors import ConfigError
from corolistener.ids import NodeId
from corolistener.wire.pull import TEXT_MOST

ConfigAction = ReadConfig | PrepareConfig | InstallConfig | WithdrawConfig | ReloadConfig
Remarks = tuple[tuple[str, str], ...]
PUSHED = "pushed file"
STEP_MOST = 1000
"""How much higher than the one in force a pushed file's version may be: versions only rise, and what is used up is lost."""
HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")


class Store(Protocol):
    """One corosync.conf and what is kept of it. All raise ConfigError for what a file rules out, EffectError for the world."""

    @property
    def path(self) -> Path:
        """Its name in messages."""
        ...

    def load(self) -> tuple[Cluster, bytes]:
        """The file's facts and bytes."""
        ...

    def kept(self, version: int) -> bytes:
        """The kept file of that version."""
        ...

    def install(self, config: ConfigId, text: bytes, me: NodeId) -> Remarks:
        """Put `text` in place, keeping the file there was."""
        ...

    def withdraw(self, config: ConfigId, previous: ConfigId) -> Remarks:
        """Put the kept `previous` back in place of `config`."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A changed file on its way: `label` is its name in messages, `version` the one to stamp it with."""

    text: bytes
    label: str
    version: int


def carry_out(store: Store, me: NodeId, action: ConfigAction) -> Outcome:
    """Do what an action says; a reload is only seen to be about the file that is there. Raises ConfigError and EffectError.

    DONE says in `cluster` which file is in place now.
    """
    match action:
        case ReadConfig() | ReloadConfig():
            cluster, text = store.load()
            if cluster.id != action.config:
                return Outcome(Result.FAILED, why=_differs(store, me, cluster, action.config))
            return Outcome(Result.DONE, cluster=cluster, text=text)
        case PrepareConfig():
            return _prepare(store, me, action)
        case InstallConfig():
            facts = store.install(action.config, action.text, me)
            return Outcome(Result.DONE, facts=facts, cluster=cluster_of(action.text))
        case WithdrawConfig():
            facts = store.withdraw(action.config, action.previous)
            return Outcome(Result.DONE, facts=facts, cluster=store.load()[0])
        case _:
            assert_never(action)


def _prepare(store: Store, me: NodeId, action: PrepareConfig) -> Outcome:
    base, text = store.load()
    if base.id != action.base:
        return Outcome(Result.FAILED, why=_differs(store, me, base, action.base))
    draft = _drafted(store, action, base, text)
    changed = with_version(draft.text, draft.version, draft.label)
    _check(text, changed, draft.label, {*action.members, me}, me)
    return Outcome(Result.DONE, cluster=cluster_of(changed, draft.label), text=changed)


def _differs(store: Store, me: NodeId, found: Cluster, wanted: ConfigId) -> str:
    mend = "`systemctl reload corolistener` there takes it up, or puts it right"
    return f"{store.path} of node {me} is {found.id}, not {wanted}: somebody changed it; {mend}"


def _drafted(store: Store, action: PrepareConfig, base: Cluster, text: bytes) -> Draft:
    """The changed text, not yet stamped nor checked as a whole. Raises ConfigError."""
    path, change = str(store.path), action.change
    match change:
        case PushText():
            return Draft(change.text, PUSHED, max(action.version, _pushed_version(change.text, base)))
        case RevertTo():
            return Draft(store.kept(change.version), f"{store.path.name}.{change.version}", action.version)
        case AddNode() | EditNode() | RemoveNode() | SetPriorities() | Restamp():
            return Draft(_edited(text, change, base, action.members, path), path, action.version)
        case _:
            assert_never(change)


def _check(old: bytes, new: bytes, label: str, members: Iterable[NodeId], me: NodeId) -> None:
    """Whether the cluster may go on with `new`. Raises ConfigError."""
    _check_length(new, label)
    document = parse(new, label)
    listed, lists = {node.nodeid for node in read_facts(document).nodes}, document.sections("nodelist")
    for member in sorted(members):
        if member not in listed:
            why = f"node {member} is running and not in this nodelist: put it back, or stop its corosync first"
            raise ConfigError(label, lists[-1].line if lists else 0, why)
    validate_successor(old, new, me, label)


def _check_length(text: bytes, label: str) -> None:
    if len(text) > TEXT_MOST:
        raise ConfigError(label, 0, f"{len(text)} bytes are too many for a corosync.conf: {TEXT_MOST} at most")


def _pushed_version(text: bytes, base: Cluster) -> int:
    """The version a pushed file was made from. Raises ConfigError if others have changed the file since."""
    _check_length(text, PUSHED)
    document = parse(text, PUSHED)
    version = read_facts(document).config_version
    entry = document.entry("totem.config_version")
    if version > base.id.version + STEP_MOST:
        why = f"version {version} is more than {STEP_MOST} above {base.id.version}, and no later file could have a lower one"
        raise ConfigError(PUSHED, entry.line if entry else 0, why)
    if version >= base.id.version:
        return version
    said = f"version {version}" if entry else "a file without config_version"
    why = f"{said} is older than {base.id.version}: fetch with config show, edit, push again"
    raise ConfigError(PUSHED, entry.line if entry else 0, why)


def _edited(
    text: bytes,
    change: AddNode | EditNode | RemoveNode | SetPriorities | Restamp,
    base: Cluster,
    members: tuple[NodeId, ...],
    path: str,
) -> bytes:
    match change:
        case AddNode():
            return with_node_added(text, _spec(change, base, path), path)
        case EditNode():
            return with_node_edited(text, change.id, _changes(change, path), path)
        case RemoveNode():
            if change.id in members:
                raise ConfigError(path, 0, f"node {change.id} is running: stop its corosync first, then remove it")
            return with_node_removed(text, change.id, path)
        case SetPriorities():
            return with_priorities(text, dict(change.priorities), path)
        case Restamp():
            return text
        case _:
            assert_never(change)


def _spec(change: AddNode, base: Cluster, path: str) -> NodeSpec:
    """The entry to add. Several links' addresses are separated by commas. Raises ConfigError: not an address."""
    taken = {node.id for node in base.nodes}
    nodeid = change.id or next(number for number in range(1, len(taken) + 2) if number not in taken)
    addresses = tuple(address.strip() for address in change.address.split(","))
    for address in addresses:
        if not _address_or_name(address):
            raise ConfigError(path, 0, f"cannot add node {nodeid}: {address!r} is neither an address nor a host name")
    return NodeSpec(nodeid, addresses, change.name, change.priority or None, change.replication)


def _address_or_name(text: str) -> bool:
    """A name's last part is not a number (RFC 3696, 2), so that a mistyped address does not pass for one."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return bool(HOST_NAME.fullmatch(text)) and not text.rpartition(".")[2].isdigit()


def _changes(change: EditNode, path: str) -> dict[str, str | None]:
    """Keys of the node and their new values; an empty name takes the key away. Raises ConfigError: none given."""
    changes: dict[str, str | None] = {}
    if change.name is not None:
        changes["name"] = change.name or None
    if change.priority is not None:
        changes["prio"] = str(change.priority)
    if change.replication is not None:
        changes["replication"] = "on" if change.replication else "off"
    if not changes:
        raise ConfigError(path, 0, f"node {change.id}: name, priority or replication must be given to change it")
    return changes


def config_id(text: bytes, path: str = "corosync.conf") -> ConfigId:
    """What names this content. Raises ConfigError where it cannot be read."""
    return cluster_of(text, path).id


def cluster_of(text: bytes, path: str = "corosync.conf") -> Cluster:
    """The facts the core needs of a corosync.conf. Raises ConfigError where it cannot be read."""
    return cluster_facts(read_facts(parse(text, path)), text)


def cluster_facts(facts: Facts, text: bytes) -> Cluster:
    """The same of a file that was read already."""
    return Cluster(
        id=ConfigId(facts.config_version, hashlib.sha256(text).hexdigest()),
        name=_shown(facts.cluster_name),
        nodes=tuple(sorted((_entry(node) for node in facts.nodes), key=lambda node: node.id)),
        ports=facts.ports,
        device=facts.device_votes,
    )


def _entry(node: NodeFacts) -> NodeEntry:
    address = node.addresses[0] if node.addresses else ""
    return NodeEntry(node.nodeid, _shown(node.name), _shown(address), node.prio, node.replication, node.votes)


def _shown(text: str) -> str:
    """Text that can be sent and printed whatever 8-bit bytes the file has."""
    return encoded(text).decode("utf-8", "replace")
