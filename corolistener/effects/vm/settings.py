"""What an administrator says about VMs: which hypervisor, which VMs are ours, and what they may have of a node."""

from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

UNSAFE = "unsafe"
MIGRATE_URIS = {"QEMU": "qemu+tls://{address}/system", "Xen": "xen+tls://{address}/"}
"""Where nothing is said: libvirtd's own port with certificates on both sides, as libvirt itself would have it."""


class Manage(Enum):
    """Which VMs are ours. A VM whose metadata says `manage="no"` never is."""

    SHARED = "shared"
    """Those whose every disk lies on shared storage: they can be started on another node."""
    TAGGED = "tagged"
    """Those whose metadata says `manage="yes"`."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class VmSettings:
    """`shared_storage`: directories ("/srv/shared"), "pool:NAME", "rbd:POOL", "rbd" (any pool), "iscsi".

    `migrate_uri` is where libvirtd of another node is found, `{address}` its address on the ring; empty: MIGRATE_URIS.
    Only for labs, whose shared directory libvirt does not take for one: a parameter `unsafe=1` in it lets VMs migrate whose
    disks libvirt cannot prove to be shared or uncached. It is ours and not told to libvirt.
    `migrate_tls`: QEMU encrypts the memory on its way to the other node. `migrate_uri` encrypts only what libvirtds say.
    """

    uri: str = "qemu:///system"
    manage: Manage = Manage.SHARED
    shared_storage: tuple[str, ...] = ()
    reserved_memory_percent: int = 10
    max_per_node: int | None = None
    migrate_uri: str = ""
    migrate_tls: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where a VM migrates to: the other libvirtd, the address its memory is sent to, whether disks are taken on trust, and
    whether the memory is encrypted."""

    uri: str
    data: str
    unsafe: bool
    tls: bool = False


def target(migrate_uri: str, kind: str, address: str, tls: bool = False) -> Target:
    """`migrate_uri` made out for one address; `kind` is libvirt's name of the hypervisor: QEMU alone knows `tls`.
    ValueError: there is no default."""
    template = migrate_uri or MIGRATE_URIS.get(kind, "")
    if not template:
        raise ValueError(f"a {kind} hypervisor does not migrate by itself: set migrate_uri")
    bracketed = f"[{address}]" if ":" in address else address
    parts = urlsplit(template.replace("{address}", bracketed))
    words = parse_qsl(parts.query, keep_blank_values=True)
    unsafe = any(key == UNSAFE and value not in ("", "0") for key, value in words)
    query = urlencode([pair for pair in words if pair[0] != UNSAFE], safe="/")
    return Target(urlunsplit(parts._replace(query=query)), f"tcp://{bracketed}", unsafe, tls and kind == "QEMU")
