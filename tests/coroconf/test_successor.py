"""Whether one file may follow another, and how the difference is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolistener.coroconf.rewrite import NodeSpec, with_node_added, with_node_removed, with_version
from corolistener.coroconf.successor import diff, validate_successor
from corolistener.errors import ConfigError

from .files import SEED


def refusal(old: bytes | None, new: bytes, own: int = 4) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        validate_successor(old, new, own, "/etc/corosync/corosync.conf")
    assert refused.value.path == "/etc/corosync/corosync.conf"
    return refused.value


def test_next_version_is_taken() -> None:
    facts = validate_successor(SEED, with_version(SEED, 2), 4)
    assert facts.config_version == 2
    grown = with_version(with_node_added(SEED, NodeSpec(9, ("172.31.223.49",))), 2)
    assert validate_successor(SEED, grown, 9).node(9)


def test_anything_sensible_is_taken_where_there_is_no_file() -> None:
    assert validate_successor(None, SEED, 4).config_version == 1


def test_same_or_lower_version() -> None:
    assert refusal(SEED, SEED).line == 8
    assert "not higher" in refusal(with_version(SEED, 7), with_version(SEED, 6)).why
    assert refusal(SEED, SEED.replace(b" \tconfig_version: 1\n", b"")).line == 0


def test_without_this_node() -> None:
    assert "not in the nodelist" in refusal(SEED, with_version(with_node_removed(SEED, 4), 2)).why
    assert "not in the nodelist" in refusal(None, SEED, own=5).why


def test_another_cluster() -> None:
    other = with_version(SEED, 2).replace(b"VMmanager", b"Elsewhere")
    assert (refusal(SEED, other).line, refusal(SEED, other).text) == (9, " \tcluster_name: Elsewhere")
    assert refusal(SEED, with_version(SEED, 2).replace(b" \tcluster_name: VMmanager\n", b"")).line == 0


def test_what_does_not_parse_or_would_kill_corosync() -> None:
    assert refusal(SEED, with_version(SEED, 2) + b"}\n").line == 38
    assert refusal(None, SEED.replace(b"config_version: 1", b"config_version: one")).line == 8
    assert refusal(None, SEED + b"resources {\nsystem {\npoll_period: x\n}\n}\n").line == 40
    assert refusal(SEED, with_version(SEED, 2) + b"logging {\nlogger_subsys {\n}\n}\n").line == 40


def test_new_errors_and_old_ones() -> None:
    """The seed has no version and no provider: no reason to refuse what does not have them either."""
    new = with_version(SEED, 2)
    assert refusal(SEED, new.replace(b"ttl: 1", b"ttl: 2")).line == 6
    broken = new.replace(b"ttl: 1", b"ttl: 2")
    assert validate_successor(broken, with_version(broken, 3), 4)
    good = SEED.replace(b"totem {\n", b"totem {\n \tversion: 2\n")
    assert refusal(good, new).why == "totem.version is missing: it must be 2"


def test_diff_is_for_people() -> None:
    assert diff(SEED, SEED) == ""
    assert diff(b"a: \xff\r\n", b"a: \xc3\xa9\n", "x", "y").split("\n") == [
        "--- x",
        "+++ y",
        "@@ -1,2 +1,2 @@",
        "-a: \\udcff\\r",
        "+a: é",
        " ",
    ]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_diff_of_anything_is_text(old: bytes, new: bytes) -> None:
    text = diff(old, new)
    text.encode()
    assert (text == "") == (old == new)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_taken(data: bytes) -> None:
    refusal(SEED, data)
