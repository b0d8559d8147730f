"""What signals make the daemon do, on a running cluster."""

import signal

from lab.cluster import SEED, stays, wait_for
from lab.conftest import MakeCluster
from lab.stories import CALM, CONF, FENCING, in_force, noted, settled

LOG = "/var/log/corolistener.log"


def test_logrotate_distributes_no_file(make_cluster: MakeCluster) -> None:
    """SIGUSR1 opens the log anew. A corosync.conf that an administrator has half edited is read at SIGHUP, and not before."""
    cluster = make_cluster(daemons=True, settings=FENCING, **CALM, **SEED)
    n4 = cluster.node(4)
    settled(cluster, n4)
    before = n4.corosync_conf
    n4.corosync_conf = "# by hand\n" + before.replace("config_version: 1", "config_version: 7")
    log = n4.path(LOG)
    log.rename(log.with_suffix(".1"))
    n4.send("daemon", signal.SIGUSR1)
    wait_for(log.exists, "the log is opened anew")
    stays(lambda: all(node.corosync_conf == before for node in cluster.nodes if node is not n4), "nobody has the edit", 2)
    assert not noted(n4, "config-offered")
    n4.send("daemon", signal.SIGHUP)
    assert in_force(cluster, 7).startswith(b"# by hand\n")
    assert n4.path(CONF).read_bytes().startswith(b"# by hand\n")
