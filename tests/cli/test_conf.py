"""What is in conf/: completion, units, the example of corosync.conf."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab.cluster import TUNED, cannot

from corolistener.cli import config, hooks, node, verbs, vm
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.problems import Severity
from corolistener.coroconf.tree import parse
from corolistener.coroconf.validate import problems

CONF = Path(__file__).parents[2] / "conf"


def completed(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    script = f"""
corolistener() {{
    case "$1 $2" in
        "config log") printf '%8s  2026-01-01\\n' 2 3 ;;
        "node list") printf '%s  name\\n' id 7 13 ;;
        "vm list") printf '%s  n7\\n' name web db ;;
    esac
}}
source {CONF}/bash-completion/corolistener
COMP_WORDS=(corolistener "$@"); COMP_CWORD=$#
_corolistener
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script, "-", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def options(*words: str) -> set[str]:
    """The long options and next words that the program itself names in its help."""
    command = [sys.executable, "-c", "import sys; from corolistener.cli import main; main(sys.argv[1:])", *words, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text))


def test_every_verb_and_action_is_completed() -> None:
    assert set(verbs.VERBS) <= completed("")
    assert set(config.ACTIONS) <= completed("config", "")
    assert set(node.ACTIONS) <= completed("node", "")
    assert set(hooks.ACTIONS) <= completed("hooks", "")
    assert set(vm.ACTIONS) <= completed("vm", "")
    assert completed("st") == {"status"}


@pytest.mark.parametrize(
    "words",
    [
        *((verb,) for verb in verbs.VERBS if verb != "replay"),
        *(("config", action) for action in config.ACTIONS),
        *(("node", action) for action in node.ACTIONS),
        *(("hooks", action) for action in hooks.ACTIONS),
        *(("vm", action) for action in vm.ACTIONS),
    ],
)
def test_every_option_is_completed(words: tuple[str, ...]) -> None:
    assert {word for word in completed(*words, "") if word.startswith("--")} == options(*words)


def test_options_before_a_verb_are_passed_over() -> None:
    assert completed("--config", "/x", "node", "re") == {"remove"}


def test_versions_nodes_and_values_are_completed() -> None:
    assert {"2", "3"} <= completed("config", "revert", "")
    assert {"7", "13"} <= completed("node", "remove", "")
    assert "id" not in completed("node", "remove", "")
    assert completed("node", "edit", "7", "--replication", "") == {"on", "off"}
    assert completed("node", "add", "--address", "") == set()
    assert {"web", "db"} <= completed("vm", "stop", "")
    assert "name" not in completed("vm", "stop", "")
    assert (
        completed("vm", "start", "web", "--on", "") == completed("drain", "") - {"--config", *options("drain")} == {"7", "13"}
    )
    assert completed("maintenance", "7", "") >= {"on", "off"}
    assert completed("plan", "--lose", "") == completed("fence", "--test", "") == {"7", "13"}


def test_files_are_completed_where_a_file_is_meant(tmp_path: Path) -> None:
    (tmp_path / "corosync.new").touch()
    assert completed("config", "push", f"{tmp_path}/coro") == {f"{tmp_path}/corosync.new"}
    assert completed("--config", f"{tmp_path}/coro") == {f"{tmp_path}/corosync.new"}


EXAMPLES = ("corosync.conf.example", "corosync.conf.tuned.example")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_corosync_conf_has_no_mistakes(example: str) -> None:
    document = parse((CONF / example).read_bytes())
    assert [each for each in problems(document) if each.severity is not Severity.INFO] == []
    facts = read_facts(document)
    assert [(each.nodeid, each.prio, each.replication) for each in facts.nodes] == [
        (2, 99, True),
        (4, 100, True),
        (8, 98, True),
    ]
    assert facts.ports == (1500,)


def test_the_tuned_example_has_the_timers_that_the_lab_measures_with() -> None:
    document = parse((CONF / "corosync.conf.tuned.example").read_bytes())
    keys = {"token": "token", "coefficient": "token_coefficient", "join": "join"}
    keys |= {name: f"interface.{name}" for name in ("knet_ping_interval", "knet_ping_timeout")}
    found = {name: document.integer(f"totem.{key}") for name, key in keys.items()}
    assert found == TUNED


@pytest.mark.lab
@pytest.mark.parametrize("example", EXAMPLES)
def test_corosync_itself_accepts_an_example(tmp_path: Path, example: str) -> None:
    if reason := cannot():
        pytest.skip(f"no lab here: {reason}")
    (tmp_path / "authkey").write_bytes(b"k" * 256)
    text = (CONF / example).read_text()
    (tmp_path / "corosync.conf").write_text(text.replace("totem {", f"totem {{\n\tkeyfile: {tmp_path}/authkey", 1))
    script = f"ip link set lo up; ip addr add 172.31.223.46/24 dev lo; corosync -t -c {tmp_path}/corosync.conf"
    done = subprocess.run(["unshare", "-n", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", ["corolistener.service", "corosync.service"])
def test_systemd_understands_the_units(tmp_path: Path, unit: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    text = (CONF / "corolistener.service").read_text().replace("=corolistener ", "=/bin/true ")
    (tmp_path / "corolistener.service").write_text(text)
    (tmp_path / "corosync.service").write_text("[Service]\nType=notify\nExecStart=/bin/true\n")
    shutil.copytree(CONF / "corosync.service.d", tmp_path / "corosync.service.d")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert str(tmp_path.name) not in done.stderr
    assert "corolistener" not in done.stderr
    assert done.returncode == 0, done.stderr
