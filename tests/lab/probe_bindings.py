"""A program on a lab's node that calls the bindings for a test outside, and the test's end of the wire.

One question, one answer, both pickled, over stdin and stdout: values and exceptions arrive as they are. The bindings
run in a process of their own because its namespaces are the node's, and so that a crash in C is seen as one.
"""

import contextlib
import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any

from corolistener.corosync import cfg, cmap, cpg, quorum, values, votequorum
from corolistener.corosync.handle import Handle

LIMIT_S = 60


# -- on the node


def serve() -> None:
    """Answer questions until there are no more."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    inside: dict[str, Any] = {"cfg": cfg, "cmap": cmap, "cpg": cpg, "quorum": quorum, "votequorum": votequorum}
    inside |= {"RingId": values.RingId, "os": os, "select": select}
    handles: list[Handle] = []
    while True:
        try:
            question = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = True, answered(question, handles, inside)
        except BaseException as raised:  # noqa: BLE001 - the test is to see it, whatever it is
            answer = False, raised
        answers.write(pickle.dumps(answer))


def answered(question: tuple[Any, ...], handles: list[Handle], inside: dict[str, Any]) -> Any:
    """What a question comes to: open, call, take or run."""
    match question:
        case "open", kind, arguments:
            handles.append(kind(*arguments))
            return len(handles) - 1
        case "call", number, name, arguments, keywords:
            found = getattr(handles[number], name)(*arguments, **keywords)
            return list(found) if isinstance(found, GeneratorType) else found
        case "attribute", number, name:
            return getattr(handles[number], name)
        case "take", number, seconds:
            return handles[number].dispatch() if select.select([handles[number]], [], [], seconds)[0] else []  # type: ignore[attr-defined]
        case "run", source, given:
            inside |= {"handles": handles, "result": None} | given
            exec(source, inside)
            return inside["result"]
    raise ValueError(question)


# -- in the test


class Probe:
    """The test's end. `node` is one of the lab's."""

    def __init__(self, node: Any) -> None:
        argv = [sys.executable, "-I", str(Path(__file__).resolve())]
        self.process = node.popen(argv, text=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.node = node

    def ask(self, *question: Any) -> Any:
        """The answer, or its exception raised here; AssertionError if the program died or is stuck."""
        self.process.stdin.write(pickle.dumps(question))
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise AssertionError(f"{self.node.name}: no answer within {LIMIT_S} s to {question}")
        try:
            fine, answer = pickle.load(self.process.stdout)
        except EOFError:
            raise AssertionError(f"{self.node.name}: the probe died of {question}: {self.process.wait()}") from None
        if fine:
            return answer
        raise answer

    def open(self, kind: Callable[..., Handle], *arguments: Any) -> "Remote":
        """A handle on the node."""
        return Remote(self, self.ask("open", kind, arguments))

    def run(self, source: str, **given: Any) -> Any:
        """Run statements on the node, which know the modules, `handles` and `given`; what they leave in `result`."""
        return self.ask("run", source, given)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Remote:
    """A handle on the node; its methods are the handle's."""

    def __init__(self, probe: Probe, number: int) -> None:
        self.probe, self.number = probe, number
        self.pending: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **keywords: self.probe.ask("call", self.number, name, arguments, keywords)

    def attribute(self, name: str) -> Any:
        """A value the handle carries."""
        return self.probe.ask("attribute", self.number, name)

    def take(self, seconds: float = 0.0) -> list[Any]:
        """What dispatch() gives as soon as the descriptor is readable; nothing after `seconds`."""
        return self.probe.ask("take", self.number, seconds)

    def values(self) -> Iterator[Any]:
        """Values as they come, each once; ends with an AssertionError when there is none for LIMIT_S."""
        while True:
            if not self.pending and not (found := self.take(LIMIT_S)):
                raise AssertionError(f"{self.probe.node.name}: no value within {LIMIT_S} s")
            self.pending = self.pending or found
            yield self.pending.pop(0)

    def until(self, wanted: Callable[[Any], Any]) -> list[Any]:
        """The values up to and with the first that is `wanted`."""
        seen: list[Any] = []
        end = time.monotonic() + 2 * LIMIT_S
        for value in self.values():
            seen.append(value)
            if wanted(value):
                return seen
            assert time.monotonic() < end, seen
        raise AssertionError(seen)


def probes() -> Iterator[Callable[[Any], Probe]]:
    """Body of the fixture `probe`: `probe(node)` starts a program there that calls the bindings."""
    started: list[Probe] = []

    def start(node: Any) -> Probe:
        started.append(Probe(node))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def whole(cluster3: Any) -> Iterator[Any]:
    """Body of the fixture `whole`: three nodes, on one ring before and after, whatever the test does."""
    cluster3.wait_quorate()
    yield cluster3
    cluster3.heal()
    cluster3.wait_quorate()


if __name__ == "__main__":
    serve()
