"""The cluster's own rewrites: what changes, what does not, and that they undo each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.rewrite import (
    NodeSpec,
    with_node_added,
    with_node_edited,
    with_node_removed,
    with_priorities,
    with_version,
)
from corolistener.coroconf.successor import diff
from corolistener.coroconf.tree import parse
from corolistener.errors import ConfigError

from .files import SEED
from .strategies import clusters

TWO = b"""totem {
  version: 2
  cluster_name: lab
}
quorum {
  provider: corosync_votequorum
  expected_votes: 2
  two_node: 1
}
nodelist {
  node {
    ring0_addr: 10.9.0.1
    nodeid: 1
  }
  # the other one
  node {
    ring0_addr: 10.9.0.2
    nodeid: 2
  }
}
"""


def changes(old: bytes, new: bytes) -> list[str]:
    """The changed lines alone, - and + in front."""
    return [line for line in diff(old, new).split("\n")[2:] if line[:1] in "+-"]


def test_version() -> None:
    assert changes(SEED, with_version(SEED, 2)) == ["- \tconfig_version: 1", "+ \tconfig_version: 2"]
    assert with_version(SEED, 1) == SEED
    assert changes(TWO, with_version(TWO, 7)) == ["+  config_version: 7"]
    assert with_version(b"", 3) == b"totem {\n\tconfig_version: 3\n}\n"
    for wrong in (-1, 2**64):
        with pytest.raises(ConfigError):
            with_version(SEED, wrong)


def test_priorities_swap() -> None:
    swapped = with_priorities(SEED, {2: 100, 4: 99, 8: 98})
    assert changes(SEED, swapped) == ["-\t\tprio: 99", "+\t\tprio: 100", "-\t\tprio: 100", "+\t\tprio: 99"]
    assert with_priorities(swapped, {4: 100, 2: 99}) == SEED


def test_priority_that_is_so_keeps_its_spelling() -> None:
    spelled = SEED.replace(b"prio: 99", b"prio:\t0099 ")
    assert with_priorities(spelled, {2: 99}) == spelled
    assert with_priorities(TWO, {1: 0}) == TWO
    assert changes(TWO, with_priorities(TWO, {1: 5})) == ["+    prio: 5"]


def test_priority_of_nobody_or_of_no_worth() -> None:
    for wrong in ({3: 1}, {2: -1}, {2: 2**31}):
        with pytest.raises(ConfigError):
            with_priorities(SEED, wrong)


def test_node_added_looks_like_the_others() -> None:
    added = with_node_added(SEED, NodeSpec(16, ("172.31.223.49",), "n16", 97, False))
    assert changes(SEED, added) == [
        "- \texpected_votes: 3",
        "+ \texpected_votes: 4",
        "+\tnode {",
        "+\t\tring0_addr: 172.31.223.49",
        "+\t\tnodeid: 16",
        "+\t\tname: n16",
        "+\t\tprio: 97",
        "+\t\treplication: off",
        "+\t}",
    ]
    assert with_node_removed(added, 16) == SEED


def test_node_removed() -> None:
    removed = with_node_removed(SEED, 4)
    lines = SEED.split(b"\n")
    assert removed == b"\n".join(lines[:24] + lines[30:]).replace(b"votes: 3", b"votes: 2")


def test_absent_expected_votes_stay_absent() -> None:
    silent = TWO.replace(b"  expected_votes: 2\n", b"")
    assert b"expected_votes" not in with_node_added(silent, NodeSpec(3, ("10.9.0.3",)))
    assert b"expected_votes" not in with_node_removed(silent, 2)


def test_two_node_ends_with_the_third_and_does_not_come_back() -> None:
    three = with_node_added(TWO, NodeSpec(3, ("10.9.0.3",)))
    assert changes(TWO, three)[:4] == [
        "-  expected_votes: 2",
        "-  two_node: 1",
        "+  expected_votes: 3",
        "+  two_node: 0",
    ]
    assert read_facts(parse(with_node_removed(three, 3))).two_node is False
    assert b"two_node: 0" in with_node_removed(TWO, 2)


def test_votes_of_a_node_count() -> None:
    heavy = with_node_edited(SEED, 8, {"quorum_votes": "3"})
    assert changes(SEED, heavy) == ["- \texpected_votes: 3", "+ \texpected_votes: 5", "+\t\tquorum_votes: 3"]
    assert read_facts(parse(with_node_removed(heavy, 8))).expected_votes == 2
    assert with_node_edited(heavy, 8, {"quorum_votes": None}) == SEED


def test_node_edited() -> None:
    edited = with_node_edited(SEED, 8, {"prio": "7", "replication": "off", "name": "eight"})
    assert changes(SEED, edited) == [
        "-\t\tprio: 98",
        "-\t\treplication: on",
        "+\t\tprio: 7",
        "+\t\treplication: off",
        "+\t\tname: eight",
    ]
    back = with_node_edited(edited, 8, {"prio": "98", "replication": "on", "name": None})
    assert back == SEED
    assert with_node_edited(SEED, 8, {"name": None}) == SEED


@pytest.mark.parametrize(
    "spec",
    [
        NodeSpec(4, ("10.9.0.9",)),
        NodeSpec(9, ()),
        NodeSpec(9, ("172.31.223.47",)),
        NodeSpec(9, ("10.9.0.9", "10.9.1.9"), "nine"),
        NodeSpec(9, ("fd00::9",)),
        NodeSpec(9, ("10.9.0.999",)),
        NodeSpec(9, ("",)),
        NodeSpec(9, ("no such name",)),
        NodeSpec(9, ("\ud800",)),
        NodeSpec(0, ("10.9.0.9",)),
        NodeSpec(65536, ("10.9.0.9",)),
        NodeSpec(9, ("10.9.0.9",), prio=-1),
        NodeSpec(9, ("10.9.0.9\n}",)),
        NodeSpec(9, ("10.9.0.9",), name="a{"),
        NodeSpec(9, tuple(f"10.9.{link}.9" for link in range(9))),
    ],
)
def test_node_that_cannot_be_added(spec: NodeSpec) -> None:
    with pytest.raises(ConfigError):
        with_node_added(SEED, spec)


def test_what_a_node_cannot_become() -> None:
    for wrong in ({"nodeid": "5"}, {"prio": "x"}, {"replication": "so"}, {"ring0_addr": None}, {"a b": "c"}):
        with pytest.raises(ConfigError):
            with_node_edited(SEED, 8, wrong)
    with pytest.raises(ConfigError):
        with_node_edited(SEED, 9, {"prio": "1"})
    with pytest.raises(ConfigError):
        with_node_edited(SEED, 8, {"ring0_addr": "172.31.223.47"})


def test_last_node_stays() -> None:
    with pytest.raises(ConfigError) as refusal:
        with_node_removed(with_node_removed(TWO, 1), 2)
    assert "last" in refusal.value.why


def test_first_node_of_an_empty_file() -> None:
    data = with_node_added(b"", NodeSpec(1, ("10.9.0.1",)))
    assert data == b"nodelist {\n\tnode {\n\t\tring0_addr: 10.9.0.1\n\t\tnodeid: 1\n\t}\n}\n"


def test_errors_that_were_there_are_no_reason() -> None:
    """The seed lacks a version and a provider; its priorities can be rewritten all the same."""
    assert with_priorities(SEED, {2: 5}) != SEED
    assert with_node_edited(SEED, 2, {"prio": "5"}) == with_priorities(SEED, {2: 5})


@given(clusters(), st.integers(1, 65535), st.integers(0, 100))
def test_added_and_removed_is_as_before(data: bytes, nodeid: int, prio: int) -> None:
    facts = read_facts(parse(data))
    if facts.node(nodeid):
        nodeid = next(free for free in range(1, 65536) if not facts.node(free))
    added = with_node_added(data, NodeSpec(nodeid, ("10.9.0.99",), f"n{nodeid}", prio))
    assert read_facts(parse(added)).node(nodeid)
    assert (b"\r\n" in data) == (b"\r\n" in added)
    assert added.count(b"\n") - data.count(b"\n") == 6
    assert with_node_removed(added, nodeid) == data


@given(clusters(), st.data())
def test_priorities_change_nothing_else(data: bytes, draw: st.DataObject) -> None:
    facts = read_facts(parse(data))
    wanted = {node.nodeid: draw.draw(st.integers(0, 100)) for node in facts.nodes}
    after = read_facts(parse(with_priorities(data, wanted)))
    assert {node.nodeid: node.prio for node in after.nodes} == wanted
    assert after.config_version == facts.config_version
    kept = [line for line in data.splitlines() if b"prio:" not in line]
    assert [line for line in with_priorities(data, wanted).splitlines() if b"prio:" not in line] == kept
