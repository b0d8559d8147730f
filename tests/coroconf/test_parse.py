"""Reading and printing: what corosync reads comes back byte for byte, what it refuses is refused with its line."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corolistener.coroconf.lines import Kind
from corolistener.coroconf.tree import Section, parse
from corolistener.errors import ConfigError

from .files import SEED, accepted, refused
from .strategies import clusters, layouts, spoiled


@pytest.mark.parametrize("name", accepted())
def test_accepted_file_comes_back(name: str) -> None:
    assert parse(accepted()[name]).to_bytes() == accepted()[name]


@pytest.mark.parametrize("name", refused())
def test_refused_file_names_its_line(name: str) -> None:
    data, line = refused()[name]
    with pytest.raises(ConfigError) as refusal:
        parse(data, "some.conf")
    assert (refusal.value.path, refusal.value.line) == ("some.conf", line)
    assert refusal.value.why


@given(st.one_of(layouts(), clusters()))
def test_what_corosync_reads_comes_back(data: bytes) -> None:
    assert parse(data).to_bytes() == data


@given(st.one_of(st.binary(max_size=2000), spoiled()))
@example(b"\0" + b"x" * 510 + b"}")
def test_any_bytes_come_back_or_are_refused(data: bytes) -> None:
    try:
        document = parse(data)
    except ConfigError as refusal:
        line = refusal.line
    else:
        line = 1
        assert document.to_bytes() == data
    assert 1 <= line <= data.count(b"\n") + 1 + len(data) // 511


@given(layouts())
def test_tree_and_lines_agree(data: bytes) -> None:
    document = parse(data)
    seen = set()
    for item in document.root.walk():
        line = document.lines[item.line - 1]
        assert line.kind is (Kind.OPEN if isinstance(item, Section) else Kind.ENTRY)
        seen.add(item.line)
        if isinstance(item, Section):
            assert document.lines[item.end - 1].kind is Kind.CLOSE
            assert all(item.line < inner.line < item.end for inner in item.walk())
            seen.add(item.end)
    assert seen == {number for number, line in enumerate(document.lines, 1) if line.kind is not Kind.BLANK}


def test_refusal_shows_the_text() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(b"totem {\n\tversion 2\n}\n", "/etc/corosync/corosync.conf")
    assert str(refusal.value) == (
        "/etc/corosync/corosync.conf:2: neither a section's start or end nor a key with a colon: 'version 2'"
    )


def test_seed_is_understood() -> None:
    document = parse(SEED)
    assert document.to_bytes() == SEED
    assert document.get("totem.interface.bindnetaddr") == "172.31.223.47"
    assert document.entry("totem.cluster_name") == document.sections("totem")[0].entry("cluster_name")
    assert [section.get("nodeid") for section in document.sections("nodelist.node")] == ["2", "4", "8"]
    assert [section.line for section in document.sections("nodelist.node")] == [19, 25, 31]
    assert document.integer("ihttpd.port0") == 1500
    assert document.get("totem.version") is None


def test_last_of_several_counts() -> None:
    document = parse(b"foo {\nkey: 1\nkey: 2\n}\nfoo {\nother: 3\n}\nfoo.key: 4\nfoo {\nkey:\n}\n")
    assert document.get("foo.key") == ""
    assert [entry.value for entry in document.entries() if entry.path == "foo.key"] == ["1", "2", "4", ""]
    assert len(document.sections("foo")) == 3


def test_values_are_what_corosync_sees() -> None:
    document = parse(b"foo {\n a :\t x  y \t\r\nb:: z\nc:\nd: \xff\n}\n")
    foo = document.sections("foo")[0]
    assert {entry.key: entry.value for entry in foo.entries} == {"a": "x  y", "b": ": z", "c": "", "d": "\udcff"}


@pytest.mark.parametrize("value", ["-1", "", "x", "1 2", "0x1", "99999999999999999999999", "\u0663", "256", "1_0", "+1"])
def test_integer_outside_its_range_names_the_line(value: str) -> None:
    document = parse(f"foo {{\nkey: {value}\n}}\n".encode())
    with pytest.raises(ConfigError) as refusal:
        document.integer("foo.key", 0, 255)
    assert refusal.value.line == 2
