"""The planner's part of scripts/bench, which runs without nodes; how long it takes is not judged."""

import json
import subprocess

from lab.cluster import CHECKOUT

from bench import planner

SOME = 3000


def test_every_cluster_is_what_it_says() -> None:
    for kind, placed, owed in (("mixed", True, False), ("full", False, True), ("tight", True, True), ("limited", True, False)):
        result, took = planner.measured(planner.cluster(kind, SOME), 1)
        assert len(took) == 1
        assert len(result.placements) + len(result.owed) == planner.LOST
        assert (bool(result.placements), bool(result.owed)) == (placed, owed), kind


def test_as_people_type_it() -> None:
    argv = [CHECKOUT / "scripts" / "bench", "planner", "--rounds", "1", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    figures = json.loads(done.stdout)["figures"]
    assert len(figures) == 5
    assert all(figure["count"] == 1 and figure["goal"] == "median ≤ 1000" for figure in figures)
    assert "growth from 10,000 to 100,000 VMs" in done.stderr
