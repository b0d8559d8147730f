"""Kinds of values in the settings: what each accepts, and how it is described to who wrote something else."""

import grp
import ipaddress
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

SOCKET_DIRECTORY_MOST = 90
"""Bytes of the run directory: a socket's whole path must stay under the kernel's 108."""
DEVICE_MOST = 15
"""Characters of a network device's name: the kernel's IFNAMSIZ without its final NUL."""


class Kind(NamedTuple):
    """`expected` completes "expected ..."; `accept` returns the value to keep or raises ValueError."""

    expected: str
    accept: Callable[[object], object]


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


PATH = Kind("an absolute path", _path)
RUN_DIRECTORY = Kind(f"an absolute path of at most {SOCKET_DIRECTORY_MOST} bytes", _run_directory)
ADDRESS = Kind("an IPv4 or IPv6 address that a node can have, without mask", _address)
DEVICE = Kind(f"a network device's name, at most {DEVICE_MOST} characters", _device)
MASK = Kind("a prefix length, or for IPv4 a dotted mask", _mask)
GROUP = Kind("a group of this machine", _group)
UNIT = Kind("a systemd unit", _unit)
PORT = whole(1, 65535)
