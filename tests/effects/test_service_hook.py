"""The shipped hook, run by the real effect, with stand-ins for the two things no test machine has: systemd and VMmanager.

They stand where the real ones would, on file systems that only the test sees.
"""

import asyncio
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from corolistener.core.actions import Reason, StartService, StopService, Until
from corolistener.core.events import Result
from corolistener.core.view import RingId
from corolistener.effects.service import Service
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket

from .conftest import in_mounts_of_its_own, root

HOOK = Path(__file__).parents[2] / "vmmgr_hooks" / "service"
UNTIL = Until(RingId(9, NodeId(2)), Instant(1 << 40))
START = StartService(Ticket(1), UNTIL, (1500,), Reason.ELECTED)
STOP = StopService(Ticket(2), Reason.QUORUM_LOST)
pytestmark = root

SYSTEMCTL = """#!/bin/sh
echo "$@" >>/run/calls
for unit; do :; done
case "$1 $unit" in
    *broken.service) echo "Job for $unit failed." >&2; exit 1;;
    show*) echo "ActiveState=$(cat /run/$unit 2>/dev/null || echo inactive)";;
    start*) echo active >/run/$unit;;
    stop*) echo failed >/run/$unit;;
esac
"""
SYSTEMD_RUN = """#!/bin/sh
echo systemd-run "$@" >>/run/calls
while [ "$1" != -- ]; do shift; done; shift
exec "$@"
"""
MGRCTL = """#!/bin/sh
echo "$@" >>/run/calls
[ "$1 $2" = "-m vmmgr" ] || exit 1
case $3 in
    -u) rm -f /run/locked;;
    -i) [ -e /run/locked ] && { echo "the panel is locked" >&2; exit 1; }
        [ -e /run/pid ] || { /usr/local/mgr5/bin/core vmmgr </dev/null >/dev/null 2>&1 & echo $! >/run/pid; }
        echo functions;;
    -l) [ -e /run/locked ] && exit 1
        touch /run/locked; kill $(cat /run/pid); rm /run/pid;;
esac
"""
CORE = """#!/bin/sh
while :; do sleep 0.1; done
"""


@dataclass(frozen=True)
class Programs:
    hook: str = str(HOOK)
    unit: str | None = None
    moved: str | None = None


def install(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    Path(path).chmod(0o755)


def calls():
    """What the stand-ins were asked since the last time."""
    path = Path("/run/calls")
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


@pytest.fixture
def on_a_machine(station):
    """Runs a coroutine function where /usr/local, /run and the network are the test's own, with the given programs."""

    def run(story, *programs):
        station().call(lambda: in_mounts_of_its_own(lambda: work(story, programs), "/usr/local", "/run"))

    def work(story, programs):
        for path, text in programs:
            install(path, text)
        try:
            asyncio.run(story())
        finally:
            if os.path.exists("/run/pid"):
                os.kill(int(Path("/run/pid").read_text()), signal.SIGTERM)

    return run


def test_a_systemd_unit(on_a_machine):
    async def story():
        effect = Service(Programs(unit="vmmgr.service"), "")
        assert not await effect.running()
        for _ in range(2):
            assert (await effect.perform(START)).result is Result.DONE
            assert await effect.running()
        assert [line for line in calls() if line.startswith(("start", "reset"))] == [
            "reset-failed -- vmmgr.service",
            "start -- vmmgr.service",
        ] * 2
        for _ in range(2):
            assert (await effect.perform(STOP)).result is Result.DONE
            assert not await effect.running()
        assert [line for line in calls() if line.startswith("stop")] == ["stop -- vmmgr.service"]
        for state, runs in (("activating", True), ("deactivating", True), ("failed", False), ("inactive", False)):
            install("/run/vmmgr.service", state)
            assert await effect.running() is runs
        effect.configure(Programs(unit="broken.service"))
        for action, verb in ((START, "start"), (STOP, "stop")):
            outcome = await effect.perform(action)
            assert (outcome.result, outcome.why) == (Result.FAILED, f"{HOOK} {verb}: exit 1: Job for broken.service failed.")
        with pytest.raises(EffectError, match=r"status: exit 4: Job for broken.service failed\."):
            await effect.running()

    on_a_machine(story, ("/usr/local/bin/systemctl", SYSTEMCTL))


@pytest.mark.parametrize("systemd", [False, True], ids=["without systemd", "with systemd"])
def test_the_vendors_control_program(on_a_machine, systemd):
    async def story():
        effect = Service(Programs(), "")
        assert not await effect.running()
        for _ in range(2):
            assert (await effect.perform(START)).result is Result.DONE
            assert await effect.running()
        assert any(line.startswith("systemd-run") for line in calls()) is systemd
        for _ in range(2):
            assert (await effect.perform(STOP)).result is Result.DONE
            assert not await effect.running()
        assert calls() == ["-m vmmgr -l"] * 2
        assert (await effect.perform(START)).result is Result.DONE, "what locked it is taken back"
        assert await effect.running()
        await effect.close()

    programs = [
        ("/usr/local/mgr5/sbin/mgrctl", MGRCTL),
        ("/usr/local/mgr5/bin/core", CORE),
        ("/usr/local/bin/systemd-run", SYSTEMD_RUN),
    ]
    on_a_machine(story, *programs, *([("/run/systemd/system/mark", "")] if systemd else []))


def test_a_manager_that_does_not_answer_yet(on_a_machine):
    async def story():
        outcome = await Service(Programs(), "").perform(START)
        assert outcome.result is Result.LATER
        assert outcome.why.endswith("exit 75: /usr/local/mgr5/sbin/mgrctl -m vmmgr -i: no answer yet")

    on_a_machine(story, ("/usr/local/mgr5/sbin/mgrctl", '#!/bin/sh\n[ "$3" = -u ]\n'))


def test_a_machine_without_a_manager(on_a_machine):
    async def story():
        effect = Service(Programs(), "")
        outcome = await effect.perform(START)
        assert outcome.result is Result.FAILED
        assert "no manager on this node: set [service] unit or hook, or install VMmanager" in outcome.why
        assert (await effect.perform(STOP)).result is Result.DONE
        assert not await effect.running()

    on_a_machine(story)


def test_wrong_words_and_help():
    for words in ([], ["restart"]):
        done = subprocess.run([HOOK, *words], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "usage: service start|stop|kill|status (--help explains)\n"
    done = subprocess.run([HOOK, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert done.stdout.startswith("service start|stop|kill|status: the manager on this node")
    assert "COROLISTENER_SERVICE_UNIT" in done.stdout
    assert "mgrctl=" not in done.stdout
