"""`config` and `node`: what is read from disk, what is asked of the daemon, and how it is told."""

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from daemon.serving import Answer, Told

from corolistener.effects.pull import Pull, Pulled, PullResult
from corolistener.errors import RequestRefused

from .conftest import Type

CONF = """\
totem {
	version: 2
	config_version: %d
	cluster_name: VMmanager
}
nodelist {
	node {
		ring0_addr: 10.0.0.1
		nodeid: 2
		name: a
		prio: %d
		replication: on
	}
	node {
		ring0_addr: 10.0.0.2
		nodeid: 4
		prio: 7
	}
}
"""


@pytest.fixture
def versions(root: Path) -> Path:
    """A corosync.conf of version 3, and the kept version 2."""
    (root / "corosync.conf").write_text(CONF % (3, 99))
    (root / "corosync.conf.2").write_text(CONF % (2, 98))
    return root / "corosync.conf"


def transaction(progress_frames: list[dict[str, Any]], answer: dict[str, Any]) -> Answer:
    async def carried_out(verb: str, args: dict[str, Any], progress: Any, peer: Any) -> dict[str, Any]:
        if verb == "join-token":
            return {"token": "abcd", "from": "10.0.0.1"}
        for frame in progress_frames:
            progress(frame)
        return answer

    return carried_out


def refusal(code: str, why: str) -> Answer:
    async def refused(*_: Any) -> dict[str, Any]:
        raise RequestRefused(code, why)

    return refused


GOOD = transaction(
    [
        {"code": "offered", "version": 7},
        {"code": "stored", "node": 7, "members": 3},
        {"code": "not-stored", "node": 9, "members": 3, "why": "No space left on device"},
        {"code": "stored", "node": 13, "members": 3},
    ],
    {"version": 7, "stored": 2, "of": 3},
)


def test_show_prints_bytes_as_they_are(typed: Type, versions: Path) -> None:
    versions.write_bytes(b"totem {\r\n\tcluster_name: \xe4\r\n}")
    assert typed("config", "show").out.encode("utf-8", "surrogateescape") != b""
    assert typed("config", "show", "2").out == CONF % (2, 98)
    assert typed("config", "show", "9").status == 78


def test_log_lists_what_is_kept(typed: Type, versions: Path) -> None:
    rows = typed("config", "log").out.splitlines()
    assert [row.split()[0] for row in rows] == ["2", "3"]
    assert rows[1].endswith("in use")
    facts = json.loads(typed("config", "log", "--json").out)
    assert [(fact["version"], fact["current"], fact["path"]) for fact in facts] == [
        (2, False, f"{versions}.2"),
        (3, True, str(versions)),
    ]


@pytest.mark.parametrize("words", [[], ["2"]])
def test_diff_shows_the_last_change(typed: Type, versions: Path, words: list[str]) -> None:
    got = typed("config", "diff", *words)
    assert got.status == 0
    changes = [line for line in got.out.splitlines() if re.match(r"[-+]\t", line)]
    assert changes == ["-\tconfig_version: 2", "+\tconfig_version: 3", "-\t\tprio: 98", "+\t\tprio: 99"]


def test_diff_with_a_file_shows_what_a_push_would_change(typed: Type, versions: Path, root: Path) -> None:
    (root / "new").write_text((CONF % (3, 99)).replace("prio: 7", "prio: 8"))
    changes = [line for line in typed("config", "diff", str(root / "new")).out.splitlines() if re.match(r"[-+]\t", line)]
    assert changes == ["-\t\tprio: 7", "+\t\tprio: 8"]
    assert typed("config", "diff", str(versions)) == (0, "", "")


def test_diff_without_a_kept_version(typed: Type, root: Path) -> None:
    (root / "corosync.conf").write_text(CONF % (3, 99))
    got = typed("config", "diff")
    assert (got.status, got.err.count("\n")) == (1, 1)


def test_push_tells_each_step_and_the_outcome(typed: Type, daemon: Told, root: Path) -> None:
    daemon.answer = GOOD
    text = b"totem {\n\tname: \xff\n}\n"
    (root / "new").write_bytes(text)
    got = typed("config", "push", str(root / "new"))
    assert got.status == 0
    assert got.out.splitlines() == [
        "version 7 is offered to the members",
        "stored by node 7 (1 of 3)",
        "node 9 cannot store it: No space left on device",
        "stored by node 13 (2 of 3)",
        "version 7 is in force, stored by 2 of 3 members",
    ]
    [(verb, args)] = daemon.asked
    assert (verb, base64.b64decode(args["text"])) == ("config-push", text)


def test_a_refused_push_is_one_line_and_exit_1(typed: Type, daemon: Told, versions: Path) -> None:
    daemon.answer = refusal("invalid", "pushed file:12: a node without nodeid")
    assert typed("config", "push", str(versions)) == (1, "", f"corolistener: {versions}:12: a node without nodeid\n")
    daemon.answer = refusal("withdrawn", "stored by 1 of 3 members")
    assert typed("config", "push", str(versions)) == (1, "", "corolistener: stored by 1 of 3 members\n")


def test_a_file_that_cannot_be_pushed(typed: Type, daemon: Told, root: Path) -> None:
    assert typed("config", "push", str(root / "none")).status == 78
    (root / "big").write_bytes(b"#" * (512 * 1024 + 1))
    got = typed("config", "push", str(root / "big"))
    assert (got.status, daemon.asked) == (78, [])
    (root / "fits").write_bytes(b"#" * (512 * 1024))
    daemon.answer = GOOD
    assert typed("config", "push", str(root / "fits")).status == 0


def test_revert(typed: Type, daemon: Told) -> None:
    daemon.answer = GOOD
    assert typed("config", "revert", "2").out.endswith("version 7 is in force, stored by 2 of 3 members\n")
    assert daemon.asked == [("config-revert", {"version": 2})]


def test_keygen_makes_a_key_once(typed: Type, root: Path) -> None:
    assert typed("config", "keygen").status == 0
    key = (root / "key").read_bytes()
    assert ((root / "key").stat().st_mode & 0o777, len(key)) == (0o600, 32)
    again = typed("config", "keygen")
    assert (again.status, (root / "key").read_bytes()) == (1, key)
    assert typed("config", "keygen", "--force").status == 0
    assert (root / "key").read_bytes() != key


def test_pull_needs_a_key_or_a_token(typed: Type, versions: Path) -> None:
    got = typed("config", "pull")
    if not os.path.exists("/etc/corosync/authkey"):
        assert got.status == 78
        assert "config keygen" in got.err
    assert typed("config", "pull", "--token", "x").status == 1
    assert "no join token" in typed("config", "pull", "--from", "127.0.0.1", "--token", "x").err


def test_a_token_comes_by_standard_input_or_a_file_of_its_own(
    typed: Type, versions: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pull(wanted: Pull) -> PullResult:
        asked.append(wanted.token)
        return PullResult(Pulled.CURRENT, None)

    monkeypatch.setattr("corolistener.effects.pull.pull", pull)
    monkeypatch.setattr("corolistener.cli.render.pulled", lambda *_: "")
    words = ("config", "pull", "--from", "127.0.0.1")
    monkeypatch.setattr("sys.stdin", io.StringIO("abcd\nrest\n"))
    assert typed(*words, "--token", "-") == (0, "\n", "")
    path = root / "token"
    path.write_text("efgh\n")
    path.chmod(0o600)
    assert typed(*words, "--token-file", str(path)) == (0, "\n", "")
    got = typed(*words, "--token", "ijkl")
    assert "in the list of processes" in got.err
    assert "ijkl" not in got.err
    assert asked == ["abcd", "efgh", "ijkl"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "no token on standard input" in typed(*words, "--token", "-").err
    path.chmod(0o640)
    got = typed(*words, "--token-file", str(path))
    assert (got.status, "others may read this token (mode 0640): chmod 0600" in got.err) == (78, True)
    assert typed(*words, "--token-file", str(root / "none")).status == 78
    assert typed(*words, "--token-file", str(path), "--token", "-").status == 2
    assert typed("config", "pull", "--token-file", str(path)).status == 1
    assert len(asked) == 3


def test_a_terminal_is_asked_without_an_echo(typed: Type, versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "x")
    assert "no join token" in typed("config", "pull", "--from", "127.0.0.1", "--token", "-").err


def test_pull_where_nobody_listens(typed: Type, versions: Path, root: Path) -> None:
    """At boot nobody may be there yet, and the local file will do; but who names a node wants that node's answer."""
    (root / "key").write_bytes(b"k" * 32)
    (root / "key").chmod(0o600)
    with (root / "corolistener.toml").open("a") as file:
        file.write("")
    text = (root / "corolistener.toml").read_text().replace("[cluster]", "[cluster]\npull_port = 1")
    (root / "corolistener.toml").write_text(text)
    versions.write_text((CONF % (3, 99)).replace("10.0.0.2", "127.0.0.3").replace("10.0.0.1", "127.0.0.1"))
    got = typed("config", "pull")
    assert (got.status, got.out) == (0, got.out)
    assert "nobody answered" in got.out
    assert "127.0.0.3: " in got.err
    assert typed("config", "pull", "--from", "127.0.0.3").status == 1


def test_node_list(typed: Type, versions: Path) -> None:
    assert typed("node", "list").out.splitlines() == [
        "id  name  address   priority  replication",
        "2   a     10.0.0.1  99        on",
        "4   -     10.0.0.2  7         -",
    ]
    assert json.loads(typed("node", "list", "--json").out)[1] == {
        "id": 4,
        "name": "",
        "address": "10.0.0.2",
        "priority": 7,
        "replication": None,
    }


def test_node_add_says_what_to_do_on_the_new_machine(typed: Type, daemon: Told) -> None:
    daemon.answer = transaction([{"code": "offered", "version": 8}], {"version": 8, "stored": 3, "of": 3, "id": 16})
    got = typed("node", "add", "--address", "10.0.0.9", "--priority", "5", "--replication", "off", "--name", "d")
    assert (got.status, got.err) == (0, "")
    assert daemon.asked == [
        ("node-add", {"address": "10.0.0.9", "name": "d", "priority": 5, "replication": "off"}),
        ("join-token", {}),
    ]
    assert "node 16 is in the nodelist" in got.out
    assert "  corolistener config pull --from 10.0.0.1 --token -\n" in got.out
    assert [line for line in got.out.splitlines() if "abcd" in line] == [got.out.splitlines()[-1]]
    assert got.out.endswith("this token, which works once, within an hour: abcd\n")


def test_node_add_without_a_key_still_says_how_to_go_on(typed: Type, daemon: Told) -> None:
    async def answer(verb: str, *_: Any) -> dict[str, Any]:
        if verb == "join-token":
            raise RequestRefused("no-key", "no shared key on this node")
        return {"version": 8, "stored": 3, "of": 3, "id": 16}

    daemon.answer = answer
    got = typed("node", "add", "--address", "10.0.0.9")
    assert got.status == 0
    assert "no token: no shared key on this node" in got.err
    assert "config pull --from" in got.out


def test_node_edit_and_remove_by_id_or_name(typed: Type, daemon: Told) -> None:
    daemon.answer = GOOD
    assert typed("node", "edit", "9", "--priority", "0").status == 0
    assert typed("node", "edit", "n13", "--replication", "on").status == 0
    assert typed("node", "remove", "n9").status == 0
    assert daemon.asked == [
        ("node-edit", {"id": 9, "priority": 0}),
        ("node-edit", {"id": 13, "replication": "on"}),
        ("node-remove", {"id": 9}),
    ]


def test_a_node_that_nobody_knows(typed: Type, daemon: Told) -> None:
    got = typed("node", "remove", "nobody")
    assert (got.status, daemon.asked) == (1, [])
    assert "no nodes are called 'nobody'" in got.err
    assert typed("node", "edit", "9").status == 1
