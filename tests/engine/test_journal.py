"""A saved journal is lived through once more and gives the same actions, wherever it begins and ends."""

import base64
from pathlib import Path

import pytest

from corolistener.core.events import Defined
from corolistener.core.messages import PushText
from corolistener.engine import journal
from corolistener.engine.journal import Journal
from corolistener.errors import ConfigError
from corolistener.ids import Instant, NodeId, VmName
from corolistener.sim.cluster import world
from corolistener.sim.world import World


def _lived(most: int) -> World:
    """A cluster with a takeover, a push and a return behind it, whose journals keep `most` steps."""
    w = world([50, 40, 30], seed=7)
    for node in w.machines:
        w.power_on(node)
        pump = w.daemons[node].pump
        pump.journal = Journal(pump.core, most)
    w.pass_time(4000)
    w.ask(NodeId(3), PushText(w.machines[NodeId(3)].disk.text.replace(b"totem {\n", b"totem {\n\ttoken: 4000\n")))
    w.pass_time(2000)
    w.power_off(NodeId(1))
    w.pass_time(14_000)
    w.power_on(NodeId(1))
    w.pass_time(4000)
    return w


@pytest.fixture(scope="module")
def lived() -> World:
    return _lived(100_000)


def _save(path: Path, kept: Journal) -> str:
    path.write_text("".join(line + "\n" for line in kept.lines()), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("node", [2, 3])
def test_saved_and_loaded_it_replays_equal(lived: World, tmp_path: Path, node: int) -> None:
    segment = journal.load(_save(tmp_path / "journal", lived.daemons[NodeId(node)].pump.journal))
    assert len(segment.entries) > 100
    assert sum(len(entry.actions) for entry in segment.entries) > 50
    for entry, now in journal.replay(segment):
        assert now == entry.actions


@pytest.mark.parametrize("most", [1, 2, 7, 50])
def test_it_can_begin_anywhere(tmp_path: Path, most: int) -> None:
    kept = _lived(most).daemons[NodeId(2)].pump.journal
    segment = journal.load(_save(tmp_path / "journal", kept))
    assert most <= len(segment.entries) < 2 * most + 1
    for entry, now in journal.replay(segment):
        assert now == entry.actions


def test_it_can_be_cut_at_any_line(lived: World, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _save(path, lived.daemons[NodeId(2)].pump.journal)
    lines = path.read_text().splitlines(keepends=True)
    for length in range(2, len(lines), 37):
        path.write_text("".join(lines[:length]))
        segment = journal.load(str(path))
        assert len(segment.entries) == length - 2
        assert all(now == entry.actions for entry, now in journal.replay(segment))


def test_a_line_cut_in_the_middle_is_named(lived: World, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _save(path, lived.daemons[NodeId(2)].pump.journal)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], lines[5][: len(lines[5]) // 2]]))
    with pytest.raises(ConfigError) as refused:
        journal.load(str(path))
    assert refused.value.line == 6


def test_a_replay_that_differs_shows(lived: World, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _save(path, lived.daemons[NodeId(2)].pump.journal)
    text = path.read_text()
    assert '"elected"' in text
    path.write_text(text.replace('"elected"', '"retried"', 1))
    assert any(now != entry.actions for entry, now in journal.replay(journal.load(str(path))))


def test_a_step_that_raises_shows_the_bug_and_ends_the_replay(
    lived: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = journal.load(_save(tmp_path / "journal", lived.daemons[NodeId(2)].pump.journal))
    calls = iter([None] * 20)

    def breaks(*_: object) -> None:
        if next(calls, 1) is not None:
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr("corolistener.core.changes.expire", breaks)
    replayed = list(journal.replay(segment))
    assert len(replayed) == 21
    assert "ZeroDivisionError: a bug" in str(replayed[-1][1])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (b"corolistener-journal 1\n", 1),
        (b"something else\n{}\n", 1),
        (b"corolistener-journal 1\n[1,2]\n", 2),
        (b"corolistener-journal 1\n{}\n", 2),
        (b'corolistener-journal 1\n{"!":"State"}\n', 2),
        (b"corolistener-journal 1\nnot json\n", 2),
        (b"corolistener-journal 1\n" + b"[" * 100_000 + b"\n", 2),
        (b"\xff\xfe\n", 0),
    ],
)
def test_alien_files_are_refused_with_the_line(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        journal.load(str(path))
    assert refused.value.line == line
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        journal.load(str(tmp_path / "none"))


@pytest.mark.parametrize("step", ["[1,2]", "[1,2,3]", '["a","b","c"]', "{}", '[1,{"!":"TimePassed"},{"!":"TimePassed"}]'])
def test_a_line_that_is_no_step_is_refused(lived: World, tmp_path: Path, step: str) -> None:
    path = tmp_path / "journal"
    _save(path, lived.daemons[NodeId(2)].pump.journal)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], step]))
    with pytest.raises(ConfigError) as refused:
        journal.load(str(path))
    assert refused.value.line == 3


def test_what_is_saved_has_no_definition_in_it_and_replays_all_the_same(tmp_path: Path) -> None:
    """A console's password is in the definition of a VM; and its checksum would tell a guess right or wrong."""
    w = _lived(100_000)
    kept, pump = w.daemons[NodeId(2)].pump.journal, w.daemons[NodeId(2)].pump
    text = b"<domain><graphics type='vnc' passwd='hunter2x'/></domain>"
    pump.post(Defined(VmName("web"), "0" * 64, text))
    pump.run(Instant(w.heap.now))
    whole, saved = ["\n".join(kept.lines(secrets)) for secrets in (True, False)]
    assert base64.b64encode(text).decode() in whole
    assert base64.b64encode(text).decode() not in saved
    assert base64.b64encode(b"*" * len(text)).decode() in saved
    segment = journal.load(_save(tmp_path / "journal", kept))
    assert len(segment.entries) == len(whole.splitlines()) - 2
    for entry, now in journal.replay(segment):
        assert now == entry.actions
