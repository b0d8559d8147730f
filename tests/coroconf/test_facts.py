"""What corolistener reads from the file, and what it refuses to read."""

import pytest
from hypothesis import given

from corolistener.coroconf.facts import NodeFacts, read_facts
from corolistener.coroconf.tree import parse
from corolistener.errors import ConfigError
from corolistener.ids import NodeId

from .files import SEED
from .strategies import clusters


def node(rest: str, nodeid: str = "nodeid: 1\n") -> bytes:
    return f"nodelist {{\nnode {{\nring0_addr: 10.9.0.1\n{nodeid}{rest}\n}}\n}}\n".encode()


def refused(data: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as refusal:
        read_facts(parse(data))
    return refusal.value


def test_seed() -> None:
    facts = read_facts(parse(SEED))
    assert (facts.cluster_name, facts.config_version, facts.expected_votes) == ("VMmanager", 1, 3)
    assert facts.ports == (1500,)
    assert facts.nodes == (
        NodeFacts(NodeId(2), "", ("172.31.223.46",), 99, True, 1, 19),
        NodeFacts(NodeId(4), "", ("172.31.223.47",), 100, True, 1, 25),
        NodeFacts(NodeId(8), "", ("172.31.223.48",), 98, True, 1, 31),
    )
    assert facts.node(4) is facts.nodes[1]
    assert facts.node(3) is None


def test_nothing_is_missing_from_an_empty_file() -> None:
    facts = read_facts(parse(b""))
    assert (facts.cluster_name, facts.config_version, facts.nodes, facts.ports) == ("", 0, (), ())
    assert (facts.expected_votes, facts.two_node, facts.qdevice) == (None, False, False)
    assert (facts.transport, facts.token_ms, facts.effective_token_ms) == ("knet", 3000, 3000)


def test_node_without_prio_has_none_to_offer() -> None:
    one = read_facts(parse(node("name: a\nring1_addr: fd00::1\nring3_addr: b.example"))).nodes[0]
    assert (one.prio, one.replication, one.votes) == (0, None, 1)
    assert one.addresses == ("10.9.0.1", "fd00::1", "b.example")


@pytest.mark.parametrize(
    ("word", "on"), [("on", True), ("YES", True), ("1", True), ("off", False), ("No", False), ("0", False)]
)
def test_replication(word: str, on: bool) -> None:
    assert read_facts(parse(node(f"replication: {word}"))).nodes[0].replication is on


def test_quorum_and_timers() -> None:
    text = (
        b"quorum {\nexpected_votes: 0\ntwo_node: 1\ndevice {\nmodel: net\n}\n}\ntotem {\ntoken: 150\ntoken_coefficient: 0\n}\n"
    )
    facts = read_facts(parse(text))
    assert (facts.expected_votes, facts.two_node, facts.qdevice) == (None, True, True)
    assert (facts.token_ms, facts.token_coefficient_ms) == (150, 0)


def test_token_grows_with_the_nodes() -> None:
    assert read_facts(parse(SEED)).effective_token_ms == 3650


def test_ports_in_order() -> None:
    assert read_facts(parse(b"ihttpd {\nport1: 80\ncount: 2\nport0: 1500\n}\n")).ports == (1500, 80)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (node("prio: high"), 5),
        (node("prio: -1"), 5),
        (node("prio:"), 5),
        (node("prio: 2147483648"), 5),
        (node("replication: maybe"), 5),
        (node("replication:"), 5),
        (node("quorum_votes: x"), 5),
        (node("", nodeid=""), 2),
        (node("", nodeid="nodeid: 0\n"), 4),
        (node("", nodeid="nodeid: x\n"), 4),
        (node("deep {\n}"), 5),
        (node("}\nnode {\nring0_addr: b\nnodeid: 1"), 6),
        (node("") + node("", nodeid="nodeid: 2\n"), 8),
        (b"totem {\nconfig_version: x\n}\n", 2),
        (b"totem {\nconfig_version: 18446744073709551616\n}\n", 2),
        (b"quorum {\nexpected_votes: x\n}\n", 2),
        (b"ihttpd {\ncount: 2\nport0: 1\n}\n", 2),
        (b"ihttpd {\ncount: 1\nport0: 1\nport1: 2\n}\n", 4),
        (b"ihttpd {\nport0: 1\n}\n", 2),
        (b"ihttpd {\ncount: 1\nport0: 0\n}\n", 3),
        (b"ihttpd {\ncount: 1\nport0: 65536\n}\n", 3),
        (b"ihttpd {\ncount: x\n}\n", 2),
        (b"ihttpd {\ncount: 1\nport00: 80\n}\n", 2),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(data: bytes, line: int) -> None:
    refusal = refused(data)
    assert (refusal.line, refusal.text) == (line, data.split(b"\n")[line - 1].decode())


@given(clusters())
def test_sensible_clusters_are_understood(data: bytes) -> None:
    facts = read_facts(parse(data))
    assert len(facts.nodes) == data.count(b"node {")
    assert facts.expected_votes in (None, len(facts.nodes))
