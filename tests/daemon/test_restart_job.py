"""SIGTERM is a farewell unless systemd is restarting the unit; systemctl is stood in for by a program of its name."""

from pathlib import Path

import pytest

from corolistener.daemon.main import restart_job


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl whose text the test writes."""
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("INVOCATION_ID", "0123456789abcdef")
    return program


def says(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("jobs", "restarting"),
    [
        ("4711 corolistener.service restart running", True),
        ("12 corosync.service restart waiting\n13 corolistener.service restart waiting", True),
        ("4711 corolistener.service stop running", False),
        ("4711 corosync.service restart running", False),
        ("No jobs running.", False),
        ("", False),
    ],
)
def test_only_a_restart_job_of_this_unit_counts(systemctl: Path, jobs: str, restarting: bool) -> None:
    says(systemctl, jobs)
    assert restart_job() is restarting


def test_without_systemd_or_without_an_answer_it_is_a_farewell(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert restart_job() is False, "there is no systemctl"
    says(systemctl, "4711 corolistener.service restart running")
    monkeypatch.delenv("INVOCATION_ID")
    assert restart_job() is False, "systemd did not start this process"
