"""The lab's watchdog: a process outside a machine that takes its power away unless somebody on the machine feeds it.

Three sides. `Dog` is the story's: it starts the process and sees what it did. `serve` is the process, started anew with every
power on; it goes when the machine does. `DogLine` is the device that a daemon on the machine is given in place of
/dev/watchdog (effects.watchdog.Device): requests over a socket in the machine's /run. As a real one's, its clock goes on
whatever happens to that daemon. What systemd's store does for a real descriptor it does by itself: whoever takes it while it
ticks has adopted it, and that feeds nothing.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from corolistener.effects.watchdog import Taken
from corolistener.errors import EffectError
from lab.machine import CHECKOUT, LIMIT_S, Init, LabError, Machine, poll

SOCKET = "/run/lab/dog"
LONGEST = 4096
ANSWER_S = 5.0


class Dog:
    """A machine's watchdog. `start()` it when the machine is up; starved, it does to the machine what `power_down()` does."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._log = machine.directory / "dog.log"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it watch the machine as it is on now; returns when it answers. LabError when it does not."""
        self.reap()
        self._log.unlink(missing_ok=True)
        init, path = self.machine.init, self.machine.path(SOCKET)
        argv = [sys.executable, "-m", "lab.dog", str(path), str(init.pid), str(init.started), str(self._log)]
        environment = os.environ | {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"}
        null = subprocess.DEVNULL
        self._running = subprocess.Popen(argv, env=environment, stdin=null, stdout=null, start_new_session=True)
        if not poll(lambda: path.exists() or self._running is None or self._running.poll() is not None, LIMIT_S):
            raise LabError(f"{self.machine.name}: its watchdog does not answer")

    @property
    def told(self) -> list[str]:
        """What it did since the machine's power on: armed MS, adopted, stopped, bite."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def bitten(self) -> bool:
        """It was starved, and the machine lost its power for that."""
        return "bite" in self.told and not self.machine.on

    def reap(self) -> None:
        """Wait until it has gone; it goes when the machine is off."""
        if self._running is not None:
            self._running.wait(LIMIT_S)
            self._running = None


class DogLine:
    """A daemon's side of it. Every call is one question and its answer; raises EffectError."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def take(self, kept: int | None, timeout_ms: int) -> Taken:
        """Arm it, or adopt it where it ticks. There is no descriptor that anybody would have to keep."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(self._path)
        except OSError as error:
            raise EffectError("take", f"{self._path}: {error.strerror}") from error
        answer = self._ask("take", timeout_ms=timeout_ms)
        return Taken("the lab's", answer["timeout_ms"], answer["adopted"], True, None)

    def feed(self) -> None:
        self._ask("feed")

    def stop(self) -> None:
        self._ask("stop")

    def release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, verb: str, **more: int) -> Any:
        if self._socket is None:
            raise EffectError(verb, "not taken")
        try:
            self._socket.sendall(json.dumps({"verb": verb, **more}).encode())
            answer = json.loads(self._socket.recv(LONGEST) or '{"refused": "it has gone"}')
        except OSError as error:
            raise EffectError(verb, f"{self._path}: {error}") from error
        if why := answer.get("refused"):
            raise EffectError(verb, why)
        return answer


class Watch:
    """The device: at most one holder, armed or not, and when it was fed last."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.holder: socket.socket | None = None
        self.timeout_ms = 0
        self._fed_at: float | None = None

    def left_s(self) -> float | None:
        """How long until it bites; None while it does not tick."""
        return None if self._fed_at is None else self._fed_at + self.timeout_ms / 1000 - time.monotonic()

    def answer(self, asking: socket.socket, question: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        if self.holder not in (None, asking):
            return {"refused": "another program has it"}
        match question["verb"]:
            case "take":
                self.holder, adopted = asking, self._fed_at is not None
                if not adopted:
                    self.timeout_ms, self._fed_at = question["timeout_ms"], time.monotonic()
                self.note("adopted" if adopted else f"armed {self.timeout_ms}")
                return {"timeout_ms": self.timeout_ms, "adopted": adopted}
            case "feed" if self._fed_at is not None:
                self._fed_at = time.monotonic()
                return {}
            case "stop" if self.holder is asking:
                self._fed_at = None
                self.note("stopped")
                return {}
        return {"refused": "not armed"}

    def note(self, line: str) -> None:
        with self._log.open("a") as file:
            file.write(line + "\n")


def serve(path: str, init: Init, watch: Watch) -> None:
    """Answer until the machine has lost its power, by itself or by us."""
    try:
        power = os.pidfd_open(init.pid)
    except ProcessLookupError:
        return
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"{path}.new")
    listening.listen()
    os.rename(f"{path}.new", path)  # whoever sees it is heard
    held: list[socket.socket] = []
    while init.alive:
        left = watch.left_s()
        if left is not None and left <= 0:
            watch.note("bite")
            init.kill()
            return
        ready, _, _ = select.select([power, listening, *held], [], [], left)
        for each in ready:
            if each is listening:
                held.append(listening.accept()[0])
            elif isinstance(each, socket.socket):
                _hear(each, watch, held)


def _hear(asking: socket.socket, watch: Watch, held: list[socket.socket]) -> None:
    """One question, or the end of a holder: then it ticks on."""
    data = b""
    with contextlib.suppress(ConnectionError):
        data = asking.recv(LONGEST)
    if data:
        with contextlib.suppress(BrokenPipeError):
            asking.sendall(json.dumps(watch.answer(asking, json.loads(data))).encode())
        return
    held.remove(asking)
    asking.close()
    if watch.holder is asking:
        watch.holder = None


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts a lab ends its machines; we go with them
    serve(sys.argv[1], Init(int(sys.argv[2]), int(sys.argv[3])), Watch(Path(sys.argv[4])))
