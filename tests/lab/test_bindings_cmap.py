"""cmap of the bindings against real corosync: kinds of values, keys, prefixes, tracks, refusals."""

import pytest

from corolistener.corosync.cmap import FIRST_SIZE, Cmap, Event, KeyChanged, Map, Type
from corolistener.corosync.errors import Access, BadHandle, InvalidParam, NameTooLong, NotExist, TooBig
from lab.cluster import Cluster
from lab.probe_bindings import probes

probe = pytest.fixture(probes, name="probe")

KINDS = [
    (Type.INT8, -(2**7)),
    (Type.INT8, 2**7 - 1),
    (Type.UINT8, 2**8 - 1),
    (Type.INT16, -(2**15)),
    (Type.UINT16, 2**16 - 1),
    (Type.INT32, -(2**31)),
    (Type.UINT32, 2**32 - 1),
    (Type.INT64, -(2**63)),
    (Type.UINT64, 2**64 - 1),
    (Type.FLOAT, 1.5),
    (Type.DOUBLE, 0.1),
    (Type.STRING, ""),
    (Type.STRING, "Knoten №1"),
    (Type.STRING, b"caf\xe9".decode("utf-8", "surrogateescape")),
    (Type.STRING, "x" * (FIRST_SIZE - 1)),
    (Type.STRING, "x" * FIRST_SIZE),
    (Type.STRING, "x" * 10 * FIRST_SIZE),
    (Type.BINARY, b""),
    (Type.BINARY, b"\0\xff\0"),
    (Type.BINARY, bytes(16 * 1024)),
]


@pytest.fixture(scope="module")
def lone(machine_can):
    """A node of its own with two links and foreign keys in its nodelist."""
    with Cluster(nodes=1) as cluster:
        cluster.start_corosync()
        cluster.wait_quorate()
        yield cluster.node(1)


@pytest.fixture
def handle(lone, probe):
    """A connection to the map; keys the test made below `test.` are removed."""
    opened = probe(lone).open(Cmap)
    yield opened
    for key in opened.keys("test."):
        opened.delete(key)


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=lambda value: value.name if isinstance(value, Type) else "")
def test_every_kind_comes_back_as_it_went(handle, kind, value):
    handle.set("test.key", value, kind)
    assert handle.get("test.key") == value
    assert handle.get_typed("test.key") == (kind, value)
    assert list(handle.iterate("test.")) == [("test.key", value)]


@pytest.mark.parametrize(
    ("kind", "value", "raised"),
    [
        (Type.UINT8, 256, OverflowError),
        (Type.UINT8, -1, OverflowError),
        (Type.INT64, 2**63, OverflowError),
        (Type.UINT8, 1.5, TypeError),
        (Type.UINT8, "1", TypeError),
        (Type.STRING, 1, TypeError),
        (Type.STRING, b"x", TypeError),
        (Type.BINARY, "x", TypeError),
        (Type.STRING, "x" * 16 * 1024 + "x", InvalidParam),
        (Type.BINARY, bytes(2**21), TooBig),
    ],
)
def test_a_value_that_does_not_fit_is_refused(handle, kind, value, raised):
    with pytest.raises(raised):
        handle.set("test.key", value, kind)
    with pytest.raises(NotExist):
        handle.get("test.key")


def test_a_value_may_change_its_kind(handle):
    handle.set("test.key", 1, Type.UINT8)
    handle.set("test.key", "one", Type.STRING)
    assert handle.get_typed("test.key") == (Type.STRING, "one")


def test_a_key_is_removed(handle):
    handle.set("test.key", 1, Type.UINT8)
    handle.delete("test.key")
    for call in (handle.get, handle.get_typed, handle.delete, handle.inc, handle.dec):
        with pytest.raises(NotExist):
            call("test.key")


def test_numbers_are_counted(handle):
    handle.set("test.key", 255, Type.UINT8)
    handle.inc("test.key")
    assert handle.get("test.key") == 0
    handle.dec("test.key")
    handle.dec("test.key")
    assert handle.get("test.key") == 254
    handle.set("test.text", "x", Type.STRING)
    for call in (handle.inc, handle.dec):
        with pytest.raises(InvalidParam):
            call("test.text")


def test_keys_are_found_by_prefix(handle):
    for number in range(300):
        handle.set(f"test.many.{number:03}", number, Type.UINT16)
    handle.set("test.other", 1, Type.UINT8)
    assert handle.keys("test.many.") == [f"test.many.{number:03}" for number in range(300)]
    assert handle.iterate("test.many.") == [(f"test.many.{number:03}", number) for number in range(300)]
    assert handle.keys("test.nothing") == []
    assert set(handle.keys("test.")) < set(handle.keys())


def test_the_nodelist_is_there_with_foreign_keys(handle):
    found = dict(handle.iterate("nodelist.node.0."))
    assert found["nodelist.node.0.nodeid"] == 1
    assert found["nodelist.node.0.prio"] == "100"
    assert handle.get_typed("totem.cluster_name") == (Type.STRING, "VMmanager")


@pytest.mark.parametrize("key", ["", "ab", "a b c", "x" * 255, "key\xe9"])
def test_a_key_that_cannot_be_does_not_exist(handle, key):
    with pytest.raises(NotExist):
        handle.get(key)


@pytest.mark.parametrize("key", ["", "ab", "a b c", "key\xe9"])
def test_a_key_is_checked_when_it_is_made(handle, key):
    with pytest.raises(NameTooLong):
        handle.set(key, 1, Type.UINT8)


@pytest.mark.parametrize(("key", "raised"), [("x" * 256, NameTooLong), ("x" * 100_000, NameTooLong), ("a\0bcd", InvalidParam)])
def test_a_key_that_c_would_not_survive_is_stopped_here(handle, key, raised):
    for call in (handle.get, handle.delete, handle.inc, handle.dec, handle.keys, handle.track_add):
        with pytest.raises(raised):
            call(key)
    with pytest.raises(raised):
        handle.set(key, 1, Type.UINT8)


def test_the_longest_key(handle):
    key = "test." + "x" * 250
    handle.set(key, 1, Type.UINT8)
    assert handle.keys("test.") == [key]


def test_read_only_keys_are_corosyncs(handle):
    with pytest.raises(Access):
        handle.set("runtime.config.totem.token", 1, Type.UINT32)
    with pytest.raises(Access):
        handle.delete("runtime.config.totem.token")
    assert handle.get("runtime.config.totem.token") == 1000


def test_statistics_are_a_map_of_their_own(lone, probe):
    statistics = probe(lone).open(Cmap, Map.STATS)
    found = dict(statistics.iterate("stats.knet.handle."))
    assert isinstance(found["stats.knet.handle.tx_crypt_packets"], int)
    with pytest.raises(Access):
        statistics.set("stats.test", 1, Type.UINT8)
    assert statistics.keys("nodelist.") == []


def test_tracks_tell_what_becomes_of_keys(lone, probe):
    here = probe(lone)
    handle, other = here.open(Cmap), here.open(Cmap)
    below = handle.track_add("track.", prefix=True)
    one = other.track_add("track.key", events=Event.MODIFIED)
    handle.set("track.key", "a", Type.STRING)
    handle.set("track.key", "b", Type.STRING)
    handle.set("track.key", "b", Type.STRING)
    handle.set("track.key", 5, Type.INT16)
    handle.set("track.more", b"\0\1", Type.BINARY)
    handle.set("elsewhere", 1, Type.UINT8)
    handle.delete("track.key")
    handle.delete("track.more")
    expected = [
        KeyChanged(Event.ADDED, "track.key", "a", None),
        KeyChanged(Event.MODIFIED, "track.key", "b", "a"),
        KeyChanged(Event.MODIFIED, "track.key", 5, "b"),
        KeyChanged(Event.ADDED, "track.more", b"\0\1", None),
        KeyChanged(Event.DELETED, "track.key", None, 5),
        KeyChanged(Event.DELETED, "track.more", None, b"\0\1"),
    ]
    assert handle.until(lambda value: value == expected[-1]) == expected
    assert other.until(lambda value: value.new == 5) == expected[1:3]
    handle.track_delete(below)
    other.track_delete(one)
    handle.set("track.key", 6, Type.INT16)
    handle.delete("track.key")
    assert handle.dispatch() == other.dispatch() == []
    for gone in (below, 12345):
        with pytest.raises(BadHandle):
            handle.track_delete(gone)


def test_every_key_can_be_tracked(lone, probe):
    handle = probe(lone).open(Cmap)
    handle.track_add("", prefix=True)
    handle.set("anything.at.all", 1, Type.UINT8)
    handle.until(lambda value: value == KeyChanged(Event.ADDED, "anything.at.all", 1, None))
    handle.delete("anything.at.all")


def test_a_value_deleted_while_we_iterate_is_left_out(handle, probe):
    handle.set("test.a", 1, Type.UINT8)
    handle.set("test.b", 2, Type.UINT8)
    source = "walk = handles[0].iterate('test.')\nfirst = next(walk)\nhandles[0].delete('test.b')\nresult = [first, *walk]"
    assert handle.probe.run(source) == [("test.a", 1)]


def test_an_iteration_without_end_leaves_the_handle_whole(handle):
    handle.probe.run("for _ in range(50): next(handles[0].iterate())")
    assert handle.get("totem.cluster_name") == "VMmanager"


def test_a_closed_handle_says_so(lone, probe):
    handle = probe(lone).open(Cmap)
    handle.track_add("nodelist.", prefix=True)
    handle.close()
    for call, arguments in (("get", ["totem.token"]), ("keys", []), ("track_delete", [1]), ("dispatch", []), ("fileno", [])):
        with pytest.raises(BadHandle):
            getattr(handle, call)(*arguments)
