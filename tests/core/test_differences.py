"""core/differences: the settings that members rely on from each other, and where they differ."""

from dataclasses import replace

import pytest

from corolistener.core.differences import Difference, differences, say
from corolistener.core.notes import Note, NoteCode
from corolistener.core.state import State
from corolistener.ids import NodeId
from corolistener.sim.script import Teller

N1, N2 = NodeId(1), NodeId(2)
Said = tuple[tuple[str, str], ...]


def state(here: Said, there: Said) -> State:
    """Node 1 of two, with what both have said."""
    teller = Teller()
    teller.play(["nodes 2", "boot", "settle"])
    s = teller.w.daemons[N1].pump.core.state
    s.config = replace(s.config, relied_on=here)
    s.group.peers[N2] = replace(s.group.peers[N2], relied_on=there)
    return s


VERSION = ("version", "1")


@pytest.mark.parametrize(
    ("here", "there", "found"),
    [
        ((VERSION,), (VERSION,), []),
        ((VERSION,), (), []),
        ((), (VERSION,), [("version", "default", "1")]),
        ((VERSION, ("vms.manage", "all")), (VERSION,), [("vms.manage", "all", "default")]),
        ((VERSION,), (VERSION, ("vms.manage", "all")), [("vms.manage", "default", "all")]),
        ((VERSION, ("a.b", "1")), (("version", "2"), ("a.b", "2")), [("a.b", "1", "2"), ("version", "1", "2")]),
    ],
)
def test_what_differs(here: Said, there: Said, found: list[tuple[str, str, str]]) -> None:
    """Who says nothing at all is of an older version: it differs in nothing."""
    assert list(differences(state(here, there))) == [Difference(N2, *each) for each in found]


def test_a_difference_is_told_once_and_again_when_it_is_another_one() -> None:
    s = state((VERSION,), (("version", "2"),))
    told = Note(NoteCode.SETTINGS_DIFFER, (("node", "2"), ("why", "version is 2 there and 1 here")))
    say(s)
    say(s)
    assert s.out.take() == [told]
    s.group.peers[N2] = replace(s.group.peers[N2], relied_on=(VERSION,))
    say(s)
    assert s.out.take() == []
    s.group.peers[N2] = replace(s.group.peers[N2], relied_on=(("version", "2"),))
    say(s)
    assert s.out.take() == [told]
