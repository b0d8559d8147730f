"""The ledger on a real disk: what was written is there, whole, whatever happens to process, disk and file."""

import asyncio
import errno
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ring_messages import ROWS, VERSIONS

from corolistener.core.actions import Record
from corolistener.core.capacity import Vm
from corolistener.core.config import ProofKind
from corolistener.core.events import Recalled, Result
from corolistener.core.ledger import Known, Ledger, Panic, Placed, Proven, Rows, Version
from corolistener.effects.memory import Memory
from corolistener.effects.memory_file import NAME, LedgerFile
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId, Ticket, VmName

from .conftest import in_mounts_of_its_own, libc, root

NOTHING = Recalled()
FULL = Rows(
    placed=tuple(
        Placed(Vm(VmName(f"vm{n:02}"), 1 << 20, storages=frozenset({"san", "nas"})), NodeId(n % 3 + 1), generation=n)
        for n in range(40)
    ),
    known=tuple(Known(NodeId(n), f"boot-{n}", 5130, 2000) for n in (1, 2, 3)),
    proven=(Proven(NodeId(3), "boot-3", ProofKind.OPERATOR, "root (uid 0) at node 1"),),
    panic=Panic("smoke", "", "2026-11-20T22:00:00+00:00"),
)


def record(version: Version, rows: Rows, *, whole: bool = False) -> Record:
    return Record(Ticket(1), version, rows, whole)


def at(index: int) -> Version:
    return Version(24, 1, index, "run")


def recalled(directory: Path) -> Recalled:
    """What a process that starts finds; nothing may have been damaged."""
    file = LedgerFile(directory)
    found = file.recall()
    assert file.aside == []
    file.close()
    return found


def written(directory: Path, rows: Rows = FULL, index: int = 1) -> Recalled:
    """A file with these rows; what is in it."""
    file = LedgerFile(directory)
    file.recall()
    file.write(record(at(index), rows, whole=True))
    file.close()
    return Recalled(at(index), rows)


def test_nothing_is_remembered_at_first_and_everything_afterwards(tmp_path: Path) -> None:
    state = tmp_path / "var" / "state"
    assert recalled(state) == NOTHING
    assert written(state) == recalled(state) == Recalled(at(1), FULL)
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()} == {NAME: 0o600}


def test_a_change_replaces_rows_of_the_same_name_and_takes_out_what_is_forgotten(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path)
    file.recall()
    file.write(record(at(0), FULL))
    moved = Placed(FULL.placed[1].vm, NodeId(3), generation=99)
    file.write(record(at(1), Rows(placed=(moved,), forgotten=(VmName("vm00"),), voided=(NodeId(3),), calm=True)))
    file.close()
    found = recalled(tmp_path)
    assert found.version == at(1)
    assert found.rows.placed == (moved, *FULL.placed[2:])
    assert (found.rows.known, found.rows.proven, found.rows.panic) == (FULL.known, (), None)


CHANGES = st.lists(st.tuples(ROWS, st.booleans(), VERSIONS, st.booleans()), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
@example([(Rows(panic=Panic("a")), False, at(0), True), (Rows(panic=Panic("b"), calm=True), False, at(1), False)])
@example([(FULL, False, at(0), False), (Rows(), True, at(1), True)])
def test_what_was_written_is_what_the_core_has(changes: list[tuple[Rows, bool, Version, bool]]) -> None:
    """Any changes, with the process ending between some of them: the file says what Ledger.take makes of them."""
    with tempfile.TemporaryDirectory() as directory:
        ledger, file = Ledger(), LedgerFile(Path(directory))
        file.recall()
        for rows, whole, version, ends in changes:
            ledger = Ledger() if whole else ledger
            ledger.take(rows)
            file.write(record(version, rows, whole=whole))
            if ends:
                file.close()
                file = LedgerFile(Path(directory))
            assert file.recall() == Recalled(version, ledger.rows())
        file.close()


def test_a_change_is_refused_where_what_came_before_it_is_missing(tmp_path: Path) -> None:
    """As after a write that took too long and happened all the same, or in a file that somebody put there."""
    file = LedgerFile(tmp_path)
    file.recall()
    file.write(record(at(5), FULL))
    other = LedgerFile(tmp_path / "other")
    other.recall()
    other.close()
    file.close()
    (tmp_path / "other" / NAME).replace(tmp_path / NAME)
    with pytest.raises(EffectError, match=r"has version 0\.0\.0, not 24\.1\.5: all must be written"):
        file.write(record(at(6), Rows(calm=True)))
    file.write(record(at(6), FULL, whole=True))
    file.close()
    assert recalled(tmp_path) == Recalled(at(6), FULL)


# -- a process that dies

WRITER = """
import os, sys
from pathlib import Path
from corolistener.effects.memory_file import LedgerFile
from effects.test_memory import generation, record, at

file = LedgerFile(Path(sys.argv[1]))
index = file.recall().version.index
while True:
    index += 1
    file.write(record(at(index), generation(index), whole=index % 5 == 0))
    os.write(1, f"{index}\\n".encode())
"""


def generation(index: int) -> Rows:
    """Every row changes with every version, so that one row of another version shows."""
    rows = tuple(Placed(each.vm, each.node, generation=index, frozen="x" * (index % 997)) for each in FULL.placed)
    return Rows(placed=rows, known=FULL.known, panic=Panic(str(index)))


def test_a_process_killed_in_the_middle_of_writing_leaves_one_version_whole(tmp_path: Path) -> None:
    dice, least = random.Random(7), 0
    for _ in range(12):
        argv = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], text=True) as writer:
            assert writer.stdout is not None
            for _ in range(dice.randint(1, 12)):
                least = int(writer.stdout.readline())
            try:  # somewhere within the next write or two
                writer.wait(dice.random() * 0.01)
            except subprocess.TimeoutExpired:
                writer.send_signal(signal.SIGKILL)
            assert writer.wait() == -signal.SIGKILL
        found = recalled(tmp_path)
        assert found.version.index >= least, "what was acknowledged is there"
        assert found.rows == generation(found.version.index), "and nothing of another version"


def test_a_commit_is_synced_and_so_are_the_names(tmp_path: Path) -> None:
    """What the kernel is asked to put on the disk, as it sees it: file, log, and the directory that names them."""
    trace = tmp_path / "trace"
    script = WRITER.replace("while True:", "for _ in range(3):")
    argv = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync,write", sys.executable, "-c", script]
    try:
        subprocess.run(
            [*argv, str(tmp_path / "state")], cwd=Path(__file__).parents[1], check=True, capture_output=True, timeout=60
        )
    except FileNotFoundError:
        pytest.skip("no strace here")
    lines = [line for line in trace.read_text().splitlines() if "sync(" in line or "write(1<" in line]
    assert any("sync(" in line and f"{tmp_path / 'state'}>" in line for line in lines)
    for index in (1, 2, 3):
        said = next(place for place, line in enumerate(lines) if "write(1<" in line and f'"{index}\\n"' in line)
        assert f"{NAME}-wal>" in lines[said - 1], "the log is synced, then it is said"


# -- a disk that refuses


def tiny_disk(path: Path, size: str) -> None:
    assert libc.mount(b"none", str(path).encode(), b"tmpfs", 0, f"size={size}".encode()) == 0


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - what comes first, a full disk or another fault
                return


def remount(path: Path, *, writable: bool) -> None:
    subprocess.run(["mount", "-o", f"remount,{'rw' if writable else 'ro'}", str(path)], check=True)


@root
def test_a_full_disk_is_told_in_the_systems_words_and_leaves_what_was_there(tmp_path: Path) -> None:
    def story() -> None:
        tiny_disk(tmp_path, "256k")
        file = LedgerFile(tmp_path)
        file.recall()
        file.write(record(at(1), FULL))
        fill(tmp_path / "fill")
        for _ in range(2):
            with pytest.raises(EffectError, match="database or disk is full"):
                file.write(record(at(2), generation(700), whole=True))
        assert recalled(tmp_path) == Recalled(at(1), FULL), "also a daemon that starts on a full disk"
        (tmp_path / "fill").unlink()
        file.write(record(at(3), generation(3), whole=True))
        file.close()
        assert recalled(tmp_path) == Recalled(at(3), generation(3))

    in_mounts_of_its_own(story)


@root
def test_a_disk_full_from_the_start_remembers_nothing_and_is_used_once_there_is_room(tmp_path: Path) -> None:
    def story() -> None:
        tiny_disk(tmp_path, "64k")
        fill(tmp_path / "fill")
        file = LedgerFile(tmp_path)
        assert file.recall() == NOTHING
        with pytest.raises(EffectError, match="full"):
            file.write(record(at(1), FULL))
        (tmp_path / "fill").unlink()
        file.write(record(at(2), Rows(panic=Panic("x")), whole=True))
        file.close()
        assert recalled(tmp_path) == Recalled(at(2), Rows(panic=Panic("x")))

    in_mounts_of_its_own(story)


@root
@pytest.mark.parametrize("log", [False, True], ids=["closed", "killed"])
def test_a_read_only_disk_is_read_and_each_write_says_so(tmp_path: Path, log: bool) -> None:
    def story() -> None:
        tiny_disk(tmp_path, "1m")
        state = tmp_path / "state"
        first = LedgerFile(state)
        first.recall()
        first.write(record(at(1), FULL))
        if not log:
            first.close()
        assert (state / f"{NAME}-wal").exists() == log
        tree = tmp_path if not log else _copy(state, tmp_path / "killed")
        directory = state if not log else tree
        first.close()
        remount(tmp_path, writable=False)
        file = LedgerFile(directory)
        found = file.recall()
        assert replace(found, doubt="") == Recalled(at(1), FULL)
        assert bool(found.doubt) == log, "a copy of the state directory is no witness"
        with pytest.raises(EffectError, match="cannot be written"):
            file.write(record(at(2), Rows(calm=True)))
        assert LedgerFile(tmp_path / "never-made").recall() == NOTHING
        remount(tmp_path, writable=True)
        file.write(record(at(2), FULL, whole=True))
        file.close()
        assert recalled(directory) == Recalled(at(2), FULL)

    in_mounts_of_its_own(story)


def _copy(state: Path, to: Path) -> Path:
    """The files as a process that was killed now would leave them."""
    to.mkdir()
    for path in state.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


# -- a file that is not what it was


@pytest.mark.parametrize("data", [b"not a database at all" * 100, b"SQLite format 3\0" + bytes(4000), b"x", b""])
def test_a_damaged_file_is_put_aside_and_the_next_one_is_good(tmp_path: Path, data: bytes) -> None:
    for number in (1, 2):
        (tmp_path / NAME).write_bytes(data)
        file = LedgerFile(tmp_path)
        assert file.recall() == NOTHING
        assert [path.name for path, why in file.aside if why] == [f"{NAME}.damaged-{number}"]
        file.close()
        assert (tmp_path / f"{NAME}.damaged-{number}").read_bytes() == data
        assert recalled(tmp_path) == NOTHING
    assert written(tmp_path) == recalled(tmp_path)


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """Each flip is without effect, or the file is put aside, or it says that it is of a newer schema. It is always
    the same file: another one with this content would be a copy, which says so."""
    good = written(tmp_path)
    data, dice = (tmp_path / NAME).read_bytes(), random.Random(11)
    seen, refusals = {"same": 0, "aside": 0}, list[str]()
    for _ in range(400):
        flipped = bytearray(data)
        flipped[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (tmp_path / NAME).write_bytes(flipped)
        file = LedgerFile(tmp_path)
        try:
            found = file.recall()
        except ConfigError as error:
            refusals.append(error.why)
            continue
        finally:
            file.close()
        assert found == (NOTHING if file.aside else good)
        seen["aside" if file.aside else "same"] += 1
        for path, _ in file.aside:
            path.replace(tmp_path / NAME)
    assert min(seen.values()) > 50
    assert all("a newer corolistener wrote it" in why for why in refusals)


def test_a_directory_or_a_link_in_its_place_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    written(tmp_path / "elsewhere")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere" / NAME)
    file = LedgerFile(tmp_path)
    assert file.recall() == NOTHING
    file.close()
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    assert file.recall() == NOTHING
    file.close()
    assert [path.name for path, _ in file.aside] == [f"{NAME}.damaged-1", f"{NAME}.damaged-2"]
    assert recalled(tmp_path / "elsewhere").rows == FULL


def test_another_programs_database_is_put_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("CREATE TABLE cookies (taste)")
    db.close()
    file = LedgerFile(tmp_path)
    assert file.recall() == NOTHING
    assert file.aside[0][1].startswith("it is another program's")
    file.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    written(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    before = (tmp_path / NAME).read_bytes()
    file = LedgerFile(tmp_path)
    for error, call in ((ConfigError, file.recall), (EffectError, lambda: file.write(record(at(9), FULL, whole=True)))):
        with pytest.raises(error, match=r"a newer corolistener wrote it \(schema 2, this one knows 1\)"):
            call()
    assert (tmp_path / NAME).read_bytes() == before


def test_fields_of_a_newer_program_are_ignored_and_missing_ones_have_defaults(tmp_path: Path) -> None:
    from corolistener.effects.memory_file import _sum

    written(tmp_path, Rows())
    row = ("known", "1", '{"node":1,"boot":"b","lease_ms":1,"grace_ms":2,"of_the_future":[]}')
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?)", (*row, _sum(*row)))
    db.close()
    assert recalled(tmp_path).rows == Rows(known=(Known(NodeId(1), "b", 1, 2, 0),))


def test_who_else_has_the_file_keeps_a_second_process_out(tmp_path: Path) -> None:
    first = LedgerFile(tmp_path)
    first.recall()
    first.write(record(at(1), FULL))
    script = "from pathlib import Path; import sys; from corolistener.effects.memory_file import LedgerFile\n"
    argv = [sys.executable, "-c", script + "LedgerFile(Path(sys.argv[1])).recall()", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "database is locked" in done.stderr.splitlines()[-1]
    first.close()
    assert recalled(tmp_path).rows == FULL


@pytest.mark.parametrize("lost", ["", "-wal"])
def test_a_file_taken_away_while_in_use_is_not_written_to_in_silence(tmp_path: Path, lost: str) -> None:
    file = LedgerFile(tmp_path)
    file.recall()
    file.write(record(at(1), FULL))
    (tmp_path / f"{NAME}{lost}").unlink()
    with pytest.raises(EffectError, match=r"was moved or removed|all must be written|disk I/O|malformed"):
        file.write(record(at(2), Rows(calm=True)))
    file.write(record(at(3), FULL, whole=True))
    file.close()
    assert recalled(tmp_path) == Recalled(at(3), FULL)


# -- behind the port


def test_the_port_tells_what_happened(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / NAME).write_bytes(b"rubbish" * 100)

    async def story() -> None:
        memory = Memory(str(tmp_path), lambda path, why: told.append(path.name))
        assert await memory.recall() == NOTHING
        assert (await memory.perform(record(at(1), FULL))).result is Result.DONE
        (tmp_path / NAME).unlink()
        with pytest.raises(EffectError, match="moved or removed"):
            await memory.perform(record(at(2), Rows(calm=True)))
        writes = [memory.perform(record(at(index), generation(index), whole=True)) for index in range(3, 9)]
        assert {outcome.result for outcome in await asyncio.gather(*writes)} == {Result.DONE}
        await memory.close()

    asyncio.run(story())
    assert told == [f"{NAME}.damaged-1"]
    assert recalled(tmp_path) == Recalled(at(8), generation(8))


def test_a_ledger_of_another_cluster_is_kept_beside_when_it_is_replaced(tmp_path: Path) -> None:
    ours, other = replace(FULL, cluster="ours"), replace(FULL, cluster="other", owned=True, panic=None)
    before = written(tmp_path, other)
    file = LedgerFile(tmp_path)
    assert file.recall() == before
    file.write(record(at(7), ours, whole=True))
    [(copy, why)] = file.aside
    assert (copy.name, why) == (f"{NAME}.other-cluster-1", "it belongs to another cluster")
    file.write(record(at(8), ours, whole=True))
    assert len(file.aside) == 1, "the same cluster's is replaced without more ado"
    file.close()
    assert recalled(tmp_path).rows == ours
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy.rename(elsewhere / NAME)
    assert LedgerFile(elsewhere).recall().rows == before.rows
