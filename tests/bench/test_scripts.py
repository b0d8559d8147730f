"""scripts/bench and scripts/demo as people type them, on real nodes. How long anything takes is not judged."""

import json
import re
import subprocess

import pytest
from lab import hypervisor
from lab.cluster import CHECKOUT, CLOUD_IP, cannot

pytestmark = pytest.mark.lab
LIMIT_S = 600
WITHOUT_VMS = ("takeover", "clean-stop", "list", "import", "idle", "planner")


@pytest.fixture(autouse=True)
def _machine_can() -> None:
    if reason := cannot():
        pytest.skip(f"no lab here: {reason}")


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHECKOUT / "scripts" / name, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False)


def have_shape(parts: tuple[str, ...], names: tuple[str, ...]) -> None:
    """These parts print figures, among them these, which have a goal."""
    done = script("bench", "--quick", "--rounds", "1", "--json", *parts)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "load average" in found["where"]
    figures = {figure["name"]: figure for figure in found["figures"]}
    for name in names:
        figure = figures.pop(name)
        assert 0 <= figure["min"] <= figure["median"] <= figure["max"], figure
        assert len(figure["values"]) == figure["count"] > 0
        assert figure["goal"], name
        assert figure["reached"] is not None, name
    assert all(figure["values"] for figure in figures.values())


def test_every_figure_has_its_shape() -> None:
    names = (
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
    )
    have_shape(WITHOUT_VMS, names)


def test_every_figure_about_vms_has_its_shape() -> None:
    if reason := hypervisor.cannot():
        pytest.skip(f"no VMs here: {reason}")
    names = (
        "node killed, token 1000: SIGKILL → its VM runs elsewhere",
        "node killed, tuned: SIGKILL → its VM runs elsewhere",
        "4 VMs lost: proof → libvirt has defined the first",
        "4 VMs lost: ours : libvirt's own",
        "link cut: own quorum callback → last of 10 VMs suspended",
        "idle daemon with 100 VMs: proportional memory",
        "idle daemon with 100 VMs: CPU over 3 s",
    )
    have_shape(("vms",), names)


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
