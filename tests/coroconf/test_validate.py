"""What is said about files that parse: codes, severities, lines. That corosync agrees is tests/lab/test_oracle.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.coroconf.accept import refusals
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.problems import Problem, Severity
from corolistener.coroconf.tree import Document, parse
from corolistener.coroconf.validate import new_errors, problems
from corolistener.errors import ConfigError

from .files import SEED, accepted
from .strategies import clusters, layouts

GOOD = b"""totem {
  version: 2
  cluster_name: lab
  config_version: 1
  crypto_cipher: aes256
  crypto_hash: sha256
}
quorum {
  provider: corosync_votequorum
}
nodelist {
  node {
    ring0_addr: 10.9.0.1
    nodeid: 1
    name: a
  }
  node {
    ring0_addr: 10.9.0.2
    nodeid: 2
    name: b
  }
}
"""


def said(data: bytes) -> set[tuple[str, int, str]]:
    return {(problem.severity.value, problem.line, problem.code) for problem in problems(parse(data))}


def totem(rest: str) -> bytes:
    return GOOD.replace(b"totem {\n", b"totem {\n" + rest.encode() + b"\n")


def quorum(rest: str) -> bytes:
    return GOOD.replace(b"quorum {\n", b"quorum {\n" + rest.encode() + b"\n")


def test_nothing_is_wrong_with_a_good_file() -> None:
    assert said(GOOD) == set()


def test_the_seeds_sample() -> None:
    assert said(SEED) == {
        ("info", 1, "crypto"),
        ("error", 1, "totem-version"),
        ("warning", 3, "bindnetaddr"),
        ("warning", 4, "mcastaddr"),
        ("error", 11, "quorum-provider"),
        ("info", 19, "node-name"),
        ("info", 25, "node-name"),
        ("info", 31, "node-name"),
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GOOD.replace(b"  version: 2\n", b""), ("error", 1, "totem-version")),
        (GOOD.replace(b"version: 2\n", b"version: 3\n", 1), ("error", 2, "totem-version")),
        (GOOD.replace(b"  config_version: 1\n", b""), ("warning", 1, "config-version")),
        (GOOD.replace(b"  cluster_name: lab\n", b""), ("warning", 1, "cluster-name")),
        (GOOD.replace(b"  provider: corosync_votequorum\n", b""), ("error", 8, "quorum-provider")),
        (GOOD.replace(b"corosync_votequorum", b"magic"), ("error", 9, "quorum-provider")),
        (totem("nodeid: 3"), ("warning", 2, "totem-nodeid")),
        (totem("transport: udp"), ("info", 2, "transport")),
        (totem("transport: x"), ("error", 2, "transport")),
        (totem("secauth: on"), ("info", 2, "secauth")),
        (totem("token: 300"), ("warning", 2, "token")),
        (totem("token: 90"), ("error", 2, "token")),
        (totem("interface {\nringnumber: 0\n}"), ("warning", 3, "ringnumber")),
        (totem("interface {\nttl: 1\n}\ninterface {\nmcastport: 1\n}"), ("warning", 5, "linknumber")),
        (totem("interface {\nttl: 1\n}\ninterface {\nlinknumber: 1\n}"), ("info", 2, "linknumber")),
        (totem("interface {\nbroadcast: yes\n}"), ("warning", 3, "broadcast")),
        (totem("interface {\nmember {\nmemberaddr: a\n}\n}"), ("warning", 3, "member")),
        (totem("token: x"), ("error", 2, "refused-value")),
        (totem("token: 2000\ntoken: 3000"), ("warning", 2, "repeated-key")),
        (quorum("expected_votes: 3"), ("warning", 9, "expected-votes")),
        (quorum("two_node: 1").replace(b"name: b\n  }", b"name: b\n  }\nnode {\nring0_addr: c\nnodeid: 3\n}"),
         ("warning", 9, "two-node")),
        (quorum("two_node: 1\ndevice {\nmodel: net\n}"), ("error", 9, "quorum-device")),
        (quorum("expected_votes: 3\ndevice {\nmodel: net\n}"), ("error", 11, "quorum-device")),
        (quorum("two_node: 1\nauto_tie_breaker: 1"), ("warning", 9, "two-node")),
        (quorum("two_node: 1"), ("info", 9, "claim-two-node")),
        (quorum("expected_votes: 1"), ("error", 9, "claim-expected-votes")),
        (quorum("expected_votes: 2\ndevice {\nmodel: net\nvotes: 1\n}"), ("error", 9, "claim-expected-votes")),
        (quorum("expected_votes: 2").replace(b"name: b", b"name: b\nquorum_votes: 2"), ("error", 9, "claim-expected-votes")),
        (quorum("last_man_standing: 1"), ("error", 9, "claim-last-man-standing")),
        (quorum("allow_downscale: 1"), ("error", 9, "claim-allow-downscale")),
        (quorum("auto_tie_breaker: 1"), ("warning", 9, "claim-auto-tie-breaker")),
        (quorum("auto_tie_breaker: 1").replace(b"name: b", b"name: b\nquorum_votes: 2"),
         ("info", 9, "claim-auto-tie-breaker")),
        (GOOD.replace(b"nodeid: 2", b"nodeid: 1"), ("error", 17, "duplicate-nodeid")),
        (GOOD.replace(b"10.9.0.2", b"10.9.0.1"), ("error", 17, "duplicate-address")),
        (GOOD.replace(b"name: b", b"name: a"), ("error", 17, "duplicate-name")),
        (GOOD.replace(b"    nodeid: 2\n", b""), ("error", 17, "node")),
        (GOOD.replace(b"    ring0_addr: 10.9.0.2\n", b""), ("error", 17, "node-address")),
        (GOOD.replace(b"10.9.0.2", b"fd00::2"), ("error", 18, "node-family")),
        (GOOD.replace(b"name: b", b"prio: x"), ("error", 20, "node")),
        (GOOD.replace(b"name: b", b"replication: x"), ("error", 20, "node")),
        (GOOD.replace(b"name: b", b"ring9_addr: x"), ("error", 20, "node-address")),
        (GOOD[: GOOD.index(b"nodelist")], ("error", 0, "nodelist")),
        (GOOD + b"nodelist {\nnode {\nring0_addr: c\nnodeid: 3\n}\n}\n", ("error", 23, "nodelist")),
        (GOOD + b"ihttpd {\ncount: 1\n}\n", ("error", 24, "not-understood")),
        (GOOD + b"service {\nname: pacemaker\n}\n", ("info", 23, "unknown-section")),
        (GOOD + b"totem.token: 5\n", ("warning", 23, "misplaced-key")),
        (GOOD + b"logging {\nto_syslog: maybe\n}\n", ("error", 24, "logging-value")),
    ],
)  # fmt: skip
def test_problem(data: bytes, expected: tuple[str, int, str]) -> None:
    assert expected in said(data)


@pytest.mark.parametrize(
    "data",
    [
        quorum("expected_votes: 2"),
        quorum("expected_votes: 3\ndevice {\nmodel: net\nvotes: 1\n}"),
        totem("token: 150\ninterface {\nknet_ping_timeout: 1000\nknet_ping_interval: 200\n}"),
        totem("interface {\nmcastport: 5405\n}"),
        GOOD + b"ihttpd {\ncount: 1\nport0: 1500\n}\nuidgid {\nuid: 0\nuid: 1\n}\nlogging {\nsyslog_priority: ERR\n}\n",
    ],
)
def test_no_problem(data: bytes) -> None:
    assert said(data) == set()


def test_every_problem_is_named_not_only_the_first() -> None:
    data = GOOD.replace(b"name: a", b"prio: x").replace(b"name: b", b"prio: y")
    assert {("error", 15, "node"), ("error", 20, "node")} <= said(data)


def test_new_errors_only() -> None:
    broken = parse(totem("link_mode: fast"))
    assert [problem.code for problem in new_errors(parse(GOOD), broken)] == ["link-mode"]
    assert new_errors(broken, parse(totem("# moved\nlink_mode: faster"))) == []
    assert new_errors(broken, parse(GOOD)) == []


@given(clusters())
def test_sensible_clusters_have_no_errors(data: bytes) -> None:
    assert [problem for problem in problems(parse(data)) if problem.severity is Severity.ERROR] == []


def check(document: Document, found: list[Problem]) -> None:
    assert all(0 <= problem.line <= len(document.lines) and problem.text.isprintable() for problem in found)
    assert found == sorted(found, key=lambda problem: (problem.line, problem.code, problem.text))


@given(st.one_of(layouts(), st.sampled_from(list(accepted().values()))))
def test_anything_that_parses_can_be_judged(data: bytes) -> None:
    document = parse(data)
    found = problems(document)
    check(document, found)
    errors = {problem.line for problem in found if problem.severity is Severity.ERROR}
    assert {refusal.line for refusal in refusals(document)} <= errors
    try:
        read_facts(document)
    except ConfigError as refusal:
        unread = {refusal.line}
    else:
        unread = set()
    assert unread <= errors
