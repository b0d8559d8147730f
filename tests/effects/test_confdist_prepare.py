"""PrepareConfig: what a change does to the text, and in which words it is refused."""

import tempfile
from pathlib import Path

import pytest
from coroconf.files import SEED
from hypothesis import given, settings
from hypothesis import strategies as st

from corolistener.core.actions import PrepareConfig
from corolistener.core.config import ConfigId, NodeEntry
from corolistener.core.events import Result
from corolistener.core.messages import AddNode, Change, EditNode, PushText, RemoveNode, Restamp, RevertTo, SetPriorities
from corolistener.engine.conf import cluster_of, config_id
from corolistener.ids import NodeId

from .conffiles import NODES, conf
from .confstage import MEMBERS, T1, Here


@pytest.fixture
def here(tmp_path: Path) -> Here:
    place = Here(tmp_path)
    place.path.write_bytes(conf(5))
    return place


def changed_lines(old: bytes, new: bytes) -> list[bytes]:
    """The lines that only the new file has."""
    before = old.splitlines()
    return [line.strip() for line in new.splitlines() if line not in before]


def test_priorities_change_nothing_else(here: Here) -> None:
    outcome = here.prepare(SetPriorities(((NodeId(1), 20), (NodeId(2), 30), (NodeId(4), 10))))
    assert outcome.result is Result.DONE
    assert changed_lines(conf(5), outcome.text) == [b"config_version: 6"]
    assert outcome.text == conf(6, nodes=((1, "10.7.0.1", 20), (2, "10.7.0.2", 30), (4, "10.7.0.4", 10)))
    assert outcome.cluster == cluster_of(outcome.text)


def test_a_pushed_file_gets_the_next_version(here: Here) -> None:
    pushed = conf(5, more="# pushed\n")
    assert here.prepare(PushText(pushed)).text == conf(6, more="# pushed\n")


def test_a_pushed_file_keeps_a_higher_version_of_its_own(here: Here) -> None:
    outcome = here.prepare(PushText(conf(40)))
    assert outcome.text == conf(40)
    assert outcome.cluster is not None
    assert outcome.cluster.id.version == 40


@pytest.mark.parametrize(
    ("pushed", "why"),
    [
        (conf(4), "pushed file:5: version 4 is older than 5: fetch with config show, edit, push again"),
        (
            conf(5).replace(b"\tconfig_version: 5\n", b""),
            "pushed file: a file without config_version is older than 5: fetch with config show, edit, push again",
        ),
        (b"totem {\n\tfoo\n}\n", "pushed file:2: neither a section's start or end nor a key with a colon: 'foo'"),
        (conf(5, name="other"), "pushed file:4: another cluster: the name is 'other', not 'VMmanager'"),
        (
            conf(5, nodes=NODES[:1]),
            "pushed file:15: node 2 is running and not in this nodelist: put it back, or stop its corosync first",
        ),
        (
            conf(5, nodes=NODES[1:]),
            "pushed file:15: node 1 is running and not in this nodelist: put it back, or stop its corosync first",
        ),
        (conf(5).replace(b"version: 2", b"version: 3", 1), "pushed file:3: "),
        (conf(5).replace(b"nodeid: 4", b"nodeid: 1"), "pushed file:26: "),
        (conf(5).replace(b"prio: 10", b"prio: high"), "pushed file:29: "),
        (conf(5).replace(b"corosync_votequorum", b"corosync_vote"), "pushed file:8: "),
        (conf(5, more="# x\n" * 140_000), "pushed file: 560377 bytes are too many for a corosync.conf"),
        (b"", "pushed file: a file without config_version is older than 5"),
        (b"\xff\0\n", "pushed file:1: "),
    ],
)
def test_a_bad_push_is_refused_in_one_line(here: Here, pushed: bytes, why: str) -> None:
    outcome = here.prepare(PushText(pushed))
    assert outcome.result is Result.FAILED
    assert outcome.why.startswith(why)
    assert "\n" not in outcome.why
    assert not outcome.text
    assert outcome.cluster is None


def test_the_seed_s_own_file_goes_through_a_takeover_and_a_push(here: Here) -> None:
    """It lacks what corosync 3 wants; what was wrong before is no reason to refuse the next change."""
    here.path.write_bytes(SEED)
    members = (NodeId(2), NodeId(8))
    outcome = here.prepare(SetPriorities(((NodeId(2), 100), (NodeId(4), 99))), 2, members)
    assert outcome.result is Result.DONE, outcome.why
    swapped = SEED.replace(b"prio: 100", b"prio: was 4").replace(b"prio: 99", b"prio: 100")
    swapped = swapped.replace(b"prio: was 4", b"prio: 99").replace(b"config_version: 1", b"config_version: 2")
    assert outcome.text == swapped
    assert here.install(outcome.text).result is Result.DONE
    assert here.prepare(PushText(outcome.text + b"# pushed\n"), 3, members).result is Result.DONE
    assert here.prepare(EditNode(NodeId(8), replication=False), 3, members).result is Result.DONE


def test_revert_gives_the_old_content_a_new_version(here: Here) -> None:
    here.install(conf(6, more="# a mistake\n"))
    assert here.prepare(RevertTo(5), version=7).text == conf(7)


def test_revert_to_what_is_not_kept_says_what_is(here: Here) -> None:
    here.install(conf(6))
    outcome = here.prepare(RevertTo(3), version=7)
    assert outcome.result is Result.FAILED
    assert "no such version is kept here; there are: 5" in outcome.why


def test_revert_to_a_file_without_a_running_node_is_refused(here: Here) -> None:
    here.path.write_bytes(conf(5, nodes=NODES[:2]))
    here.install(conf(6))
    outcome = here.prepare(RevertTo(5), version=7, members=(*MEMBERS, NodeId(4)))
    assert outcome.why.startswith("corosync.conf.5:15: node 4 is running")


def test_a_node_without_id_gets_the_lowest_free_one(here: Here) -> None:
    outcome = here.prepare(AddNode("10.7.0.3", name="third", priority=7, replication=False))
    assert outcome.cluster is not None
    assert outcome.cluster.node(NodeId(3)) == NodeEntry(NodeId(3), "third", "10.7.0.3", 7, False)
    assert b"expected_votes: 4" in outcome.text


def test_a_node_with_an_id_and_nothing_else(here: Here) -> None:
    outcome = here.prepare(AddNode("10.7.0.9", id=NodeId(9)))
    assert outcome.cluster is not None, outcome.why
    assert outcome.cluster.node(NodeId(9)) == NodeEntry(NodeId(9), "", "10.7.0.9")
    assert changed_lines(conf(5), outcome.text) == [
        b"config_version: 6",
        b"expected_votes: 4",
        b"ring0_addr: 10.7.0.9",
        b"nodeid: 9",
    ]


def test_a_node_s_links_are_separated_by_commas(here: Here) -> None:
    text = conf(5)
    for number in (1, 2, 4):
        old = f"\t\tring0_addr: 10.7.0.{number}\n"
        text = text.replace(old.encode(), f"{old}\t\tname: n{number}\n\t\tring1_addr: 10.8.0.{number}\n".encode())
    here.path.write_bytes(text)
    outcome = here.prepare(AddNode("10.7.0.3, 10.8.0.3", name="n3"))
    assert outcome.result is Result.DONE, outcome.why
    assert b"ring0_addr: 10.7.0.3\n" in outcome.text
    assert b"ring1_addr: 10.8.0.3\n" in outcome.text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (AddNode("10.7.0.4"), "10.7.0.4"),
        (AddNode("10.7.0.9", id=NodeId(1)), "node 1 is already in the nodelist"),
        (AddNode("10.7.0.9\nevil: yes"), "cannot add node 3: '10.7.0.9\\nevil: yes' is neither an address nor a host name"),
        (AddNode("10.7.0.9", name="nine\nevil: yes"), "cannot write"),
        (AddNode(""), "cannot add node 3: '' is neither an address nor a host name"),
        (AddNode("10.7.0.300"), "cannot add node 3: '10.7.0.300' is neither an address nor a host name"),
        (AddNode("10.7.0.9,,"), "cannot add node 3: '' is neither an address nor a host name"),
        (EditNode(NodeId(3), priority=4), "no node 3 in the nodelist"),
        (EditNode(NodeId(4)), "node 4: name, priority or replication must be given to change it"),
        (EditNode(NodeId(4), priority=-1), "prio"),
        (RemoveNode(NodeId(1)), "node 1 is running: stop its corosync first, then remove it"),
        (RemoveNode(NodeId(3)), "no node 3 in the nodelist"),
    ],
)
def test_a_change_of_nodes_that_makes_no_sense_is_refused(here: Here, change: Change, why: str) -> None:
    outcome = here.prepare(change)
    assert outcome.result is Result.FAILED
    assert outcome.why.startswith(str(here.path))
    assert why in outcome.why
    assert "\n" not in outcome.why


def test_a_node_is_edited(here: Here) -> None:
    outcome = here.prepare(EditNode(NodeId(4), name="four", priority=99, replication=True))
    assert outcome.cluster is not None
    assert outcome.cluster.node(NodeId(4)) == NodeEntry(NodeId(4), "four", "10.7.0.4", 99, True)


def test_a_node_that_is_away_is_removed(here: Here) -> None:
    outcome = here.prepare(RemoveNode(NodeId(4)))
    assert outcome.text == conf(6, nodes=NODES[:2])


def test_a_restamped_file_differs_in_its_version_alone(here: Here) -> None:
    assert here.prepare(Restamp(), version=9).text == conf(9)


def test_prepare_against_another_base_fails(here: Here) -> None:
    outcome = here.do(PrepareConfig(T1, ConfigId(4, "0" * 64), 6, Restamp(), MEMBERS))
    assert outcome.result is Result.FAILED
    assert "somebody changed it" in outcome.why


def test_a_missing_file_is_a_failure_in_its_own_words(here: Here) -> None:
    here.path.unlink()
    outcome = here.do(PrepareConfig(T1, config_id(conf(5)), 6, Restamp(), MEMBERS))
    assert (outcome.result, outcome.why) == (Result.FAILED, f"{here.path}: No such file or directory")


def test_an_ipv6_node_is_added_to_an_ipv6_cluster(here: Here) -> None:
    here.path.write_bytes(conf(5, nodes=((1, "fd00::1", 3), (2, "fd00::2", 2))))
    outcome = here.prepare(AddNode("fd00::9"))
    assert outcome.result is Result.DONE, outcome.why


@pytest.mark.parametrize("address", ["10.7.0.9", "nine", "nine.example.org", "n-9", "9.example.org"])
def test_addresses_and_names_are_taken(here: Here, address: str) -> None:
    outcome = here.prepare(AddNode(address))
    assert outcome.result is Result.DONE, outcome.why


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 60))
def test_no_pushed_bytes_are_more_than_a_refusal(noise: bytes, at: int, gone: int) -> None:
    """A good file, overwritten anywhere with anything: a new file or one line, never an exception."""
    text = conf(5)
    with tempfile.TemporaryDirectory() as directory:
        place = Here(Path(directory))
        place.path.write_bytes(text)
        outcome = place.prepare(PushText(text[:at] + noise + text[at + gone :]))
    assert outcome.result in (Result.DONE, Result.FAILED)
    assert "\n" not in outcome.why
    assert bool(outcome.text) == (outcome.result is Result.DONE)
