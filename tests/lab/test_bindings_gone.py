"""What the bindings do when corosync goes, stands still, comes back, or will not have us: raise, never block or crash."""

import pytest

from corolistener.corosync.cfg import Cfg
from corolistener.corosync.cmap import Cmap, Map
from corolistener.corosync.cpg import Cpg, Delivered, GroupChanged
from corolistener.corosync.errors import Access, BadHandle, LibraryUnavailable
from corolistener.corosync.quorum import Quorum
from corolistener.corosync.votequorum import VoteQuorum
from lab.cluster import wait_for
from lab.probe_bindings import probes

probe = pytest.fixture(probes, name="probe")

EVERY = {
    Cpg: ("groups", []),
    Quorum: ("getquorate", []),
    VoteQuorum: ("getinfo", [1]),
    Cmap: ("keys", []),
    Cfg: ("local_get", []),
}
DESCRIPTORS = "result = len(os.listdir('/proc/self/fd'))"


@pytest.fixture
def lone(make_cluster):
    """A node of its own; corosync may be stopped on it."""
    return make_cluster(nodes=1).node(1)


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_a_handle_outlives_corosync(lone, probe, clean):
    here = probe(lone)
    before = here.run(DESCRIPTORS)
    handles = {kind: here.open(kind) for kind in EVERY}
    handles[Cpg].join("group")
    handles[Quorum].trackstart()
    handles[VoteQuorum].trackstart()
    handles[Cmap].track_add("totem.", prefix=True)
    handles[Cfg].trackstart()
    lone.stop_corosync() if clean else lone.kill_corosync()
    wait_for(lambda: lone.exits("corosync"), "corosync has ended")
    for kind, handle in handles.items():
        assert isinstance(handle.fileno(), int)
        for call in (lambda handle=handle: handle.take(10.0), handle.dispatch, handle.dispatch):
            with pytest.raises(LibraryUnavailable):
                call()
        call, arguments = EVERY[kind]
        with pytest.raises(LibraryUnavailable):
            getattr(handle, call)(*arguments)
        with pytest.raises(LibraryUnavailable):
            here.open(kind)
    for kind, handle in handles.items():
        handle.close()
        handle.close()
        for call, arguments in (("dispatch", []), ("fileno", []), EVERY[kind]):
            with pytest.raises(BadHandle):
                getattr(handle, call)(*arguments)
    assert here.run(DESCRIPTORS) == before


def test_what_was_not_dispatched_is_lost_with_corosync(lone, probe):
    handle = probe(lone).open(Cpg)
    handle.join("group")
    handle.until(lambda value: isinstance(value, GroupChanged))
    handle.pending.clear()
    other = probe(lone).open(Cpg)
    other.join("group")
    other.until(lambda value: isinstance(value, GroupChanged))
    other.mcast(b"last words")
    other.until(lambda value: isinstance(value, Delivered))  # one order: corosync has given it to the first as well
    lone.kill_corosync()
    wait_for(lambda: lone.exits("corosync"), "corosync has ended")
    with pytest.raises(LibraryUnavailable):
        handle.dispatch()


def test_corosync_comes_back_and_so_do_we(lone, probe):
    here = probe(lone)
    old = {kind: here.open(kind) for kind in EVERY}
    lone.kill_corosync()
    wait_for(lambda: lone.exits("corosync"), "corosync has ended")
    lone.start_corosync(wait=True)
    for kind, handle in old.items():
        call, arguments = EVERY[kind]
        with pytest.raises(LibraryUnavailable):
            getattr(handle, call)(*arguments)
        handle.close()
        getattr(here.open(kind), call)(*arguments)


def test_dispatch_does_not_wait_for_a_corosync_that_stands_still(lone, probe):
    here = probe(lone)
    handles = [here.open(kind) for kind in EVERY]
    lone.pause_corosync()
    try:
        for handle in handles:
            assert handle.dispatch() == []
    finally:
        lone.resume_corosync()
    assert handles[0].local_nodeid() == 1


def test_nothing_leaks(lone, probe):
    here = probe(lone)
    here.run("for kind in kinds:\n    kind().close()", kinds=[*EVERY])
    before = here.run(DESCRIPTORS)
    here.run("for _ in range(50):\n    for kind in kinds:\n        kind().close()", kinds=[*EVERY])
    assert here.run(DESCRIPTORS) == before
    shared = "import glob\nresult = len(glob.glob('/dev/shm/qb-*-%d-*' % os.getpid()))"
    wait_for(lambda: here.run(shared) == 0, "nothing of ours is left in /dev/shm")


def test_a_stranger_has_no_access(lone, probe):
    here = probe(lone)
    here.run("os.setgroups([])\nos.setgid(65534)\nos.setuid(65534)")
    for kind in EVERY:
        with pytest.raises(Access):
            here.open(kind)
    with pytest.raises(Access):
        here.open(Cmap, Map.STATS)
