"""`fence --confirm`, `panic`, `recover`, and the panic that heads every output."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from daemon.serving import STATUS, Told

from corolistener.cli import render, status
from corolistener.core.config import ProofKind
from corolistener.daemon.control import Peer
from corolistener.daemon.operators import _name, _reason
from corolistener.errors import RequestRefused

from .conftest import Type

PANIC = {"reason": "two copies of web", "evidence": "nodes 7, 9", "at": "2026-11-20T22:00:00+00:00"}
HEAD = (
    "PANIC since 2026-11-20T22:00:00+00:00: two copies of web (nodes 7, 9); "
    "nothing is decided about VMs until `corolistener recover`"
)


def answering(answer: dict[str, Any]) -> Callable[..., Any]:
    async def answered(verb: str, args: dict[str, Any], progress: object, peer: Peer) -> dict[str, Any]:
        return answer

    return answered


@pytest.fixture
def panicking(daemon: Told) -> Told:
    """A daemon in a cluster in panic."""
    daemon.reply = {**copy.deepcopy(STATUS), "panic": PANIC}
    return daemon


def test_a_lost_node_is_confirmed_by_id_or_name(typed: Type, daemon: Told) -> None:
    daemon.answer = answering({"in_force": True})
    assert typed("fence", "--confirm", "13") == (0, "node 13 is taken to run nothing\n", "")
    assert typed("fence", "--confirm=n9").out == "node 9 is taken to run nothing\n"
    assert daemon.asked == [("fence-confirm", {"node": 13}), ("fence-confirm", {"node": 9})]
    assert "no nodes are called 'n4'" in typed("fence", "--confirm", "n4").err


@pytest.mark.parametrize(
    ("words", "asked", "now", "later"),
    [
        (("fence", "--confirm", "9"), ("fence-confirm", {"node": 9}), "to run nothing", "as soon as a quorum"),
        (("panic", "--reason", "smoke"), ("panic", {"reason": "smoke"}), "there is panic", "as soon as a quorum"),
        (("recover",), ("recover", {}), "the panic is over", "as soon as a quorum"),
    ],
)
def test_what_is_not_in_force_yet_is_said_so(
    typed: Type, daemon: Told, words: tuple[str, ...], asked: tuple[str, dict[str, Any]], now: str, later: str
) -> None:
    for in_force, text in ((True, now), (False, later)):
        daemon.answer = answering({"in_force": in_force})
        done = typed(*words)
        assert (done.status, done.err) == (0, "")
        assert (text in done.out, done.out.count("\n")) == (True, 1)
    assert daemon.asked == [asked, asked]


@pytest.mark.parametrize(
    "words",
    [("fence",), ("panic",), ("panic", "smoke"), ("recover", "now"), ("fence", "13", "--confirm", "13"), ("fence", "--test")],
)
def test_what_is_missing_is_not_guessed(typed: Type, daemon: Told, words: tuple[str, ...]) -> None:
    done = typed(*words)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert daemon.asked == []


def test_a_refusal_is_one_line(typed: Type, daemon: Told) -> None:
    async def refusing(*_: object) -> dict[str, Any]:
        raise RequestRefused("refused", "node 9 is here: only a node that is gone can be confirmed")

    daemon.answer = refusing
    done = typed("fence", "--confirm", "9")
    assert done == (1, "", "corolistener: node 9 is here: only a node that is gone can be confirmed\n")


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501, None, 7])
def test_a_reason_is_one_line(reason: object) -> None:
    with pytest.raises(RequestRefused, match="one line"):
        _reason({"reason": reason})
    assert _reason({"reason": " smoke "}) == "smoke"


def test_who_asked_is_known_by_name_and_number() -> None:
    assert _name(0) == "root (uid 0)"
    assert _name(4_000_000_000) == "uid 4000000000"


# -- panic heads every output


def test_panic_heads_the_list_on_stderr(typed: Type, panicking: Told) -> None:
    for words in (("-l",), ("-l", "--json")):
        done = typed(*words)
        assert (done.status, done.err) == (0, f"corolistener: {HEAD}\n")
    assert json.loads(done.out)["panic"] == PANIC
    assert typed("-l").out.startswith("VMmanager-cloud node list\n")


def test_panic_heads_the_status(typed: Type, panicking: Told) -> None:
    assert typed("status").out.startswith(f"{HEAD}\n\nversion: ")
    done = typed("status", "--json")
    assert done.err == f"corolistener: {HEAD}\n"
    assert json.loads(done.out)["panic"] == PANIC


def test_panic_heads_what_other_verbs_say(typed: Type, panicking: Told) -> None:
    panicking.answer = answering({"restart_ms": 5000})
    assert typed("prepare-restart").err == f"corolistener: {HEAD}\n"
    assert HEAD in typed("check").out


def test_a_daemon_that_knows_no_panic_has_none(typed: Type, daemon: Told) -> None:
    """One of an older version, while an upgrade is under way."""
    daemon.reply = {key: value for key, value in STATUS.items() if key not in ("panic", "ledger", "owed", "proven")}
    assert typed("-l").err == ""
    assert typed("status").status == 0
    daemon.answer = answering({"restart_ms": 5000})
    assert typed("prepare-restart").err == ""


# -- the ledger in the status


def facts(**changes: Any) -> dict[str, str]:
    return dict(status.facts({**copy.deepcopy(STATUS), **changes}))


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "12 VMs placed"),
        ({"placements": 1}, "1 VM placed"),
        ({"stable": False}, "not yet on the disks of a majority"),
        ({"stable": False, "stored": "24.1.6"}, "on this node's disk is version 24.1.6"),
        ({"stable": False, "open": False}, "no quorum has agreed on it yet"),
    ],
)
def test_a_ledger_says_what_it_lacks(changes: dict[str, Any], end: str) -> None:
    told: dict[str, Any] = {**STATUS["ledger"], **changes}
    assert facts(ledger=told)["ledger"].endswith(end)


def test_what_is_owed_is_said_with_its_proof() -> None:
    told = {
        **copy.deepcopy(STATUS),
        "owed": [{"node": 9, "vms": 3, "proof": None}, {"node": 13, "vms": 1, "proof": "operator"}],
    }
    assert [text for label, text in status.facts(told) if label == "owed"] == [
        "3 VMs of node 9, which is gone; no proof yet that it runs nothing",
        "1 VM of node 13, which is gone; proven: an operator says so",
    ]
    assert {each.value for each in ProofKind} == set(render.PROOF)
