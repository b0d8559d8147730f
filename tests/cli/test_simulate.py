"""`corolistener simulate`: a story that goes as written, one that does not, seeds, and what cannot be understood."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corolistener.cli import main
from corolistener.core import line

STORY = Path(__file__).parents[1] / "scenarios/takeover/five-nodes-two-die.txt"


def test_a_story_as_a_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(STORY)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Two of five die at once")
    assert "> kill n1 n2\n" in out
    assert "     5.731  n3   puts the cloud IP on its device: it became master\n" in out
    assert out.endswith(f"holds: everything goes as written in {STORY}\n")


def test_a_story_that_goes_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "story.txt"
    path.write_text(STORY.read_text().replace("n3 service-waits former=1", "n3 service-waits former=2"))
    assert main(["simulate", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"DOES NOT HOLD: {path}:17: what follows is not what is written\n" in out
    assert "  - n3 service-waits former=2 ms=7130\n  + n3 service-waits former=1 ms=7130\n" in out
    assert out.endswith("DOES NOT HOLD: 1 of 3 blocks\n")


def test_a_story_without_expectations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "story.txt"
    path.write_text("# Faults by time and by condition.\n\nnodes 3\nboot\nat 900ms cut n3 for 40ms\n"
                    "at 0ms when service-starting power-off it for 9000ms\nadvance 30s\nsettle\nshow\n")  # fmt: skip
    assert main(["simulate", str(path)]) == 0
    out = capsys.readouterr().out
    assert "     0.900  ***  cut n3\n" in out
    assert "***  power-off n1\n" in out
    assert "***  power-off n1 ends\n" in out
    assert out.endswith("holds: the story expects nothing; no promise was broken\n")


def test_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(STORY), "--json"]) == 0
    frames = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert {"now_ms": 5731, "node": 3, "what": "HoldAddress(elected)"} in frames
    assert frames[-1]["holds"] is True
    assert {tuple(sorted(frame)) for frame in frames} == {("told",), ("node", "now_ms", "what"), ("holds", "why")}


def test_a_seed_twice_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", "--seed", "7", "--nodes", "3", "--hours", "0.01"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert main(words) == 0
    assert first == capsys.readouterr().out
    assert first.startswith("seed 7: 3 nodes, ")
    assert "  ***  " in first
    assert "holds: no promise was broken" in first


def test_a_seed_that_breaks_a_promise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(line, "lapse", lambda s, reason: None)
    assert any(main(["simulate", "--seed", str(seed)]) == 1 for seed in range(100))
    assert "DOES NOT HOLD: at " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ":1: a story begins with its reason: lines with #"),
        ("nodes 3\n", ":1: a story begins with its reason: lines with #: 'nodes 3'"),
        ("# x\n", ":1: nothing happens in this story: no commands follow its reason"),
        ("# x\n\n----\n", ":3: ---- stands behind commands, once"),
        ("# x\n\nnodes 3\nboot\n\nsetle\n", ":6: no command named 'setle'; did you mean 'settle'?"),
        ("# x\nboot\n", ":2: boot: a story begins with `nodes`"),
        ("# x\nnodes\n", ":2: the command reads: nodes COUNT WORD ..."),
        ("# x\nnodes 9\n", ":2: nodes: 9 nodes need as many priorities, and there are 5: priority=50,40,..."),
        ("# x\nnodes 3 lease=3\nboot n7\n", ":3: boot: there is nothing named 7 (any more)"),
        ("# x\nnodes 3\nboot x\n", ":3: boot: 'x' is no node: they are n1, n2 ..."),
        ("# x\nnodes 3\nadvance soon\n", ":3: advance: 'soon' is no duration: they are like 300ms or 5s"),
        ("# x\nnodes 3\nat 5ms foo n1\n", ":3: at: no fault named 'foo'; one of power-off, "),
    ],
)
def test_what_is_no_story(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, error: str) -> None:
    path = tmp_path / "story.txt"
    path.write_text(text)
    assert main(["simulate", str(path)]) == 78
    err = capsys.readouterr().err
    assert err.startswith(f"corolistener: {path}{error}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "simulate needs either a story FILE or --seed N"),
        (["story", "--seed", "1"], "simulate needs either a story FILE or --seed N"),
        (["--seed", "x"], "argument --seed: expected a whole number, found 'x'"),
        (["--seed", "1", "--nodes", "1"], "argument --nodes: expected 2 to 30 nodes, found 1"),
        (["--seed", "1", "--hours", "nan"], "argument --hours: expected hours, more than 0 and at most 24, found 'nan'"),
    ],
)
def test_what_is_not_understood(capsys: pytest.CaptureFixture[str], words: list[str], error: str) -> None:
    try:
        status = main(["simulate", *words])
    except SystemExit as ended:
        status = int(str(ended.code))
    assert (status, capsys.readouterr().err) == (2, f"corolistener: {error}\n")


def test_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "/no/such/story"]) == 78
    assert capsys.readouterr().err == "corolistener: /no/such/story: cannot be read: No such file or directory\n"


def test_other_verbs_do_not_load_the_simulator() -> None:
    script = "import sys; from corolistener.cli import verbs; print([name for name in sys.modules if '.sim' in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_story_shows_no_passwords_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "story.txt"
    path.write_text("# The console has passwd='hunter2x'.\n\nnodes 3 priority=50,40,30\nboot\nsettle\n")
    assert main(["simulate", str(path)]) == 0
    assert "hunter2x" not in capsys.readouterr().out
    assert main(["simulate", str(path), "--json"]) == 0
    assert "hunter2x" not in capsys.readouterr().out
    assert main(["simulate", str(path), "--no-redact"]) == 0
    assert "hunter2x" in capsys.readouterr().out
