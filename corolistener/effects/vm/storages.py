"""Which declared storage a disk lies on, and which of them this node reaches."""

import os
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

POOL = "pool:"
NAMED = ("rbd", "iscsi", "volume")


class Disk(NamedTuple):
    """Where a disk lies. `kind` is libvirt's type: file, block, dir, volume, or a network's protocol (rbd, iscsi); `place` a
    path, POOL/IMAGE of rbd, or for a volume its pool. `target` is its name in the VM."""

    target: str
    kind: str
    place: str

    def __str__(self) -> str:
        return " ".join(each for each in (f"{self.target}:", self.kind if self.kind in NAMED else "", self.place) if each)


def storage_of(disk: Disk, declared: Iterable[str], pools: Mapping[str, str]) -> str | None:
    """The declared storage that a disk lies on, the most exact one; None: it is this node's own. `pools`: declared to path."""
    found = [each for each in declared if _holds(each, disk, pools)]
    return max(found, key=lambda each: (len(pools.get(each, each)), each)) if found else None


def _holds(storage: str, disk: Disk, pools: Mapping[str, str]) -> bool:
    if storage.startswith(POOL):
        name = storage.removeprefix(POOL)
        return disk.place == name if disk.kind == "volume" else _below(disk, pools.get(storage, ""))
    if storage.startswith("/"):
        return _below(disk, storage)
    network, _, pool = storage.partition(":")
    return disk.kind == network and (not pool or disk.place.partition("/")[0] == pool)


def _below(disk: Disk, directory: str) -> bool:
    if not directory or disk.kind not in ("file", "block", "dir"):
        return False
    path, top = os.path.normpath(disk.place), os.path.normpath(directory)
    return path == top or path.startswith(top.rstrip("/") + "/")


def reached(storage: str, active: Collection[str]) -> bool:
    """Whether this node reaches a declared storage; `active` has the pools. It may hang as long as a dead server does."""
    if storage.startswith("/"):
        return os.path.isdir(storage)
    return storage in active if storage.startswith(POOL) else True
