"""The rewrites of corosync.conf that the cluster agrees on: bytes in, bytes out, the same on every node.

Each changes what it must and no other byte; none of them raises the version, `with_version` does. They raise
ConfigError where the file cannot be read, the node is not (or already) there, a value cannot be written, or the result
would have an error that the file did not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from corolistener.coroconf.edit import add_section, remove, remove_section, replace_value, set_value, set_values
from corolistener.coroconf.facts import LINKS, VERSION_MAX, Facts, read_facts
from corolistener.coroconf.tree import Document, Section, parse
from corolistener.coroconf.validate import new_errors
from corolistener.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to add. `addresses` become ring0_addr, ring1_addr ...; what is None or empty is not written."""

    nodeid: int
    addresses: tuple[str, ...]
    name: str = ""
    prio: int | None = None
    replication: bool | None = None

    def pairs(self) -> list[tuple[str, str]]:
        """The node's keys and values in the order in which the seed's sample has them."""
        pairs = [(f"ring{link}_addr", address) for link, address in enumerate(self.addresses)]
        pairs.append(("nodeid", str(self.nodeid)))
        if self.name:
            pairs.append(("name", self.name))
        if self.prio is not None:
            pairs.append(("prio", str(self.prio)))
        if self.replication is not None:
            pairs.append(("replication", "on" if self.replication else "off"))
        return pairs


def with_version(data: bytes, version: int, path: str = "corosync.conf") -> bytes:
    """The file with that totem.config_version, added to the totem section (or with one) where it was missing."""
    document = _with(parse(data, path), "totem", "config_version", str(version))
    document.integer("totem.config_version", 0, VERSION_MAX)
    return document.to_bytes()


def with_priorities(data: bytes, priorities: Mapping[int, int], path: str = "corosync.conf") -> bytes:
    """The file with these nodes' `prio` (nodeid -> priority). A priority that is already so keeps its spelling."""
    document = parse(data, path)
    facts = read_facts(document)
    for nodeid in sorted(set(priorities) - {node.nodeid for node in facts.nodes}):
        raise ConfigError(path, 0, f"no node {nodeid} in the nodelist")
    sections = {section.line: section for section in document.sections("nodelist.node")}
    changed = [(sections[node.line], priorities.get(node.nodeid, node.prio), node.prio) for node in facts.nodes]
    document = set_values(document, "prio", [(section, str(prio)) for section, prio, old in changed if prio != old])
    read_facts(document)  # refuses a priority that is none
    return document.to_bytes()


def with_node_added(data: bytes, node: NodeSpec, path: str = "corosync.conf") -> bytes:
    """The file with one more node at the end of the nodelist; expected_votes, where set, counts it.

    two_node, which corosync allows with two nodes only, is set to 0 where the cluster grows out of it.
    """
    before = parse(data, path)
    facts = read_facts(before)
    _check_spec(before, facts, node)
    document = before
    if not document.sections("nodelist"):
        document = add_section(document, document.root, "nodelist", ())
    lists = document.sections("nodelist")
    within = next((each for each in lists if any(sub.name == "node" for sub in each.subsections)), lists[-1])
    document = add_section(document, within, "node", node.pairs())
    return _checked(before, _counted(document, facts)).to_bytes()


def with_node_removed(data: bytes, nodeid: int, path: str = "corosync.conf") -> bytes:
    """The file without that node's section; expected_votes, where set, no longer counts its votes.

    two_node is set to 0 where it would be left with one node; it is never switched on. The last node stays.
    """
    document = parse(data, path)
    section = _section(document, nodeid)
    facts = read_facts(document)
    if len(facts.nodes) == 1:
        raise document.refuse(section.line, f"node {nodeid} is the last of the cluster")
    return _counted(remove_section(document, section), facts).to_bytes()


def with_node_edited(data: bytes, nodeid: int, changes: Mapping[str, str | None], path: str = "corosync.conf") -> bytes:
    """The file with that node's keys set to these values, in the order given; None removes the key.

    expected_votes, where set, follows a change of quorum_votes. A nodeid cannot be edited: that is another node.
    """
    before = document = parse(data, path)
    facts = read_facts(document)
    if "nodeid" in changes:
        raise ConfigError(path, 0, f"the nodeid of node {nodeid} cannot be changed: remove the node and add another")
    for key, value in changes.items():
        document = _with_key(document, _section(document, nodeid), key, value)
    return _checked(before, _counted(document, facts)).to_bytes()


def _with_key(document: Document, section: Section, key: str, value: str | None) -> Document:
    if value is not None:
        return set_value(document, section, key, value)
    while (entry := section.entry(key)) is not None:
        document = remove(document, entry)
        section = next(other for other in document.sections(section.path) if other.line == section.line)
    return document


def _with(document: Document, name: str, key: str, value: str) -> Document:
    """`name.key: value`, in the entry that counts, else in the last section of that name, else in a new one."""
    entry = document.entry(f"{name}.{key}")
    if entry is not None:
        return replace_value(document, entry, value)
    sections = document.sections(name)
    if sections:
        return set_value(document, sections[-1], key, value)
    return add_section(document, document.root, name, ((key, value),))


def _section(document: Document, nodeid: int) -> Section:
    """The node's section. Raises ConfigError where there is none, or the nodelist makes no sense."""
    node = read_facts(document).node(nodeid)
    if node is None:
        raise ConfigError(document.path, 0, f"no node {nodeid} in the nodelist")
    return next(section for section in document.sections("nodelist.node") if section.line == node.line)


def _check_spec(document: Document, facts: Facts, node: NodeSpec) -> None:
    present = facts.node(node.nodeid)
    if present is not None:
        raise document.refuse(present.line, f"node {node.nodeid} is already in the nodelist")
    if not 1 <= len(node.addresses) <= LINKS:
        raise ConfigError(document.path, 0, f"node {node.nodeid} needs 1 to {LINKS} addresses")


def _checked(before: Document, after: Document) -> Document:
    """`after`, unless corosync or corolistener could no longer work with it. Raises ConfigError."""
    for problem in new_errors(before, after):
        raise after.refuse(problem.line, problem.text)
    return after


def _counted(document: Document, before: Facts) -> Document:
    """expected_votes and two_node brought in line with a nodelist that changed; read back, so that it makes sense."""
    after = read_facts(document)
    votes = sum(node.votes for node in after.nodes) - sum(node.votes for node in before.nodes)
    if before.expected_votes is not None and votes:
        document = _with(document, "quorum", "expected_votes", str(max(1, before.expected_votes + votes)))
    if before.two_node and len(before.nodes) != len(after.nodes) != 2:
        document = _with(document, "quorum", "two_node", "0")
    return document
