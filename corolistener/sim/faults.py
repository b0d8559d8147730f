"""The faults there are: what each does to a world, how it ends, and how its details are drawn.

A drawn run is an explicit list of `Entry`; playing it asks no dice but the world's own, so any part of the list can be
played again alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from corolistener.core.events import AddressConflict, AddressGone, Departure, DeviceCame
from corolistener.core.messages import EditNode, PushText, RevertTo
from corolistener.ids import NodeId
from corolistener.sim.care_faults import CARE_FAULTS
from corolistener.sim.conditions import CONDITIONS, acting
from corolistener.sim.fault import Fault, Undo
from corolistener.sim.identity_faults import IDENTITY_FAULTS
from corolistener.sim.list_faults import LIST_FAULTS
from corolistener.sim.message_faults import MESSAGE_FAULTS
from corolistener.sim.pause_faults import PAUSE_FAULTS
from corolistener.sim.process_faults import PROCESS_FAULTS
from corolistener.sim.service_faults import SERVICE_FAULTS
from corolistener.sim.start_faults import START_FAULTS
from corolistener.sim.store_faults import STORE_FAULTS
from corolistener.sim.time_faults import TIME_FAULTS
from corolistener.sim.vm_conditions import VM_CONDITIONS
from corolistener.sim.vm_faults import VM_FAULTS
from corolistener.sim.votes_faults import VOTES_FAULTS
from corolistener.sim.world import World

MASTER, IT = "master", "it"
LINE = re.compile(r"at (\d+)ms (?:when (\S+) )?(\S+) (n[1-9]\d*|master\|n[1-9]\d*|it)((?: [^\s]+)*?)(?: for (\d+)ms)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault: `at` this time of the world in ms, or from then on as soon as the condition `when` holds.

    `target` is `n2`, or `master|n2` (who acts then, else n2), or `it` (the node that the condition names). `lasts` is ms;
    None is for good.
    """

    at: int
    fault: str
    target: str
    words: tuple[str, ...] = ()
    lasts: int | None = None
    when: str | None = None

    def __str__(self) -> str:
        parts = [f"at {self.at}ms", *([f"when {self.when}"] if self.when else []), self.fault, self.target, *self.words]
        return " ".join([*parts, *([f"for {self.lasts}ms"] if self.lasts is not None else [])])


def entry(line: str) -> Entry:
    """The inverse of str(Entry). Raises ValueError with what is wrong."""
    found = LINE.fullmatch(line)
    if found is None:
        raise ValueError("a fault reads: at 1500ms [when CONDITION] FAULT NODE [WORD ...] [for 3000ms]")
    at, when, fault, target, words, lasts = found.groups()
    if fault not in ALL_FAULTS:
        raise ValueError(f"no fault named {fault!r}; one of {', '.join(ALL_FAULTS)}")
    if when is not None and when not in ALL_CONDITIONS:
        raise ValueError(f"no condition named {when!r}; one of {', '.join(ALL_CONDITIONS)}")
    if target == IT and when is None:
        raise ValueError("`it` is the node that a condition names, and there is no `when`")
    return Entry(int(at), fault, target, tuple(words.split()), None if lasts is None else int(lasts), when)


def inject(world: World, fault: Entry) -> None:
    """Make it happen in its time."""

    def strike(named: NodeId | None) -> None:
        node = _target(world, fault.target, named)
        if node not in world.machines:
            return
        world.struck.append((world.heap.now, " ".join([fault.fault, f"n{node}", *fault.words])))
        undo = ALL_FAULTS[fault.fault].strike(world, node, fault.words)
        world.changed()
        if undo is not None and fault.lasts is not None:
            world.heap.after(fault.lasts, partial(end, undo, f"{fault.fault} n{node} ends"))

    def end(undo: Undo, what: str) -> None:
        world.struck.append((world.heap.now, what))
        undo()
        world.changed()

    def begin() -> None:
        if fault.when is None:
            strike(None)
        else:
            world.wait(ALL_CONDITIONS[fault.when], strike)

    world.heap.at(fault.at, begin)


def _target(world: World, target: str, named: NodeId | None) -> NodeId:
    if target == IT:
        assert named is not None
        return named
    first, _, second = target.partition("|")
    now = acting(world) if first == MASTER else None
    return now if now is not None else NodeId(int((second or first).removeprefix("n")))


def _power(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.power_off(node)
    return lambda: world.power_on(node, pull="no-pull" not in words)


def _cut(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.totem.cut([[node, *(NodeId(int(word.removeprefix("n"))) for word in words)]])
    return lambda: world.totem.cut([])


def _deaf(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    """This node and those named do not hear each other; or, `ring`, each hears its neighbours only."""
    nodes = sorted(world.machines)
    if words == ("ring",):
        pairs = [(a, b) for i, a in enumerate(nodes) for j, b in enumerate(nodes) if 1 < j - i < len(nodes) - 1]
    else:
        pairs = [(node, NodeId(int(word.removeprefix("n")))) for word in words]
    world.totem.hush(pair for pair in pairs if pair[0] != pair[1])
    return lambda: world.totem.hush([])


def _kill_daemon(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.daemon_ends(node, Departure.PROCDOWN)
    return lambda: world.start_daemon(node)


def _crash_daemon(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    if node in world.daemons:
        world.daemons[node].crash_after = int(words[0]) if words else 0
    return lambda: world.start_daemon(node)


def _stop_daemon(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.ask_to_leave(node)
    return lambda: world.start_daemon(node)


def _pause(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.pause(node)
    return lambda: world.go_on(node)


def _freeze(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.freeze(node, True)
    return lambda: world.freeze(node, False)


def _hang_corosync(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.totem.freeze(node, True)
    return lambda: world.totem.freeze(node, world.machines[node].frozen)


def _stop_corosync(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    world.stop_corosync(node, clean="killed" not in words)
    return lambda: world.start_corosync(node, pull="no-pull" not in words)


def _device(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    machine = world.machines[node]
    machine.device = False
    if machine.address:
        machine.address = False
        world.observe(node, AddressGone())

    def back() -> None:
        machine.device = True
        world.observe(node, DeviceCame())

    return back


def _address(world: World, node: NodeId, words: Sequence[str]) -> None:
    if world.machines[node].address:
        world.machines[node].address = False
        world.observe(node, AddressGone())


def _conflict(world: World, node: NodeId, words: Sequence[str]) -> None:
    world.observe(node, AddressConflict("02:00:00:00:00:99"))


def _disk(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    disk = world.machines[node].disk
    disk.full = True
    return partial(setattr, disk, "full", False)


def _hang(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    hung = world.machines[node].hung
    hung.update(words)
    return partial(hung.difference_update, tuple(words))


def _refuse_reload(world: World, node: NodeId, words: Sequence[str]) -> Undo:
    machine = world.machines[node]
    machine.reload_refused = True
    return partial(setattr, machine, "reload_refused", False)


def _operator(world: World, node: NodeId, words: Sequence[str]) -> None:
    text = world.machines[node].disk.text
    match words:
        case ["token", token]:
            world.ask(node, PushText(text.replace(b"totem {", b"totem {\n\ttoken: %d" % int(token), 1)))
        case ["priorities"]:
            world.ask(node, PushText(text.replace(b"prio: 40", b"prio: 45").replace(b"prio: 10", b"prio: 60")))
        case ["garbage", *garbage]:
            world.ask(node, PushText(b"totem {" + bytes.fromhex("".join(garbage))))
        case ["version", version]:
            world.ask(node, PushText(text.replace(b"config_version: ", b"config_version: %d\n#" % int(version), 1)))
        case ["latin", name]:
            world.ask(node, PushText(text.replace(b"nodeid: 1\n", b"nodeid: 1\n\t\tname: %s\n" % bytes.fromhex(name), 1)))
        case ["revert", version]:
            world.ask(node, RevertTo(int(version)))
        case ["edit", other, priority]:
            world.ask(node, EditNode(NodeId(int(other.removeprefix("n"))), priority=int(priority)))


def _operator_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    kinds: tuple[tuple[str, ...], ...] = (
        ("token", str(dice.randint(1000, 9000))),
        ("priorities",),
        ("garbage", dice.choice(("e4", "00", "edb080"))),
        ("revert", str(dice.choice((dice.randint(1, 4), 2**32, 2**53)))),
        ("version", str(dice.choice((0, 2**32, 2**53 - 2, 2**63, 2**64 - 1)))),
        ("latin", dice.choice(("e4", "ff00fe", "edb080"))),
        ("edit", f"n{dice.choice(nodes)}", str(dice.randint(1, 90))),
    )
    return dice.choice(kinds)


def _hand_edit(world: World, node: NodeId, words: Sequence[str]) -> None:
    """Somebody edits the file, raising its version by the number in `words`, and tells the daemon."""
    if node not in world.daemons:
        return
    machine, world.edited = world.machines[node], True
    old = machine.disk.load()[0].id.version
    machine.disk.old[old] = machine.disk.text
    new = b"config_version: %d\n" % (old + int(words[0] if words else 0))
    machine.disk.text = (machine.disk.text + b"# edited\n").replace(b"config_version: %d\n" % old, new)
    world.configure(node)


def _lease(world: World, node: NodeId, words: Sequence[str]) -> None:
    """This node's settings are read again, with a lease of so much of the usual one: until its daemon begins anew."""
    if node in world.daemons:
        timing = world.options.timing
        lease_ms = timing.lease_ms * int(words[0].removesuffix("%")) // 100
        world.configure(node, timing=replace(timing, lease_ms=lease_ms))


def _garbage(world: World, node: NodeId, words: Sequence[str]) -> None:
    if node in world.totem.nodes:
        world.totem.say(node, bytes.fromhex("".join(words)))


def _pull_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return ("no-pull",) if dice.random() < 0.2 else ()


def _corosync_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    return (*(("killed",) if dice.random() < 0.4 else ()), *_pull_words(dice, nodes))


def _deaf_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    if dice.random() < 0.25:
        return ("ring",)
    return tuple(f"n{node}" for node in sorted(dice.sample(nodes, dice.choice((1, 1, 2)))))


def _cut_words(dice: Random, nodes: Sequence[NodeId]) -> tuple[str, ...]:
    """Half of all cuts isolate one node."""
    return tuple(f"n{node}" for node in sorted(dice.sample(nodes, dice.choice((0, dice.randint(0, len(nodes) - 1))))))


HANGING = ("service-start", "address", "reload", "reload-answer", "store")
LONG = (2000, 4000, 9000, 20_000)
FAULTS: dict[str, Fault] = {
    "power-off": Fault(_power, 5, (50, 1000, 3000, 6000, 12_000, 30_000), _pull_words),
    "cut": Fault(_cut, 5, (20, 300, 1500, 4000, 6000, 9000, 20_000), _cut_words),
    "deaf": Fault(_deaf, 2, (300, 4000, 9000, 20_000), _deaf_words),
    "daemon-killed": Fault(_kill_daemon, 3, (100, 1000, 4000, 8000, 15_000)),
    "daemon-crashes": Fault(_crash_daemon, 3, (300, 2000, 7000), lambda dice, nodes: (str(dice.randint(0, 12)),)),
    "daemon-stopped": Fault(_stop_daemon, 2, (3000, 9000)),
    "daemon-paused": Fault(_pause, 3, (100, 1500, 3000, 5000, 5400, 6000, 9000, 15_000)),
    "machine-paused": Fault(_freeze, 3, (100, 1500, 3000, 4000, 5000, 7000, 9000)),
    "corosync-hangs": Fault(_hang_corosync, 3, (1500, 4000, 7000, 9000, 14_000)),
    "corosync-stopped": Fault(_stop_corosync, 3, (50, 500, 5000), _corosync_words),
    "device-gone": Fault(_device, 1, LONG),
    "address-taken": Fault(_address),
    "address-conflict": Fault(_conflict),
    "disk-full": Fault(_disk, 1, LONG),
    "hangs": Fault(_hang, 2, LONG, lambda dice, nodes: (dice.choice(HANGING),)),
    "reload-refused": Fault(_refuse_reload, 1, LONG),
    "operator": Fault(_operator, 3, (), _operator_words),
    "hand-edit": Fault(_hand_edit, 1, (), lambda dice, nodes: (str(dice.randint(0, 3)),)),
    "lease-changed": Fault(_lease, 1, (), lambda dice, nodes: (dice.choice(("100%", "150%", "250%")),)),
    "garbage": Fault(_garbage, 1, (), lambda dice, nodes: (dice.randbytes(dice.randint(1, 40)).hex(),)),
    **MESSAGE_FAULTS,
}
"""A fault's name, as stories and seeds say it."""

FAULTS |= SERVICE_FAULTS
LEDGER_FAULTS = {**START_FAULTS, **STORE_FAULTS, **TIME_FAULTS}
"""Starts, stores that go back, and what stops time: drawn like those of VMs."""
MORE_FAULTS = {**CARE_FAULTS, **LEDGER_FAULTS, **PAUSE_FAULTS}
ALL_FAULTS = {**FAULTS, **VM_FAULTS, **VOTES_FAULTS, **MORE_FAULTS, **IDENTITY_FAULTS, **PROCESS_FAULTS, **LIST_FAULTS}
ALL_CONDITIONS = {**CONDITIONS, **VM_CONDITIONS}
"""Those of VMs are drawn only where there are VMs."""
