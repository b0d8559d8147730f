"""What the small program lets go of, and when: with a real hook, real locks and processes that nobody looks after any more."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corolistener.core.config import Timing
from corolistener.daemon import last_good, let_go, settings
from corolistener.effects import belongings
from corolistener.effects.held import NAME, Claim, Held, left
from corolistener.errors import ConfigError

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
HOOK = """#!/bin/bash
case $1 in
start) exec >/dev/null 2>&1 </dev/null
    setsid bash -c "trap : TERM; echo \\$\\$ >{here}/pid; while :; do sleep 0.05; done" & disown ;;
stop) {stop} ;;
status) exit 3 ;;
*) exit 2 ;;
esac
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    belongings.kill(str(tmp_path), 5)


def held(here: Path, stop: str = "exit 1", **more: object) -> Held:
    hook = here / "hook"
    hook.write_text(HOOK.format(here=here, stop=stop))
    hook.chmod(0o755)
    values: dict[str, object] = {
        "boot": BOOT,
        "node": 7,
        "run": str(here),
        "locks": str(here),
        "hook": str(hook),
        "unit": None,
        "corosync_conf": "/etc/corosync/corosync.conf",
        "orderly_ms": 700,
        "invocation": "a",
    }
    return Held(**{**values, **more})  # type: ignore[arg-type]


def claimed(here: Path, what: Held) -> None:
    """As a daemon leaves it that was killed."""
    claim = Claim(str(here))
    claim.write(what)
    claim.close()


def started(here: Path) -> int:
    """The service runs, started by a daemon that is gone."""
    environment = {"PATH": os.environ["PATH"], belongings.MARK: str(here)}
    subprocess.run([str(here / "hook"), "start"], env=environment, check=True, timeout=20)
    end = time.monotonic() + 20
    while not (here / "pid").exists() or not (here / "pid").read_text().strip():
        assert time.monotonic() < end
        time.sleep(0.02)
    return int((here / "pid").read_text())


def lock(here: Path, name: str, node: int = 7) -> Path:
    path = here / f".lock.vmmgr.{name}"
    path.write_text(f'{{"node": {node}, "boot": "{BOOT}", "generation": 4}}\n')
    return path


@pytest.mark.parametrize("stop", ["exit 1", "sleep 60"], ids=["fails", "hangs"])
def test_everything_goes_without_any_settings(here: Path, stop: str) -> None:
    claimed(here, held(here, stop))
    pid, locks = started(here), [lock(here, "service"), lock(here, "relocated")]
    assert let_go.let_go(str(here))
    assert not any(each.exists() for each in locks)
    assert not (here / NAME).exists()
    assert pid not in belongings.belonging(str(here))


def test_a_stop_in_order_is_believed(here: Path) -> None:
    claimed(here, held(here, f"kill -9 $(cat {here}/pid)"))
    pid = started(here)
    assert let_go.let_go(str(here))
    assert pid not in belongings.belonging(str(here))


def test_a_daemon_that_lives_keeps_everything(here: Path) -> None:
    claim = Claim(str(here))
    claim.write(held(here))
    pid, kept = started(here), lock(here, "service")
    try:
        assert left(str(here)) is None
        assert let_go.let_go(str(here))
        assert kept.exists()
        assert pid in belongings.belonging(str(here))
    finally:
        claim.close()
    assert left(str(here)) is not None


def test_of_an_earlier_boot_nothing_is_left(here: Path) -> None:
    claimed(here, held(here, boot="another"))
    kept = lock(here, "service")
    assert let_go.let_go(str(here))
    assert kept.exists(), "the lock files have their own way of knowing that"
    assert not (here / NAME).exists()


def test_a_file_of_a_newer_version_is_understood_as_far_as_it_goes(here: Path) -> None:
    claimed(here, held(here))
    path = here / NAME
    path.write_text(path.read_text().replace("{", '{"news": 1, ', 1))
    assert left(str(here)) == held(here)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": 1}'])
def test_a_file_that_cannot_be_read_names_nothing(here: Path, text: str) -> None:
    (here / NAME).write_text(text)
    assert left(str(here)) is None


CRASHED = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "SEGV", "INVOCATION_ID": "a"}
UNUSABLE = {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "78", "INVOCATION_ID": "b"}
CLEAN = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0", "INVOCATION_ID": "a"}
YOUNG = {"SERVICE_RESULT": "success", "EXIT_CODE": "killed", "EXIT_STATUS": "TERM", "INVOCATION_ID": "b"}
"""Told to end before it had taken anything over: the second of two restarts, or a stop right after a crash."""
RESTART, STOP = {let_go.UNIT: "restart"}, {let_go.UNIT: "stop"}


@pytest.mark.parametrize(
    ("environment", "jobs", "over"),
    [
        (CRASHED, {}, False),
        (CRASHED, RESTART, False),
        (CRASHED, STOP, True),
        ({**CRASHED, "INVOCATION_ID": "b"}, {}, True),
        ({**CRASHED, "INVOCATION_ID": "b"}, RESTART, True),
        (UNUSABLE, {}, True),
        (UNUSABLE, RESTART, True),
        ({**UNUSABLE, "EXIT_STATUS": "1"}, {}, True),
        ({**UNUSABLE, "EXIT_STATUS": "1", "INVOCATION_ID": "a"}, {}, False),
        (CLEAN, {}, False),
        (CLEAN, RESTART, False),
        (CLEAN, STOP, False),
        (YOUNG, RESTART, False),
        (YOUNG, {}, False),
        (YOUNG, STOP, True),
        ({**CRASHED, "SERVICE_RESULT": "start-limit-hit"}, {}, True),
        ({**CRASHED, "SERVICE_RESULT": "timeout"}, STOP, True),
    ],
)
def test_when_no_process_follows(environment: dict[str, str], jobs: dict[str, str], over: bool) -> None:
    assert let_go.ended_for_good(environment, jobs, "a") is over


def test_the_program_lets_go_though_the_settings_are_broken(here: Path) -> None:
    claimed(here, held(here))
    pid, gone = started(here), lock(here, "service")
    broken = here / "broken.toml"
    broken.write_text(f'[paths]\nrun = "{here}"\nstate = "{here}/state"\n[cluster\n')
    words = [str(Path(sys.executable).with_name("corolistener")), "let-go", "--config", str(broken)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not gone.exists()
    assert pid not in belongings.belonging(str(here))


def written(here: Path, text: str = "") -> str:
    path = here / "corolistener.toml"
    path.write_text(f'[paths]\nstate = "{here}/state"\nrun = "{here}/run"\n{text}')
    return str(path)


def test_the_last_good_settings_are_used_and_what_is_wrong_is_told(here: Path) -> None:
    path = written(here, "[fencing]\ngrace_ms = 1234\n")
    good = settings.load(path)
    last_good.keep(good, path)
    written(here, "[fencing]\ngrace_ms = twelve\n")
    used, wrong = last_good.load(path)
    assert used == good
    assert used.fencing.grace_ms == 1234
    assert used.timing(1000, 1200) == good.timing(1000, 1200)
    assert wrong is not None
    assert "not TOML" in str(wrong)


def test_they_are_not_used_where_others_can_change_a_program_that_they_name(here: Path) -> None:
    hook = here / "service"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    path = written(here, f'[service]\nhook = "{hook}"\n')
    last_good.keep(settings.load(path), path)
    written(here, "nonsense\n")
    assert last_good.load(path)[0].service.hook == str(hook)
    hook.chmod(0o777)
    with pytest.raises(ConfigError, match="not TOML"):
        last_good.load(path)


def test_they_hold_passwords_so_nobody_else_may_read_them(here: Path) -> None:
    path = written(here)
    last_good.keep(settings.load(path), path)
    assert (here / "state" / last_good.NAME).stat().st_mode & 0o077 == 0


def test_those_of_another_file_or_of_somebody_else_do_not_count(here: Path) -> None:
    path = written(here)
    last_good.keep(settings.load(path), path)
    written(here, "nonsense\n")
    other = here / "other.toml"
    other.write_text(Path(path).read_text())
    with pytest.raises(ConfigError):
        last_good.load(str(other))
    (here / "state" / last_good.NAME).chmod(0o622)
    with pytest.raises(ConfigError):
        last_good.load(path)


def test_without_any_the_error_is_what_it_was(here: Path) -> None:
    with pytest.raises(ConfigError, match="not TOML"):
        last_good.load(written(here, "nonsense\n"))


def test_the_bound_of_a_stop_is_written_down() -> None:
    assert Timing().orderly_ms < Timing().grace_ms
