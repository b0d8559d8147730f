"""scripts/bench and scripts/demo as people type them, on real nodes. How long anything takes is not judged."""

import json
import re
import subprocess

import pytest
from lab.cluster import CHECKOUT, CLOUD_IP, cannot

pytestmark = pytest.mark.lab
LIMIT_S = 300


@pytest.fixture(autouse=True)
def _machine_can() -> None:
    if reason := cannot():
        pytest.skip(f"no lab here: {reason}")


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHECKOUT / "scripts" / name, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_every_figure_has_its_shape() -> None:
    done = script("bench", "--quick", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "load average" in found["where"]
    figures = {figure["name"]: figure for figure in found["figures"]}
    for name in (
        "node killed: quorum callback → address on the device",
        "node killed: quorum callback → first gratuitous ARP on the wire",
        "link cut: quorum callback → address on the device",
        "isolated master: own quorum callback → address gone",
        "clean stop of the master's node: SIGTERM → address on the next",
        "corolistener -l : corosync-quorumtool -l, with a daemon",
        "corolistener -l : corosync-quorumtool -l, without a daemon",
        "idle daemon, three nodes: proportional memory",
        "idle daemon, three nodes: CPU over 3 s",
        "forbidden modules imported by -l, with a daemon",
        "plan, limited, 1000 nodes, 100000 VMs, 1000 lost",
    ):
        figure = figures.pop(name)
        assert 0 <= figure["min"] <= figure["median"] <= figure["max"], figure
        assert len(figure["values"]) == figure["count"] > 0
        assert figure["goal"], name
        assert figure["reached"] is not None, name
    assert all(figure["values"] for figure in figures.values())


def test_the_demonstration_tells_the_whole_takeover() -> None:
    done = script("demo", "--token", "300")
    assert done.returncode == 0, done.stderr
    before, _, after = done.stdout.partition("loses power")
    assert re.search(r" 4 +172\.31\.223\.47 +joined +M +100\n", before)
    story = [
        "SIGKILL of everything", "n2   quorum callback", f"n2   {CLOUD_IP}/24 on vmbr0", "lock file .lock.vmmgr.service",
        "service started", "lock file .lock.vmmgr.relocated", "offered to the others", "n8   corosync.conf version 2 stored",
        "n8   corosync.conf version 2 reloaded", "2 on n2, 2 on n8", "M       100",
    ]  # fmt: skip
    places = [after.find(part) for part in story]
    assert -1 not in places, dict(zip(story, places, strict=True))
    assert places == sorted(places)
    assert "first gratuitous ARP on the wire" in after


def test_mistakes_cost_one_line() -> None:
    for name, words in (("bench", ["takeoff"]), ("demo", ["--token", "5"])):
        done = script(name, *words)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
