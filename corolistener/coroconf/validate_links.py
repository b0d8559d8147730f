"""What is wrong with the interface sections of totem: what they say of links, and what corosync makes of it.

corosync lays all sections of one linknumber over each other (0 where none is given), key by key, the later one wins.
A link is what has a key in such a section or a ringN_addr in the nodelist; udp cares for bindnetaddr and link 0 alone.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from corolistener.coroconf.accept import RULES
from corolistener.coroconf.facts import LINKS
from corolistener.coroconf.problems import Problem, error, info, line_of, warning
from corolistener.coroconf.tree import Document, Entry, Section

STORED = {*RULES["totem.interface"], "bindnetaddr", "mcastaddr", "broadcast", "knet_transport"} - {"linknumber"}
"""Keys that corosync files under their link."""
UNCAST = ("mcastaddr", "broadcast")
"""Keys that only udp heeds."""

Link = Mapping[str, Entry]
"""What counts for one link, by key."""


def link_problems(document: Document, transport: str) -> list[Problem]:
    """Problems of the interface sections under that transport."""
    interfaces = document.sections("totem.interface")
    found = [*_numbers(interfaces)]
    for section in interfaces:
        found += _ignored(document, section, transport)
    links = _links(interfaces)
    for number, link in links.items():
        if transport != "udp" or number == 0 or "bindnetaddr" in link:
            found += _link(document, number, link, transport)
    if transport == "udp":
        found += _multicast(document, links.get(0, {}))
    return found


def _number(section: Section) -> int:
    """The section's link; corosync refuses a linknumber that is none."""
    value = section.get("linknumber") or "0"
    return int(value) if value.isascii() and value.isdigit() else 0


def _links(interfaces: tuple[Section, ...]) -> Mapping[int, Link]:
    links: dict[int, dict[str, Entry]] = {}
    for section in interfaces:
        for entry in section.entries:
            if entry.key in STORED:
                links.setdefault(_number(section), {})[entry.key] = entry
    return links


def _numbers(interfaces: tuple[Section, ...]) -> Iterator[Problem]:
    """Several sections for one link, which may well be meant for several."""
    seen: dict[int, int] = {}
    for section in interfaces:
        number, given = _number(section), section.get("linknumber") is not None
        if number in seen:
            why = f"laid over the section of link {number} in line {seen[number]}"
            yield warning(section.line, "linknumber", why if given else f"without a linknumber: {why}")
        elif not given and len(interfaces) > 1:
            yield info(section.line, "linknumber", "without a linknumber: this is about link 0")
        seen.setdefault(number, section.line)


def _ignored(document: Document, section: Section, transport: str) -> Iterator[Problem]:
    nodelist = document.sections("nodelist.node")
    for entry in section.entries:
        if entry.key == "bindnetaddr" and nodelist:
            yield warning(entry.line, "bindnetaddr", "ignored beside a nodelist: the node's own address there is taken")
        elif entry.key in UNCAST and transport in ("knet", "udpu"):
            yield warning(entry.line, entry.key, f"ignored: transport {transport} sends no multicast")
        elif entry.key == "ringnumber":
            yield warning(entry.line, "ringnumber", "ignored: corosync 3 calls it linknumber")
    for member in section.subsections:
        if member.name == "member" and nodelist:
            yield warning(member.line, "member", "ignored beside a nodelist")


def _link(document: Document, number: int, link: Link, transport: str) -> Iterator[Problem]:
    """A link that corosync takes into account."""
    nodes, line = document.sections("nodelist.node"), min(entry.line for entry in link.values())
    if number >= LINKS:
        yield error(line, "linknumber", f"links are numbered 0 to {LINKS - 1}")
    elif nodes and nodes[0].get(f"ring{number}_addr") is None:
        yield error(line, "linknumber", f"about link {number}, for which no node has an address: corosync does not start")
    if transport in ("knet", "udpu") and _other(link, "ttl", 1):
        yield error(link["ttl"].line, "ttl", f"transport {transport} has no ttl but 1")
    if transport in ("udp", "udpu") and _other(link, "knet_link_priority", 1):
        yield error(link["knet_link_priority"].line, "link-priority", f"transport {transport} has no link priorities")
    kind = link.get("knet_transport")
    if kind is not None and kind.value not in ("udp", "sctp"):
        yield error(kind.line, "knet-transport", "knet_transport must be one of udp, sctp")
    group = link.get("mcastaddr")
    if group is not None and _address(group.value) is None:
        yield error(group.line, "mcastaddr", f"{group.value!r} is no address")


def _other(link: Link, key: str, than: int) -> bool:
    """Whether the link's key is set to another number."""
    entry = link.get(key)
    return entry is not None and entry.value.isascii() and entry.value.isdigit() and int(entry.value) != than


def _multicast(document: Document, link: Link) -> Iterator[Problem]:
    """What udp needs of link 0: a group to send to, its own or one made from the cluster's name, or broadcast."""
    group, broadcast = link.get("mcastaddr"), link.get("broadcast")
    if broadcast is not None and broadcast.value == "yes":
        return
    if group is None and document.get("totem.cluster_name") is None:
        yield error(line_of(document, "totem.transport"), "mcastaddr", "udp needs a mcastaddr or a cluster_name")
    if group is not None and _address(group.value) is False:
        yield error(group.line, "mcastaddr", f"{group.value} is no multicast address")


def _address(value: str) -> bool | None:
    """Whether the address is one for multicast; None if it is no address."""
    try:
        return ip_address(value).is_multicast
    except ValueError:
        return None
