"""cfg of the bindings against real corosync: addresses, links, reload, logs, shutdown and its vote, kill."""

import re
import threading

import pytest

from corolistener.corosync.cfg import Cfg, Shutdown, ShutdownRequested
from corolistener.corosync.cmap import Cmap
from corolistener.corosync.errors import (
    BadHandle,
    Busy,
    CsError,
    Exist,
    FailedOperation,
    InvalidParam,
    LibraryUnavailable,
    NameTooLong,
    NotExist,
)
from lab.cluster import NETWORK6, plain_conf, wait_for
from lab.conftest import TOKEN_MS
from lab.probe_bindings import probes, whole

probe = pytest.fixture(probes, name="probe")
whole = pytest.fixture(whole, name="whole")


def two_links(nodes, **timers):
    """plain_conf with a second link, IPv6 beside IPv4."""
    text = plain_conf(nodes, **timers)
    return re.sub(r"(ring0_addr: \S+\.(\d+)\n)", rf"\1\t\tring1_addr: {NETWORK6}:\2\n", text)


def only_ipv6(nodes, **timers):
    """plain_conf with IPv6 addresses."""
    return re.sub(r"ring0_addr: \S+\.(\d+)", rf"ring0_addr: {NETWORK6}:\1", plain_conf(nodes, **timers))


# -- what there is


def test_ids_and_addresses(whole, probe):
    handle = probe(whole.node(2)).open(Cfg)
    assert handle.local_get() == 2
    for node in whole.nodes:
        assert handle.get_node_addrs(node.nodeid) == (node.address,)
    assert handle.get_node_addrs(0) == (whole.node(2).address,)
    with pytest.raises(NotExist):
        handle.get_node_addrs(9)


def test_ipv6_addresses(make_cluster, probe):
    cluster = make_cluster(nodes=2, conf=only_ipv6)
    handle = probe(cluster.node(1)).open(Cfg)
    for node in cluster.nodes:
        assert handle.get_node_addrs(node.nodeid) == (node.address6,)
    (link,) = handle.node_status(2).links
    addresses = cluster.node(1).address6, cluster.node(2).address6
    assert (link.source.partition("%")[0], link.destination.partition("%")[0]) == addresses


def test_links_of_both_families(make_cluster, probe):
    cluster = make_cluster(nodes=2, conf=two_links)
    one, two = cluster.nodes
    handle = probe(one).open(Cfg)
    assert handle.get_node_addrs(2)[0] == two.address  # the rest is corosync's mistake, see the docstring

    def connected():
        return (status := handle.node_status(2)).reachable and all(link.connected for link in status.links) and status.links

    links = wait_for(connected, "both links are connected")
    assert [link.number for link in links] == [0, 1]
    assert [link.source.partition("%")[0] for link in links] == [one.address, one.address6]
    assert [link.destination.partition("%")[0] for link in links] == [two.address, two.address6]


def test_links_go_down_with_the_cable(whole, probe):
    handle = probe(whole.node(1)).open(Cfg)
    status = handle.node_status(3)
    assert (status.node, status.reachable, status.remote, status.external) == (3, True, False, False)
    assert status.onwire_min <= status.onwire <= status.onwire_max
    (link,) = status.links
    assert (link.number, link.connected) == (0, True)
    assert link.mtu > 500
    assert (link.source, link.destination) == (whole.node(1).address, whole.node(3).address)
    whole.node(3).cut()
    wait_for(lambda: not handle.node_status(3).links[0].connected, "knet sees the cut")
    assert handle.node_status(3).reachable is False
    with pytest.raises(FailedOperation):
        handle.node_status(9)
    whole.wait_quorate(whole.nodes[:2])  # the ring has followed: it does not change under the next test


# -- configuration and logs


def test_reload_reads_every_nodes_own_file(whole, probe):
    maps = [probe(node).open(Cmap) for node in whole.nodes]
    for node, label in zip(whole.nodes, ("one", "two", "three"), strict=True):
        node.corosync_conf = node.corosync_conf.replace("totem {\n", f"totem {{\n\tlabel: {label}\n", 1)
    handle = probe(whole.node(1)).open(Cfg)

    def reloaded():
        handle.reload_config()  # again and again: it reaches only who is on the ring at that moment
        return [dict(each.iterate("totem.label")).get("totem.label") for each in maps] == ["one", "two", "three"]

    wait_for(reloaded, "every node has its own label", every=1.0)


UNPARSABLE = ("logging {\n", "loggin\n", "config.totemconfig_reload_in_progress", 1)
UNUSABLE = (f"\ttoken: {TOKEN_MS}\n", "\ttoken: 10\n", "config.reload_status", InvalidParam.status)


@pytest.mark.parametrize("asking", [1, 2])
@pytest.mark.parametrize(("old", "new", "telltale", "value"), [UNPARSABLE, UNUSABLE], ids=["unparsable", "unusable"])
def test_a_bad_file_stops_its_own_node_alone(whole, probe, asking, old, new, telltale, value):
    maps = [probe(node).open(Cmap) for node in whole.nodes]
    good = [node.corosync_conf for node in whole.nodes]
    key = f"asked_{asking}_{value}"
    for node in whole.nodes:
        node.corosync_conf = node.corosync_conf.replace("totem {\n", f"totem {{\n\t{key}: yes\n", 1)
    assert old in whole.node(2).corosync_conf
    whole.node(2).corosync_conf = whole.node(2).corosync_conf.replace(old, new)
    handle = probe(whole.node(asking)).open(Cfg)
    try:
        if asking == 2:
            with pytest.raises(InvalidParam):
                handle.reload_config()
        else:
            handle.reload_config()
        wait_for(lambda: maps[0].keys(f"totem.{key}") and maps[2].keys(f"totem.{key}"), "the others have the new key")
        wait_for(lambda: dict(maps[1].iterate("config.")).get(telltale) == value, "node 2 says that it could not")
        assert maps[1].keys(f"totem.{key}") == []
        assert maps[1].get("totem.token") == TOKEN_MS
    finally:
        for node, text in zip(whole.nodes, good, strict=True):
            node.corosync_conf = text
    handle.reload_config()
    fine = {"config.reload_status": 1, "config.totemconfig_reload_in_progress": 0, "config.reload_in_progress": 0}
    wait_for(lambda: [dict(each.iterate("config.")) for each in maps] == [fine] * 3, "all have reloaded")


def test_log_files_are_opened_again(make_cluster, probe):
    def with_file(nodes, **timers):
        file = "\tto_logfile: yes\n\tlogfile: /var/log/corosync.log\n"
        return plain_conf(nodes, **timers).replace("to_syslog: no\n", "to_syslog: no\n" + file)

    cluster = make_cluster(nodes=1, conf=with_file)
    log = cluster.node(1).path("/var/log/corosync.log")
    assert "Members[1]: 1" in log.read_text()
    log.rename(log.with_suffix(".1"))
    probe(cluster.node(1)).open(Cfg).reopen_log_files()
    wait_for(log.exists, "the log is there again")


# -- shutdown and its vote


class Request(threading.Thread):
    """A try_shutdown(), which waits for votes, beside the test."""

    def __init__(self, probe, flags):
        super().__init__()
        self.handle, self.flags, self.refused = probe.open(Cfg), flags, None
        self.start()

    def run(self):
        try:
            self.handle.try_shutdown(self.flags)
        except CsError as refused:
            self.refused = refused

    def outcome(self):
        """What it raised, or None."""
        self.join(60)
        assert not self.is_alive()
        return self.refused


@pytest.fixture
def lone(make_cluster):
    """A node of its own; corosync may be stopped on it."""
    return make_cluster(nodes=1).node(1)


def tracker(probe, node):
    """A connection that is asked before a shutdown."""
    handle = probe(node).open(Cfg)
    handle.trackstart()
    return handle


def ended(node):
    """Waits until corosync on the node has ended, and says how."""
    return wait_for(lambda: node.exits("corosync"), f"corosync on {node.name} ends")


def test_a_request_is_voted_about(lone, probe):
    voter, second = tracker(probe, lone), tracker(probe, lone)
    voter.reply_to_shutdown(False)  # nothing is asked: nothing happens
    request = Request(probe(lone), Shutdown.REQUEST)
    assert voter.until(lambda value: True) == [ShutdownRequested(Shutdown.REQUEST)]
    assert second.until(lambda value: True) == [ShutdownRequested(Shutdown.REQUEST)]
    with pytest.raises(Exist):
        probe(lone).open(Cfg).try_shutdown(Shutdown.REQUEST)
    voter.reply_to_shutdown(True)
    second.reply_to_shutdown(False)
    assert isinstance(request.outcome(), Busy)
    assert voter.local_get() == 1

    request = Request(probe(lone), Shutdown.REQUEST)
    for each in (voter, second):
        each.until(lambda value: value == ShutdownRequested(Shutdown.REQUEST))
        each.reply_to_shutdown(True)
    assert request.outcome() is None
    assert ended(lone) == [0]
    with pytest.raises(LibraryUnavailable):
        voter.local_get()


def test_who_no_longer_tracks_is_not_asked(lone, probe):
    voter = tracker(probe, lone)
    voter.trackstart()
    voter.trackstop()
    voter.trackstop()
    assert Request(probe(lone), Shutdown.REQUEST).outcome() is None
    assert ended(lone) == [0]
    with pytest.raises(LibraryUnavailable):  # and nothing but that was to be told
        voter.dispatch()


def test_silence_refuses_a_request(lone, probe):
    silent = tracker(probe, lone)
    assert isinstance(Request(probe(lone), Shutdown.REQUEST).outcome(), Busy)
    assert silent.dispatch() == [ShutdownRequested(Shutdown.REQUEST)]


def test_regardless_asks_and_does_not_obey(lone, probe):
    voter = tracker(probe, lone)
    request = Request(probe(lone), Shutdown.REGARDLESS)
    assert voter.until(lambda value: True) == [ShutdownRequested(Shutdown.REGARDLESS)]
    voter.reply_to_shutdown(False)
    assert request.outcome() is None
    assert ended(lone) == [0]


def test_immediate_asks_nobody(lone, probe):
    tracker(probe, lone)
    assert Request(probe(lone), Shutdown.IMMEDIATE).outcome() is None
    assert ended(lone) == [0]


def test_a_node_is_killed_with_a_reason(make_cluster, probe):
    cluster = make_cluster(nodes=3)
    handle = probe(cluster.node(1)).open(Cfg)
    for reason, raised in (("x" * 256, NameTooLong), ("a\0b", InvalidParam)):
        with pytest.raises(raised):
            handle.kill_node(3, reason)
    with pytest.raises(NotExist):
        handle.kill_node(9, "not here")
    handle.kill_node(3, "it had to be")
    ended(cluster.node(3))
    assert "it had to be" in cluster.node(3).output("corosync")
    cluster.wait_quorate(cluster.nodes[:2])


def test_a_closed_handle_says_so(whole, probe):
    handle = probe(whole.node(1)).open(Cfg)
    handle.close()
    for call, arguments in (("local_get", []), ("node_status", [1]), ("try_shutdown", []), ("dispatch", []), ("fileno", [])):
        with pytest.raises(BadHandle):
            getattr(handle, call)(*arguments)
