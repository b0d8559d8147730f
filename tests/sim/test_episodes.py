"""Misfortunes drawn together: within their time, without what a cluster must not meet, and readable as lines of a story."""

from itertools import pairwise
from random import Random

from corolistener.ids import NodeId
from corolistener.sim.episodes import LOST, episodes
from corolistener.sim.faults import ALL_CONDITIONS, entry
from corolistener.sim.vm_faults import ITS

NODES = [NodeId(1), NodeId(2), NodeId(3)]
BEGIN, END = 10_000, 40_000


def test_they_keep_to_their_time_and_to_what_a_cluster_may_meet() -> None:
    barred, met = frozenset({"power-off", "vm-crashes"}), set[str]()
    for seed in range(200):
        found = episodes(Random(seed), NODES, BEGIN, END, barred)
        met |= {each.fault for each in found}
        assert all(BEGIN <= each.at < END for each in found)
        assert all(entry(str(each)) == each for each in found)
        assert all(each.when is None or each.when in ALL_CONDITIONS for each in found)
    assert not met & barred
    assert met > {"operator-fills", "vm-hangs", *LOST} - barred


def test_a_node_that_is_back_is_lost_after_it_was_given_vms() -> None:
    seen = 0
    for seed in range(100):
        found = episodes(Random(seed), NODES, BEGIN, BEGIN + 10**6, frozenset())
        for first, second, third in zip(found, found[1:], found[2:], strict=False):
            if (
                second.fault == "operator-fills"
                and first.target == second.target == third.target != "it"
                and third.fault in LOST
            ):
                assert first.at + (first.lasts or 0) < second.at < third.at
                seen += 1
    assert seen > 10


def test_what_crashes_again_and_again_is_on_the_node_that_is_hit() -> None:
    crashes = [each for seed in range(100) for each in episodes(Random(seed), NODES, BEGIN, END, frozenset())]
    crashes = [each for each in crashes if each.fault == "vm-crashes"]
    assert crashes
    assert {each.words for each in crashes} == {(ITS,)}


def test_a_node_that_is_back_still_cannot_destroy_its_copies() -> None:
    seen = 0
    for seed in range(100):
        found = episodes(Random(seed), NODES, BEGIN, BEGIN + 10**6, frozenset())
        for hung, cut in pairwise(found):
            if hung.words in (("vm-stop",), ("vm-stop-fails",)) and cut.fault == "cut" and hung.target == cut.target:
                assert hung.at <= cut.at < cut.at + (cut.lasts or 0) + 5000 < hung.at + (hung.lasts or 0)
                seen += 1
    assert seen > 5
