"""The lab's hypervisors and their witness: what the stories with VMs take for granted."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cluster import CHECKOUT, Cluster, LabError, stays, wait_for
from lab.hypervisor import Hypervisor, domain_xml

UNLOCKED, SHARED_LOCK = ("file.locking=off", ""), ("", "share-rw=on")
OWNER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from lab.cluster import Cluster
cluster = Cluster(nodes=1, hypervisor=True).up()
cluster.start_hypervisors()
witness = cluster.vm_witness()
cluster.storage.create_image("web")
one = cluster.node(1).hypervisor
one.define("web")
one.virsh("start", "web")
print(witness.pid, cluster.node(1).pid("libvirtd"), *one.processes().values(), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def pair(make_cluster) -> Cluster:
    """Two nodes with libvirtd, and the image of a VM called web."""
    cluster = make_cluster(nodes=2, corosync=False, hypervisor=True)
    cluster.storage.create_image("web")
    return cluster


def both(cluster: Cluster) -> tuple[Hypervisor, Hypervisor]:
    """The hypervisors of a pair."""
    one, two = (node.hypervisor for node in cluster.nodes)
    return one, two


def counting(cluster: Cluster, vm: str = "web") -> None:
    """Wait until the guest counts on."""
    before = cluster.storage.counts(vm).count
    wait_for(lambda: cluster.storage.counts(vm).count > before + 1, f"{vm} counts")


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


# -- one node


def test_a_vm_executes_stands_still_and_turns_itself_off(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False, hypervisor=True)
    node = cluster.node(1)
    one = node.hypervisor
    cluster.storage.create_image("web")
    with cluster.vm_witness() as witness:
        one.define("web", domain_xml("web", kvm=False))
        assert one.states() == {"web": "shut off"}
        one.virsh("start", "web")
        witness.await_running("web", node)
        counting(cluster)
        assert one.running() == {"web"}
        wait_for(lambda: witness.writers("web") == ["n1"], "the witness sees the lock")
        one.virsh("suspend", "web")
        witness.await_still("web")
        assert (one.states(), one.running()) == ({"web": "paused"}, set())
        assert list(one.processes()) == ["web"]
        count = cluster.storage.counts("web")
        stays(lambda: cluster.storage.counts("web") == count, "the guest stands still", 0.5)
        one.virsh("resume", "web")
        witness.await_running("web", node)
        counting(cluster)
        one.virsh("shutdown", "web")
        wait_for(lambda: not one.processes(), "the guest has turned itself off")
        wait_for(lambda: one.states() == {"web": "shut off"}, "libvirt says so too")
        one.virsh("start", "web")
        wait_for(lambda: witness.starts("web") == 2, "the guest has booted twice")
        one.virsh("destroy", "web")
        wait_for(lambda: witness.intervals()[-1].until, "the witness saw the end")
    assert len(witness.intervals("web", "running")) == 3
    assert witness.starts("web") == 2
    witness.assert_never_twice()


def test_kvm(make_cluster):
    if not os.path.exists("/dev/kvm"):
        pytest.skip("no /dev/kvm here")
    cluster = make_cluster(nodes=1, corosync=False, hypervisor=True)
    one = cluster.node(1).hypervisor
    cluster.storage.create_image("web")
    one.define("web", domain_xml("web", kvm=True))
    one.virsh("start", "web")
    counting(cluster)
    one.virsh("shutdown", "web")
    wait_for(lambda: not one.processes(), "the guest has turned itself off")


def test_vms_survive_their_libvirtd(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False, hypervisor=True)
    one = cluster.node(1).hypervisor
    cluster.storage.create_image("web")
    one.define("web")
    one.virsh("start", "web")
    pids = one.processes()
    for harm in (one.kill, one.stop):
        harm()
        counting(cluster)
        wait_for(lambda: cluster.node(1).pid("libvirtd") is None, "libvirtd has gone")
        assert not one.answers()
        one.start()
        assert one.states() == {"web": "running"}
    one.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        one.virsh("list", timeout=0.5)
    counting(cluster)
    one.resume()
    assert one.states() == {"web": "running"}
    one.restart()
    assert one.states() == {"web": "running"}
    assert one.processes() == pids


def test_a_supervised_libvirtd_comes_back(make_cluster):
    cluster = make_cluster(nodes=1, corosync=False, hypervisor=True)
    one = cluster.node(1).hypervisor
    one.stop()
    one.start(supervised=True)
    before = cluster.node(1).pid("libvirtd")
    one.kill()
    wait_for(lambda: cluster.node(1).pid("libvirtd") not in (before, None), "libvirtd is another one")
    one.await_answer()


def test_nodes_without_vms_have_nothing_of_it(make_cluster):
    node = make_cluster(nodes=1, corosync=False).node(1)
    mounts = node.run(["cat", "/proc/self/mounts"]).stdout
    assert " /var/lib/shared " not in mounts
    assert " /var/cache " not in mounts
    with pytest.raises(LabError, match="no storage"):
        node.hypervisor.start()


# -- two nodes


def test_every_node_is_a_host_of_its_own(pair):
    one, two = both(pair)
    assert [each.virsh("hostname").strip() for each in (one, two)] == ["n1", "n2"]
    uuids = {re.search("<uuid>(.*)</uuid>", each.virsh("capabilities"))[1] for each in (one, two)}
    assert len(uuids) == 2
    one.define("web")
    assert (set(one.states()), set(two.states())) == ({"web"}, set())
    with pytest.raises(LabError, match="has an image already"):
        pair.storage.create_image("web")


def test_an_image_has_one_writer(pair):
    one, two = both(pair)
    with pair.vm_witness() as witness:
        for each in (one, two):
            each.define("web")
        one.virsh("start", "web")
        for refused in range(2):
            with pytest.raises(LabError, match='Failed to get "write" lock'):
                two.virsh("start", "web")
            if not refused:
                one.virsh("suspend", "web")
        one.virsh("destroy", "web")
        two.virsh("start", "web")
        witness.await_running("web", pair.node(2))
    witness.assert_never_twice()
    assert [each.node for each in witness.intervals("web", "running")] == ["n1", "n2"]


def test_live_migration(pair):
    one, two = both(pair)
    with pair.vm_witness() as witness:
        one.define("web")
        one.virsh("start", "web")
        counting(pair)
        for source, target in ((one, two), (two, one)):
            source.migrate("web", target)
            witness.await_running("web", target.node)
            assert (source.states(), target.states()) == ({}, {"web": "running"})
            assert (source.processes(), list(target.processes())) == ({}, ["web"])
            counting(pair)
            wait_for(lambda here=target: witness.writers("web") == [here.node.name], "the lock went along")
            before, after = witness.intervals("web", "running")[-2:]
            assert (before.node, after.node) == (source.node.name, target.node.name)
            assert before.until <= after.since
        wait_for(lambda: witness.starts("web") == 1, "the witness saw the guest boot")
    assert pair.storage.counts("web").starts == 1
    assert [each.node for each in witness.intervals("web", "running")] == ["n1", "n2", "n1"]
    witness.assert_never_twice()


def test_a_loss_of_power_takes_the_vms_along(pair):
    one, two = both(pair)
    with pair.vm_witness() as witness:
        for each in (one, two):
            each.define("web")
        one.virsh("start", "web")
        witness.await_running("web", one.node)
        counting(pair)
        pids = one.processes()
        one.node.power_off()
        assert one.processes() == {}
        assert all(map(gone, pids.values()))
        witness.await_still("web")
        two.virsh("start", "web")
        counting(pair)
        one.node.power_on()
        one.start()
        assert one.states() == {"web": "shut off"}
        wait_for(lambda: witness.starts("web") == 2, "the guest has booted twice")
        assert witness.running_on("web") == ["n2"]
    assert witness.last_running("web", one.node) <= witness.first_running("web", two.node)
    witness.assert_never_twice()


# -- the witness


def test_the_witness_catches_a_vm_that_runs_twice(pair):
    with pair.vm_witness() as witness:
        for each in both(pair):
            each.define("web", domain_xml("web", unlocked=UNLOCKED))
        for each in both(pair):
            each.virsh("start", "web")
        wait_for(lambda: sorted(witness.running_on("web")) == ["n1", "n2"], "web runs twice")
        wait_for(lambda: any("counted back" in line for line in witness.twice()), "the disk tells, too")
        assert witness.writers("web") == []
    with pytest.raises(AssertionError, match="twice: web running on n1"):
        witness.assert_never_twice()


def test_the_witness_catches_an_image_under_two_names(pair):
    one, _ = both(pair)
    with pair.vm_witness() as witness:
        for name in ("web", "alias"):
            one.define(name, domain_xml(name, image="/var/lib/shared/web.img", unlocked=UNLOCKED))
            one.virsh("start", name)
        wait_for(lambda: all(witness.running_on(name) for name in ("web", "alias")), "both run")
    with pytest.raises(AssertionError, match=r"twice: web running .*web.img.*; alias running"):
        witness.assert_never_twice()


def test_the_witness_catches_two_writers(pair):
    with pair.vm_witness() as witness:
        for each in both(pair):
            each.define("web", domain_xml("web", unlocked=SHARED_LOCK))
            each.virsh("start", "--paused", "web")
        wait_for(lambda: sorted(witness.writers("web")) == ["n1", "n2"], "both hold the lock")
        assert witness.running_on("web") == []
    with pytest.raises(AssertionError, match=r"two writers: web\.img on"):
        witness.assert_never_twice()


def test_the_witness_says_when_it_cannot_tell(pair, monkeypatch):
    one, _ = both(pair)
    monkeypatch.setattr("lab.vm_witness.BLIND_NS", 0)
    with pair.vm_witness() as witness:
        blind = domain_xml("web").replace("/run/vm/web.qmp", "/run/vm/elsewhere.qmp").replace("'-qmp'", "'-qmp-pretty'")
        one.define("web", blind)
        one.virsh("start", "web")
        counting(pair)
    with pytest.raises(AssertionError, match="cannot tell"):
        witness.assert_never_twice()


# -- nothing is left


def real_machine() -> tuple[str, str, list[bool]]:
    """What VMs in the lab must not change on the real machine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    names = "\n".join(re.findall(r"^\d+: ([^:@]+)", links, re.MULTILINE))
    places = [f"{place}/libvirt" for place in ("/var/lib", "/var/cache", "/var/log", "/run")]
    left = [Path(place).exists() for place in [*places, "/etc/libvirt/qemu", "/var/lib/shared"]]
    return Path("/proc/self/mounts").read_text(), names, left


def test_down_leaves_nothing(machine_can):
    before = real_machine()
    with Cluster(nodes=2, hypervisor=True) as cluster:
        cluster.start_hypervisors()
        witness = cluster.vm_witness()
        cluster.storage.create_image("web")
        one, _ = both(cluster)
        one.define("web")
        one.virsh("start", "web")
        witness.await_running("web", cluster.node(1))
        pids = [witness.pid, *one.processes().values(), *(cluster.node(nodeid).pid("libvirtd") for nodeid in (1, 2))]
        directory = cluster.directory
    assert all(map(gone, pids))
    assert not directory.exists()
    assert real_machine() == before
    assert [each.state for each in witness.intervals()][-1] == "running"


def test_all_of_it_dies_with_its_owner(machine_can):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(CHECKOUT / "tests")], stdout=subprocess.PIPE, text=True)
    with owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        owner.send_signal(signal.SIGKILL)
    assert len(pids) == 3
    wait_for(lambda: all(map(gone, pids)), "witness, libvirtd and QEMU are gone")
