"""The list of what is in the cluster's care, for libvirt's hook (vmmgr_hooks/libvirt/qemu), which must know it also while no
daemon runs. It is no ledger: a line too many makes the hook ask the daemon in vain, a line too few lets a VM start unasked."""

from collections.abc import Iterable
from pathlib import Path

from corolistener.effects.files import Owner, put, words
from corolistener.errors import EffectError

NAME = "managed"
"""The file, in the state directory: names and UUIDs of VMs, and places of their disks, one a line."""


def keep(state: str, lines: Iterable[str]) -> None:
    """Put these lines, and no others, in the list; on disk when this returns. Blocks. Raises EffectError."""
    path = Path(state, NAME)
    text = "".join(f"{line}\n" for line in sorted(set(lines)))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(path, text.encode(errors="surrogateescape"), Owner(0o644), path.with_name(f".{NAME}.new"))
    except OSError as error:
        raise EffectError("managed", words(error, path)) from error
