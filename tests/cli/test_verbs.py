"""What the command line understands, and the one line it has for what it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemon.serving import Told

import corolistener
from corolistener.cli import verbs

from .conftest import Type


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "a verb is missing: one of run, status, check"),
        (["statsu"], "unknown verb 'statsu'; did you mean 'status'?"),
        (["xyzzy"], "unknown verb 'xyzzy'; one of run, status, check"),
        (["--jsno"], "unknown option '--jsno'; did you mean '--json'?"),
        (["-x"], "unknown option '-x'\n"),
        (["status", "--jso"], "unknown option '--jso'; did you mean '--json'?"),
        (["status", "now"], "unknown word 'now'"),
        (["config", "pish"], "unknown verb 'pish'; did you mean 'push'?"),
        (["config"], "the following arguments are required: show|diff|log|pull|push|revert|keygen"),
        (["config", "revert", "x"], "argument VERSION: 'x' is no version"),
        (["node", "add", "--adress", "10.0.0.1"], "the following arguments are required: --address"),
        (["node", "add", "--address", "here"], "argument --address: expected an IPv4 or IPv6 address, found 'here'"),
        (["node", "edit", "4", "--priority", "-1"], "argument --priority: expected"),
        (["node", "edit", "4", "--replication", "of"], "unknown --replication 'of'; did you mean 'off'?"),
        (["-l", "status"], "-l takes no verb: 'status'"),
        (["-l", "--jsn"], "unknown option '--jsn'; did you mean '--json'?"),
        (["--json"], "--json belongs to -l"),
        (["--config"], "argument --config: expected one argument"),
    ],
)
def test_what_is_not_understood_exits_2_with_one_line(typed: Type, words: list[str], line: str) -> None:
    got = typed(*words, config=False)
    assert (got.status, got.out, got.err.count("\n")) == (2, "", 1)
    assert got.err.startswith("corolistener: " + line)


def test_version_and_help(typed: Type) -> None:
    assert typed("--version", config=False)[:2] == (0, f"corolistener {corolistener.__version__}\n")
    got = typed("--help", config=False)
    assert got.status == 0
    assert all(f"  {verb} " in got.out for verb in verbs.VERBS)


@pytest.mark.parametrize("verb", sorted(set(verbs.VERBS) - {"replay"}))
def test_every_verb_is_there_and_knows_help(typed: Type, verb: str) -> None:
    got = typed(verb, "--help", config=False)
    assert (got.status, got.err) == (0, "")
    assert got.out.startswith(f"usage: corolistener {verb} ")


@pytest.mark.parametrize("before", [True, False])
def test_the_settings_may_be_named_anywhere(typed: Type, root: Path, before: bool) -> None:
    (root / "corosync.conf").write_text("totem {\n}\n")
    config = ["--config", str(root / "corolistener.toml")]
    words = [*config, "config", "show"] if before else ["config", "show", *config]
    assert typed(*words, config=False) == (0, "totem {\n}\n", "")


def test_settings_that_cannot_be_used_exit_78(typed: Type, root: Path) -> None:
    (root / "corolistener.toml").write_text("[cloud]\nip = 3\n")
    got = typed("status")
    assert (got.status, got.out, got.err.count("\n")) == (78, "", 1)
    assert "corolistener.toml:2: cloud.ip: expected" in got.err


def test_no_daemon_exits_1(typed: Type) -> None:
    got = typed("status")
    assert (got.status, got.out, got.err.count("\n")) == (1, "", 1)
    assert "systemctl start corolistener" in got.err


def test_prepare_restart(typed: Type, daemon: Told) -> None:
    async def answer(verb: str, *_: object) -> dict[str, object]:
        return {"restart_ms": 5000}

    daemon.answer = answer
    got = typed("prepare-restart")
    assert (got.status, daemon.asked) == (0, [("prepare-restart", {})])
    assert "5000 ms" in got.out


@pytest.mark.parametrize("words", [["-l", "--json"], ["status"], ["check"]])
def test_a_reader_that_has_seen_enough_is_no_error_message(root: Path, daemon: Told, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "corolistener", "--config", str(root / "corolistener.toml"), *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert done.stderr == ""
