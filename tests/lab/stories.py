"""What the stories ask of a cluster: who is master, what each node holds, and that all of it is as it must be."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from lab.cluster import Cluster, Node, daemon_argv
from lab.machine import LIMIT_S
from lab.texts import CLOUD_IP
from lab.waiting import wait_for

CALM = {"token": 4000, "coefficient": 0, "knet_ping_timeout": 4000}
"""For stories in which no node is lost: a token that outlives what a shared machine may stand still."""
QUICK = {"token": 1500, "coefficient": 0}
"""For stories that lose a node, and wait 2.2 tokens to learn of it and a lease (token + consensus + 2 * 200 + 500) more."""
FENCING = {"fencing": {"heartbeat_ms": 200, "grace_ms": 1000, "restart_ms": 3000}}
LOCKS = {".lock.vmmgr.service", ".lock.vmmgr.relocated"}


def status(node: Node) -> dict[str, Any]:
    """`corolistener status --json` of a node; {} where its daemon cannot be asked."""
    if not node.on:
        return {}
    answer = node.cli("status", "--json", check=False)
    found: dict[str, Any] = json.loads(answer.stdout) if answer.returncode == 0 else {}
    return found


def holds(node: Node, ip: str = CLOUD_IP) -> tuple[bool, bool, bool]:
    """(address, any lock file, service): what the world sees, not what the daemon says."""
    return (node.on and node.holds(ip), bool(node.lock_files()), node.service_running())


def nothing(node: Node) -> bool:
    return not any(holds(node))


def everything(node: Node, ip: str = CLOUD_IP) -> bool:
    return node.on and node.holds(ip) and node.lock_files() == LOCKS and node.service_running()


def master_is(cluster: Cluster, node: Node, among: Iterable[Node] | None = None, limit: float = LIMIT_S) -> None:
    """Wait until `node` holds everything, every other node that is on holds nothing, and all of `among` say so too."""
    asked = list(among if among is not None else [each for each in cluster.nodes if each.on])

    def so() -> bool:
        return (
            everything(node)
            and all(nothing(each) for each in asked if each is not node)
            and all(status(each).get("master") == node.nodeid for each in asked)
        )

    wait_for(so, f"{node.name} is master, with everything, and alone in it", limit, every=0.1)


def settled(cluster: Cluster, node: Node, among: Sequence[Node] | None = None, limit: float = LIMIT_S) -> None:
    """`master_is`, and nothing is left to do: configuration written everywhere, nobody ineligible."""
    asked = list(among if among is not None else [each for each in cluster.nodes if each.on])
    master_is(cluster, node, asked, limit)

    def so() -> bool:
        seen = status(node)
        members = [each for each in seen.get("nodes", ()) if each["id"] in {n.nodeid for n in asked}]
        return (
            seen.get("phase") == "settled"
            and all(each["eligible"] for each in members)
            and len({each.corosync_conf for each in asked}) == 1
        )

    wait_for(so, f"{node.name} has settled: same file everywhere, everybody eligible", limit, every=0.1)


def masters_in_log(node: Node) -> list[int]:
    """Whom this node took for master, in order, without repetitions."""
    found: list[int] = []
    for line in node.log_lines():
        words = line.split()
        if len(words) > 2 and words[2] == "master":
            master = int(words[3].removeprefix("node="))
            if not found or found[-1] != master:
                found.append(master)
    return found


def noted(node: Node, code: str, /, **fields: object) -> list[str]:
    """The log lines with this code and these fields."""
    wanted = [f"{name}={value}" for name, value in fields.items()]
    return [line for line in node.log_lines() if f" {code} " in f"{line} " and all(f" {w} " in f"{line} " for w in wanted)]


def roles(node: Node) -> list[str]:
    """The roles this node has had, oldest first."""
    return [line.split("role=")[1].split()[0] for line in noted(node, "role")]


# -- configuration and the command line

CONF = "/etc/corosync/corosync.conf"
FULL = f"""
cp -a /etc/corosync /tmp/kept
mount -t tmpfs -o size=16k tmpfs /etc/corosync
cp -a /tmp/kept/. /etc/corosync/
cat /dev/zero >/etc/corosync/fill || test -s {CONF}
"""
READ_ONLY = "mount --bind /etc/corosync /etc/corosync; mount -o remount,ro,bind /etc/corosync"
"""Shell, run on a node: its /etc/corosync is a tiny disk that is full (/etc/corosync/fill fills it), or cannot be written."""
WRITABLE = "umount --lazy /etc/corosync"
"""Shell that undoes READ_ONLY. Lazily: the daemon writes there again and again, and while it has a file open umount refuses."""


def conf_bytes(node: Node) -> bytes:
    """The node's corosync.conf, byte for byte."""
    return node.path(CONF).read_bytes()


def put(node: Node, data: bytes | str, path: str = "/tmp/new.conf") -> str:
    """Write a file on the node; its path there."""
    node.path(path).write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refused(node: Node, *words: str, status: int = 1, user: str = "", timeout: float = LIMIT_S) -> str:
    """`corolistener WORDS` must fail there with that exit status and one line on stderr; the line.

    `user`: who types it, instead of root.
    """
    who = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"] if user else []
    done = node.run([*who, *daemon_argv(*words)], check=False, timeout=timeout)
    said = f"exit {done.returncode}, out {done.stdout!r}, err {done.stderr!r}"
    assert done.returncode == status, f"{node.name}: corolistener {' '.join(words)}: {said}"
    assert done.stderr.startswith("corolistener: "), said
    assert done.stderr.count("\n") == 1, said
    return done.stderr.rstrip("\n")


def runtime_versions(node: Node) -> dict[int, int]:
    """The config_version that corosync on each member runs with, as corosync on this node knows it."""
    text = node.run(["corosync-cmapctl", "runtime.members."]).stdout
    facts = re.findall(r"^runtime\.members\.(\d+)\.(status|config_version) \(\w+\) = (\w+)$", text, re.MULTILINE)
    joined = {nodeid for nodeid, key, value in facts if (key, value) == ("status", "joined")}
    return {int(nodeid): int(value) for nodeid, key, value in facts if key == "config_version" and nodeid in joined}


def in_force(cluster: Cluster, version: int, among: Sequence[Node] | None = None, limit: float = LIMIT_S) -> bytes:
    """Wait until every node has the same file, every daemon takes it for the one in force and every corosync runs it.

    Returns the file.
    """
    asked = list(among if among is not None else [each for each in cluster.nodes if each.on])

    def so() -> bool:
        return (
            {each.config_version() for each in asked} == {version}
            and len({conf_bytes(each) for each in asked}) == 1
            and all(status(each).get("config", {}).get("version") == version for each in asked)
            and all(runtime_versions(each) == {other.nodeid: version for other in asked} for each in asked)
        )

    wait_for(so, f"version {version} is on every disk, in force and running", limit, every=0.2)
    return conf_bytes(asked[0])


def obstacles(observer: Node, node: Node) -> list[str]:
    """Why `node` cannot be master, as `observer`'s daemon sees it; [] where it can."""
    return next((list(each["why"]) for each in status(observer).get("nodes", ()) if each["id"] == node.nodeid), ["unknown"])


def service_changes(cluster: Cluster) -> list[tuple[str, int]]:
    """(start or stop, node id) for every change of the service, oldest first, over all nodes.

    AssertionError if it ran twice at any moment. A start that was cut short has no record, only the stop after it. A node
    that lost its power stops without a record: not for those stories.
    """
    found = sorted((when, what, node.nodeid) for node in cluster.nodes for when, what in node.service_log())
    runs: list[int] = []
    for _, what, nodeid in found:
        assert runs in ([], [] if what == "start" else [nodeid]), f"the service ran twice: {found}"
        runs = [nodeid] if what == "start" else []
    return [(what, nodeid) for _, what, nodeid in found]
