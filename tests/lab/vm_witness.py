"""The witness of VMs: which VM executed on which node, from when to when, and that none ever did so twice.

    with cluster.vm_witness() as witness:
        …
    witness.assert_never_twice()

It believes neither libvirt nor corolistener: `vm_watch` asks the QEMU processes of all nodes themselves, looks who
holds the lock of which image, and what the guests count on their disks. Moments are CLOCK_BOOTTIME in ns.
"""

import itertools
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import vm_watch
from lab.machine import LIMIT_S
from lab.node import Node
from lab.waiting import wait_for
from lab.witness import Fact, Witness

BLIND_NS = 10 * 10**9
"""So long a QEMU may live before its monitor answers. libvirt starts none whose processors are not stopped."""


@dataclass(frozen=True)
class Interval:
    """A QEMU process in one state (found, running, paused).

    `until` is None while it lasts. When the process was killed `until` is the moment of the news and `seen` the last one
    at which it was still there; else they are equal.
    """

    vm: str
    node: str
    pid: int
    images: tuple[str, ...]
    state: str
    since: int
    until: int | None
    seen: int | None

    def overlaps(self, other: "Interval") -> bool:
        """Whether both lasted at one moment, for certain."""
        starts = max(self.since, other.since)
        return all(each.seen is None or starts < each.seen for each in (self, other))

    def __str__(self) -> str:
        until = "now" if self.until is None else f"{self.until / 1e9:.6f}"
        what = f"{self.vm} {self.state} on {self.node} (pid {self.pid}, {', '.join(self.images)})"
        return f"{what} {self.since / 1e9:.6f} to {until}"


class VmWitness(Witness):
    """`vm_watch`, running on the real machine and writing to `file`. It dies with us."""

    def __init__(self, storage: Path, file: Path) -> None:
        self.file = file
        self._facts: list[Fact] = []
        self._read = 0
        argv = [sys.executable, "-I", vm_watch.__file__, str(storage)]
        with file.open("w") as out, file.with_suffix(".err").open("w") as err:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": out, "stderr": err, "start_new_session": True}
            self._running: subprocess.Popen[Any] = subprocess.Popen(argv, **pipes)
        self.wait(lambda fact: fact["kind"] == "ready", "the witness is ready")

    def __enter__(self) -> "VmWitness":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._running.pid

    def stop(self) -> None:
        """End it; what it has seen stays readable, also when its file is gone."""
        if self._running.poll() is None:
            self._running.communicate(timeout=LIMIT_S)
            self._collect()

    def facts(self) -> list[Fact]:
        """Everything seen so far, in the order it was seen; AssertionError when the witness has died."""
        self._collect()
        if self._running.poll():
            raise AssertionError(f"the witness has died: {self.file.with_suffix('.err').read_text()}")
        return self._facts

    def _collect(self) -> None:
        """Read what is new."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            self._facts += [json.loads(line) for line in whole.splitlines()]
            self._read += len(whole) + 1 if whole else 0

    # -- what happened

    def intervals(self, vm: str | None = None, state: str | None = None, node: Node | None = None) -> list[Interval]:
        """What every QEMU did, in order of its begin; only of this VM, in this state, on this node, where given."""
        runs: dict[int, list[Fact]] = defaultdict(list)
        for number, fact in enumerate(self.facts()):
            if fact["kind"] == "vm":
                if fact["state"] == "found":
                    begun = number
                    runs[number] = []
                else:
                    begun = max(key for key, facts in runs.items() if self._facts[key]["pid"] == fact["pid"])
                runs[begun].append(fact)
        found = [
            Interval(
                now["vm"], now["node"], now["pid"], tuple(after["images"] if after else now["images"]), now["state"],
                now["boottime"], after and after["boottime"], after and after.get("earliest", after["boottime"]),
            )
            for facts in runs.values()
            for now, after in itertools.zip_longest(facts, facts[1:])
            if now["state"] != "gone"
        ]  # fmt: skip
        return sorted(
            (
                each
                for each in found
                if vm in (None, each.vm) and state in (None, each.state) and (node is None or node.name == each.node)
            ),
            key=lambda each: each.since,
        )

    def running_on(self, vm: str) -> list[str]:
        """The names of the nodes on which a VM executes now; as often as it does."""
        return [each.node for each in self.intervals(vm, "running") if each.until is None]

    def first_running(self, vm: str, node: Node, after: int = 0) -> int:
        """When the VM first executed on the node, at or after a moment; AssertionError when it never did."""
        runs = self.intervals(vm, "running", node)
        found = [max(each.since, after) for each in runs if each.until is None or each.until > after]
        assert found, f"{vm} never ran on {node.name}:\n{self.story(vm)}"
        return found[0]

    def last_running(self, vm: str, node: Node) -> int:
        """When the VM last executed on the node, at the latest; AssertionError when it never did, or still does."""
        found = self.intervals(vm, "running", node)
        assert found, f"{vm} never ran on {node.name}:\n{self.story(vm)}"
        assert found[-1].until is not None, f"{vm} still runs on {node.name}:\n{self.story(vm)}"
        return found[-1].until

    def writers(self, vm: str) -> list[str]:
        """The names of the nodes that hold the lock of the VM's image now."""
        found = [fact["nodes"] for fact in self.facts() if fact["kind"] == "writers" and fact["image"] == f"{vm}.img"]
        return list(found[-1]) if found else []

    def starts(self, vm: str) -> int:
        """How often the guest has booted, as it has counted itself."""
        found = [fact["starts"] for fact in self.facts() if fact["kind"] == "count" and fact["image"] == f"{vm}.img"]
        return int(found[-1]) if found else 0

    def story(self, vm: str | None = None) -> str:
        """What every QEMU did, a line each."""
        return "\n".join(map(str, self.intervals(vm)))

    # -- waiting

    def await_running(self, vm: str, node: Node, limit: float = LIMIT_S) -> int:
        """Wait until the VM executes on this node and on no other; when it began to."""
        wait_for(lambda: self.running_on(vm) == [node.name], f"{vm} runs on {node.name} alone", limit)
        return self.intervals(vm, "running", node)[-1].since

    def await_still(self, vm: str, limit: float = LIMIT_S) -> None:
        """Wait until the VM executes nowhere."""
        wait_for(lambda: not self.running_on(vm), f"{vm} runs nowhere", limit)

    # -- the verdict

    def twice(self) -> list[str]:
        """Everything that shows a VM executing twice, or that may hide it, a line each; [] when there is nothing."""
        running = self.intervals(state="running")
        found = [
            f"twice: {one}; {two}"
            for one, two in itertools.combinations(running, 2)
            if one.pid != two.pid and (one.vm == two.vm or set(one.images) & set(two.images)) and one.overlaps(two)
        ]
        counted: dict[str, tuple[int, int]] = {}
        for fact in self.facts():
            if fact["kind"] == "writers" and len(fact["pids"]) > 1:
                found.append(f"two writers: {fact['image']} on {', '.join(fact['nodes'])} at {fact['boottime'] / 1e9:.6f}")
            if fact["kind"] == "count":
                now = (fact["starts"], fact["count"])
                before = counted.get(fact["image"], now)
                if now[0] < before[0] or now[1] < before[1]:
                    found.append(f"counted back: {fact['image']} from {before} to {now} at {fact['boottime'] / 1e9:.6f}")
                counted[fact["image"]] = now
        latest = max((fact["boottime"] for fact in self.facts()), default=0)
        silent = [each for each in self.intervals(state="found") if (each.until or latest) - each.since > BLIND_NS]
        spoke = {(each.pid, each.since) for each in self.intervals() if each.state != "found"}
        blind = [each for each in silent if (each.pid, each.until) not in spoke]
        return found + [f"cannot tell, its monitor does not answer: {each}" for each in blind]

    def assert_never_twice(self) -> None:
        """AssertionError if any VM ever executed twice at a moment, or any image had two writers, or nobody can tell."""
        if found := self.twice():
            raise AssertionError("\n".join([f"{len(found)} findings", *found[:20], self.story()]))
