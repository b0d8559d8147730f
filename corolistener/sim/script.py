"""The language of stories: commands that make things happen to a world, and what the nodes then say and do.

A story is a text file. Its first lines say why it is told. Then come blocks: commands, a line `----`, and everything the
nodes noted and began to do since the block before, one line each: what several said within a tenth of a second is one line.
How an action ended is told only where it failed: that it ended well shows in what follows. `show` adds where things stand.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from inspect import Parameter, signature

from corolistener.core.actions import Answer, Reason, TicketedAction
from corolistener.core.config import CloudAddress, OnTakeover, Timing
from corolistener.core.events import AddressConflict, AddressGone, Departure, DeviceCame
from corolistener.core.messages import AddNode, Change, EditNode, PushText, RemoveNode, RevertTo
from corolistener.core.notes import Note, NoteCode
from corolistener.core.rewrite import Cause
from corolistener.errors import ConfigError
from corolistener.ids import NodeId
from corolistener.sim import checkers, cluster, faults, seeds
from corolistener.sim.script_faults import FaultVerbs
from corolistener.sim.script_vms import HIDDEN_OF_VMS, VmVerbs, shown_vm
from corolistener.sim.votequorum import read_quorum
from corolistener.sim.world import Options, World

HIDDEN = {
    NoteCode.ADDRESS_DROPPED,
    NoteCode.ADDRESS_HELD,
    NoteCode.DATABASE_TAKEN,
    NoteCode.LEASE_GAINED,
    NoteCode.LEDGER,
    NoteCode.LOCK_RELEASED,
    NoteCode.LOCK_TAKEN,
    NoteCode.PHASE,
    NoteCode.RING,
    NoteCode.SERVICE_STARTED,
    NoteCode.SERVICE_STOPPED,
    NoteCode.STORED,
    *HIDDEN_OF_VMS,
}
SILENT = {"ReadConfig", "AnnounceAddress", "Record", "FeedWatchdog"}
TOGETHER_MS = 100
SETTLE_MS = 60_000


@dataclass(slots=True)
class Block:
    """Commands and what is to follow from them. `line` is where it begins in the file; `expects`: there was a `----`."""

    commands: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    line: int = 0
    expects: bool = True


@dataclass(slots=True)
class Story:
    """A parsed file: the reason, and the blocks."""

    reason: list[str]
    blocks: list[Block]


def parse(text: str, path: str = "story") -> Story:
    """Raises ConfigError, naming path and line, for a file without a reason or without commands."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if not first:
        raise ConfigError(path, 1, "a story begins with its reason: lines with #", lines[0][:60] if lines else "")
    blocks: list[Block] = []
    fresh = True
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            fresh = True
        elif line == "----":
            if fresh or blocks[-1].expects:
                raise ConfigError(path, number, "---- stands behind commands, once")
            blocks[-1].expects = True
        else:
            if fresh:
                blocks.append(Block(line=number, expects=False))
            fresh = False
            (blocks[-1].output if blocks[-1].expects else blocks[-1].commands).append(line)
    if not blocks:
        raise ConfigError(path, len(lines), "nothing happens in this story: no commands follow its reason")
    return Story(lines[:first], blocks)


def told(story: Story) -> str:
    """The story with what follows from its commands now."""
    teller = Teller()
    parts = ["\n".join(story.reason)]
    for block in story.blocks:
        parts.append("\n".join([*block.commands, "----", *teller.play(block.commands)]))
    return "\n\n".join(parts) + "\n"


class Teller(VmVerbs, FaultVerbs):
    """Plays commands; `play` returns what the nodes said and did. `path` names the story in errors."""

    def __init__(self, path: str = "story") -> None:
        self.path = path
        self.world: World | None = None
        self.heard = 0
        self.extra: list[str] = []

    @property
    def w(self) -> World:
        if self.world is None:
            raise ValueError("a story begins with `nodes`")
        return self.world

    def play(self, commands: list[str], line: int = 0) -> list[str]:
        """`line` is that of the first command. Raises ConfigError for one that is not understood, AssertionError
        (checkers.Violated is one) for what must not be."""
        self.extra = []
        for number, command in enumerate(commands, line):
            words = command.split("#")[0].split()
            if words:
                self._carry_out(number, words)
        lines = self._lines() + self.extra
        return lines or ["(nothing)"]

    def _carry_out(self, number: int, words: list[str]) -> None:
        known = {name.removeprefix("do_").replace("_", "-"): name for name in dir(self) if name.startswith("do_")}
        verb, *rest = words
        if verb not in known:
            near = get_close_matches(verb, known, 1)
            raise ConfigError(
                self.path, number, f"no command named {verb!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        do = getattr(self, known[verb])
        try:
            signature(do).bind(*rest)
        except TypeError:
            usage = " ".join(
                ["WORD ..." if each.kind is each.VAR_POSITIONAL else each.name.upper() for each in _parameters(do)]
            )
            raise ConfigError(self.path, number, f"the command reads: {verb} {usage}".rstrip()) from None
        try:
            do(*rest)
        except (ValueError, IndexError) as error:
            raise ConfigError(self.path, number, f"{verb}: {error}") from error
        except KeyError as error:
            raise ConfigError(self.path, number, f"{verb}: there is nothing named {error} (any more)") from error

    def _lines(self) -> list[str]:
        found: list[tuple[int, list[NodeId], str]] = []
        for when, node, what in self.w.told[self.heard :]:
            text = shown(what)
            if text is None:
                continue
            same = next((row for row in found if row[2] == text and when - row[0] <= TOGETHER_MS and node not in row[1]), None)
            if same is not None:
                same[1].append(node)
            else:
                found.append((when, [node], text))
        self.heard = len(self.w.told)
        return [f"{' '.join(f'n{node}' for node in sorted(nodes))} {text}" for _, nodes, text in found]

    # The world

    def do_nodes(self, count: str, *words: str) -> None:
        named = dict(word.split("=", 1) for word in words if "=" in word)
        priorities = [int(text) if text != "-" else None for text in named.get("priority", "50,40,30,20,10").split(",")]
        if not 1 <= int(count) <= len(priorities):
            raise ValueError(f"{count} nodes need as many priorities, and there are {len(priorities)}: priority=50,40,...")
        timing = {name: int(value) for name, value in named.items() if name.endswith("_ms")}
        if unknown := sorted(timing.keys() - {each.name for each in fields(Timing)}):
            raise ValueError(f"no timing value named {unknown[0]!r}")
        options = Options(
            timing=Timing(**timing),
            on_takeover=OnTakeover.KEEP if "keep" in words else OnTakeover.SWAP,
            database="database" in words,
            two_node="two_node" in words,
            quorum=read_quorum(words),
        )
        if options.quorum.votes and len(options.quorum.votes) != int(count):
            raise ValueError(f"{count} nodes need as many votes: votes=1,1,...")
        if "no-cloud" in words:
            options.cloud = None
        replication = named["replication"].split(",") if "replication" in named else ()
        seed = int(named["seed"]) if "seed" in named else None
        later = [NodeId(int(each.removeprefix("n"))) for each in named.get("later", "").split(",") if each]
        self.world = cluster.world(priorities[: int(count)], options, replication, seed, later)
        self.heard = 0

    def do_boot(self, *names: str) -> None:
        for node in self._nodes(names) or list(self.w.machines):
            self.w.power_on(node)

    def do_settle(self) -> None:
        """Until all nodes that are up and together have settled."""
        why: str | None = ""
        self.w.pass_time(1000)
        for _ in range(SETTLE_MS // 100):
            self.w.pass_time(100)
            why = checkers.unsettled(self.w, partly=True)
            if why is None:
                self.w.pass_time(1000)
                return
        raise AssertionError(f"did not settle: {why}")

    def do_advance(self, duration: str) -> None:
        self.w.pass_time(_ms(duration))

    def do_power_at(self, duration: str, name: str) -> None:
        """The node gets power at this time of the world."""
        node = self._node(name)
        self.w.heap.at(_ms(duration), lambda: self.w.power_on(node))

    def do_at(self, *words: str) -> None:
        """A fault at a time, or when a condition holds: sim/faults."""
        faults.inject(self.w, faults.entry(" ".join(["at", *words])))

    def do_until(self, duration: str) -> None:
        """Time passes up to this time of the world."""
        self.w.heap.run(_ms(duration))

    def do_heal_everything(self, *absent: str) -> None:
        """Networks, disks, devices, machines, daemons: all as if nothing had ever been broken."""
        seeds.heal(self.w, self._nodes(absent))

    def do_settle_for_good(self, *absent: str) -> None:
        """Until nothing changes any more; that must come."""
        seeds.settle(self.w, self._nodes(absent))

    # Misfortunes

    def do_kill(self, *names: str) -> None:
        for node in self._nodes(names):
            self.w.power_off(node)

    def do_power(self, name: str, *words: str) -> None:
        self.w.power_on(self._node(name), pull="no-pull" not in words, daemon="no-daemon" not in words)

    def do_cut(self, *names: str) -> None:
        """These nodes on one side; `|` between more sides."""
        self.w.totem.cut([self._nodes(side.split()) for side in " ".join(names).split("|")])

    def do_heal(self) -> None:
        self.w.totem.cut([])

    def do_deaf(self, name: str, *others: str) -> None:
        """This node and these do not hear each other, though all others hear both."""
        self.w.totem.hush((self._node(name), other) for other in self._nodes(others))

    def do_hear(self) -> None:
        self.w.totem.hush([])

    def do_freeze(self, name: str) -> None:
        self.w.freeze(self._node(name), True)

    def do_thaw(self, name: str) -> None:
        self.w.freeze(self._node(name), False)

    def do_corosync_hang(self, name: str) -> None:
        """corosync alone stands still."""
        self.w.totem.freeze(self._node(name), True)

    def do_corosync_works(self, name: str) -> None:
        self.w.totem.freeze(self._node(name), False)

    def do_quorum_first(self) -> None:
        self.w.totem.quorum_first = True

    def do_corosync_stop(self, name: str, *words: str) -> None:
        self.w.stop_corosync(self._node(name), clean="killed" not in words)

    def do_corosync_start(self, name: str, *words: str) -> None:
        self.w.start_corosync(self._node(name), pull="no-pull" not in words)

    def do_daemon_kill(self, *names: str) -> None:
        for node in self._nodes(names):
            self.w.daemon_ends(node, Departure.PROCDOWN)

    def do_daemon_start(self, *names: str) -> None:
        for node in self._nodes(names):
            self.w.start_daemon(node)

    def do_daemon_stop(self, name: str) -> None:
        self.w.ask_to_leave(self._node(name))

    def do_sigstop(self, name: str) -> None:
        self.w.pause(self._node(name))

    def do_sigcont(self, name: str) -> None:
        self.w.go_on(self._node(name))

    def do_crash(self, name: str, after: str) -> None:
        """The daemon dies after so many more actions."""
        self.w.daemons[self._node(name)].crash_after = int(after)

    def do_device(self, name: str, state: str) -> None:
        machine = self.w.machines[self._node(name)]
        machine.device = state == "present"
        if machine.device:
            self.w.observe(machine.id, DeviceCame())
        elif machine.address:
            machine.address = False
            self.w.observe(machine.id, AddressGone())

    def do_address_gone(self, name: str) -> None:
        self.w.machines[self._node(name)].address = False
        self.w.observe(self._node(name), AddressGone())

    def do_conflict(self, name: str, mac: str) -> None:
        self.w.observe(self._node(name), AddressConflict(mac))

    def do_disk(self, name: str, state: str) -> None:
        self.w.machines[self._node(name)].disk.full = state == "full"

    def do_hang(self, name: str, what: str) -> None:
        self.w.machines[self._node(name)].hung.add(what)

    def do_works(self, name: str, what: str) -> None:
        self.w.machines[self._node(name)].hung.discard(what)
        if self.w.estate is not None:
            self.w.estate.go_on(self._node(name))

    def do_reload(self, name: str, state: str) -> None:
        self.w.machines[self._node(name)].reload_refused = state == "refused"

    def do_say(self, name: str, *words: str) -> None:
        """Alien bytes in the group."""
        self.w.totem.say(self._node(name), " ".join(words).encode())

    def do_hand_edit(self, name: str, version: str = "+0") -> None:
        """Somebody edits corosync.conf and tells the daemon (SIGHUP)."""
        machine = self.w.machines[self._node(name)]
        old = machine.disk.load()[0].id.version
        line = b"config_version: %d\n"
        machine.disk.old[old] = machine.disk.text
        machine.disk.text = machine.disk.text.replace(line % old, line % (old + int(version))) + b"# edited by hand\n"
        self.w.edited = True
        if machine.id in self.w.daemons:
            self.w.configure(machine.id)

    def do_hand_remove(self, name: str, other: str, version: str) -> None:
        """Somebody takes a node out of the file of a node that is off."""
        machine = self.w.machines[self._node(name)]
        old = machine.disk.load()[0].id.version
        line = b"config_version: %d\n"
        text = machine.disk.text.replace(line % old, line % (old + int(version)))
        machine.disk.text = _without(text, other.removeprefix("n"))

    def do_settings(self, name: str, *words: str) -> None:
        """SIGHUP with other settings."""
        changes: dict[str, object] = {}
        for word in words:
            key, _, value = word.partition("=")
            if key == "lease":
                timing = self.w.daemons[self._node(name)].config.timing
                changes["timing"] = replace(timing, lease_ms=_ms(value))
            else:
                changes[key] = CloudAddress(value, 32, "vmbr0") if key == "cloud" else value == "on"
        self.w.configure(self._node(name), **changes)

    # Operators

    def do_push(self, name: str, *words: str) -> None:
        node = self._node(name)
        text = self.w.machines[node].disk.text
        for word in words:
            text = EDITS[word.split("=")[0]](text, word.partition("=")[2])
        self._ask(node, PushText(text))

    def do_revert(self, name: str, version: str) -> None:
        self._ask(self._node(name), RevertTo(int(version)))

    def do_edit(self, name: str, other: str, priority: str) -> None:
        self._ask(self._node(name), EditNode(self._node(other), priority=int(priority.removeprefix("priority="))))

    def do_edits(self, name: str, count: str) -> None:
        """Many at once."""
        for number in range(int(count)):
            self._ask(self._node(name), EditNode(NodeId(1), priority=100 + number))

    def do_add(self, name: str, address: str) -> None:
        self._ask(self._node(name), AddNode(address))

    def do_remove(self, name: str, other: str) -> None:
        self._ask(self._node(name), RemoveNode(self._node(other)))

    def _ask(self, node: NodeId, change: Change) -> None:
        self.w.ask(node, change)

    # What is to be seen

    def do_show(self, what: str = "") -> None:
        """Where duties are, or with `vms` what became of each VM."""
        if what == "vms":
            self.show_vms()
            return
        for node, machine in self.w.machines.items():
            self.extra.append(f"n{node}: {self._where(node)}; version {machine.disk.load()[0].id.version}")

    def _where(self, node: NodeId) -> str:
        machine = self.w.machines[node]
        if not machine.powered:
            return "off"
        has = ["address"] * machine.address + ["service"] * machine.service
        has += [f"lock-{lock.value}" for lock in sorted(machine.locks, key=lambda lock: lock.value)]
        daemon = self.w.daemons.get(node)
        state = daemon.pump.core.state if daemon is not None else None
        role = "no daemon" if state is None else f"acting, {state.phase.value}" if state.acting else state.phase.value
        return ", ".join([role, *has])

    def do_priorities(self, name: str) -> None:
        """As they stand in this node's file."""
        cluster_facts, _ = self.w.machines[self._node(name)].disk.load()
        self.extra.append("priorities " + " ".join(f"n{entry.id}={entry.priority}" for entry in cluster_facts.nodes))

    def _node(self, name: str) -> NodeId:
        if not name.removeprefix("n").isdigit():
            raise ValueError(f"{name!r} is no node: they are n1, n2 ...")
        return NodeId(int(name.removeprefix("n")))

    def _nodes(self, names: tuple[str, ...] | list[str]) -> list[NodeId]:
        return [self._node(name) for name in names]


def _ms(duration: str) -> int:
    """Raises ValueError for what is not like 300ms or 5s."""
    number = duration.removesuffix("ms").removesuffix("s")
    if not number.isdigit() or number == duration:
        raise ValueError(f"{duration!r} is no duration: they are like 300ms or 5s")
    return int(number) * (1 if duration.endswith("ms") else 1000)


def _parameters(do: Callable[..., None]) -> list[Parameter]:
    return list(signature(do).parameters.values())


def _without(text: bytes, node: str) -> bytes:
    """The file without that node's section."""
    head, *nodes = text.split(b"\tnode {\n")
    return (
        head
        + b"".join(b"\tnode {\n" + part for part in nodes if b"nodeid: %s\n" % node.encode() not in part)
        + b"}\n" * (b"nodeid: %s\n" % node.encode() in nodes[-1])
    )


EDITS: dict[str, Callable[[bytes, str], bytes]] = {
    "token": lambda text, value: text.replace(b"totem {\n", b"totem {\n\ttoken: %s\n" % value.encode(), 1),
    "expected": lambda text, value: text.replace(b"quorum {\n", b"quorum {\n\texpected_votes: %s\n" % value.encode(), 1),
    "garbage": lambda text, value: b"totem {%s\n" % bytes.fromhex(value),
    "without": lambda text, value: _without(text, value.removeprefix("n")),
    "version": lambda text, value: text.replace(b"config_version: ", b"config_version: %s\n#" % value.encode(), 1),
    "long": lambda text, value: text + b"#" * 600_000,
    "latin": lambda text, value: text.replace(
        b"nodeid: %s\n" % value.encode(), b"nodeid: %s\n\t\tname: \xe4\n" % value.encode(), 1
    ),
    "unchanged": lambda text, value: text,
}


def shown(what: Note | Answer | TicketedAction | str) -> str | None:
    """The canonical text of one thing said or done; None for what is left out."""
    match what:
        case str():
            return what
        case Note(code=code):
            if code in HIDDEN:
                return None
            return " ".join([code.value, *(f"{name}={value}" for name, value in what.fields if name != "sha" and value != "")])
        case Answer():
            fields = " ".join(f"{name}={value}" for name, value in what.fields if value != "")
            return f"answers {'at last' if what.done else 'meanwhile'}: {what.code} {fields}".rstrip()
    text = shown_vm(what)
    if text != "":
        return text
    name = type(what).__name__
    if name in SILENT:
        return None
    words = []
    for field_name in ("lock", "config", "version", "change", "former", "reason"):
        value = getattr(what, field_name, None)
        if value is not None:
            words.append(_word(field_name, value))
    return f"{name}({', '.join(words)})"


def _word(name: str, value: object) -> str:
    match value:
        case Reason() | Cause():
            return str(value.value)
        case PushText():
            return f"{len(value.text)} bytes"
    if name == "config":
        return f"version={getattr(value, 'version', 0)}"
    if name == "former":
        return f"former=n{value}"
    return str(getattr(value, "value", value)) if name in ("lock", "change") else f"{name}={value}"
