"""What libvirt's hook has to know while no daemon runs, and whether libvirt calls the hook at all.

The hook looks into a list of names, UUIDs and writable disks (effects/managed) before it asks. Every start that this daemon
orders must be asked about; one that is not shows that the hook is missing, or that libvirtd has not looked for it yet.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree.ElementTree import ParseError

from corolistener.core.actions import StartVm, TicketedAction
from corolistener.core.events import Outcome, Result
from corolistener.core.ledger import Placed, Version
from corolistener.daemon.effects import Perform
from corolistener.daemon.notes import Log
from corolistener.effects import managed
from corolistener.effects.vm.texts import writable
from corolistener.errors import EffectError
from corolistener.ids import VmName

Key = tuple[str, str]
"""UUID and definition of a VM: what its lines of the list depend on."""
AGAIN_S = 1.0
"""A definition that was not here is looked for again after so long."""


class Guarded:
    """The list, and what is known of the hook. `text` reads a definition; it blocks, and raises EffectError."""

    def __init__(self, state: Path, text: Callable[[VmName, str], bytes], log: Log) -> None:
        self.silent: bool | None = None
        """Whether the last start that this daemon ordered came without a question of the hook; None: there was no start yet."""
        self._state, self._text, self._log = state, text, log
        self._wanted: dict[VmName, Key] | None = None
        self._told: Version | None = None
        self._written: frozenset[VmName] = frozenset()
        self._disks: dict[tuple[VmName, str], tuple[str, ...]] = {}
        self._unread, self._again = False, 0.0
        self._users: dict[str, tuple[VmName, ...]] = {}
        self._unasked: set[VmName] = set()
        self._complained = ""
        self._thread = ThreadPoolExecutor(1, "managed")  # one: an older list must not come after a newer one

    def close(self) -> None:
        """What is being written is."""
        self._thread.shutdown(wait=False)

    # -- the list

    def tell(self, version: Version, rows: Mapping[VmName, Placed]) -> None:
        """Write the list if it is news. `version` is that of the ledger that has these rows."""
        loop = asyncio.get_running_loop()
        unread = self._unread and loop.time() >= self._again
        if version == self._told and self._wanted is not None and not unread:
            return
        self._told, wanted = version, {name: (row.vm.uuid, row.vm.definition) for name, row in rows.items()}
        if wanted != self._wanted or unread:
            self._again = loop.time() + AGAIN_S
            self._wanted = wanted
            loop.run_in_executor(self._thread, self._write, wanted)

    def sharing(self, disks: tuple[str, ...]) -> tuple[VmName, ...]:
        """The VMs in the cluster's care that have one of these disks."""
        return tuple(sorted({name for disk in disks for name in self._users.get(disk, ())}))

    def _write(self, wanted: dict[VmName, Key]) -> None:
        disks, users, unread = dict[tuple[VmName, str], tuple[str, ...]](), dict[str, tuple[VmName, ...]](), False
        for name, (_, definition) in wanted.items():
            key = name, definition
            read = self._disks.get(key) or self._read(*key)
            unread = unread or (read is None and bool(definition))
            disks[key] = places = read or ()
            for place in places:
                users[place] = (*users.get(place, ()), name)
        self._disks, self._users, self._unread = disks, users, unread
        try:
            managed.keep(str(self._state), [*wanted, *(uuid for uuid, _ in wanted.values() if uuid), *users])
            self._written, self._complained = frozenset(wanted), ""
        except EffectError as error:
            self._wanted = None  # and so it is tried again
            if error.why != self._complained:
                self._log.say(logging.ERROR, "managed-not-written", why=error.why)
            self._complained = error.why

    def _read(self, name: VmName, definition: str) -> tuple[str, ...] | None:
        """None for a definition that cannot be read: it may come after the row that names it, and is looked for again."""
        try:
            return writable(self._text(name, definition)) if definition else ()
        except (EffectError, ParseError):
            return None

    # -- the hook

    def asked(self, name: VmName) -> None:
        """The hook asks: libvirt calls it. A list that somebody removed is written again."""
        self._unasked.discard(name)
        self.silent = False
        if self._wanted is not None and not Path(self._state, managed.NAME).is_file():
            self._wanted = None

    def watching(self, perform: Perform) -> Perform:
        """The same neighbour; a start that it carries out unasked is told once."""

        async def watched(action: TicketedAction) -> Outcome:
            if not isinstance(action, StartVm) or action.vm.name not in self._written:
                return await perform(action)
            name = action.vm.name
            self._unasked.add(name)
            try:
                outcome = await perform(action)
            finally:
                unasked = name in self._unasked
                self._unasked.discard(name)
            if unasked and outcome.result is Result.DONE and ("kept", "yes") not in outcome.facts:
                if not self.silent:
                    self._log.say(logging.WARNING, "hook-silent", vm=name)
                self.silent = True
            return outcome

        return watched
