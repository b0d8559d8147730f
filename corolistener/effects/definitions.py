"""Definitions of VMs on this node's disk: DIRECTORY/VM/SHA256.xml, readable by root alone, for they may hold secrets.

A file is there whole or not at all, and its name is what it contains, so nothing can be mistaken for something else. Of each
VM the newest KEPT stay. The calls of lane `store` run in a thread of their own; `text` blocks, for the thread of a hypervisor.
"""

import asyncio
import contextlib
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

from corolistener.core.actions import KeepDefinitions, ReadDefinition
from corolistener.core.events import Outcome, Result, Shelved
from corolistener.core.shelf import TEXT_MOST
from corolistener.effects import files
from corolistener.errors import EffectError
from corolistener.ids import VmName

KEPT = 10
SUFFIX = ".xml"
LONG = 240
"""Bytes of a file's name, which may have 255 at most: a character of a VM's name can need nine of them."""
NAME = "name"
PREFIX = "vm-"
"""Before a VM's name, so that none is a name that directories give a meaning of their own."""


def checksum(text: bytes) -> str:
    """What a definition is called."""
    return hashlib.sha256(text).hexdigest()


class Definitions:
    """Those of one node, in `directory`, which is made when the first one is written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, "definitions")

    async def recall(self) -> Shelved:
        """What is there. Raises EffectError where the directory cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._recall)

    async def perform(self, action: KeepDefinitions | ReadDefinition) -> Outcome:
        """Carry out one action; raises EffectError with the system's words."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._perform, action)

    async def close(self) -> None:
        """Nothing more is asked; what is being written is."""
        self._thread.shutdown(wait=False)

    def text(self, name: VmName, definition: str) -> bytes:
        """The text of a definition. Raises EffectError where it is not here, or is not what it was."""
        path = self._path(name, definition)
        try:
            text, _ = files.read(path, TEXT_MOST, follow=False)
        except OSError as error:
            raise EffectError("definition", files.words(error, path)) from None
        if checksum(text) != definition:
            raise EffectError("definition", f"{path}: damaged")
        return text

    def keep(self, name: VmName, text: bytes) -> None:
        """Write down a text that a hypervisor is about to forget. Blocks. Raises EffectError."""
        self._keep(name, checksum(text), text)

    def _recall(self) -> Shelved:
        found = []
        try:
            for vm in sorted(self._directory.iterdir()) if self._directory.exists() else ():
                if vm.name.startswith(PREFIX) and vm.is_dir():
                    name = _name_of(vm)
                    found += [(name, each.stem) for each in sorted(vm.iterdir()) if each.suffix == SUFFIX]
        except OSError as error:
            raise EffectError("definitions", files.words(error, self._directory)) from None
        return Shelved(tuple(found))

    def _perform(self, action: KeepDefinitions | ReadDefinition) -> Outcome:
        match action:
            case KeepDefinitions(texts=texts):
                for each in texts:
                    self._keep(each.name, each.definition, each.text)
                return Outcome(Result.DONE)
            case ReadDefinition(name=name, definition=definition):
                return Outcome(Result.DONE, text=self.text(name, definition))

    def _keep(self, name: VmName, definition: str, text: bytes) -> None:
        if checksum(text) != definition:
            raise EffectError("definition", f"what was told of {name} is not what it was called")
        path = self._path(name, definition)
        try:
            new = [each for each in (path.parent, *path.parents) if not each.exists()]
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in new:
                files.sync_directory(directory.parent)
            if path.parent.name != PREFIX + quote(name, safe=""):
                files.put(path.parent / NAME, name.encode(), files.Owner(0o600), path.parent / f"{NAME}.new")
            files.put(path, text, files.Owner(0o600), path.with_suffix(".new"))
        except OSError as error:
            raise EffectError("definition", files.words(error, path)) from None
        self._tidy(path)

    def _tidy(self, newest: Path) -> None:
        """Only the last few stay: one that the ledger still names is never so old."""
        with contextlib.suppress(OSError):
            others = [each for each in newest.parent.iterdir() if each.suffix == SUFFIX and each != newest]
            others.sort(key=lambda each: os.stat(each).st_mtime_ns, reverse=True)
            for old in others[KEPT - 1 :]:
                old.unlink()

    def _path(self, name: VmName, definition: str) -> Path:
        return self._directory / _directory_of(name) / (quote(definition, safe="") + SUFFIX)


def _directory_of(name: VmName) -> str:
    """A name that is too long for a file system is cut, and its checksum tells it from others that begin alike."""
    whole = PREFIX + quote(name, safe="")
    return whole if len(whole) <= LONG else f"{whole[: LONG - 65]}~{checksum(name.encode())}"


def _name_of(directory: Path) -> VmName:
    """The inverse; a name that was cut is in a file beside the definitions."""
    if "~" in directory.name and (directory / NAME).exists():
        return VmName((directory / NAME).read_text(encoding="utf-8"))
    return VmName(unquote(directory.name.removeprefix(PREFIX)))
