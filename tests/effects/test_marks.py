"""A ledger's file that was restored, copied or cloned says so, and one that was not does not."""

import shutil
from pathlib import Path

import pytest

from corolistener.core.actions import Record
from corolistener.core.ledger import Known, Rows, Version
from corolistener.effects import marks
from corolistener.effects.memory_file import COMPANIONS, NAME, LedgerFile
from corolistener.ids import NodeId, Ticket

HEARD = ((NodeId(2), Version(8, 0, 3, "run")),)


def at(index: int) -> Version:
    return Version(8, 0, index, "run")


def write(state: Path, index: int, whole: bool = True) -> None:
    file = LedgerFile(state)
    file.recall()
    file.write(Record(Ticket(1), at(index), Rows(known=(Known(NodeId(1), f"boot-{index}", 5130, 2000),)), whole, HEARD))
    file.close()


def doubt(state: Path) -> str:
    file = LedgerFile(state)
    found = file.recall()
    file.close()
    assert file.aside == []
    return found.doubt


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    write(directory, 1)
    return directory


def test_a_file_in_its_place_is_a_witness(state: Path) -> None:
    assert doubt(state) == ""
    write(state, 2, whole=False)
    assert doubt(state) == ""
    file = LedgerFile(state)
    assert file.recall().heard == HEARD
    file.close()


def test_a_restored_directory_is_none(state: Path, tmp_path: Path) -> None:
    """Also where nothing was written since, for nobody can know that from the file."""
    shutil.copytree(state, tmp_path / "backup")
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "backup", state)
    assert "copy" in doubt(state)


def test_content_that_is_copied_into_the_file_is_none(state: Path, tmp_path: Path) -> None:
    shutil.copytree(state, tmp_path / "backup")
    write(state, 5)
    for companion in COMPANIONS:
        (state / f"{NAME}{companion}").unlink(missing_ok=True) if companion else None
        if (tmp_path / "backup" / f"{NAME}{companion}").exists():
            (state / f"{NAME}{companion}").write_bytes((tmp_path / "backup" / f"{NAME}{companion}").read_bytes())
    assert doubt(state) == "this node had written version 8.0.5, and the file has version 8.0.1"


def test_another_machines_disk_is_none(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "machine", lambda: "another")
    assert doubt(state) == "it was written on another machine"


def test_another_ledger_is_none(state: Path, tmp_path: Path) -> None:
    """The file of another node, with this node's counter beside it, though inode and machine fit."""
    write(tmp_path / "other" / "state", 9)
    (tmp_path / "state.mark").write_bytes((tmp_path / "other" / "state.mark").read_bytes())
    assert "another ledger" in doubt(state)


def test_doubt_lasts_until_all_was_written(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "machine", lambda: "another")
    file = LedgerFile(state)
    assert file.recall().doubt
    file.write(Record(Ticket(1), at(2), Rows(), whole=False))
    file.close()
    assert doubt(state), "a change alone does not make it a witness"
    write(state, 3)
    assert doubt(state) == ""


@pytest.mark.parametrize("content", [b"", b"garbage", b"00000000 []", b"ffffffff [1,2]", b"\xff" * 5000])
def test_a_counter_that_says_nothing_speaks_against_nobody(state: Path, content: bytes) -> None:
    (state.parent / "state.mark").write_bytes(content)
    assert doubt(state) == ""
    (state.parent / "state.mark").unlink()
    assert doubt(state) == ""


def test_a_power_loss_may_leave_an_older_counter(state: Path) -> None:
    older = (state.parent / "state.mark").read_bytes()
    write(state, 7)
    (state.parent / "state.mark").write_bytes(older)
    assert doubt(state) == ""


def test_a_counter_that_cannot_be_written_stops_nothing(state: Path) -> None:
    (state.parent / "state.mark").unlink()
    (state.parent / "state.mark").mkdir()
    write(state, 3)
    assert doubt(state) == ""


def test_the_file_of_an_older_program_has_no_marks_and_gets_them(state: Path) -> None:
    import sqlite3

    with sqlite3.connect(state / NAME) as db:
        db.execute("DROP TABLE beside")
    db.close()
    assert doubt(state) == ""
    write(state, 2, whole=False)
    shutil.copytree(state, state.parent / "copy" / "state")
    assert "copy" in doubt(state.parent / "copy" / "state")


def test_marks_are_compared_only_where_they_are_known() -> None:
    known = marks.Marks("12.5", "machine", "serial")
    assert marks.difference(known, replace_machine(known, "")) == ""
    assert marks.difference(known, replace_machine(known, "other"))
    assert marks.decode(marks.encode(known)) == known


def replace_machine(known: marks.Marks, machine: str) -> marks.Marks:
    return known._replace(machine=machine)
