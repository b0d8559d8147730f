"""A service that must be gone: hooks that do not end, and what they left in sessions of their own."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from corolistener.core.actions import KillService, Reason, StartService, StopService, Until
from corolistener.core.events import Outcome, Result
from corolistener.core.view import RingId
from corolistener.effects import belongings
from corolistener.effects.service import Service
from corolistener.ids import Instant, NodeId, Ticket

START = StartService(Ticket(1), Until(RingId(9, NodeId(2)), Instant(1 << 40)), (), Reason.ELECTED)
STOP = StopService(Ticket(2), Reason.QUORUM_LOST)
KILL = KillService(Ticket(3), Reason.QUORUM_LOST)
DAEMON = (
    'setsid bash -c "trap : TERM HUP; echo \\$\\$ >$HERE/pid; while :; do sleep 0.05; done" >/dev/null 2>&1 </dev/null & disown'
)


@dataclass(frozen=True)
class Programs:
    hook: str
    unit: str | None = None
    moved: str | None = None


def effect(tmp_path: Path, script: str) -> Service:
    path = tmp_path / "hook"
    path.write_text(f"#!/bin/bash\nexport HERE={tmp_path}\n{script}\n")
    path.chmod(0o755)
    return Service(Programs(str(path)), "/etc/corosync/corosync.conf", str(tmp_path))


def pid_of(tmp_path: Path, name: str = "pid") -> int:
    file = tmp_path / name
    for _ in range(500):
        if file.exists() and (text := file.read_text().strip()):
            return int(text)
        time.sleep(0.02)
    raise AssertionError("the service did not come up")


def runs(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False


async def _start_and_kill(service: Service, tmp_path: Path) -> Outcome:
    try:
        assert (await service.perform(START)).result is Result.DONE
        pid = await asyncio.to_thread(pid_of, tmp_path)
        assert runs(pid)
        outcome = await service.perform(KILL)
        assert not runs(pid)
        return outcome
    finally:
        await service.close()


@pytest.mark.parametrize("knows", ["kill) exit 0;;", ""], ids=["the hook knows kill", "the hook does not"])
def test_a_process_in_a_session_of_its_own_that_ignores_signals_is_killed(tmp_path: Path, knows: str) -> None:
    script = f"case $1 in start) {DAEMON};; status) exit 3;; {knows} *) exit 2;; esac"
    assert asyncio.run(_start_and_kill(effect(tmp_path, script), tmp_path)).result is Result.DONE


def test_a_stop_that_hangs_does_not_delay_the_kill_and_is_killed_itself(tmp_path: Path) -> None:
    stops = "trap : TERM; echo $$ >$HERE/stopping; while :; do sleep 0.05; done"
    service = effect(tmp_path, f"case $1 in start) {DAEMON};; stop) {stops};; kill) exit 0;; *) exit 3;; esac")

    async def story() -> None:
        assert (await service.perform(START)).result is Result.DONE
        pid = await asyncio.to_thread(pid_of, tmp_path)
        stopping = asyncio.create_task(service.perform(STOP))
        await asyncio.to_thread(pid_of, tmp_path, "stopping")
        stopping.cancel()  # as the lane does, when a kill is submitted
        assert (await service.perform(KILL)).result is Result.DONE
        assert not runs(pid)
        await asyncio.wait([stopping])
        await service.close()

    asyncio.run(story())
    assert not belongings.belonging(str(tmp_path))


def test_a_service_that_only_the_hook_knows_and_that_runs_on_is_no_success(tmp_path: Path) -> None:
    service = effect(tmp_path, "case $1 in status) exit 0;; *) echo no such verb >&2; exit 2;; esac")

    async def story() -> Outcome:
        try:
            return await service.perform(KILL)
        finally:
            await service.close()

    outcome = asyncio.run(story())
    assert outcome.result is Result.FAILED
    assert "no such verb" in outcome.why


def test_a_kill_that_hangs_is_no_success_while_the_status_says_that_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corolistener.effects.service.KILL_S", 0.3)
    service = effect(tmp_path, "case $1 in status) exit 0;; *) sleep 60;; esac")

    async def story() -> Outcome:
        try:
            return await service.perform(KILL)
        finally:
            await service.close()

    assert asyncio.run(story()).result is Result.FAILED


def test_what_another_daemon_on_this_machine_started_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    mine, others = effect(tmp_path, "exit 3"), effect(tmp_path / "other", f"case $1 in start) {DAEMON};; *) exit 3;; esac")

    async def story() -> int:
        assert (await others.perform(START)).result is Result.DONE
        pid = await asyncio.to_thread(pid_of, tmp_path / "other")
        await mine.perform(KILL)
        for each in (mine, others):
            await each.close()
        return pid

    pid = asyncio.run(story())
    assert runs(pid)
    assert belongings.kill(str(tmp_path / "other"), 5) == ()
    assert not runs(pid)


def test_this_process_is_not_among_what_belongs_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.getpid() not in belongings.belonging("anything")
