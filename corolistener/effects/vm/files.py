"""The files in which libvirt keeps definitions: of some changes it tells nobody.

`virsh snapshot-create-as --disk-only` puts another file at the top of a disk, and sends no event at all (libvirt 9.0). A change
of the definition alone (`setvcpus --config`, `attach-disk --config`) sends none either. But libvirt writes the definition to a
file each time, and it is cheap to look at the times of those files every second.
"""

import os
from pathlib import Path

from corolistener.ids import VmName

DIRECTORIES = ("/etc/libvirt/qemu", "/etc/libvirt/libxl")
EVERY_S = 1.0
SUFFIX = ".xml"

Stamp = tuple[int, int, int]


class DefinitionFiles:
    """What libvirt wrote since it was looked at last. It blocks: in a thread."""

    def __init__(self, directories: tuple[str, ...] = DIRECTORIES) -> None:
        self._directories = directories
        self._seen: dict[VmName, Stamp] = {}

    def changed(self) -> frozenset[VmName]:
        """The VMs whose definitions were written, made or taken away since the last call. Raises nothing: what cannot be
        read has not changed, and is looked at once a minute all the same."""
        found: dict[VmName, Stamp] = {}
        for directory in map(Path, self._directories):
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if entry.name.endswith(SUFFIX):
                            status = entry.stat(follow_symlinks=False)
                            stamp = status.st_mtime_ns, status.st_ino, status.st_size
                            found[VmName(entry.name.removesuffix(SUFFIX))] = stamp
            except OSError:
                continue
        before, self._seen = self._seen, found
        names = found.keys() | before.keys()
        return frozenset(name for name in names if found.get(name) != before.get(name))
