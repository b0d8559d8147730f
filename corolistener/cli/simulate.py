"""A virtual cluster in virtual time: what its nodes say and do in a story, or in a run that one seed draws.

The engine and the decisions are those of the daemon; corosync, disks and programs are virtual, so neither root nor corosync
is needed, and nothing of this machine is touched. Exit status 1: an expectation of the story, or a promise of the program,
does not hold.
"""

import argparse
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from corolistener.cli.render import REASON
from corolistener.cli.verbs import EX_USAGE, Parser, complain, redaction
from corolistener.core.actions import Answer, TicketedAction
from corolistener.core.notes import Note
from corolistener.errors import ConfigError
from corolistener.sim import seeds
from corolistener.sim.heap import collect_seldom
from corolistener.sim.script import Block, Teller, parse, shown
from corolistener.sim.vm_faults import VMS_MOST
from corolistener.sim.world import World
from corolistener.wire import redact

NODES_LEAST, NODES_MOST = 2, 30
HOURS_MOST = 24.0
WORDS = {
    "HoldAddress": "puts the cloud IP on its device",
    "DropAddress": "takes the cloud IP off its device",
    "TakeLock": "takes the lock file",
    "ReleaseLock": "removes the lock file",
    "TakeDatabase": "takes the database into use",
    "StartService": "starts the service",
    "StopService": "stops the service",
    "KillService": "kills the service",
    "PrepareConfig": "prepares a new corosync.conf",
    "InstallConfig": "puts corosync.conf in place",
    "WithdrawConfig": "takes its new corosync.conf back",
    "ReloadConfig": "asks corosync to reload",
    "KillNode": "ends corosync on a member",
    "TellExpected": "tells votequorum how many votes to expect",
}
"""What an action does; the rest are notes, which are shown as in the log."""


def arguments(parser: Parser) -> None:
    """FILE, or --seed N [--nodes N] [--vms N] [--hours H]; [--redact|--no-redact] [--json]"""
    parser.add_argument("file", metavar="FILE", nargs="?", help="a story: its reason, commands, and what is to follow")
    parser.add_argument("--seed", type=_whole, metavar="N", help="draw a cluster and its misfortunes from this number")
    parser.add_argument("--nodes", type=_nodes, metavar="N", help=f"with --seed: so many nodes, {NODES_LEAST} to {NODES_MOST}")
    parser.add_argument("--vms", type=_vms, metavar="N", help=f"with --seed: so many VMs at most, 1 to {VMS_MOST}; else none")
    parser.add_argument("--hours", type=_hours, metavar="H", help="with --seed: so long do the faults last; else a minute")
    redaction(parser)
    parser.add_argument("--json", action="store_true", help="for programs: an object a line; keys are stable")


def run(args: argparse.Namespace) -> int:
    """0 where everything holds, 1 where something does not. Raises ConfigError for a story that cannot be understood."""
    if (args.file is None) == (args.seed is None):
        complain("simulate needs either a story FILE or --seed N")
        return EX_USAGE
    teller = (_Json if args.json else _Text)(redact.text if args.redact else str)
    if args.file is not None:
        return _story(args.file, teller)
    nodes = (args.nodes, args.nodes) if args.nodes else (seeds.NODES_LEAST, 5)
    return _seed(args.seed, nodes, round((args.hours or 1 / 60) * 3_600_000), args.vms or 0, teller)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def _nodes(text: str) -> int:
    if not NODES_LEAST <= _whole(text) <= NODES_MOST:
        raise argparse.ArgumentTypeError(f"expected {NODES_LEAST} to {NODES_MOST} nodes, found {text}")
    return int(text)


def _vms(text: str) -> int:
    if not 1 <= _whole(text) <= VMS_MOST:
        raise argparse.ArgumentTypeError(f"expected 1 to {VMS_MOST} VMs, found {text}")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours <= HOURS_MOST:
        raise argparse.ArgumentTypeError(f"expected hours, more than 0 and at most {HOURS_MOST:g}, found {text!r}")
    return hours


class _Text:
    """The timeline for people: seconds of the world's time, the node, what it said or did."""

    def __init__(self, shown: Callable[[str], str]) -> None:
        self.shown = shown

    def say(self, line: str) -> None:
        print(self.shown(line))

    def did(self, now: int, node: int, what: Note | Answer | TicketedAction | str) -> None:
        if (text := worded(what)) is not None:
            print(f"{now / 1000:10.3f}  {f'n{node}' if node else '':4} {self.shown(text)}")

    def fault(self, now: int, text: str) -> None:
        print(f"{now / 1000:10.3f}  ***  {self.shown(text)}")

    def verdict(self, holds: bool, text: str) -> None:
        print(("holds: " if holds else "DOES NOT HOLD: ") + self.shown(text))


class _Json(_Text):
    """The same, an object a line."""

    def say(self, line: str) -> None:
        print(json.dumps({"told": self.shown(line)}))

    def did(self, now: int, node: int, what: Note | Answer | TicketedAction | str) -> None:
        if (text := shown(what)) is not None:
            print(json.dumps({"now_ms": now, "node": node, "what": self.shown(text)}))

    def fault(self, now: int, text: str) -> None:
        print(json.dumps({"now_ms": now, "fault": self.shown(text)}))

    def verdict(self, holds: bool, text: str) -> None:
        print(json.dumps({"holds": holds, "why": self.shown(text)}))


def worded(what: Note | Answer | TicketedAction | str) -> str | None:
    """One line for a person; None for what is left out."""
    text = shown(what)
    name = type(what).__name__
    if text is None or name not in WORDS:
        return text
    reason = getattr(what, "reason", None)
    lock = f" {what.lock.value}" if hasattr(what, "lock") else ""
    version = f", version {what.config.version}" if hasattr(what, "config") else ""
    why = f": {REASON.get(reason.value, reason.value)}" if reason is not None else ""
    return f"{WORDS[name]}{lock}{version}{why}"


def _story(path: str, teller: _Text) -> int:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(path, 0, f"cannot be read: {reason}") from None
    story, player, failed = parse(text, path), Teller(path), 0
    seen = _Seen(teller)
    for line in story.reason:
        teller.say(line.removeprefix("#").strip())
    for block in story.blocks:
        for command in block.commands:
            teller.say(f"> {command}")
        failed += not _block(path, player, block, seen)
    if failed:
        teller.verdict(False, f"{failed} of {len(story.blocks)} blocks")
    elif any(block.expects for block in story.blocks):
        teller.verdict(True, f"everything goes as written in {path}")
    else:
        teller.verdict(True, "the story expects nothing; no promise was broken")
    return 1 if failed else 0


def _block(path: str, player: Teller, block: Block, seen: "_Seen") -> bool:
    """Play one block and show it; whether it went as it is written."""
    broken, lines, teller = "", block.output, seen.teller
    try:
        lines = player.play(block.commands, block.line)
    except AssertionError as error:
        broken = str(error)
    if player.world is not None:
        seen.show(player.world)
    for line in player.extra:
        teller.say(f"  {line}")
    if broken:
        teller.verdict(False, f"{path}:{block.line}: {broken}")
    elif block.expects and lines != block.output:
        teller.verdict(False, f"{path}:{block.line}: what follows is not what is written")
        for line in _differences(block.output, lines):
            teller.say(line)
        return False
    return not broken


def _differences(written: list[str], now: list[str]) -> Iterator[str]:
    yield from (f"  - {line}" for line in written if line not in now)
    yield from (f"  + {line}" for line in now if line not in written)
    if sorted(written) == sorted(now):
        yield "  the same lines in another order"


def _seed(seed: int, nodes: tuple[int, int], faults_ms: int, vms: int, teller: _Text) -> int:
    plan = seeds.draw(seed, nodes, faults_ms, vms)
    for line in plan.head():
        teller.say(line)
    collect_seldom()
    played = seeds.play(plan)
    _Seen(teller).show(played.world)
    if played.violation is not None:
        teller.verdict(False, played.violation)
        return 1
    teller.verdict(True, f"no promise was broken, and all settled by {played.world.heap.now / 1000:.1f} s")
    return 0


class _Seen:
    """How much of what was said and done has been shown."""

    def __init__(self, teller: _Text) -> None:
        self.teller = teller
        self.world: World | None = None
        self.told = self.struck = 0

    def show(self, world: World) -> None:
        """The rest, faults among it, in the order of time."""
        if world is not self.world:
            self.world, self.told, self.struck = world, 0, 0
        faults = deque(world.struck[self.struck :])
        for now, node, what in world.told[self.told :]:
            while faults and faults[0][0] <= now:
                self.teller.fault(*faults.popleft())
            self.teller.did(now, node, what)
        for fault in faults:
            self.teller.fault(*fault)
        self.told, self.struck = len(world.told), len(world.struck)
