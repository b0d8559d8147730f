"""Definitions of VMs: the texts that hypervisors start them from, on every member's disk before anything relies on them.

The ledger names a definition by its SHA-256. A node that meets a new one writes it down and tells it to all; it reports the
VM under that name only when the text was delivered, and what the ledger says of it is written after the text (keeping._write):
whoever has stored the row has stored the text before. Who was away asks those who are here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from corolistener.core.actions import KeepDefinitions, Multicast, ReadDefinition
from corolistener.core.copies import Key
from corolistener.core.events import Defined, Outcome, Result, Shelved
from corolistener.core.messages import Definition, Lacking
from corolistener.core.notes import NoteCode
from corolistener.core.out import Out
from corolistener.ids import Instant, NodeId, Ticket, VmName

TEXT_MOST = 256 * 1024
"""Bytes of a definition that the ring carries."""
ASK_AGAIN_MS = 2000
ASK_MOST = 32
"""Definitions asked for at once: each is answered by a message of its own."""
WORK_MOST = 8
"""So many of the texts that are to be told are read at once, and one action writes new ones. They share a lane with the ledger:
all that a node with many VMs has at its start, or many nodes tell at once, would overflow it."""
WRITE_MOST = 64
"""New texts that are written by one action."""


def key_of(text: Definition) -> Key:
    """What a text is known by."""
    return text.name, text.definition


@dataclass(slots=True)
class Shelf:
    """This node's definitions. `have`: on the disk; `spread`: delivered in the group, or on the disk since before.

    `unwritten`: those that wait for the disk; own ones are told after that. `untold`: to be told to all; `writing` and
    `reading`: what is under way, by ticket; `failed`: to be written again, and when, and `alone`: each by itself, for it may be
    the one that cannot be written.
    """

    have: set[Key] = field(default_factory=set)
    spread: set[Key] = field(default_factory=set)
    unwritten: dict[Key, Definition] = field(default_factory=dict)
    untold: set[Key] = field(default_factory=set)
    on_its_way: set[Key] = field(default_factory=set)
    writing: dict[Ticket, dict[Key, Definition]] = field(default_factory=dict)
    reading: dict[Ticket, Key] = field(default_factory=dict)
    failed: dict[Key, tuple[Definition, Instant]] = field(default_factory=dict)
    alone: set[Key] = field(default_factory=set)
    refused: dict[VmName, str] = field(default_factory=dict)
    """Why a definition of this node's hypervisor cannot be kept: its VM cannot be started on another node."""
    missing: set[Key] = field(default_factory=set)
    """What rows of the ledger name and this node has not."""
    ask_at: Instant = Instant(0)
    asked: int = 0

    def expected(self, ticket: Ticket, outcome: Outcome) -> bool:
        """Texts that nobody waits to be told are on the disk."""
        written = self.writing.get(ticket)
        return written is not None and outcome.result is Result.DONE and self.untold.isdisjoint(written)

    def recalled(self, event: Shelved) -> None:
        """What the disk has; it was told when it was new."""
        self.have |= set(event.definitions)
        self.missing -= self.have
        self.spread |= set(event.definitions)

    def defined(self, event: Defined, out: Out) -> None:
        """The hypervisor here has a text that may be new."""
        key = event.name, event.definition
        if len(event.text) > TEXT_MOST:
            why = f"{len(event.text)} bytes are too many, {TEXT_MOST} at most"
            if self.refused.get(event.name) != why:
                self.refused[event.name] = why
                out.note(NoteCode.DEFINITION, vm=event.name, why=why)
            return
        self.refused.pop(event.name, None)
        if key not in self.spread:
            self.untold.add(key)
        self._keep(Definition(event.name, event.definition, event.text), out)

    def delivered(self, message: Definition, mine: bool, out: Out) -> bool:
        """A text for all; True if it is news that the group has it."""
        key = message.name, message.definition
        if mine:
            self.on_its_way.discard(key)
        news = key not in self.spread
        self.spread.add(key)
        self.untold.discard(key)
        self._keep(message, out)
        return news

    def _keep(self, message: Definition, out: Out) -> None:
        key = message.name, message.definition
        self.missing.discard(key)
        if key not in self.have and not any(key in texts for texts in self.writing.values()):
            self.failed.pop(key, None)
            self.unwritten[key] = message
            self._work(out)

    def named(self, keys: Iterable[Key]) -> None:
        """Rows of the ledger name these; what is neither on the disk nor on its way there is to be asked for."""
        there = (self.have, self.unwritten, self.failed, *self.writing.values())
        self.missing.update(key for key in keys if not any(key in some for some in there))

    def _work(self, out: Out) -> None:
        """Bring the next ones to the disk, first those that the others wait for."""
        if not self.unwritten or self.writing:
            return
        together = [key for key in self.unwritten if key not in self.alone] if self.alone else list(self.unwritten)
        keys, most = (together, WRITE_MOST) if together else (list(self.unwritten), 1)
        own = [] if self.untold.isdisjoint(self.unwritten) else [key for key in keys if key in self.untold]
        many = (own + [key for key in keys[:most] if key not in self.untold])[:most]
        ticket, texts = out.ticket(), {key: self.unwritten.pop(key) for key in many}
        self.writing[ticket] = texts
        out.do(KeepDefinitions(ticket, tuple(texts.values())))

    def lacking(self, message: Lacking, me: NodeId) -> None:
        """Somebody asks: what this node has is told to all."""
        if message.of == me:
            self.untold |= self.have & set(message.definitions)

    def finished(self, ticket: Ticket, outcome: Outcome, now: Instant, retry_ms: int, out: Out) -> bool:
        """A write or a read has ended; False where it was none of these."""
        if (written := self.writing.pop(ticket, None)) is not None:
            if outcome.result is Result.DONE:
                self.have.update(written)
                self.alone.difference_update(written)
                for name, _ in written:
                    self.refused.pop(name, None)
            else:
                self._not_written(tuple(written.values()), outcome, Instant(now + retry_ms), out)
            self._work(out)
            return True
        if (found := self.reading.pop(ticket, None)) is not None:
            if outcome.result is Result.DONE:
                self.on_its_way.add(found)
                out.do(Multicast(Definition(*found, outcome.text)))
            else:
                self.untold.discard(found)
                self.have.discard(found)
                self.missing.add(found)
                out.note(NoteCode.DEFINITION, vm=found[0], why=outcome.why or outcome.result.value)
            return True
        return False

    def _not_written(self, texts: tuple[Definition, ...], outcome: Outcome, again: Instant, out: Out) -> None:
        """Several may have failed because of one of them: each is tried by itself, at once."""
        self.alone.update(map(key_of, texts))
        if len(texts) > 1:
            self.unwritten.update({key_of(each): each for each in texts})
            return
        self.failed[key_of(texts[0])] = texts[0], again
        self.refused[texts[0].name] = outcome.why or outcome.result.value
        out.note(NoteCode.DEFINITION, vm=texts[0].name, why=self.refused[texts[0].name])

    def tell(self, now: Instant, out: Out) -> None:
        """Read what is to be told, and write again what could not be written."""
        if not self.untold and not self.failed:
            return
        ready = sorted((self.untold & self.have) - self.on_its_way - set(self.reading.values()))
        for key in ready[: max(0, WORK_MOST - len(self.reading) - len(self.on_its_way))]:
            self.reading[ticket := out.ticket()] = key
            out.do(ReadDefinition(ticket, *key))
        for message, at in list(self.failed.values()):
            if now >= at:
                self._keep(message, out)

    def ask(self, wanted: dict[Key, NodeId], present: tuple[NodeId, ...], me: NodeId, now: Instant, out: Out) -> None:
        """Ask for what is missing: first the VM's own node, then one after the other.

        `wanted` are those that rows still name, each with its VM's node.
        """
        self.missing = set(wanted)
        others = [node for node in present if node != me]
        if not wanted or not others or now < self.ask_at:
            return
        missing, self.ask_at = sorted(wanted), Instant(now + ASK_AGAIN_MS)
        turn, self.asked = self.asked, self.asked + 1
        whom = wanted[missing[0]] if turn % 2 == 0 and wanted[missing[0]] in others else others[turn // 2 % len(others)]
        out.do(Multicast(Lacking(whom, tuple(missing[:ASK_MOST]))))

    def lost(self) -> None:
        """Nothing of what was on its way comes back."""
        self.untold |= self.on_its_way
        self.on_its_way.clear()

    def deadline(self) -> list[Instant]:
        return [at for _, at in self.failed.values()] + [self.ask_at] * bool(self.missing)
