"""The list of VMs in the cluster's care, for libvirt's hook (vmmgr_hooks/libvirt/qemu), which must know them also while no
daemon runs. It is no ledger: a name too many is asked about in vain, a name too few starts without a question."""

from collections.abc import Iterable
from pathlib import Path

from corolistener.effects.files import Owner, put, words
from corolistener.errors import EffectError
from corolistener.ids import VmName

NAME = "managed"
"""The file, in the state directory: a name a line."""


def keep(state: str, names: Iterable[VmName]) -> None:
    """Put these names, and no others, in the list; on disk when this returns. Blocks. Raises EffectError."""
    path = Path(state, NAME)
    text = "".join(f"{name}\n" for name in sorted(set(names)))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(path, text.encode(), Owner(0o644), path.with_name(f".{NAME}.new"))
    except OSError as error:
        raise EffectError("managed", words(error, path)) from error
