"""The service is bounded by its own stop, and a daemon that cannot start leaves nothing held: safety.md, rule 4."""

import signal

from lab import beats
from lab.cluster import SEED, Node, daemon_argv, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, FENCING, QUICK, everything, masters_in_log, noted, nothing, settled

SETTINGS = "/etc/corolistener/corolistener.toml"
LAST_GOOD = "/var/lib/corolistener/last-good-settings.json"
PATIENT = {"fencing": {**FENCING["fencing"], "restart_ms": 60_000, "watchdog_timeout_ms": 90_000}}
"""A new daemon process may be late on a loaded machine: these stories are about one that comes in time."""


def restart(node: Node) -> None:
    """`systemctl restart corolistener`."""
    node.cli("prepare-restart")
    node.stop_daemon()


def spoil(node: Node) -> str:
    """A typing error in the settings; what they were."""
    path = node.path(SETTINGS)
    before = path.read_text()
    path.write_text(before.replace("[service]", "[service", 1))
    return before


def test_the_master_goes_on_with_the_last_good_settings(make_cluster: MakeCluster) -> None:
    """A typing error and a restart: nothing moves, and it is told until the settings can be used again."""
    cluster = make_cluster(settings=PATIENT, **CALM, **SEED)
    n2, n4, n8 = cluster.nodes
    beats.install(cluster.nodes)
    cluster.start_daemons()
    settled(cluster, n4)
    good = spoil(n4)
    restart(n4)
    n4.start_daemon()
    [told] = wait_for(lambda: noted(n4, "settings-unusable"), "what is wrong with the settings is told")
    assert "corolistener.toml" in told, told
    settled(cluster, n4)
    stays(lambda: everything(n4) and nothing(n2) and nothing(n8), "n4 is master with everything", 3)
    assert [run.node for run in beats.executions(cluster.nodes)] == [4], (
        "one process of the service, from the first to the last"
    )
    assert masters_in_log(n2) == masters_in_log(n8) == [4]
    n4.path(SETTINGS).write_text(good)
    n4.send("daemon", signal.SIGHUP)
    wait_for(lambda: n4.cli("check", check=False).returncode in (0, 1) and noted(n4, "settings"), "the settings are read anew")
    settled(cluster, n4)


def test_without_good_settings_the_daemon_lets_go_and_says_so(make_cluster: MakeCluster) -> None:
    """No last good settings are there: exit 78, and all that a former process held is let go before that. Nobody waits."""
    cluster = make_cluster(settings=PATIENT, **CALM, **SEED)
    n2, n4, n8 = cluster.nodes
    beats.install(cluster.nodes)
    cluster.start_daemons()
    settled(cluster, n4)
    good = spoil(n4)
    n4.path(LAST_GOOD).unlink()
    restart(n4)
    assert everything(n4), "kept for the next process"
    done = n4.run(daemon_argv("run"), check=False)
    assert done.returncode == 78, done.stderr
    assert nothing(n4)
    settled(cluster, n2, [n2, n8])
    assert noted(n2, "vacated", node=4)
    assert noted(n8, "vacated", node=4)
    assert beats.one_after_the_other(cluster.nodes) == [4, 2]
    n4.path(SETTINGS).write_text(good)
    n4.start_daemon()
    settled(cluster, n2)
    assert beats.one_after_the_other(cluster.nodes) == [4, 2]


def test_a_stop_of_twelve_seconds_ends_before_the_service_starts_elsewhere(make_cluster: MakeCluster) -> None:
    """The master's link is cut. Its service has no right to run for longer than the others wait: it is killed."""
    cluster = make_cluster(settings=FENCING, **QUICK, **SEED)
    n2, n4, n8 = cluster.nodes
    beats.install(cluster.nodes, stop_s=12)
    cluster.start_daemons()
    settled(cluster, n4)
    n4.cut()
    wait_for(lambda: noted(n4, "service-killed"), "the stop takes too long")
    settled(cluster, n2, [n2, n8])
    wait_for(lambda: nothing(n4), "n4 holds nothing")
    assert noted(n4, "service-stopped")
    assert beats.one_after_the_other(cluster.nodes) == [4, 2]
    n4.heal()
    settled(cluster, n2)
    assert beats.one_after_the_other(cluster.nodes) == [4, 2]
