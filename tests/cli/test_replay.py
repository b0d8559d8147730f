"""`corolistener replay`: a journal that replays, one that does not, and what is none."""

import json
import re
from pathlib import Path

import pytest

from corolistener.cli import main
from corolistener.ids import NodeId
from corolistener.sim.cluster import world


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    w = world([50, 40, 30])
    for node in w.machines:
        w.power_on(node)
    w.pass_time(3000)
    w.power_off(NodeId(1))
    w.pass_time(12_000)
    path = tmp_path / "journal"
    path.write_text("".join(line + "\n" for line in w.daemons[NodeId(2)].pump.journal.lines()))
    return path


def test_a_takeover_step_by_step(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(journal)]) == 0
    out = capsys.readouterr().out
    assert "GroupChanged(members=(2, 3), left=((1, nodedown" in out
    assert re.search(r"HoldAddress\(ticket=\d+, address=CloudAddress\(ip=192\.0\.2\.10, prefix=32, device=vmbr0\)", out)
    assert "InstallConfig(" in out
    assert out.rstrip().endswith("all decided as they were")


def test_for_programs(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(journal), "--json"]) == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(frames) == len(journal.read_text().splitlines()) - 2
    assert all(set(frame) == {"now_ms", "event", "actions"} for frame in frames)


def test_where_it_differs(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal.write_text(journal.read_text().replace('"elected"', '"retried"', 1))
    assert main(["replay", str(journal)]) == 1
    out = capsys.readouterr().out
    assert out.count("DECIDED OTHERWISE") == 1
    assert [line.split("reason=")[1] for line in out.splitlines() if "HoldAddress" in line] == ["retried)", "elected)"]
    assert "1 of them decided otherwise" in out
    assert main(["replay", str(journal), "--json"]) == 1
    assert sum("recorded" in json.loads(line) for line in capsys.readouterr().out.splitlines()) == 1


def test_what_is_no_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other"
    path.write_text("totem {\n}\n")
    assert main(["replay", str(path)]) == 78
    assert capsys.readouterr().err.splitlines() == [
        f"corolistener: {path}:1: not a journal: the first line is not 'corolistener-journal 1'"
    ]


def test_secrets_of_an_old_journal_are_shown_only_to_who_asks(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = journal.read_text().splitlines()
    head, first = lines[:2], json.loads(lines[2])
    first[1] = {"!": "BadMessage", "sender": 3, "why": "passwd='hunter2x' is not understood"}
    first[2] = []
    journal.write_text("\n".join([*head, json.dumps(first)]) + "\n")
    for words in ((), ("--json",), ("--redact",)):
        main(["replay", str(journal), *words])
        out = capsys.readouterr().out
        assert "hunter2x" not in out
        assert "passwd='********'" in out
    for words in (("--no-redact",), ("--no-redact", "--json")):
        main(["replay", str(journal), *words])
        assert "hunter2x" in capsys.readouterr().out
