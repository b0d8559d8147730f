"""corosync.conf on real nodes: pushed, refused, stored late, taken back, edited by hand."""

import base64
import re
import signal
from pathlib import Path

import pytest

from corolistener.client.session import Client
from corolistener.errors import RequestRefused
from lab.cluster import SEED, Cluster, Node, daemon_argv, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import (
    CALM,
    CONF,
    FENCING,
    FULL,
    QUICK,
    READ_ONLY,
    WRITABLE,
    conf_bytes,
    everything,
    in_force,
    noted,
    nothing,
    obstacles,
    put,
    refused,
    runtime_versions,
    service_changes,
    settled,
    status,
)

KEPT = "/etc/corosync/corosync.conf.{}"
ENTRY = "\tnode {{\n\t\tring0_addr: {}\n\t\tnodeid: {}\n\t\tprio: {}\n\t\treplication: on\n\t}}\n"


def up(make_cluster: MakeCluster, **options: object) -> Cluster:
    """The seed's cluster, settled with n4 as master."""
    cluster = make_cluster(daemons=True, **{"settings": FENCING, **CALM, **SEED, **options})
    settled(cluster, cluster.node(4))
    return cluster


def shell(node: Node, script: str) -> str:
    return node.run(["sh", "-ec", script]).stdout


def commented(node: Node, comment: str) -> str:
    """The node's file with one more line on top."""
    return f"# {comment}\n{node.corosync_conf}"


def stamped(text: bytes, version: int) -> bytes:
    """The same file with another config_version, not a byte else."""
    return re.sub(rb"(config_version: )\d+", rb"\g<1>%d" % version, text)


def untouched(cluster: Cluster, before: bytes) -> None:
    """Nothing has changed, neither on disks nor in what is in force."""
    version = int(re.findall(rb"config_version: (\d+)", before)[0])
    assert in_force(cluster, version) == before


# -- push


@pytest.mark.parametrize("sender", [4, 8])
def test_push(make_cluster: MakeCluster, sender: int) -> None:
    """Stored and reloaded everywhere, from the master as from a slave; only the version's bytes differ from what was pushed."""
    cluster = up(make_cluster)
    node = cluster.node(sender)
    before = conf_bytes(node)
    odd = (
        b"# gr\xc3\xb6\xc3\x9fer \t \r\n"
        + before.replace(b" \t\tttl: 1\n", b" \t\tttl:1   \r\n", 1)
        + b"\n\n# the end, without a newline"
    )
    done = node.cli("config", "push", put(node, odd))
    told = done.stdout.splitlines()
    assert (told[0], told[-1]) == ("version 2 is offered to the members", "version 2 is in force, stored by 3 of 3 members")
    assert sorted(line.split()[3] for line in told[1:-1]) == ["2", "4", "8"]
    assert [line.partition("(")[2] for line in told[1:-1]] == ["1 of 3)", "2 of 3)", "3 of 3)"]
    assert in_force(cluster, 2) == stamped(odd, 2)
    for each in cluster.nodes:
        assert each.path(KEPT.format(1)).read_bytes() == before
        assert noted(each, "config-committed", version=2)
    assert service_changes(cluster) == [("start", 4)]


def test_push_of_a_higher_version_keeps_it(make_cluster: MakeCluster) -> None:
    """Who numbers versions himself may."""
    cluster = up(make_cluster)
    n8 = cluster.node(8)
    text = stamped(conf_bytes(n8), 41)
    n8.cli("config", "push", put(n8, text))
    assert in_force(cluster, 41) == text


def test_push_from_stdin(make_cluster: MakeCluster) -> None:
    """`config show | sed | config push -`."""
    cluster = up(make_cluster)
    n2 = cluster.node(2)
    line = "corolistener config show | sed 's/port0: 1500/port0: 1501/' | corolistener config push -"
    shell(n2, f"PATH={Path(daemon_argv()[0]).parent}:$PATH; {line}")
    assert b"\n \tport0: 1501\n" in in_force(cluster, 2)


def test_push_of_what_may_not_follow(make_cluster: MakeCluster) -> None:
    """One line that says where and why; nothing changes anywhere."""
    cluster = up(make_cluster)
    n2, n8 = cluster.node(2), cluster.node(8)
    before = conf_bytes(n8)
    good = n8.corosync_conf

    unbalanced = good.replace("nodelist {", "nodelist ", 1)
    line = good[: good.index("nodelist {")].count("\n") + 1
    said = refused(n8, "config", "push", put(n8, unbalanced))
    assert re.search(rf"^corolistener: /tmp/new.conf:{line}: .*'nodelist'", said)

    own = ENTRY.format(n8.address, 8, 98)
    said = refused(n8, "config", "push", put(n8, good.replace(own, "")))
    assert "node 8 is running and not in this nodelist" in said
    others = ENTRY.format(n2.address, 2, 99)
    said = refused(n8, "config", "push", put(n8, good.replace(others, "")))
    assert "node 2 is running and not in this nodelist" in said

    said = refused(n8, "config", "push", put(n8, good.replace("config_version: 1", "config_version: 0")))
    assert re.search(r"^corolistener: /tmp/new.conf:\d+: version 0 is older than 1: ", said)
    said = refused(n8, "config", "push", put(n8, good.replace("cluster_name: VMmanager", "cluster_name: other")))
    assert "another cluster: the name is 'other', not 'VMmanager'" in said
    said = refused(n8, "config", "push", put(n8, good.replace("prio: 98", "prio: high")))
    assert "prio" in said
    said = refused(n8, "config", "push", put(n8, ""))
    assert "a file without config_version is older than 1" in said

    untouched(cluster, before)
    assert not list(n8.path("/etc/corosync").glob("corosync.conf.*"))
    assert not any(noted(each, "config-offered") for each in cluster.nodes)


def test_push_of_what_corosync_refuses(make_cluster: MakeCluster) -> None:
    """Only a running corosync knows that a link's address cannot be changed: all withdraw it and run what they ran."""
    cluster = up(make_cluster)
    n2, n8 = cluster.node(2), cluster.node(8)
    before = conf_bytes(n8)
    said = refused(n2, "config", "push", put(n2, n2.corosync_conf.replace(n8.address, "172.31.223.99")))
    assert "corosync did not reload" in said
    untouched(cluster, before)
    for each in cluster.nodes:
        assert noted(each, "config-withdrawn", version=2)
    assert service_changes(cluster) == [("start", 4)]
    n2.cli("config", "push", put(n2, commented(n2, "good")))
    in_force(cluster, 3)


def test_push_without_quorum(make_cluster: MakeCluster) -> None:
    """Refused at once: nothing could make it agreed."""
    n8 = up(make_cluster, **QUICK).node(8)
    before = conf_bytes(n8)
    n8.cut()
    wait_for(lambda: noted(n8, "quorum-lost"), "n8 is alone")
    assert "no quorum" in refused(n8, "config", "push", put(n8, commented(n8, "alone")))
    assert "no quorum" in refused(n8, "node", "edit", "8", "--priority", "7")
    assert conf_bytes(n8) == before


# -- disks


@pytest.mark.parametrize(
    ("harm", "heal", "why"),
    [
        (FULL, "rm /etc/corosync/fill", "No space left on device"),
        (READ_ONLY, WRITABLE, "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_member_that_cannot_store(make_cluster: MakeCluster, harm: str, heal: str, why: str) -> None:
    """The others have it; the member is named, cannot be master, and catches up by itself once it can store again."""
    cluster = up(make_cluster)
    n2, n4, n8 = cluster.nodes

    def has(who: Node, **fields: object) -> bool:
        return any(why in line for line in noted(who, "config-not-stored", **fields))

    shell(n8, harm)
    pushed = commented(n8, "not for everybody at once")
    done = n8.cli("config", "push", put(n8, pushed))
    assert re.search(rf"^node 8 cannot store it: .*{why}$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == "version 2 is in force, stored by 2 of 3 members"
    for each in (n2, n4):
        assert conf_bytes(each) == stamped(pushed.encode(), 2)
        wait_for(lambda each=each: has(each, node=8), f"{each.name} is told why")  # type: ignore[misc]
        wait_for(lambda each=each: obstacles(each, n8) == ["config-differs"], f"{each.name} knows it")  # type: ignore[misc]
    assert has(n8)
    assert everything(n4)
    assert "its corosync.conf is not the one in force" in n2.cli("status").stdout

    shell(n8, heal)
    wait_for(lambda: not any(obstacles(each, n8) for each in cluster.nodes), "n8 catches up by itself", limit=120)
    assert shell(n8, f"cat {CONF}").encode() == stamped(pushed.encode(), 2)
    stored = noted(n8, "config-stored", version=2)
    assert len(stored) == 1
    wait_for(lambda: runtime_versions(n4) == {2: 2, 4: 2, 8: 2}, "and its corosync runs it")
    assert service_changes(cluster) == [("start", 4)]


def test_the_heir_cannot_store_and_the_master_dies(make_cluster: MakeCluster) -> None:
    """Who does not have the file in force is passed over, although its priority is next, until it can store again."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    shell(n2, READ_ONLY)
    n8.cli("config", "push", put(n8, commented(n8, "n2 cannot store this")))
    wait_for(lambda: obstacles(n8, n2) == ["config-differs"], "n2 is not eligible")
    n4.power_off()
    wait_for(lambda: everything(n8) and nothing(n2), "n8 takes over, though n2 has the higher priority")
    shell(n2, WRITABLE)
    # Which of them is master then depends on whether n8 could have its priorities stored in the meantime.
    wait_for(lambda: not obstacles(n8, n2) and not obstacles(n8, n8), "n2 catches up", limit=120)
    wait_for(lambda: conf_bytes(n2) == conf_bytes(n8), "both have the same file")
    wait_for(lambda: [status(each).get("phase") for each in (n2, n8)] in (["settled", "idle"], ["idle", "settled"]), "one acts")
    master = wait_for(lambda: next((each for each in (n2, n8) if everything(each)), None), "one of them is master")
    settled(cluster, master, [n2, n8])  # type: ignore[arg-type]
    in_force(cluster, n8.config_version(), [n2, n8])


def test_the_masters_own_disk_is_full(make_cluster: MakeCluster) -> None:
    """Refused before anybody is offered anything."""
    cluster = up(make_cluster)
    n4, n8 = cluster.node(4), cluster.node(8)
    before = conf_bytes(n8)
    shell(n4, FULL)
    assert "No space left on device" in refused(n8, "config", "push", put(n8, commented(n8, "too much")))
    assert conf_bytes(n8) == before
    assert everything(n4)
    shell(n4, "rm /etc/corosync/fill")
    n8.cli("config", "push", put(n8, commented(n8, "fits now")))
    wait_for(lambda: shell(n4, f"cat {CONF}") == n8.corosync_conf, "the same file on both")


def test_an_offer_that_no_quorum_stores_is_withdrawn(make_cluster: MakeCluster) -> None:
    """The one that had stored it takes it back; the number is not used again."""
    cluster = up(make_cluster)
    n2, n4, n8 = cluster.nodes
    before = conf_bytes(n4)
    for each in (n2, n8):
        shell(each, READ_ONLY)
    said = refused(n4, "config", "push", put(n4, commented(n4, "nobody can")))
    assert "stored by 1 of 3 members" in said
    assert said.count("Read-only file system") == 2
    untouched(cluster, before)
    assert noted(n4, "config-withdrawn", version=2)
    for each in (n2, n8):
        shell(each, WRITABLE)
    pushed = commented(n4, "everybody can")
    n4.cli("config", "push", put(n4, pushed))
    assert in_force(cluster, 3) == stamped(pushed.encode(), 3)


# -- kept versions


def test_show_diff_log_revert(make_cluster: MakeCluster) -> None:
    """What changed, when, and back again with a new number."""
    cluster = up(make_cluster)
    n2, n8 = cluster.node(2), cluster.node(8)
    first = n8.corosync_conf
    assert "no earlier version" in refused(n8, "config", "diff")
    n8.cli("config", "push", put(n8, first.replace("port0: 1500", "port0: 1502")))
    second = in_force(cluster, 2).decode()

    assert n8.cli("config", "show").stdout == second
    assert n8.cli("config", "show", "1").stdout == first
    changed = [line for line in n8.cli("config", "diff").stdout.splitlines() if re.match(r"[+-][^+-]", line)]
    assert changed == ["- \tconfig_version: 1", "+ \tconfig_version: 2", "- \tport0: 1500", "+ \tport0: 1502"]
    proposed = n8.cli("config", "diff", put(n8, second.replace("ttl: 1", "ttl: 2"))).stdout
    assert [line for line in proposed.splitlines() if re.match(r"[+-][^+-]", line)] == ["- \t\tttl: 1", "+ \t\tttl: 2"]
    log = [line.split() for line in n8.cli("config", "log").stdout.splitlines()]
    assert [(line[0], line[4]) for line in log] == [("1", KEPT.format(1)), ("2", CONF)]
    assert log[-1][-2:] == ["in", "use"]

    done = n2.cli("config", "revert", "1")
    assert done.stdout.splitlines()[-1] == "version 3 is in force, stored by 3 of 3 members"
    assert in_force(cluster, 3).decode() == first.replace("config_version: 1", "config_version: 3")
    assert "no such version is kept here; there are: 1, 2" in refused(n2, "config", "revert", "77")
    assert "no such version is kept here; there are: 1, 2" in refused(n2, "config", "show", "77", status=78)


def test_kept_versions_are_pruned(make_cluster: MakeCluster) -> None:
    """The last ten stay, on every node."""
    cluster = up(make_cluster)
    n8 = cluster.node(8)
    for count in range(12):
        n8.cli("node", "edit", "2", "--name", f"two-{count}")
    in_force(cluster, 13)
    for each in cluster.nodes:
        names = {path.name for path in each.path("/etc/corosync").iterdir()}
        assert names == {"corosync.conf", *(f"corosync.conf.{version}" for version in range(3, 13))}


# -- rollback


def test_a_node_is_lost_after_a_push(make_cluster: MakeCluster) -> None:
    """Within 30 s, without farewell: the survivors have the previous content again, with a higher version."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    before = conf_bytes(n4)
    n8.cli("config", "push", put(n8, commented(n8, "and then n8 dies")))
    in_force(cluster, 2)
    n8.power_off()
    assert in_force(cluster, 3, [n2, n4]) == stamped(before, 3)
    assert noted(n4, "config-rollback", version=2, to=1, lost=8)
    assert everything(n4)
    n8.power_on(start=True)
    settled(cluster, n4)
    assert in_force(cluster, 3) == stamped(before, 3)
    assert service_changes(cluster) == [("start", 4)]


def test_a_node_leaves_cleanly_after_a_push(make_cluster: MakeCluster) -> None:
    """A farewell is no loss: the change stays."""
    cluster = up(make_cluster)
    n2, n4, n8 = cluster.nodes
    n8.cli("config", "push", put(n8, commented(n8, "and then n8 goes")))
    after = in_force(cluster, 2)
    n8.stop_daemon()
    n8.stop_corosync()
    wait_for(lambda: noted(n4, "farewell", node=8), "n8 says goodbye")
    stays(lambda: conf_bytes(n4) == conf_bytes(n2) == after, "the change stays", 3)
    assert not any(noted(each, "config-rollback") for each in cluster.nodes)


def test_quorum_is_lost_after_a_push(make_cluster: MakeCluster) -> None:
    """No master can put it right: who is left does so alone, and all agree when they are back."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    before = conf_bytes(n4)
    n8.cli("config", "push", put(n8, commented(n8, "and then two die")))
    in_force(cluster, 2)
    n2.power_off()
    n8.power_off()
    wait_for(lambda: n4.config_version() == 3, "n4 takes the change back")
    assert conf_bytes(n4) == stamped(before, 3)
    assert nothing(n4)
    n8.power_on(start=True)
    settled(cluster, n4, [n4, n8])
    n2.power_on(start=True)
    settled(cluster, n4)
    assert in_force(cluster, 3) == stamped(before, 3)


def test_everybody_loses_quorum_after_a_push(make_cluster: MakeCluster) -> None:
    """The switch dies with the change: everyone takes it back alone, to the same bytes."""
    cluster = up(make_cluster, **QUICK)
    n4 = cluster.node(4)
    before = conf_bytes(n4)
    n4.cli("config", "push", put(n4, commented(n4, "and then the switch dies")))
    in_force(cluster, 2)
    cluster.cut()
    wait_for(lambda: all(conf_bytes(each) == stamped(before, 3) for each in cluster.nodes), "each takes it back alone")
    cluster.heal()
    settled(cluster, n4)
    assert in_force(cluster, 3) == stamped(before, 3)


def test_a_change_that_costs_quorum_by_itself(make_cluster: MakeCluster) -> None:
    """More votes expected than there are: quorum goes in the very reload. It is taken back, and the cluster works again.

    Each node takes it back for itself, so quorum comes and goes with every reload, not at once on all. Whoever had begun
    to act in between is not master again before the others have admitted it: another one may be, with its priority.
    """
    cluster = up(make_cluster, **QUICK)
    n4, n8 = cluster.node(4), cluster.node(8)
    before = conf_bytes(n4)
    pushed = n8.corosync_conf.replace("expected_votes: 3", "expected_votes: 7")
    done = n8.run(daemon_argv("config", "push", put(n8, pushed)), check=False)
    assert done.returncode == 0 or "quorum was lost" in done.stderr
    wait_for(lambda: all(noted(each, "config-rollback", version=2, to=1) for each in cluster.nodes), "each takes it back")
    wait_for(lambda: all(b"expected_votes: 3" in conf_bytes(each) for each in cluster.nodes), "and has it no more")
    master = wait_for(lambda: next((each for each in cluster.nodes if everything(each)), None), "somebody is master")
    settled(cluster, master)  # type: ignore[arg-type]
    version = n4.config_version()
    assert version >= 3
    healed = in_force(cluster, version)
    assert unranked(healed) == unranked(stamped(before, version))
    assert sorted(PRIO.findall(healed)) == sorted(PRIO.findall(before))
    if master is n4:
        assert healed == stamped(before, version)
    service_changes(cluster)


PRIO = re.compile(rb"prio: (\d+)")


def unranked(text: bytes) -> bytes:
    """The file without the priorities, which may have been swapped."""
    return PRIO.sub(b"", text)


# -- by hand


def hand_edit(node: Node, text: str) -> None:
    """An administrator edits the file and tells the daemon."""
    node.corosync_conf = text
    node.send("daemon", signal.SIGHUP)


@pytest.mark.parametrize("editor", [4, 8])
def test_a_hand_edited_file_of_a_higher_version(make_cluster: MakeCluster, editor: int) -> None:
    """With SIGHUP it is as good as pushed: distributed, reloaded, in force; nobody loses anything."""
    cluster = up(make_cluster)
    node = cluster.node(editor)
    text = commented(node, "by hand").replace("config_version: 1", "config_version: 7")
    hand_edit(node, text)
    assert in_force(cluster, 7) == text.encode()
    settled(cluster, cluster.node(4))
    assert service_changes(cluster) == [("start", 4)]


@pytest.mark.parametrize("version", [1, 2])
def test_a_hand_edited_file_of_no_higher_version(make_cluster: MakeCluster, version: int) -> None:
    """It is overwritten by the one in force, with a note; what was edited is kept beside it."""
    cluster = up(make_cluster)
    n4, n8 = cluster.node(4), cluster.node(8)
    n4.cli("config", "push", put(n4, commented(n4, "for everybody")))
    agreed = in_force(cluster, 2)
    hand_edit(n8, commented(n8, "for n8 alone").replace("config_version: 2", f"config_version: {version}"))
    wait_for(lambda: noted(n8, "config-differs", version=version, agreed=2), "n8 notes that its file differs")
    wait_for(lambda: b"for n8 alone" not in conf_bytes(n8), "it is overwritten")
    settled(cluster, n4)
    healed = in_force(cluster, n4.config_version())
    assert healed == stamped(agreed, n4.config_version())
    kept = [path for path in n8.path("/etc/corosync").glob("corosync.conf.*") if b"for n8 alone" in path.read_bytes()]
    assert kept, "the edited file is kept"
    assert service_changes(cluster) == [("start", 4)]


def test_the_masters_file_of_equal_version(make_cluster: MakeCluster) -> None:
    """The master's own word counts: its edit gets a version and is given to all, and nobody loses anything."""
    cluster = up(make_cluster)
    n4 = cluster.node(4)
    text = commented(n4, "by hand, on the master").encode()
    hand_edit(n4, text.decode())
    assert in_force(cluster, 2) == stamped(text, 2)
    settled(cluster, n4)
    assert service_changes(cluster) == [("start", 4)]


def test_a_silent_edit_and_then_a_push(make_cluster: MakeCluster) -> None:
    """An edit that the daemon was not told of costs nobody anything: on a slave it is overwritten and kept, on the master
    the push is refused and says what to do."""
    cluster = up(make_cluster)
    n2, n4, n8 = cluster.nodes
    n8.corosync_conf = commented(n8, "silently")
    n2.cli("node", "edit", "2", "--name", "two")
    in_force(cluster, 2)
    assert b"# silently" in n8.path(KEPT.format(1)).read_bytes()
    n4.corosync_conf = commented(n4, "silently")
    said = refused(n2, "node", "edit", "2", "--name", "zwei")
    assert f"{CONF} of node 4 is 2:" in said
    assert "somebody changed it" in said
    n4.send("daemon", signal.SIGHUP)
    in_force(cluster, 3)
    n2.cli("node", "edit", "2", "--name", "zwei")
    text = in_force(cluster, 4)
    assert b"# silently" in text
    assert b"name: zwei" in text


def test_a_takeover_makes_all_files_equal(make_cluster: MakeCluster) -> None:
    """Whatever a slave's file had become, and whatever the dead master had begun."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    n8.corosync_conf = commented(n8, "silently")
    n4.power_off()
    settled(cluster, n2, [n2, n8])
    text = in_force(cluster, 2, [n2, n8]).decode()
    assert [int(prio) for prio in re.findall(r"prio: (\d+)", text)] == [100, 99, 98]
    n4.power_on(start=True)
    settled(cluster, n2)
    in_force(cluster, 2)


def test_the_master_dies_in_the_middle_of_a_push(make_cluster: MakeCluster) -> None:
    """The next one rolls forward what is on a disk of the living; then come its own priorities."""
    cluster = up(make_cluster, **QUICK)
    n2, n4, n8 = cluster.nodes
    n8.pause_daemon()  # it will not answer the offer, so the offer stays open
    put(n2, commented(n2, "begun by a master that died"))
    pushing = n2.popen(daemon_argv("config", "push", "/tmp/new.conf"), stdout=-1, stderr=-1)
    wait_for(lambda: n2.config_version() == 2, "n2 has stored what is offered", every=0.01)
    n4.power_off()
    n8.resume_daemon()
    _, said = pushing.communicate(timeout=120)
    settled(cluster, n2, [n2, n8])
    text = in_force(cluster, n2.config_version(), [n2, n8])
    assert b"begun by a master that died" in text
    assert pushing.returncode == 0 or said.count("\n") == 1
    n4.power_on(start=True)
    settled(cluster, n2)


# -- who may


def test_the_two_sockets(make_cluster: MakeCluster) -> None:
    """What changes anything is for root on the admin socket."""
    cluster = up(make_cluster, settings={**FENCING, "control": {"group": "nogroup"}})
    n8 = cluster.node(8)
    before = conf_bytes(n8)
    text = base64.b64encode(commented(n8, "not like this").encode()).decode()
    with Client(str(n8.path("/run/corolistener/client"))) as session:
        for verb, args in {"config-push": {"text": text}, "config-revert": {"version": 1}, "node-remove": {"id": 2}}.items():
            with pytest.raises(RequestRefused) as caught:
                session.request(verb, args)
            assert caught.value.code == "not-permitted"
        assert session.status()["master"] == 4
    put(n8, commented(n8, "not like this"))
    for words in (["config", "push", "/tmp/new.conf"], ["config", "revert", "1"], ["node", "edit", "2", "--name", "x"]):
        assert "/run/corolistener/admin: permission denied" in refused(n8, *words, user="nobody")
    assert "/run/corolistener/admin: permission denied" in refused(n8, "prepare-restart", user="nobody")
    reader = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *daemon_argv("status")]
    assert "the master is node 4" in n8.run(reader).stdout
    stranger = ["setpriv", "--reuid=nobody", "--regid=games", "--clear-groups", *daemon_argv("status")]
    assert n8.run(stranger, check=False).returncode == 1
    untouched(cluster, before)
