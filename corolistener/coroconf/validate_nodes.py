"""What is wrong with the nodelist, and with the votes counted from it."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from corolistener.coroconf.facts import LINKS, NodeFacts, read_node
from corolistener.coroconf.problems import Problem, error, info, line_of, number, warning
from corolistener.coroconf.tree import Document, Section
from corolistener.errors import ConfigError

HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
DOTTED = re.compile(r"[0-9.]+")
KNET_NODEID_MAX = 65535
"""knet has 65536 hosts, the first of which is nobody."""


def node_problems(document: Document) -> list[Problem]:
    """Problems of the nodelist and of the numbers in quorum that must fit it."""
    sections = document.sections("nodelist.node")
    if not sections:
        return [error(line_of(document, "nodelist."), "nodelist", "there is no node in a nodelist: corosync 3 needs one")]
    found = list(_lists(document))
    nodes: list[NodeFacts] = []
    for section in sections:
        found += _node(document, section)
        try:
            nodes.append(read_node(document, section))
        except ConfigError as refused:
            found.append(error(refused.line, "node", refused.why))
    found += [*_twice(nodes), *_links(document, sections), *_families(sections)]
    if len(nodes) == len(sections):
        found += _votes(document, nodes)
    return found


def _lists(document: Document) -> Iterator[Problem]:
    lists = [each for each in document.sections("nodelist") if any(sub.name == "node" for sub in each.subsections)]
    for again in lists[1:]:
        why = f"corosync lays these nodes over those of the nodelist in line {lists[0].line}"
        yield error(again.line, "nodelist", why)


def _node(document: Document, section: Section) -> Iterator[Problem]:
    nodeid = section.entry("nodeid")
    knet = (document.get("totem.transport") or "knet") == "knet"
    if knet and nodeid is not None and nodeid.value.isdecimal() and int(nodeid.value) > KNET_NODEID_MAX:
        yield error(nodeid.line, "node", f"with knet a nodeid is {KNET_NODEID_MAX} at most")
    if section.get("ring0_addr") is None:
        yield error(section.line, "node-address", "a node without ring0_addr is not counted and not reached")
    for entry in section.entries:
        link = entry.key.removeprefix("ring").removesuffix("_addr")
        if entry.key != f"ring{link}_addr":
            continue
        if not (link.isdigit() and int(link) < LINKS):
            yield error(entry.line, "node-address", f"links are numbered 0 to {LINKS - 1}")
        if not _reachable(entry.value):
            yield error(entry.line, "node-address", f"{entry.value!r} is neither an address nor a host's name")


def _reachable(value: str) -> bool:
    """Whether the value can be an address at all. Whether a name stands for one only the machine knows."""
    if not _family(value):
        return HOST_NAME.fullmatch(value) is not None
    try:
        return bool(ip_address(value).version)
    except ValueError:
        return False


def _twice(nodes: list[NodeFacts]) -> Iterator[Problem]:
    """Ids, names and addresses that two nodes claim."""
    seen: dict[tuple[str, str], int] = {}
    for node in nodes:
        claims = [("nodeid", str(node.nodeid)), ("address", ""), ("name", node.name)]
        claims[1:2] = [("address", address) for address in sorted(set(node.addresses))]
        for claim in claims:
            if claim in seen:
                what = f"the {claim[0]} {claim[1]!r} is already that of the node in line {seen[claim]}"
                yield error(node.line, f"duplicate-{claim[0]}", what)
            elif claim[1]:
                seen[claim] = node.line


def _links(document: Document, sections: tuple[Section, ...]) -> Iterator[Problem]:
    transport = document.get("totem.transport") or "knet"
    links = [tuple(link for link in range(LINKS) if section.get(f"ring{link}_addr")) for section in sections]
    for section, own in zip(sections, links, strict=True):
        if own and own != links[0]:
            yield error(section.line, "node-links", f"links {_words(own)}, but the first node has {_words(links[0])}")
        if len(own) > 1 and transport in ("udp", "udpu"):
            yield error(section.line, "node-links", f"transport {transport} has one link only")
        if section.get("name") is not None:
            continue
        if len(own) > 1:
            yield error(section.line, "node-name", "with more than one link every node needs a name")
        else:
            yield info(section.line, "node-name", "a node without a name: corosync knows it by its address")


def _families(sections: tuple[Section, ...]) -> Iterator[Problem]:
    """Addresses of one link must be all IPv4 or all IPv6; what a host name stands for is not known here."""
    for link in range(LINKS):
        first = ""
        for entry in (section.entry(f"ring{link}_addr") for section in sections):
            family = "" if entry is None else _family(entry.value)
            first = first or family
            if entry is not None and family and family != first:
                yield error(entry.line, "node-family", f"an {family} address, but link {link} begins with {first}")


def _family(address: str) -> str:
    if ":" in address:
        return "IPv6"
    return "IPv4" if DOTTED.fullmatch(address) else ""


def _words(links: tuple[int, ...]) -> str:
    return ", ".join(map(str, links)) or "none"


def _votes(document: Document, nodes: list[NodeFacts]) -> Iterator[Problem]:
    expected = number(document, "quorum.expected_votes")
    total = sum(node.votes for node in nodes)
    votes = total + (number(document, "quorum.device.votes") if document.get("quorum.device.model") else 0)
    if expected and expected != votes:
        why = f"expected_votes is {expected} and overrides the nodelist, whose votes are {votes}"
        yield warning(line_of(document, "quorum.expected_votes"), "expected-votes", why)
    if number(document, "quorum.two_node") and len(nodes) != 2:
        why = f"two_node is for two nodes, the nodelist has {len(nodes)}"
        yield warning(line_of(document, "quorum.two_node"), "two-node", why)
    last_standing = number(document, "quorum.last_man_standing") and not number(document, "quorum.wait_for_all")
    if last_standing and number(document, "quorum.auto_tie_breaker") and total % 2:
        why = f"corosync does not start with it and last_man_standing over {total} votes: it needs wait_for_all"
        yield error(line_of(document, "quorum.auto_tie_breaker"), "auto-tie-breaker", why)
    if document.get("quorum.device.model") and document.get("quorum.device.votes") is None and total != len(nodes):
        why = "not all nodes have one vote, so the quorum device must say its votes, too"
        yield error(line_of(document, "quorum.device.model"), "quorum-device", why)
