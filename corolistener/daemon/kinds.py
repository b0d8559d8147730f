"""Kinds of values in the settings: what each accepts, and how it is described to who wrote something else."""

import grp
import ipaddress
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

SOCKET_DIRECTORY_MOST = 90
"""Bytes of the run directory: a socket's whole path must stay under the kernel's 108."""
DEVICE_MOST = 15
"""Characters of a network device's name: the kernel's IFNAMSIZ without its final NUL."""

AGENTS = "/usr/sbin"
NETWORK_STORAGES = ("rbd", "iscsi")
URI_FORM = re.compile(r"[a-z][a-z0-9+.-]*://\S*")
OPTION_FORM = re.compile(r"[A-Za-z0-9_-]+")


class Kind(NamedTuple):
    """`expected` completes "expected ..."; `accept` returns the value to keep or raises ValueError. A `secret` is not shown."""

    expected: str
    accept: Callable[[object], object]
    secret: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


def _path(value: object) -> str:
    path = _text(value)
    if not path.startswith("/"):
        raise ValueError
    return str(PurePosixPath(path))


def _run_directory(value: object) -> str:
    path = _path(value)
    if len(path.encode()) > SOCKET_DIRECTORY_MOST:
        raise ValueError
    return path


def _address(value: object) -> str:
    address = ipaddress.ip_address(_text(value))
    if address.is_unspecified or address.is_multicast or "%" in str(address):
        raise ValueError
    return str(address)


def _device(value: object) -> str:
    name = _text(value)
    if len(name.encode()) > DEVICE_MOST or "/" in name or " " in name or name in (".", ".."):
        raise ValueError
    return name


def _mask(value: object) -> str:
    """A prefix length or a dotted mask, as text; whether it fits the address is seen when both are known."""
    if type(value) is int:
        value = str(value)
    prefix_length(_text(value), 6 if str(value).isdigit() else 4)
    return str(value)


def prefix_length(mask: str, family: int) -> int:
    """The prefix length that a mask means for an IPv4 (4) or IPv6 (6) address. Raises ValueError where it is none."""
    if mask.isascii() and mask.isdigit():
        most = 32 if family == 4 else 128
        if not 1 <= int(mask) <= most:
            raise ValueError(f"a prefix length from 1 to {most}")
        return int(mask)
    if family == 6:
        raise ValueError("a prefix length (an IPv6 address has no dotted mask)")
    bits = int(ipaddress.IPv4Address(mask))
    length = bits.bit_count()
    if not bits or bits != (2**32 - 1) ^ (2 ** (32 - length) - 1):
        raise ValueError("a mask whose ones all come first")
    return length


def _group(value: object) -> str:
    name = _text(value)
    try:
        grp.getgrnam(name)
    except KeyError:
        raise ValueError from None
    return name


def _unit(value: object) -> str:
    name = _text(value)
    if "/" in name or " " in name or name.startswith("-"):
        raise ValueError
    return name if "." in name else f"{name}.service"


def _uri(value: object) -> str:
    uri = _text(value)
    if not URI_FORM.fullmatch(uri):
        raise ValueError
    return uri


def _peer_uri(value: object) -> str:
    uri = _uri(value)
    if "{address}" not in uri:
        raise ValueError
    return uri


def _agent(value: object) -> str:
    """A bare name is looked for where distributions put fence agents."""
    name = _text(value)
    return _path(name if "/" in name else f"{AGENTS}/{name}")


def _nodes(value: object) -> tuple[int | str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise ValueError
    for node in value:
        if type(node) is not int or not 1 <= node < 2**32:
            _text(node)
    return tuple(value)


def _options(value: object) -> tuple[tuple[str, str], ...]:
    """A table as an agent reads it: a line each, so that neither names nor values may break one. What is to
    be done the daemon says."""
    if not isinstance(value, dict):
        raise ValueError
    for name, given in value.items():
        if not OPTION_FORM.fullmatch(name) or name == "action" or type(given) not in (str, int, bool):
            raise ValueError
        if isinstance(given, str) and not given.isprintable():
            raise ValueError
    return tuple((name, str(int(given)) if isinstance(given, bool) else str(given)) for name, given in value.items())


def _storages(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(set(map(str, value))) < len(value):
        raise ValueError
    return tuple(_storage(each) for each in value)


def _storage(value: object) -> str:
    name = _text(value)
    if name in NETWORK_STORAGES or (name.startswith("pool:") and name != "pool:"):
        return name
    return _path(name)


def one_of(*words: str) -> Kind:
    """One of these words."""

    def accept(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return Kind("one of " + ", ".join(f"'{word}'" for word in words), accept)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def whole(least: int, most: int, unit: str = "") -> Kind:
    """A whole number within limits."""

    def accept(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return Kind(f"a whole number from {least} to {most}" + (f" ({unit})" if unit else ""), accept)


def seconds(least: float, most: float) -> Kind:
    """A time in seconds, fractions allowed."""

    def accept(value: object) -> float:
        if type(value) not in (int, float) or not least <= float(str(value)) <= most:
            raise ValueError
        return float(str(value))

    return Kind(f"seconds, from {least:g} to {most:g}", accept)


def milliseconds(least: int, most: int) -> Kind:
    """A duration in whole milliseconds."""
    return whole(least, most, "milliseconds")


FLAG = Kind("true or false", _flag)
PATH = Kind("an absolute path", _path)
RUN_DIRECTORY = Kind(f"an absolute path of at most {SOCKET_DIRECTORY_MOST} bytes", _run_directory)
ADDRESS = Kind("an IPv4 or IPv6 address that a node can have, without mask", _address)
DEVICE = Kind(f"a network device's name, at most {DEVICE_MOST} characters", _device)
MASK = Kind("a prefix length, or for IPv4 a dotted mask", _mask)
GROUP = Kind("a group of this machine", _group)
UNIT = Kind("a systemd unit", _unit)
PORT = whole(1, 65535)
URI = Kind("a libvirt URI such as qemu:///system", _uri)
PEER_URI = Kind("a libvirt URI with {address} in it", _peer_uri)
AGENT = Kind(f"an absolute path, or the name of a program in {AGENTS}", _agent)
NODES = Kind("a list of one or more ids or names of nodes, each once", _nodes)
OPTIONS = Kind(
    "a table of options: strings without line breaks, whole numbers, true and false; `action` is not among them",
    _options,
    secret=True,
)
STORAGES = Kind("a list of absolute paths, 'pool:NAME', 'rbd' and 'iscsi', each once", _storages)
