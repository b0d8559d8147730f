"""The lab itself: what the other lab tests take for granted."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from lab.cluster import CHECKOUT, CLOUD_IP, CLOUD_IP6, SEED, Cluster, LabError, sweep, wait_for
from lab.machine import stat

GRATUITOUS = """
import socket, struct, sys
device = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
device.bind(("vmbr0", 0))
mac, ip = device.getsockname()[4], socket.inet_aton(sys.argv[1])
device.send(bytes([255] * 6) + mac + struct.pack("!HHHBBH6s4s6s4s", 0x806, 1, 0x800, 6, 4, 1, mac, ip, bytes(6), ip))
"""
DATAGRAM = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", (sys.argv[1], 9))
"""
OWNER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from lab.cluster import Cluster
cluster = Cluster(nodes=2).up()
cluster.node(1).start("steady", ["sleep", "1000"], restart="always")
inits = [cluster.bridge, *(node.init for node in cluster.nodes)]
print(*(init.pid for init in inits), flush=True)
time.sleep(1000)
"""
KINDS = ("net", "mnt", "pid", "uts", "ipc")


def mounts_and_links() -> tuple[str, str]:
    """What a lab must not change on the real machine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return Path("/proc/self/mounts").read_text(), links


@pytest.fixture
def namespaces():
    """`namespaces(pid)`: those of a process, kept to the end of the test: the number of one that is gone is soon another's,
    of a lab beside this one."""
    kept = []

    def of(pid):
        opened = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in KINDS]
        kept.extend(opened)
        return {os.readlink(f"/proc/self/fd/{each}") for each in opened}

    yield of
    for each in kept:
        os.close(each)


def in_use() -> set[str]:
    """Every namespace some process is in."""
    found = set()
    for name in os.listdir("/proc"):
        for kind in KINDS:
            try:
                found.add(os.readlink(f"/proc/{name}/ns/{kind}"))
            except OSError:
                pass
    return found


def test_three_nodes_quorate(make_cluster):
    cluster = make_cluster()
    seen = {node.membership() for node in cluster.nodes}
    assert len(seen) == 1
    assert seen.pop().members == {1, 2, 3}


def test_seed_conf(make_cluster):
    cluster = make_cluster(**SEED)
    assert [node.nodeid for node in cluster.nodes] == [2, 4, 8]
    prio = cluster.node(4).run(["corosync-cmapctl", "nodelist.node.1.prio"]).stdout
    assert prio == "nodelist.node.1.prio (str) = 100\n"


def test_cut_and_heal(make_cluster):
    cluster = make_cluster()
    lost = cluster.node(2)
    for carrier in (False, True):
        lost.cut(carrier=carrier)
        cluster.wait_quorate(cluster.others(lost))
        wait_for(lambda: (seen := lost.membership()) and seen.members == {2}, "n2 is alone")
        assert not lost.quorate()
        lost.heal()
        cluster.wait_quorate()


def test_split(make_cluster):
    cluster = make_cluster(nodes=5)
    few, many = cluster.nodes[:2], cluster.nodes[2:]
    cluster.split(few, many)
    cluster.wait_quorate(many)
    wait_for(lambda: all((seen := node.membership()) and seen.members == {1, 2} for node in few), "the two see each other")
    assert not any(node.quorate() for node in few)
    cluster.heal()
    cluster.wait_quorate()


def test_power_off_leaves_nothing_alive(make_cluster, namespaces):
    cluster = make_cluster()
    node = cluster.node(1)
    node.popen(["sleep", "1000"])
    wait_for(lambda: any(process.argv[:1] == ("sleep",) for process in node.processes()), "sleep runs")
    node.run(["kill", "-STOP", str(next(process.inner for process in node.processes() if process.argv[:1] == ("sleep",)))])
    pids, spaces = [process.pid for process in node.processes()], namespaces(node.init.pid)
    assert any(process.argv[:1] == ("corosync",) for process in node.processes())
    node.power_off()
    assert not node.on
    assert node.processes() == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text()]
    assert not in_use() & spaces
    cluster.wait_quorate(cluster.others(node))


def test_power_on_is_a_new_boot(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False)
    node = cluster.node(1)
    before = node.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()
    node.run(["touch", "/tmp/t", "/run/r", "/dev/shm/s", "/etc/corosync/kept", "/var/lib/corolistener/kept"])
    node.power_off()
    node.power_on()
    after = node.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()
    assert after == node.boot_id != before
    left = node.run(["ls", "/tmp", "/run", "/dev/shm", "/etc/corosync", "/var/lib/corolistener"]).stdout.split()
    assert not {"t", "r", "s"} & set(left)
    assert left.count("kept") == 2


def test_down_leaves_nothing(machine_can, namespaces):
    before = mounts_and_links()
    with Cluster() as cluster:
        cluster.start_corosync()
        cluster.wait_quorate()
        station = cluster.add_station()
        spaces = set().union(*(namespaces(node.init.pid) for node in cluster.nodes))
        pids = {node.init.pid for node in [*cluster.nodes, station]} | {cluster.bridge.pid}
        directory = cluster.directory
    assert not spaces & in_use()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not directory.exists()
    assert mounts_and_links() == before


def test_two_clusters_side_by_side(make_cluster):
    one, two = make_cluster(), make_cluster(nodes=2)
    one.node(1).power_off()
    one.wait_quorate(one.others(one.node(1)))
    two.wait_quorate()


def test_units_restart_as_systemd_would(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    node.start("failing", ["sh", "-c", "exit 3"], restart="on-failure", before=["echo", "before"], burst=3, delay_s=0)
    wait_for(lambda: node.exits("failing") == [3, 3, 3], "three starts")
    assert node.output("failing").split() == ["before"] * 3
    node.start("steady", ["sleep", "1000"], restart="always")
    first = node.pid("steady")
    node.send("steady", 9)
    wait_for(lambda: node.pid("steady") not in (first, None), "it came back")
    assert node.exits("steady") == [137]
    node.stop("steady")
    assert node.pid("steady") is None


def test_a_unit_that_was_stopped_does_not_run(make_cluster):
    """Whatever its supervisor was doing; and one that is started again at once runs once."""
    node = make_cluster(nodes=1, corosync=False).node(1)
    for round in range(10):
        node.start("steady", ["sleep", "1000"], restart="always", delay_s=0)
        with pytest.raises(LabError, match="steady runs already"):
            node.start("steady", ["sleep", "1000"])
        node.start("failing", ["sh", "-c", "exit 3"], restart="always", burst=1000, delay_s=round / 100)
        node.start("slow", ["sleep", "1000"], restart="always", before=["sleep", "0.05"])
        for unit in ("steady", "failing", "slow"):
            node.stop(unit)
        assert node.processes() == []
    node.start("steady", ["sleep", "1000"], restart="always", delay_s=0)
    wait_for(lambda: [each.argv[:1] for each in node.processes()] == [("sh",), ("sleep",)], "it runs once")


def test_unrest(make_cluster):
    """What the story does to a node is none; a ring that nobody touched and that breaks all the same is."""
    cluster = make_cluster(token=1000)
    one, two, three = cluster.nodes
    assert cluster.unrest() == []
    three.power_off()
    cluster.wait_quorate([one, two])
    assert cluster.unrest() == []
    two.send("corosync", signal.SIGSTOP)
    wait_for(lambda: (seen := one.membership()) and seen.members == {1}, "node 1 is alone")
    two.send("corosync", signal.SIGCONT)
    assert any("left: 2" in line for line in cluster.unrest())
    cluster.wait_quorate([one, two])


STORY = """
import signal
import pytest
from lab.conftest import *
from lab.cluster import wait_for
told = []

@pytest.mark.parametrize("harm", ["none", "once", "always"])
def test_story(make_cluster, harm):
    told.append(harm)
    one, two = make_cluster(nodes=2, token=1000).nodes
    if harm == "always" or told.count(harm) == 1 and harm == "once":
        two.send("corosync", signal.SIGSTOP)
        wait_for(lambda: (seen := one.membership()) and seen.members == {1}, "node 1 is alone")
        two.send("corosync", signal.SIGCONT)
    assert harm == "once" and told.count(harm) == 2
"""


def test_a_story_is_told_again_only_after_unrest(machine_can, tmp_path):
    """Once, with a warning; without unrest a failure is one."""
    (tmp_path / "test_story.py").write_text(STORY)
    (tmp_path / "conftest.py").write_text("from lab.conftest import *\n")
    argv = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "/dev/null", "."]
    path = f"{Path(__file__).parents[1]}"
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    ends = dict(re.findall(r"^test_story\.py::test_story\[(\w+)\] (PASSED|FAILED)", done.stdout, re.MULTILINE))
    assert ends == {"none": "FAILED", "once": "PASSED", "always": "FAILED"}, done.stdout
    assert done.stdout.count("told again, because a ring broke by itself") == 2


def test_service_hook(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    hook = "/etc/corolistener/service"
    assert not node.service_running()
    for verb in ("start", "start"):
        node.run([hook, verb])
        assert node.service_running()
    for verb in ("stop", "stop"):
        node.run([hook, verb])
        assert not node.service_running()
    assert [what for _, what in node.service_log()] == ["start", "stop"]
    assert node.run([hook, "status"], check=False).returncode == 3


def test_a_service_whose_start_is_killed_is_stopped(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    hook = "/etc/corolistener/service"
    for pause in range(30):
        with node.popen([hook, "start"]) as starting:
            time.sleep(pause / 1000)
            starting.kill()
        node.run([hook, "stop"])
        assert not [each.argv for each in node.processes() if each.argv[:1] == ("sleep",)]


def test_witness_on_the_bridge_sees_a_gratuitous_arp(make_cluster):
    cluster = make_cluster(nodes=2, corosync=False)
    witness = cluster.witness()
    before = time.time_ns()
    cluster.node(2).run([sys.executable, "-c", GRATUITOUS, CLOUD_IP])
    seen = witness.wait(lambda fact: fact["kind"] == "arp" and fact["gratuitous"], "the ARP")
    assert (seen["device"], seen["mac"], seen["sender"]) == ("n2", cluster.node(2).mac, CLOUD_IP)
    assert before < seen["wall"] < time.time_ns()
    assert abs(seen["boottime"] - seen["wall"] - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.time_ns())) < 1e9
    assert len([fact for fact in witness.facts() if fact["kind"] == "arp"]) == 1


def test_witness_on_a_node_sees_addresses(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    witness = node.cluster.witness(node)
    for address, prefix in ((CLOUD_IP, 24), (CLOUD_IP6, 64)):
        for verb, what in (("add", "new"), ("del", "deleted")):
            node.ip(f"addr {verb} {address}/{prefix} dev vmbr0")
            wanted = {"kind": "address", "what": what, "address": address, "prefix": prefix, "device": "vmbr0"}
            witness.wait(lambda fact, wanted=wanted: wanted.items() <= fact.items(), f"{what} {address}")
    assert not node.holds(CLOUD_IP)
    witness.stop()


def test_witness_sees_an_unsolicited_advertisement(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False)
    witness, node = cluster.witness(), cluster.node(1)
    node.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/vmbr0/ndisc_notify"])
    node.ip(f"addr add {CLOUD_IP6}/64 dev vmbr0")
    seen = witness.wait(lambda fact: fact["kind"] == "na" and fact["address"] == CLOUD_IP6, "the advertisement")
    assert (seen["device"], seen["mac"], seen["solicited"], seen["override"]) == ("n1", node.mac, False, True)


def test_station_answers_for_an_address(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False)
    station = cluster.add_station()
    station.ip(f"addr add {CLOUD_IP}/24 dev vmbr0")
    assert station.holds(CLOUD_IP)
    cluster.node(1).run([sys.executable, "-c", DATAGRAM, CLOUD_IP])
    shown = ["ip", "neigh", "show", CLOUD_IP]
    wait_for(lambda: "lladdr 02:c0:00:00:00:c8" in cluster.node(1).run(shown).stdout, "the station has answered")


def test_added_node_joins_the_wire(make_cluster):
    cluster = make_cluster(nodes=2)
    conf = cluster.conf([*cluster.nodes, cluster.add_node(7)], version=2)
    for node in cluster.nodes:
        node.corosync_conf = conf
    cluster.node(1).run(["corosync-cfgtool", "-R"])
    cluster.node(7).start_corosync()
    cluster.wait_quorate()
    assert cluster.node(7).membership().members == {1, 2, 7}


def test_paused_unit_resumes(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    node.start("steady", ["sleep", "1000"])
    node.send("steady", signal.SIGSTOP)
    wait_for(lambda: stat(node.pid("steady"))[0] == "T", "stopped")
    node.send("steady", signal.SIGCONT)
    wait_for(lambda: stat(node.pid("steady"))[0] == "S", "sleeping again")
    node.stop("steady")


def test_commands_on_a_machine(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    assert node.run(["cat"], input="text").stdout == "text"
    assert node.run(["hostname"]).stdout == "n1\n"
    with pytest.raises(LabError, match="n1: false: exit 1"):
        node.run(["false"])
    with pytest.raises(subprocess.TimeoutExpired):
        node.run(["sleep", "1000"], timeout=0.2)
    wait_for(lambda: not node.processes(), "the command that took too long is gone")
    assert (CHECKOUT / "setup.cfg").read_text() == node.run(["cat", str(CHECKOUT / "setup.cfg")]).stdout
    node.power_off()
    with pytest.raises(LabError, match="n1 is off"):
        node.run(["true"])


def test_nothing_survives_a_killed_owner(machine_can, tmp_path, namespaces):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(Path(__file__).parents[1])],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    spaces = set().union(*(namespaces(int(pid)) for pid in owner.stdout.readline().split()))
    assert spaces <= in_use()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_for(lambda: not spaces & in_use(), "the namespaces are gone")
    left = next(tmp_path.glob("corolab-*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        sweep()
    assert not left.exists()


def test_failure_shows_what_the_nodes_wrote(make_cluster):
    cluster = make_cluster(nodes=1)
    with pytest.raises(AssertionError, match=r"not within 0\.1 s: never") as caught:
        wait_for(lambda: False, "never", 0.1)
    assert "--- n1 corosync" in str(caught.value)
    assert "A new membership" in str(caught.value)
    assert cluster.node(1).exits("corosync") == []


def test_settings_are_toml(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False, settings={"cloud": {"mask": None}, "vms": {"manage": ["a", "b"]}})
    node = cluster.node(1)
    text = node.path("/etc/corolistener/corolistener.toml").read_text()
    read = tomllib.loads(text)
    assert read["cloud"] == {"ip": CLOUD_IP, "device": "vmbr0"}
    assert read["vms"] == {"manage": ["a", "b"]}
    node.write_settings(fencing={"agent": [{"nodes": ["n1"], "options": {"plug": "1"}}, {"nodes": []}]})
    read = tomllib.loads(node.path("/etc/corolistener/corolistener.toml").read_text())
    assert read["fencing"]["agent"] == [{"nodes": ["n1"], "options": {"plug": "1"}}, {"nodes": []}]
