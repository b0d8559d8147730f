"""scripts/lab: a lab that stays between two calls, and errors of one line."""

import json
import os
import subprocess

import pytest

from lab.cluster import CHECKOUT, wait_for
from lab.machine import inhabitants


@pytest.fixture
def lab(machine_can, tmp_path):
    """Calls scripts/lab with a temporary directory of its own; whatever it made is ended after the test."""

    def call(*args: str, code: int = 0) -> str:
        done = subprocess.run(
            [CHECKOUT / "scripts/lab", *args],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    yield call
    if list(tmp_path.iterdir()):
        call("down")
    assert list(tmp_path.iterdir()) == []


def line(lab, node: str) -> str:
    """The line of a node in the status."""
    return next(each for each in lab("status").splitlines() if each.startswith(node + " "))


def test_a_lab_stays_between_calls(lab):
    assert "quorate 1 2 3" in lab("up", "--no-daemon")
    assert lab("exec", "n2", "hostname") == "n2\n"
    lab("cut", "1")
    lab("kill", "3")
    assert line(lab, "n3").split()[-1] == "off"
    wait_for(lambda: "not quorate 1 " in line(lab, "n1"), "node 1 is alone")
    assert " cut " in line(lab, "n1")
    lab("heal")
    lab("start", "3")
    wait_for(lambda: "quorate 1 2 3" in line(lab, "n1"), "all are back")
    lab("stop", "2")
    assert "stopped" in line(lab, "n2")
    assert "exiting normally" in lab("logs", "2", "--unit", "corosync")
    lab("start", "2")
    wait_for(lambda: "quorate 1 2 3" in line(lab, "n1"), "node 2 is back")
    lab("down")
    assert lab("status", code=1) == "lab: no lab is up; scripts/lab up makes one\n"


def test_a_lab_with_vms(lab):
    lab("up", "--no-daemon", "--nodes", "2", "--vms", "2")
    assert lab("exec", "1", "virsh", "list", "--name").split() == ["vm1"]
    lab("exec", "1", "virsh", "migrate", "--live", "--p2p", "--unsafe", "vm1", "qemu+tcp://n2/system")
    assert sorted(lab("exec", "2", "virsh", "list", "--name").split()) == ["vm1", "vm2"]
    lab("kill", "1")
    lab("start", "1")
    assert sorted(lab("exec", "1", "virsh", "list", "--all", "--name").split()) == ["vm1", "vm2"]
    assert [line(lab, node).split()[-2] for node in ("n1", "n2")] == ["0", "2"]


def test_seed_conf_and_two_labs_refused(lab):
    assert "quorate 2 4 8" in lab("up", "--no-daemon", "--seed-conf", "--tuned")
    assert "token: 150" in lab("exec", "4", "cat", "/etc/corosync/corosync.conf")
    assert lab("up", "--no-daemon", code=1).startswith("lab: a lab is up already")
    assert lab("cut", "5", code=1) == "lab: there is no node 5; there are 2 4 8\n"
    lab("kill", "8")
    assert lab("cut", "8", code=1) == "lab: n8 is off; scripts/lab start 8 powers it on\n"
    assert lab("logs", "4", "--unit", "daemon", code=1) == "lab: daemon of n4 wrote nothing\n"


def test_a_lab_whose_processes_are_gone_is_replaced(lab, tmp_path):
    lab("up", "--no-daemon", "--nodes", "1")
    for init in owners(tmp_path):
        os.kill(init, 9)
    wait_for(lambda: not owners(tmp_path), "everything of the lab is dead")
    assert "the lab is gone" in lab("status", code=1)
    assert "quorate 1" in lab("up", "--no-daemon", "--nodes", "1")


def owners(tmp_path) -> list[int]:
    """The inits of the lab below `tmp_path`, as its own notes name them, that still live."""
    notes = [json.loads(path.read_text()) for path in tmp_path.glob("*/lab.json")]
    pids = [each["bridge"][0] for each in notes] + [node[2] for each in notes for node in each["nodes"]]
    return [pid for pid in pids if inhabitants(pid)]


def test_wrong_words(lab):
    assert "invalid choice: 'fly'" in lab("fly", code=2)
    assert lab("down", code=1) == "lab: no lab is up; scripts/lab up makes one\n"
