"""What others plant or can write is noticed on a slave as on the master, at start, at a reload and by `check`."""

import os
import signal
import subprocess

from lab.cluster import SEED, Node, daemon_argv, wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, noted, settled

HOOK = "/etc/corolistener/service"
LOCK = "/tmp/.lock.vmmgr.service"


def errors(node: Node) -> list[str]:
    said = node.cli("check", check=False)
    found = [line for line in said.stdout.splitlines() if line.startswith("error")]
    assert said.returncode == int(bool(found))
    return found


def test_a_slave_notices_what_is_not_root_s(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(daemons=True, settings=FENCING, **CALM, **SEED)
    n2, n4 = cluster.node(2), cluster.node(4)
    settled(cluster, n4)
    assert errors(n2) == []
    n2.stop_daemon()
    lock, state = n2.path(LOCK), n2.path("/var/lib/corolistener")
    os.mkfifo(lock)
    state.chmod(0o755)
    (state / "journal-x").symlink_to("/etc/passwd")
    told = errors(n2)
    assert any("places: /tmp/.lock.vmmgr.service: there is a pipe in its place" in line for line in told)
    assert any("places: /var/lib/corolistener/journal-x: there is a symbolic link in its place" in line for line in told)
    n2.start_daemon()
    wait_for(lambda: noted(n2, "planted", path=LOCK), "the pipe is told")
    assert noted(n2, "planted", path="/var/lib/corolistener/journal-x")
    assert noted(n2, "state-directory-mended", path="/var/lib/corolistener")
    assert state.stat().st_mode & 0o777 == 0o700
    settled(cluster, n4)
    assert not lock.exists(), "put aside"

    hook = n2.path(HOOK)
    hook.chmod(0o777)
    n2.send("daemon", signal.SIGHUP)
    [kept] = wait_for(lambda: noted(n2, "settings-kept"), "a reload keeps the old settings")
    assert f"every user can write {HOOK} (mode 0777): chmod go-w {HOOK}" in kept
    assert any(f"programs: {HOOK}: every user can write {HOOK}" in line for line in errors(n2))
    n2.stop_daemon()
    done = start(n2)
    assert done.returncode == 78
    [line] = done.stderr.splitlines()
    assert f"every user can write {HOOK}" in line
    hook.chmod(0o755)
    state.chmod(0o777)
    done = start(n2)
    assert done.returncode == 78
    assert "every user can replace what is in the directory /var/lib/corolistener" in done.stderr
    state.chmod(0o700)
    n2.start_daemon()
    settled(cluster, n4)


def start(node: Node) -> "subprocess.CompletedProcess[str]":
    """`corolistener run`, which must end by itself."""
    return node.run(daemon_argv("run"), check=False)
