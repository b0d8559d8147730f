"""The command line on real nodes: what it lists, what it finds, and the one line it has for misuse."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.cluster import NETWORK, SEED, Cluster, Node, daemon_argv, wait_for
from lab.conftest import MakeCluster, raise_cluster
from lab.stories import CALM, CONF, FENCING, QUICK, everything, in_force, noted, put, refused, settled, status
from lab.texts import SEED as SAMPLE

KEY = "/etc/corolistener/key"
SETTINGS = "/etc/corolistener/corolistener.toml"
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
LIST = """\
VMmanager-cloud node list
=============================================================
        Id               Ip    Status  Master/Slave  Priority
         2    172.31.223.46    joined             S        99
         4    172.31.223.47    joined             M       100
         8    172.31.223.48    joined             S        98
"""


@pytest.fixture(scope="module")
def seed(machine_can: None) -> Iterator[Cluster]:
    """The seed's cluster with daemons, shared by the stories that change nothing on it."""
    cluster = raise_cluster(True, True, settings=FENCING, **CALM, **SEED)
    try:
        settled(cluster, cluster.node(4))
        yield cluster
    finally:
        cluster.down()


def up(make_cluster: MakeCluster, **options: object) -> Cluster:
    """A cluster of the story's own, settled with n4 as master."""
    cluster = make_cluster(daemons=True, **{"settings": FENCING, **CALM, **SEED, **options})
    settled(cluster, cluster.node(4))
    return cluster


# -- the list


def test_list(seed: Cluster) -> None:
    """As in the manual, to the blank, and the same on every node."""
    for each in seed.nodes:
        done = each.cli("-l")
        assert (done.stdout, done.stderr) == (LIST, "")
        assert each.cli("--list").stdout == LIST
    assert seed.node(2).run([*daemon_argv()[:1], "-l"], check=False).stdout == LIST, "without --config: the usual place"


def test_list_as_json(seed: Cluster) -> None:
    """The same facts and more."""
    found = json.loads(seed.node(8).cli("-l", "--json").stdout)
    rows = [[node[key] for key in ("id", "ip", "status", "role", "priority")] for node in found["nodes"]]
    assert rows == [
        [2, f"{NETWORK}.46", "joined", "S", 99],
        [4, f"{NETWORK}.47", "joined", "M", 100],
        [8, f"{NETWORK}.48", "joined", "S", 98],
    ]
    assert (found["source"], found["master"], found["quorate"], found["cluster"]) == ("daemon", 4, True, "VMmanager")
    assert {key: value for key, value in found.items() if key in ("role", "acting", "phase")} == {
        "role": "slave",
        "acting": False,
        "phase": "idle",
    }


def test_list_without_daemon_and_without_corosync(make_cluster: MakeCluster) -> None:
    """Without a daemon corosync is asked, and that is said; without both it is one line and exit status 1."""
    cluster = up(make_cluster)
    n4, n8 = cluster.node(4), cluster.node(8)
    n8.stop_daemon()
    done = n8.cli("-l")
    assert done.stdout == LIST
    assert done.stderr.count("\n") == 1
    assert "no daemon at /run/corolistener/client; corosync was asked instead" in done.stderr
    found = json.loads(n8.cli("-l", "--json").stdout)
    assert (found["source"], found["master"], found["quorate"]) == ("corosync", 4, True)
    assert found.keys() == json.loads(n4.cli("-l", "--json").stdout).keys(), "the keys are those of the daemon"
    assert "no daemon" in refused(n8, "status")

    n8.stop_corosync()
    said = refused(n8, "-l")
    assert "no daemon at /run/corolistener/client" in said
    assert "corosync does not run here either" in said
    assert refused(n8, "-l", "--json") == said
    left = LIST.replace("    joined             S        98", "      left             -        98")
    wait_for(lambda: n4.cli("-l").stdout == left, "the others list n8 as left")
    n8.start_daemon()
    wait_for(lambda: n8.cli("-l", check=False).stdout.count("left             -") == 3, "a daemon alone knows nobody")


def test_list_on_a_node_that_is_cut_off(make_cluster: MakeCluster) -> None:
    """Nobody is master in its eyes, and it says that it has no quorum."""
    cluster = up(make_cluster, **QUICK)
    n2, n4 = cluster.node(2), cluster.node(4)
    n4.cut()
    settled(cluster, n2, [n2, cluster.node(8)])
    alone = n4.cli("-l").stdout.splitlines()[3:]
    assert [line.split()[2:4] for line in alone] == [["left", "-"], ["joined", "-"], ["left", "-"]]
    assert [line.split()[2:] for line in n2.cli("-l").stdout.splitlines()[3:]] == [
        ["joined", "M", "100"],
        ["left", "-", "99"],
        ["joined", "S", "98"],
    ]
    text = n4.cli("status").stdout
    assert "NOT quorate" in text
    assert "no master" in text


# -- status


def test_status(seed: Cluster) -> None:
    """What people read says the same as what programs read."""
    n4, n8 = seed.node(4), seed.node(8)
    text = n4.cli("status").stdout
    assert re.search(r"^node: +4 172\.31\.223\.47$", text, re.MULTILINE)
    assert re.search(r"^cluster: +VMmanager, quorate$", text, re.MULTILINE)
    assert re.search(r"^role: +master$", text, re.MULTILINE)
    assert re.search(r"^cloud IP: +172\.31\.223\.100/24 on vmbr0, held here$", text, re.MULTILINE)
    assert re.search(r"^service: +running, lock files: service, relocated$", text, re.MULTILINE)
    assert re.search(r"^config: +version 1 \([0-9a-f]{8}\) is in force$", text, re.MULTILINE)
    text = n8.cli("status").stdout
    assert re.search(r"^role: +slave, the master is node 4$", text, re.MULTILINE)
    assert "not held here" in text
    found = status(n4)
    assert found["lease"]["valid"]
    assert (found["address"]["state"], found["service"]["state"]) == ("held", "running")
    assert all(node["eligible"] and node["member"] and node["config_version"] == 1 for node in found["nodes"])


# -- check


def check(node: Node) -> tuple[int, list[str]]:
    """The exit status, and the lines that are not ok; the lines are the same as JSON."""
    done = node.cli("check", check=False)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "warning", "error") for line in lines)
    found = json.loads(node.cli("check", "--json", check=False).stdout)
    assert [row["level"] for row in found] == [line.split()[0] for line in lines]
    assert done.returncode == int(any(line.startswith("error") for line in lines))
    return done.returncode, [line for line in lines if not line.startswith("ok")]


def healthy(*nodes: Node) -> None:
    """`check` comes to find no error on them. What it says may change until then, from one call to the next."""
    wait_for(lambda: all(each.cli("check", check=False).returncode == 0 for each in nodes), "nothing is wrong any more")
    for each in nodes:
        assert check(each)[0] == 0


def finds(node: Node, level: str, topic: str, *words: str) -> None:
    """`check` on the node finds that, with this level, exactly once, and exits accordingly."""
    code, lines = check(node)
    found = [line for line in lines if line.startswith(f"{level:<8} {topic}: ") and all(word in line for word in words)]
    assert len(found) == 1, "\n".join(lines)
    assert code == 1 or level != "error"


def test_check_on_healthy_nodes(seed: Cluster) -> None:
    """Nothing is an error; what corosync 3 ignores in the seed's file is named with its line."""
    for each in seed.nodes:
        code, lines = check(each)
        assert code == 0
        topics = {line.split()[1] for line in lines}
        assert topics == {"corosync.conf:", "drop-in:"}, lines
    text = seed.node(8).corosync_conf.splitlines()
    named = [int(line.split(f"{CONF}:")[1].split(":")[0]) for line in lines if f"{CONF}:" in line]
    assert [text[number - 1].split(":")[0].strip() for number in named] == ["bindnetaddr", "mcastaddr"]
    oks = seed.node(8).cli("check").stdout
    assert "ok       node: this is node 8, 172.31.223.48, priority 98" in oks
    assert "ok       versions: 3 nodes have joined, all with version 1" in oks
    assert "ok       lease: 9700 ms (token 4000 + consensus 4800 + 2 * heartbeat 200 + 500, timers of corosync)" in oks


def test_check_of_the_seeds_own_file(make_cluster: MakeCluster) -> None:
    """The vendor's sample as it is: what corosync 3 refuses in it is an error with the line."""
    cluster = make_cluster(corosync=False, settings=FENCING, **{**SEED, "conf": SAMPLE})
    node = cluster.node(8)
    code, lines = check(node)
    assert code == 1
    assert any("error    corosync.conf: " in line and "version" in line for line in lines), lines
    assert any("corosync.conf: " in line and "provider" in line for line in lines), lines
    assert any("bindnetaddr" in line or "ignored beside a nodelist" in line for line in lines), lines


def settings_with(old: str, new: str) -> Callable[[Node], None]:
    """Replaces words of the node's settings."""

    def harm(node: Node) -> None:
        text = node.path(SETTINGS).read_text()
        assert old in text
        node.path(SETTINGS).write_text(text.replace(old, new))

    return harm


def no_key(node: Node) -> None:
    node.path(KEY).unlink()


def open_key(node: Node) -> None:
    node.path(KEY).chmod(0o640)


def unsafe_locks(node: Node) -> None:
    node.path("/tmp").chmod(0o777)


def from_the_future(node: Node) -> None:
    later = time.time() + 3600
    os.utime(node.path(CONF), (later, later))


def broken_conf(node: Node) -> None:
    node.corosync_conf = node.corosync_conf.replace("nodelist {", "nodelist", 1)


def other_conf(node: Node) -> None:
    node.corosync_conf = node.corosync_conf.replace(node.address, f"{NETWORK}.77")


def no_conf(node: Node) -> None:
    node.path(CONF).unlink()


def unreloaded(node: Node) -> None:
    node.corosync_conf = node.corosync_conf.replace("config_version: 1", "config_version: 3")


@pytest.mark.parametrize(
    ("harm", "level", "topic", "words"),
    [
        (settings_with('"vmbr0"', '"vmbr7"'), "error", "cloud IP", ["on vmbr7", "no such device"]),
        (settings_with('mask = "255.255.255.0"', 'mask = "255.0.255.0"'), "error", "settings", [f"{SETTINGS}:", "mask"]),
        (settings_with("[cloud]", "[clod]"), "error", "settings", [f"{SETTINGS}:", "clod", "'cloud'"]),
        (settings_with("heartbeat_ms = 200", 'heartbeat_ms = "200"'), "error", "settings", [f"{SETTINGS}:", "heartbeat_ms"]),
        (settings_with("grace_ms", "lease_ms = 900\ngrace_ms"), "error", "lease", ["900"]),
        (settings_with("/etc/corolistener/service", "/etc/corolistener/none"), "error", "service", ["none", "no program"]),
        (settings_with('"/tmp"', '"/nowhere"'), "error", "locks", ["/nowhere", "No such file"]),
        (unsafe_locks, "error", "locks", ["not sticky"]),
        (no_key, "error", "key", [KEY, "config keygen"]),
        (open_key, "error", "key", [KEY, "others may read"]),
        (from_the_future, "warning", "clock", [CONF, "in the future"]),
        (broken_conf, "error", "corosync.conf", [f"{CONF}:", "'nodelist'"]),
        (no_conf, "error", "corosync.conf", [CONF, "No such file"]),
        (other_conf, "error", "node", ["no address of this machine is in the nodelist", f"{NETWORK}.77"]),
        (unreloaded, "warning", "versions", ["runs with version 1, the file is version 3"]),
    ],
)
def test_check_finds(seed: Cluster, harm: Callable[[Node], None], level: str, topic: str, words: list[str]) -> None:
    """Each mistake on a node that is healthy otherwise; mended, it is healthy again."""
    node = seed.node(8)
    kept = {path: (node.path(path).read_bytes(), node.path(path).stat()) for path in (CONF, SETTINGS, KEY)}
    try:
        harm(node)
        finds(node, level, topic, *words)
    finally:
        node.path("/tmp").chmod(0o1777)
        for path, (data, look) in kept.items():
            node.path(path).write_bytes(data)
            node.path(path).chmod(look.st_mode & 0o777)
            os.utime(node.path(path), ns=(look.st_atime_ns, look.st_mtime_ns))
    assert check(node)[0] == 0


def test_check_without_daemon_and_without_corosync(make_cluster: MakeCluster) -> None:
    """What does not run, and what to do."""
    cluster = up(make_cluster)
    n8 = cluster.node(8)
    n8.stop_daemon()
    finds(n8, "warning", "daemon", "systemctl start corolistener")
    n8.stop_corosync()
    finds(n8, "error", "corosync", "does not run")
    n8.start_corosync(wait=True)
    n8.start_daemon()
    settled(cluster, cluster.node(4))
    healthy(n8)


def test_check_sees_mixed_versions(make_cluster: MakeCluster) -> None:
    """One node runs another version than the rest: every node says so."""
    cluster = make_cluster(settings=FENCING, **CALM, **SEED)
    n8 = cluster.node(8)
    unreloaded(n8)
    n8.run(["corosync-cfgtool", "-R"])
    told = "node 2 has 1, node 4 has 1, node 8 has 3"
    for each in cluster.nodes:
        wait_for(lambda each=each: told in each.cli("check", check=False).stdout, f"{each.name} sees it")  # type: ignore[misc]
        finds(each, "error", "versions", told)
    cluster.start_daemons()
    settled(cluster, cluster.node(4))
    # The file is on every disk now; that every corosync runs it, and has told the others, takes a moment more.
    healthy(*cluster.nodes)


# -- misuse


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "a verb is missing"),
        (["statsu"], 2, "did you mean 'status'?"),
        (["status", "--jsno"], 2, "did you mean '--json'?"),
        (["config", "pul"], 2, "did you mean 'pull'?"),
        (["config", "push"], 2, "required: FILE"),
        (["config", "revert", "last"], 2, "'last' is no version"),
        (["node", "edit", "2", "--priority", "first"], 2, "expected a whole number"),
        (["-l", "now"], 2, "-l takes no verb"),
        (["config", "push", "/nowhere"], 78, "/nowhere: No such file or directory"),
        (["config", "push", "/etc"], 78, "/etc: Is a directory"),
        (["config", "push", "/dev/zero"], 78, "/dev/zero: longer than"),
        (["config", "show", "9"], 78, "no such version is kept here; there are: none"),
        (["config", "revert", "9"], 1, "no such version is kept here; there are: none"),
        (["node", "remove", "eight"], 1, "no nodes are called 'eight'"),
        (["--config", "/nowhere", "status"], 78, "/nowhere: there is no such file"),
        (["--config", "/nowhere", "-l"], 78, "/nowhere: there is no such file"),
        (["--config", CONF, "status"], 78, CONF),
        (["run"], 1, "another daemon listens there"),
    ],
)
def test_misuse(seed: Cluster, words: list[str], code: int, said: str) -> None:
    """One line, the right exit status, and nothing has happened."""
    node = seed.node(8)
    if words == ["run"]:
        done = node.cli(*words, check=False)
        assert done.returncode == code
        assert done.stderr.splitlines()[-1].startswith("corolistener: ")
        assert said in done.stderr.splitlines()[-1]
    else:
        assert said in refused(node, *words, status=code)
    assert status(node)["config"]["version"] == 1


def test_not_root(seed: Cluster) -> None:
    """What needs root says so, in one line; what does not, works."""
    node = seed.node(8)
    put(node, node.corosync_conf)
    for words in (["status"], ["-l"], ["config", "push", "/tmp/new.conf"], ["node", "edit", "2", "--name", "x"]):
        assert "permission denied" in refused(node, *words, user="nobody")
    assert "Permission denied" in refused(node, "config", "keygen", "--force", user="nobody")
    assert "Permission denied" in refused(node, "config", "pull", user="nobody", status=78)
    for words in (["config", "show"], ["config", "log"], ["node", "list"], ["--version"], ["--help"]):
        assert node.run([*NOBODY, *daemon_argv(*words)]).stdout
    done = node.run([*NOBODY, *daemon_argv("run")], check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("corolistener: control sockets in /run/corolistener: ")


def test_the_group_may_read(make_cluster: MakeCluster) -> None:
    """[control] group: who is in it may list and ask, not change."""
    cluster = up(make_cluster, settings={**FENCING, "control": {"group": "nogroup"}})
    node = cluster.node(8)
    assert node.run([*NOBODY, *daemon_argv("-l")]).stdout == LIST
    assert "the master is node 4" in node.run([*NOBODY, *daemon_argv("status")]).stdout
    assert "permission denied" in refused(node, "config", "revert", "1", user="nobody")


@pytest.mark.parametrize(
    "words", [["-l"], ["-l", "--json"], ["status"], ["check"], ["config", "show"], ["node", "list"], ["--help"]]
)
def test_a_full_disk_behind_stdout(seed: Cluster, words: list[str]) -> None:
    """One line and exit status 1; a reader that goes away is no error message."""
    node = seed.node(8)
    argv = " ".join(daemon_argv(*words))
    for buffered in ("PYTHONUNBUFFERED=", "PYTHONUNBUFFERED=1"):
        done = node.run(["sh", "-c", f"{buffered} {argv} >/dev/full"], check=False)
        assert (done.returncode, done.stderr) == (1, "corolistener: standard output: No space left on device\n")
        done = node.run(["sh", "-c", f"{buffered} {argv} | true"], check=False)
        assert done.stderr == ""


def test_full_disks(make_cluster: MakeCluster) -> None:
    """No key can be made, no log written: one line for the one, and the daemon goes on without the other."""
    cluster = up(make_cluster)
    n4, n8 = cluster.node(4), cluster.node(8)
    own = "/etc/corolistener"
    kept = f"cp -a {own} /tmp/kept; mount -t tmpfs -o size=32k tmpfs {own}; cp -a /tmp/kept/. {own}/"
    n8.run(["sh", "-c", f"{kept}; cat /dev/zero >{own}/fill"], check=False)
    assert "No space left on device" in refused(n8, "config", "keygen", "--force")
    assert check(n8)[0] == 0
    n4.run(["sh", "-c", "mount -t tmpfs -o size=16k tmpfs /var/log; cat /dev/zero >/var/log/fill"], check=False)
    n4.send("daemon", 1)  # logrotate's SIGHUP: the file is opened anew, on the full disk
    n8.cli("node", "edit", "8", "--name", "eight")
    in_force(cluster, 2)
    assert everything(n4)


def test_corosync_stopped(make_cluster: MakeCluster) -> None:
    """The daemon alone refuses what needs the others, answers what does not, and ends when it is told to."""
    cluster = up(make_cluster)
    n8 = cluster.node(8)
    n8.stop_corosync()
    wait_for(lambda: noted(n8, "corosync-lost"), "the daemon knows")
    assert "no quorum" in refused(n8, "config", "push", put(n8, n8.corosync_conf))
    assert "no quorum" in refused(n8, "node", "add", "--address", f"{NETWORK}.49")
    assert "NOT quorate" in n8.cli("status").stdout
    assert n8.cli("config", "pull").stdout.endswith("is the newest there is\n")
    n8.stop_daemon()
    wait_for(lambda: n8.exits("daemon") == [0], "it ends, and well")
    n8.start_daemon()
    wait_for(lambda: noted(n8, "corosync-unreachable"), "a new daemon says that corosync cannot be reached")
    wait_for(lambda: status(n8), "and answers")
    n8.stop_daemon()
    wait_for(lambda: n8.exits("daemon") == [0], "it ends, and well")


def test_settings_that_cannot_be_used(make_cluster: MakeCluster) -> None:
    """The daemon does not start: exit status 78, one line, on which systemd does not try again."""
    cluster = make_cluster(corosync=False, settings=FENCING, **CALM, **SEED)
    n8 = cluster.node(8)
    good = n8.path(SETTINGS).read_text()
    n8.path(SETTINGS).write_text(good.replace("[cloud]", "[clod]"))
    assert f"{SETTINGS}:" in refused(n8, "run", status=78)
    n8.path(SETTINGS).write_text(good)
    n8.corosync_conf = n8.corosync_conf.replace(n8.address, f"{NETWORK}.77")
    assert "no address of this machine" in refused(n8, "run", status=78)
    n8.path(CONF).unlink()
    assert "No such file" in refused(n8, "run", status=78)
    assert not Path(n8.path("/run/corolistener/client")).exists()
