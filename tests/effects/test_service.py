"""The service effect with real programs, polite and rude ones."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from corolistener.core.actions import Reason, StartService, StopService, TakeDatabase, Until
from corolistener.core.events import Outcome, Result
from corolistener.core.view import RingId
from corolistener.effects import programs, service
from corolistener.effects.service import Service
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket

from .conftest import eventually, root

UNTIL = Until(RingId(9, NodeId(2)), Instant(1 << 40))
START = StartService(Ticket(1), UNTIL, (1500, 1501), Reason.ELECTED)
STOP = StopService(Ticket(2), Reason.QUORUM_LOST)
MOVE = TakeDatabase(Ticket(3), UNTIL, NodeId(4))


@dataclass(frozen=True)
class Programs:
    hook: str
    unit: str | None = None
    moved: str | None = None


@pytest.fixture
def hook(tmp_path: Path) -> Callable[..., Service]:
    """Makes an effect with a shell script as its hook; `$HERE` is the test's directory."""

    def make(script: str, unit: str | None = None) -> Service:
        path = tmp_path / "hook"
        path.write_text(f"#!/bin/bash\nHERE={tmp_path}\n{script}\n")
        path.chmod(0o755)
        return Service(Programs(str(path), unit, str(path)), "/etc/corosync/corosync.conf")

    return make


def perform(effect: Service, action=START) -> Outcome:
    async def story():
        try:
            return await effect.perform(action)
        finally:
            await effect.close()

    return asyncio.run(story())


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("action", "facts"),
    [
        (START, {"action": "start", "reason": "elected", "ring": "2.9", "ports": [1500, 1501]}),
        (STOP, {"action": "stop", "reason": "quorum-lost"}),
        (MOVE, {"action": "moved", "ring": "2.9", "former": 4}),
    ],
    ids=["start", "stop", "moved"],
)
def test_what_a_hook_is_told(hook, tmp_path, monkeypatch, action, facts):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "COROLISTENER_SECRET", "PYTHONPATH"):
        monkeypatch.setenv(name, "1")
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    script = 'cat >$HERE/stdin; echo "$@" >$HERE/arguments; ls -l /proc/$$/fd >$HERE/fds; env >$HERE/env'
    script += "; read -r _ _ _ _ _ session _ </proc/$$/stat; echo $$ $session $PWD >$HERE/session"
    try:
        assert perform(hook(script, unit="vmmgr.service"), action) == Outcome(Result.DONE)
    finally:
        os.close(leak)
    told = {"corosync_conf": "/etc/corosync/corosync.conf", "service_unit": "vmmgr.service", **facts}
    assert json.loads((tmp_path / "stdin").read_text()) == told
    assert (tmp_path / "arguments").read_text().split() == [told["action"]]
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    text = {name: " ".join(map(str, fact)) if isinstance(fact, list) else str(fact) for name, fact in told.items()}
    assert {name: value for name, value in environment.items() if name.startswith("COROLISTENER_")} == {
        f"COROLISTENER_{name.upper()}": value for name, value in text.items()
    }
    assert {name for name in environment if not name.startswith("COROLISTENER_")} == {"PATH", "LANG", "PWD", "SHLVL", "_"}
    lines = (tmp_path / "fds").read_text().splitlines()
    descriptors = {line.partition(" -> ")[0].split()[-1] for line in lines if " -> " in line}
    assert descriptors <= {"0", "1", "2", "255"}, "bash itself keeps its script at 255"
    pid, session, directory = (tmp_path / "session").read_text().split()
    assert pid == session
    assert directory == "/"


@root
def test_our_protection_from_the_oom_killer_is_not_the_managers(hook):
    mine = Path("/proc/self/oom_score_adj")
    before = mine.read_text()
    mine.write_text("321")  # any other value will do; taking one below 0 needs one right more
    try:
        told = "for _ in {1..3000}; do read -r now </proc/$$/oom_score_adj; [ $now = 0 ] && exit 0; sleep 0.01; done; exit 1"
        assert perform(hook(told)).result is Result.DONE
    finally:
        mine.write_text(before)


@pytest.mark.parametrize(
    ("script", "result", "why"),
    [
        ("exit 0", Result.DONE, ""),
        ("echo not yet >&2; exit 75", Result.LATER, "start: exit 75: not yet"),
        ("echo first >&2; echo; echo 'the reason  ' >&2; echo >&2; exit 1", Result.FAILED, "start: exit 1: the reason"),
        ("exit 9", Result.FAILED, "start: exit 9"),
        ("kill -9 $$", Result.FAILED, "start: signal 9"),
        (r"printf 'a\033[31mb\0c\377\n' >&2; exit 2", Result.FAILED, "start: exit 2: a[31mbc�"),
        ("for n in {1..200000}; do echo a line of no use $n; done >&2; printf last >&2; exit 1", Result.FAILED, "exit 1: last"),
        ("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1", Result.FAILED, "exit 1: " + "x" * programs.STDERR_BYTES),
        ("exec 0<&- 1>&- 2>&-; exit 0", Result.DONE, ""),
        ("head -c 3000000 /dev/zero; exit 0", Result.DONE, ""),
    ],
)
def test_how_a_hook_ends(hook, script, result, why):
    outcome = perform(hook(script))
    assert outcome.result is result
    assert outcome.why.endswith(why)
    assert bool(outcome.why) == bool(why)


def test_what_a_hook_leaves_running_is_not_waited_for_nor_killed(hook, tmp_path):
    effect = hook("(while :; do echo noise >&2; echo noise; sleep 0.01; done) & echo $! >$HERE/pid; echo the last >&2; exit 3")

    async def story():
        outcome = await effect.perform(START)
        (child,) = pids(tmp_path / "pid")
        assert outcome.why.endswith(("exit 3: the last", "exit 3: noise"))
        assert alive(child)
        await asyncio.sleep(0.3)
        assert alive(child), "it can still write: nobody has closed its stderr"
        assert len(effect._running) == 1
        os.kill(child, signal.SIGKILL)
        await eventually(lambda: len(effect._running) == 0)

    asyncio.run(story())


async def started(effect, action, marks, count=1):
    """Begin an action and wait until its hook has written `count` pids."""
    task = asyncio.ensure_future(effect.perform(action))
    await eventually(lambda: len(pids(marks)) >= count or task.done())
    assert not task.done()
    return task


@pytest.mark.parametrize("rude", [False, True], ids=["polite", "rude"])
def test_a_hook_that_hangs_goes_with_all_its_group(hook, tmp_path, rude, monkeypatch):
    monkeypatch.setattr(programs, "GRACE_S", 0.3 if rude else 30)
    trap = "trap '' TERM" if rude else ":"
    effect = hook(f"{trap}; sleep 1000 & echo $! >>$HERE/pids; echo $$ >>$HERE/pids; wait; sleep 1000")

    async def story():
        task = await started(effect, START, tmp_path / "pids", 2)
        for _ in range(3):  # a second cancellation does not make it run away from its child
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [pid for pid in pids(tmp_path / "pids") if alive(pid)] == []

    asyncio.run(story())


def test_a_stop_overtakes_a_start_that_hangs_but_begins_after_its_end(hook, tmp_path):
    effect = hook(
        'echo "$1 begins" >>$HERE/log; [ "$1" = stop ] && exit 0\n'
        "trap 'kill $!; sleep 0.3; echo \"start ends\" >>$HERE/log; exit 1' TERM\n"
        "sleep 1000 & echo $! >$HERE/pids; wait"
    )

    async def story():
        task = await started(effect, START, tmp_path / "pids")
        task.cancel()
        outcome = await effect.perform(STOP)
        assert outcome.result is Result.DONE
        assert task.done()

    asyncio.run(story())
    assert (tmp_path / "log").read_text().splitlines() == ["start begins", "start ends", "stop begins"]


def test_two_hooks_never_run_at_once(hook, tmp_path):
    effect = hook("[ -e $HERE/busy ] && { echo both >&2; exit 1; }; touch $HERE/busy; sleep 0.1; rm $HERE/busy")

    async def story():
        return await asyncio.gather(*(effect.perform(action) for action in (START, STOP, START)))

    assert asyncio.run(story()) == [Outcome(Result.DONE)] * 3


def test_one_that_waits_for_its_turn_can_be_given_up(hook, tmp_path):
    effect = hook("echo $$ >>$HERE/pids; sleep 1000")

    async def story():
        first = await started(effect, START, tmp_path / "pids")
        second = asyncio.ensure_future(effect.perform(STOP))
        await asyncio.sleep(0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not first.done()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(pids(tmp_path / "pids")) == 1

    asyncio.run(story())


def test_a_loop_that_ends_takes_the_hook_with_it(hook, tmp_path):
    effect = hook("trap '' TERM; sleep 1000 & echo $! >>$HERE/pids; echo $$ >>$HERE/pids; wait; sleep 1000")

    async def story():
        await started(effect, START, tmp_path / "pids", 2)

    asyncio.run(story())
    end = time.monotonic() + 30
    while any(alive(pid) for pid in pids(tmp_path / "pids")) and time.monotonic() < end:
        time.sleep(0.02)
    assert [pid for pid in pids(tmp_path / "pids") if alive(pid)] == []


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.chmod(0o644), r"may not be executed: chmod \+x it"),
        (lambda path: path.write_text("exit 0\n"), "is no program: it needs a first line"),
        (lambda path: path.write_text("#!/nowhere/sh\n"), "or the interpreter in its first line does not"),
        (lambda path: (path.unlink(), path.mkdir()), "may not be executed"),
    ],
    ids=["missing", "not executable", "no interpreter", "no such interpreter", "directory"],
)
def test_a_hook_that_cannot_be_run(hook, tmp_path, prepare, why):
    effect = hook("exit 0")
    prepare(tmp_path / "hook")
    with pytest.raises(EffectError, match=f"hook {tmp_path}/hook .*{why}"):
        perform(effect)


def test_one_that_cannot_be_run_does_not_stand_in_the_way_of_the_next(hook, tmp_path):
    effect = hook("exit 0")
    good = effect._programs

    async def story():
        effect.configure(Programs("/nowhere"))
        with pytest.raises(EffectError):
            await effect.perform(START)
        effect.configure(good)
        assert (await effect.perform(STOP)).result is Result.DONE

    asyncio.run(story())


def test_no_moved_hook_is_nothing_to_do(tmp_path):
    assert perform(Service(Programs("/nowhere"), ""), MOVE) == Outcome(Result.DONE, facts=(("moved", "no moved hook"),))


@pytest.mark.parametrize(("code", "answer"), [(0, True), (3, False)])
def test_status(hook, code, answer):
    assert asyncio.run(hook(f'[ "$1" = status ] && exit {code}; exit 9').running()) is answer


@pytest.mark.parametrize(("script", "why"), [("echo bad >&2; exit 1", "status: exit 1: bad"), ("sleep 1000", "no answer")])
def test_a_status_that_says_nothing(hook, script, why, monkeypatch):
    monkeypatch.setattr(service, "STATUS_S", 0.3)
    with pytest.raises(EffectError, match=why):
        asyncio.run(hook(script).running())


def test_figures(hook, capsys):
    """Printed, not judged: what the effect adds to a hook that does nothing."""
    effect = hook("exit 0")

    async def story():
        values = []
        for _ in range(20):
            begin = time.perf_counter()
            await effect.perform(START)
            values.append(time.perf_counter() - begin)
        return sorted(values)

    values = asyncio.run(story())
    with capsys.disabled():
        print(f"\n  service: empty hook median {values[10] * 1e3:.1f} ms, most {values[-1] * 1e3:.1f} ms", end="")
