"""The log: one line a note, whatever a peer or a file put into it, and never a reason for the daemon to wait."""

import logging
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.core.notes import Note, NoteCode
from corolistener.daemon.notes import Log, level_of, line_of


@given(st.text(), st.text())
def test_a_note_is_one_line(one: str, other: str) -> None:
    text = line_of("master", (("node", one), ("why", other)))
    assert len(text.splitlines()) == 1
    assert text.isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2.9", "2.9"),
        ("a b", '"a b"'),
        ("x=y", '"x=y"'),
        ('say "no"', '"say \\"no\\""'),
        ("a\nb", '"a\\nb"'),
        ("é", '"\\u00e9"'),
    ],
)
def test_only_plain_words_stand_bare(value: str, shown: str) -> None:
    assert line_of("view", (("members", value),)) == f"view members={shown}"


def test_empty_fields_are_not_told() -> None:
    assert line_of("address-held", (("kept", ""),)) == "address-held"


def test_every_note_has_a_level() -> None:
    assert level_of(NoteCode.BROKEN) == logging.ERROR
    assert level_of(NoteCode.QUORUM_LOST) == logging.WARNING
    assert {level_of(code) for code in NoteCode} == {logging.INFO, logging.WARNING, logging.ERROR}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_line_carries_the_time_of_its_event(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "new" / "log"))
    log.stamp = 1_700_000_000.25
    log.note(Note(NoteCode.MASTER, (("node", "4"),)))
    log.close()
    assert lines(tmp_path / "new" / "log") == ["2023-11-14T22:13:20.250000+00:00 INFO master node=4"]


def test_after_a_rotation_the_new_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path))
    log.say(logging.INFO, "first")
    wait_until(lambda: path.exists() and len(lines(path)) == 1)
    os.rename(path, tmp_path / "log.1")
    log.reopen()
    log.say(logging.INFO, "second")
    log.close()
    assert "second" in lines(path)[0]
    assert "first" in lines(tmp_path / "log.1")[0]


def test_a_file_that_cannot_be_opened_is_told_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(str(tmp_path))
    log.say(logging.INFO, "started", node=4)
    log.close()
    told = capfd.readouterr().err
    assert "log path=" in told
    assert "started node=4" in told


def test_a_full_disk_loses_its_own_lines_only(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log("/dev/full")
    for number in range(3):
        log.say(logging.INFO, "line", number=number)
    log.close()
    assert capfd.readouterr().err.count(" line number=") == 3


def wait_until(condition: object, limit: float = 10) -> None:
    assert callable(condition)
    end = time.monotonic() + limit
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_what_is_planted_in_place_of_the_log_is_not_written_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """At start and after a rotation: a link, a pipe that nobody reads, a hard link, a directory. stderr has every line."""
    target, path = tmp_path / "target", tmp_path / "log"
    target.write_text("precious\n")
    plants = [lambda: path.symlink_to(target), lambda: os.mkfifo(path), lambda: os.link(target, path), path.mkdir]
    for plant in plants:
        plant()
        log = Log(str(path))
        log.say(logging.INFO, "started", node=4)
        log.close()
        told = capfd.readouterr().err
        assert "ERROR log path=" in told
        assert "started node=4" in told
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        log = Log(str(path))
        log.say(logging.INFO, "first")
        wait_until(lambda: path.exists() and len(lines(path)) == 1)
        path.unlink()
        plant()
        log.reopen()
        log.say(logging.INFO, "second")
        log.say(logging.INFO, "third")
        log.close()
        told = capfd.readouterr().err
        assert "second" in told
        assert "third" in told
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert target.read_text() == "precious\n"


def test_a_log_that_nobody_wants(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log("/dev/null")
    log.say(logging.INFO, "started")
    log.close()
    assert "ERROR log" not in capfd.readouterr().err
