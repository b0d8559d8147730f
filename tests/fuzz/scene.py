"""A virtual cluster behind the real control server, as in daemon/simulated, which may live long: the world does not grow."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon.simulated import STEP_MS, Scene, simulated

BEGIN = (
    *("nodes 3", "vms boots=never watchdog=off agents memory=16G", "boot", "settle"),
    *("vm create web priority=5 on n1", "vm create db memory=8G on n3", "settle"),
)
JOURNAL_MOST = 500


class Codes:
    """The log: how often each code was told."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.last: dict[str, dict[str, str]] = {}

    def say(self, level: int, code: str, **fields: str) -> None:
        self.codes[code] += 1
        self.last[code] = fields


def prune(scene: Scene) -> None:
    """Forget what the virtual world remembers for its checkers, and a real one does not."""
    world = scene.teller.w
    heard = len(world.told)
    if scene.node._heard == heard:
        world.told.clear()
        scene.node._heard = 0
    for ring in {corosync.ring.id: corosync.ring for corosync in world.totem.nodes.values()}.values():
        quiet = ring.limit is None and ring.lost is None and set(ring.done.values()) == {len(ring.log)}
        if quiet:
            ring.log.clear()
            ring.done.update(dict.fromkeys(ring.done, 0))


@contextmanager
def fuzzed(run_dir: Path) -> Iterator[tuple[Scene, Codes]]:
    """The scene, its server listening in `run_dir`, and what its daemon logs."""
    with simulated(str(run_dir), *BEGIN) as scene:
        codes = Codes()
        scene.step_s = STEP_MS / 1000
        node: Any = scene.node
        node.log = codes
        node.save_journal = lambda why, secrets=False: f"/var/lib/corolistener/journal-{why}"
        for daemon in scene.teller.w.daemons.values():
            daemon.pump.journal.most = JOURNAL_MOST
        passes = node.pass_time

        def pass_time(*args: int) -> None:
            passes(*args)
            prune(scene)

        node.pass_time = pass_time
        yield scene, codes
