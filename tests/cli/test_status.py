"""`status`: the daemon's facts in people's words, and unchanged for programs."""

import copy
import json
from typing import Any

import pytest
from daemon.serving import STATUS, Told

from corolistener.cli import render, status
from corolistener.core.actions import Reason
from corolistener.core.election import Ineligible
from corolistener.core.lifecycle import Mode, Phase
from corolistener.core.rewrite import Stage

from .conftest import Type

SETTLED = """\
version:      0.1.0, running for 1 d 2 h
node:         7 n7 172.31.224.72
cluster:      VMmanager, quorate
ring:         7.24, epoch 24.0
role:         master
lease:        valid for 4.2 s
cloud IP:     172.31.224.70/32 on vmbr0, held here
service:      running, lock files: service, relocated
config:       version 3 (9f9f9f9f) is in force
ledger:       version 24.1.7, 12 VMs placed

node  name  address        status  role  priority  config
7     n7    172.31.224.72  joined  M     100       3
9     n9    172.31.224.74  joined  S     40        3
13    n13   172.31.224.80  joined  S     10        3
"""


def test_a_settled_master(typed: Type, daemon: Told) -> None:
    assert typed("status") == (0, SETTLED, "")


def test_json_is_what_the_daemon_says(typed: Type, daemon: Told) -> None:
    assert json.loads(typed("status", "--json").out) == STATUS


def changed(**changes: Any) -> dict[str, str]:
    told = copy.deepcopy(STATUS)
    told.update(changes)
    return dict(status.facts(told))


def test_what_is_not_as_it_should_be_is_said() -> None:
    facts = changed(
        quorate=False,
        role="none",
        master=None,
        ring=None,
        lease={"valid": False, "ms_left": 0},
        mode="broken",
        address=None,
        service={"state": "in-doubt"},
        locks={"service": False, "relocated": False},
        file={"version": 2, "sha256": "ab" * 32},
        config={"version": 3, "sha256": "9f" * 32, "rewriting": "offered"},
        bad_messages=4,
    )
    assert facts["cluster"] == "VMmanager, NOT quorate"
    assert (facts["role"], facts["ring"], facts["lease"]) == ("no master", "none, epoch 24.0", "none")
    assert facts["mode"].startswith("stopped deciding")
    assert (facts["cloud IP"], facts["service"]) == ("none is configured", "in-doubt, lock files: none")
    assert facts["config"].endswith("this node's file is version 2 (abababab); a new version is offered to the members")
    assert facts["not understood"].startswith("4 ")


def test_a_master_that_waits_says_for_whom() -> None:
    facts = changed(acting=False, phase="waiting-for-former-master", waits_for=[4, 9])
    assert facts["role"] == "master, not acting yet"
    assert facts["doing"] == "waiting until the former master can no longer serve (node 4, 9)"
    assert changed(role="slave", master=9)["role"] == "slave, the master is node 9"


def test_a_node_that_cannot_be_master_says_why(daemon: Told, typed: Type) -> None:
    daemon.reply = copy.deepcopy(STATUS)
    daemon.reply["nodes"][1].update(eligible=False, why=["config-differs", "replication-off"], config_version=None)
    row = typed("status").out.splitlines()[-2]
    assert "; it has no database replica" in row
    assert row.split()[6] == "-"


def test_what_a_node_cannot_do_and_old_settings_are_told(daemon: Told, typed: Type) -> None:
    daemon.reply = copy.deepcopy(STATUS)
    daemon.reply["unusable"] = "corolistener.toml:3: not TOML"
    daemon.reply["nodes"][1].update(eligible=False, why=["cannot-serve"], unable="lock directory /tmp: Read-only file system")
    lines = typed("status").out.splitlines()
    assert lines[-2].endswith("it cannot hold what a master holds: lock directory /tmp: Read-only file system")
    assert "settings:     the last good ones are used: corolistener.toml:3: not TOML" in lines
    del daemon.reply["nodes"][1]["unable"]  # a daemon of an older version
    assert typed("status").out.splitlines()[-2].endswith("it cannot hold what a master holds")


def test_every_code_of_the_core_has_words() -> None:
    assert {each.value for each in Ineligible} <= set(render.WHY)
    assert {each.value for each in Mode} == set(render.MODE)
    assert {each.value for each in Phase} == set(render.PHASE)
    assert {each.value for each in Stage} == set(render.REWRITING)
    assert {each.value for each in Reason} == set(render.REASON)


def test_a_code_of_a_newer_daemon_stands_for_itself() -> None:
    assert render.word(render.WHY, "brand-new") == "brand-new"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0 s"),
        (9_999, "9.9 s"),
        (10_000, "10 s"),
        (3_600_000, "1 h 0 min"),
        (59 * 60_000 + 5_000, "59 min 5 s"),
        (93_784_000, "1 d 2 h"),
    ],
)
def test_durations(milliseconds: int, text: str) -> None:
    assert render.duration(milliseconds) == text
