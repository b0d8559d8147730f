"""Edits change the bytes of what they edit, and no others."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corolistener.coroconf.edit import add_section, remove, remove_section, replace_value, set_value
from corolistener.coroconf.tree import Document, Section, parse
from corolistener.errors import ConfigError

from .files import SEED
from .strategies import layouts

WORD = st.from_regex(r"[a-zA-Z0-9_./:#}-]{1,20}", fullmatch=True)
KEY = st.from_regex(r"[a-z][a-z0-9_]{2,10}", fullmatch=True)


def raw_lines(document: Document) -> list[bytes]:
    return [line.to_bytes() for line in document.lines]


def sections(document: Document) -> list[Section]:
    return [item for item in document.root.walk() if isinstance(item, Section)]


@given(layouts(), st.data())
def test_a_new_value_changes_its_own_bytes(data: bytes, draw: st.DataObject) -> None:
    document = parse(data)
    entries = list(document.entries())
    assume(entries)
    entry, value = draw.draw(st.sampled_from(entries)), draw.draw(WORD)
    line = document.lines[entry.line - 1]
    start = sum(len(raw) for raw in raw_lines(document)[: entry.line - 1])
    start += len(line.before) + len(line.name) + len(line.between)
    edited = replace_value(document, entry, value)
    assert edited.to_bytes() == data[:start] + value.encode() + data[start + len(line.value) :]
    again = [other for other in edited.entries() if other.line == entry.line]
    assert [(other.path, other.value) for other in again] == [(entry.path, value)]
    assert replace_value(edited, again[0], entry.value).to_bytes() == data


@given(layouts(), st.data())
def test_a_new_key_is_one_line_more(data: bytes, draw: st.DataObject) -> None:
    document = parse(data)
    able = [section for section in sections(document) if section.path.isascii() and " " not in section.path]
    able = [section for section in able if "\x0b" not in section.path]
    assume(able)
    section, key, value = draw.draw(st.sampled_from(able)), draw.draw(KEY), draw.draw(WORD)
    assume(section.entry(key) is None)
    edited = set_value(document, section, key, value)
    before, after = raw_lines(document), raw_lines(edited)
    new = [at for at in range(len(after)) if after[:at] + after[at + 1 :] == before]
    assert new
    same = next(other for other in sections(edited) if other.line == section.line)
    assert same.get(key) == value
    assert remove(edited, same.entry(key) or pytest.fail("not there")).to_bytes() == data
    assert after[new[0]].endswith((b"\n", b"\r\n"))


@given(layouts(), st.data())
def test_a_section_comes_and_goes(data: bytes, draw: st.DataObject) -> None:
    document = parse(data)
    parents = [document.root, *sections(document)]
    parents = [parent for parent in parents if parent.path.isascii() and not set(parent.path) & set(" \x0b")]
    parent, name = draw.draw(st.sampled_from(parents)), draw.draw(KEY)
    pairs = draw.draw(st.lists(st.tuples(KEY, WORD), max_size=3, unique_by=lambda pair: pair[0]))
    edited = add_section(document, parent, name, pairs)
    old = {(section.path, section.line) for section in sections(document)}
    assert len(sections(edited)) == len(old) + 1
    new = next(s for s in sections(edited) if s.name == name and [(e.key, e.value) for e in s.entries] == pairs)
    assert new.path == (f"{parent.path}.{name}" if parent.path else name)
    again = remove_section(edited, new).to_bytes()
    assert again == data or again in (data + b"\n", data + b"\r\n")
    assert again == data or not data.endswith(b"\n")


@given(layouts(), st.data())
def test_removing_takes_the_lines_and_leaves_the_rest(data: bytes, draw: st.DataObject) -> None:
    document = parse(data)
    assume(sections(document))
    section = draw.draw(st.sampled_from(sections(document)))
    before = raw_lines(document)
    assert raw_lines(remove_section(document, section)) == before[: section.line - 1] + before[section.end :]


def test_new_lines_look_like_their_neighbours() -> None:
    document = parse(SEED)
    node = document.sections("nodelist.node")[1]
    edited = set_value(document, node, "name", "two")
    assert edited.lines[29 - 1].to_bytes() == b"\t\treplication: on\n"
    assert edited.lines[30 - 1].to_bytes() == b"\t\tname: two\n"
    edited = set_value(edited, edited.sections("totem")[0], "version", "2")
    assert edited.lines[10 - 1].to_bytes() == b" \tversion: 2\n"


def test_indentation_of_an_empty_section_is_the_files_own() -> None:
    document = parse(b"foo {\r\n   key: 1\r\n}\r\nbar {\r\n}\r\n")
    edited = set_value(document, document.sections("bar")[0], "key", "2")
    assert edited.to_bytes() == b"foo {\r\n   key: 1\r\n}\r\nbar {\r\n   key: 2\r\n}\r\n"


def test_section_after_a_last_line_without_newline() -> None:
    document = parse(b"foo {\n  key: 1\n}")
    edited = add_section(document, document.root, "bar", [("key", "2")])
    assert edited.to_bytes() == b"foo {\n  key: 1\n}\nbar {\n  key: 2\n}\n"


def test_first_section_of_an_empty_file() -> None:
    document = parse(b"")
    assert add_section(document, document.root, "foo", [("key", "1")]).to_bytes() == b"foo {\n\tkey: 1\n}\n"


def test_empty_value_is_filled() -> None:
    document = parse(b"foo {\nkey: \n}\n")
    edited = set_value(document, document.sections("foo")[0], "key", "v")
    assert edited.to_bytes() == b"foo {\nkey: v\n}\n"


@pytest.mark.parametrize("value", ["a\nb", "a{b", " a", "a ", "a\t", "\ta", "a\0b", "x" * 600, "a\r", "\ud800"])
def test_what_cannot_be_written_is_refused(value: str) -> None:
    document = parse(b"foo {\n\tkey: 1\n}\n")
    for section in document.sections("foo"):
        with pytest.raises(ConfigError):
            set_value(document, section, "key", value)
        with pytest.raises(ConfigError):
            set_value(document, section, "other", value)
        with pytest.raises(ConfigError):
            add_section(document, section, "bar", [("key", value)])


@pytest.mark.parametrize("key", ["a b", "a:b", "a{", "#a", "", " a", "k\xe9y", "a\n", "x" * 300, "}"])
def test_keys_that_cannot_be_written_are_refused(key: str) -> None:
    document = parse(b"foo {\n\tkey: 1\n}\n")
    if key == "":
        assert set_value(document, document.sections("foo")[0], key, "v").get("foo.") == "v"
        return
    with pytest.raises(ConfigError):
        set_value(document, document.sections("foo")[0], key, "v")


@pytest.mark.parametrize("name", ["", "a{", "#a", "a:", " a", "a\nb", "x" * 300, "a\0"])
def test_sections_that_cannot_be_written_are_refused(name: str) -> None:
    document = parse(b"foo {\n\tkey: 1\n}\n")
    with pytest.raises(ConfigError):
        add_section(document, document.root, name, [("key", "v")])
