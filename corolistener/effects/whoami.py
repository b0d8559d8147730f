"""Which node of the nodelist this machine is: the one whose ring address is on one of its interfaces. Blocks."""

import ipaddress
import socket
from collections.abc import Iterable

import netifaces

from corolistener.coroconf.facts import NodeFacts
from corolistener.ids import NodeId

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def own_addresses() -> frozenset[Address]:
    """Every address on this machine's interfaces."""
    families = (netifaces.InterfaceType.AF_INET, netifaces.InterfaceType.AF_INET6)
    found = [netifaces.ifaddresses(name).get(family) or [] for name in netifaces.interfaces() for family in families]
    return frozenset(address for entries in found for entry in entries if (address := _address(entry.get("addr", ""))))


def node_here(nodes: Iterable[NodeFacts], own: frozenset[Address] | None = None) -> NodeId | None:
    """The first node with a ring address of ours, None if there is none. Ring addresses that are names are resolved."""
    here = own_addresses() if own is None else own
    return next((node.nodeid for node in nodes if any(here & resolved(address) for address in node.addresses)), None)


def resolved(address: str) -> frozenset[Address]:
    """What a ring address stands for: itself, or what the resolver says of a name, nothing if it does not know it."""
    literal = _address(address)
    if literal is not None:
        return frozenset((literal,))
    if not address:  # to the resolver this would be the machine itself
        return frozenset()
    try:
        answers = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    found = (_address(str(answer[4][0])) for answer in answers)
    return frozenset(address for address in found if address is not None)


def _address(text: str) -> Address | None:
    """Without the interface that a link-local address is written with."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
