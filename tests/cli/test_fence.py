"""`fence --test`: real agent programs, asked for a node's power."""

from pathlib import Path

import pytest

from .conftest import Type

CONF = """\
totem {
	version: 2
	config_version: 3
	cluster_name: VMmanager
}
nodelist {
	node {
		ring0_addr: 203.0.113.2
		nodeid: 2
		name: a
	}
	node {
		ring0_addr: 203.0.113.4
		nodeid: 4
		name: 2
	}
}
"""


@pytest.fixture
def agent(root: Path) -> str:
    """One that says what its option `say` is, and does nothing else. It serves node 4 and knows a password."""
    (root / "corosync.conf").write_text(CONF)
    path = root / "agent"
    path.write_text("#!/bin/sh\nwhile IFS== read -r key value; do\n  eval \"$key='$value'\"\ndone\n")
    with path.open("a") as script:
        script.write('[ "$action" = status ] || exit 9\necho "$pass wrong for $plug" >&2\nexit "$say"\n')
    path.chmod(0o755)
    return str(path)


def settle(root: Path, *agents: tuple[str, int, object]) -> None:
    with (root / "corolistener.toml").open("a") as settings:
        for program, say, node in agents:
            options = f'{{ say = {say}, pass = "hunter2", plug = "{{node}}" }}'
            settings.write(f'[[fencing.agent]]\nnodes = [{node}]\nprogram = "{program}"\noptions = {options}\n')


@pytest.mark.parametrize(("say", "words"), [(0, "on"), (2, "off")])
def test_what_an_agent_says(typed: Type, root: Path, agent: str, say: int, words: str) -> None:
    settle(root, (agent, say, 4))
    assert typed("fence", "--test", "4") == (0, f"{agent}: node 4 is {words}\n", "")


def test_one_that_cannot_say_makes_it_fail(typed: Type, root: Path, agent: str) -> None:
    settle(root, (agent, 1, '"a"'), (agent, 0, 2))
    got = typed("fence", "--test", "a")
    assert got == (1, f"{agent} status: exit 1: *** wrong for 2\n{agent}: node 2 is on\n", "")


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ("9", "no nodes of the nodelist are '9'"),
        ("2", "2 nodes of the nodelist are '2'"),
        ("a", "no fence agent is configured for node 2"),
    ],
)
def test_whom_no_agent_can_be_asked_for(typed: Type, root: Path, agent: str, node: str, line: str) -> None:
    settle(root, (agent, 0, 4))
    got = typed("fence", "--test", node)
    assert (got.status, got.out) == (1, "")
    assert line in got.err


def test_one_of_the_two_must_be_said(typed: Type) -> None:
    assert typed("fence", "--test", "2", "--confirm", "2").status == 2
