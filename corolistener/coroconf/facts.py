"""What corolistener needs to know from corosync.conf, as values.

Seed's sections and keys: totem (cluster_name, config_version), quorum (expected_votes, two_node), ihttpd (count,
port0 ...) and nodelist.node (ring0_addr ..., nodeid, name, prio, replication). Foreign keys mean nothing to corosync.
"""

from typing import NamedTuple

from corolistener.coroconf.tree import Document, Entry, Section, integer
from corolistener.ids import NodeId

TOKEN_MS = 3000
"""corosync's default for totem.token since 3.1.0."""
TOKEN_COEFFICIENT_MS = 650
"""corosync's default for totem.token_coefficient: added per node beyond the second."""
PRIO_MAX = 2**31 - 1
VERSION_MAX = 2**53 - 1
"""corosync takes 64 bits; nothing is left to count on from there, and JSON cannot say it."""
NODEID_MAX = 2**32 - 1
LINKS = 8
"""corosync 3 has links 0 to 7."""
FLAGS = ("wait_for_all", "last_man_standing", "auto_tie_breaker", "allow_downscale")
"""What votequorum may be told besides votes (votequorum(5))."""
ON_OFF = {"on": True, "yes": True, "1": True, "off": False, "no": False, "0": False}


class NodeFacts(NamedTuple):
    """One node of the nodelist. `addresses` are ring0_addr, ring1_addr ... in order; `line` is its opening line."""

    nodeid: NodeId
    name: str
    addresses: tuple[str, ...]
    prio: int
    replication: bool | None
    votes: int
    line: int


class Facts(NamedTuple):
    """One corosync.conf. `expected_votes` is None where the file leaves the counting to corosync (not set, or 0)."""

    cluster_name: str
    config_version: int
    nodes: tuple[NodeFacts, ...]
    expected_votes: int | None
    two_node: bool
    qdevice: bool
    ports: tuple[int, ...]
    transport: str
    token_ms: int
    token_coefficient_ms: int
    device_votes: int = 0
    """What the quorum device may cast; 0 without one."""
    wait_for_all: bool = False
    last_man_standing: bool = False
    auto_tie_breaker: bool = False
    allow_downscale: bool = False

    def node(self, nodeid: int) -> NodeFacts | None:
        """The node of that id, None if the nodelist has none."""
        return next((node for node in self.nodes if node.nodeid == nodeid), None)

    @property
    def effective_token_ms(self) -> int:
        """The token timeout corosync works with (corosync.conf(5), token_coefficient)."""
        return self.token_ms + max(0, len(self.nodes) - 2) * self.token_coefficient_ms


def read_facts(document: Document) -> Facts:
    """The facts of a parsed file, nodes in file order. Raises ConfigError naming the line of what makes no sense."""
    nodes = _nodes(document)
    return Facts(
        cluster_name=document.get("totem.cluster_name") or "",
        config_version=document.integer("totem.config_version", 0, VERSION_MAX) or 0,
        nodes=nodes,
        expected_votes=document.integer("quorum.expected_votes") or None,
        two_node=bool(document.integer("quorum.two_node", 0, 255)),
        qdevice=bool(document.get("quorum.device.model")),
        ports=_ports(document),
        transport=document.get("totem.transport") or "knet",
        token_ms=document.integer("totem.token") or TOKEN_MS,
        token_coefficient_ms=_given(document.integer("totem.token_coefficient"), TOKEN_COEFFICIENT_MS),
        device_votes=_device_votes(document, nodes),
        **{flag: bool(document.integer(f"quorum.{flag}", 0, 255)) for flag in FLAGS},
    )


def _device_votes(document: Document, nodes: tuple[NodeFacts, ...]) -> int:
    """As many as the file says, else as many as all nodes but one vote (corosync's default)."""
    if not document.get("quorum.device.model"):
        return 0
    return _given(document.integer("quorum.device.votes"), max(0, sum(node.votes for node in nodes) - 1))


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _nodes(document: Document) -> tuple[NodeFacts, ...]:
    lists = [each for each in document.sections("nodelist") if any(sub.name == "node" for sub in each.subsections)]
    if len(lists) > 1:
        # corosync starts counting nodes anew here: it would lay these over the first ones, key by key.
        raise document.refuse(lists[1].line, f"a second nodelist with nodes, the first is in line {lists[0].line}")
    nodes = tuple(read_node(document, section) for section in document.sections("nodelist.node"))
    seen: dict[int, int] = {}
    for node in nodes:
        if node.nodeid in seen:
            raise document.refuse(node.line, f"nodeid {node.nodeid} was already given in line {seen[node.nodeid]}")
        seen[node.nodeid] = node.line
    return nodes


def read_node(document: Document, section: Section) -> NodeFacts:
    """One `node { }`. Raises ConfigError: no nodeid, or a number or switch that is none."""
    if section.subsections:
        # corosync 3.1.7 takes the keys inside for the node's own and the inner end for the node's end.
        raise document.refuse(section.subsections[0].line, "a section inside a node")
    nodeid = section.entry("nodeid")
    if nodeid is None:
        raise document.refuse(section.line, "a node without nodeid")
    return NodeFacts(
        nodeid=NodeId(integer(document, nodeid, 1, NODEID_MAX)),
        name=section.get("name") or "",
        addresses=tuple(address for link in range(LINKS) if (address := section.get(f"ring{link}_addr"))),
        prio=_number(document, section.entry("prio"), 0, 0, PRIO_MAX),
        replication=_switch(document, section.entry("replication")),
        votes=_number(document, section.entry("quorum_votes"), 1, 0, 2**32 - 1),
        line=section.line,
    )


def _number(document: Document, entry: Entry | None, default: int, least: int, most: int) -> int:
    return default if entry is None else integer(document, entry, least, most)


def _switch(document: Document, entry: Entry | None) -> bool | None:
    if entry is None:
        return None
    if entry.value.lower() not in ON_OFF:
        raise document.refuse(entry.line, f"{entry.key} must be one of {', '.join(ON_OFF)}")
    return ON_OFF[entry.value.lower()]


def _ports(document: Document) -> tuple[int, ...]:
    """ihttpd's ports: as many as `count` says, port0 first."""
    entries = {entry.key: entry for entry in document.entries() if entry.path.startswith("ihttpd.")}
    ports = {key: entry for key, entry in entries.items() if key.startswith("port")}
    counted = entries.get("count")
    count = _number(document, counted, 0, 0, 65535)
    missing = next((f"port{n}" for n in range(count) if f"port{n}" not in ports), None)
    if counted is not None and missing:
        raise document.refuse(counted.line, f"ihttpd has count {count}, but no {missing}")
    wanted = dict.fromkeys(f"port{n}" for n in range(count))
    extra = next((entry for key, entry in ports.items() if key not in wanted), None)
    if extra is not None:
        raise document.refuse(extra.line, f"ihttpd has {extra.key}, but count {count}")
    return tuple(integer(document, ports[key], 1, 65535) for key in wanted)
