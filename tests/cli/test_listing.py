"""`-l`: the table to the byte, the same facts as JSON, and what happens without a daemon."""

import copy
import json
from pathlib import Path

import pytest
from daemon.serving import STATUS, Told

from corolistener.cli import listing, place, unaided
from corolistener.daemon import settings
from corolistener.wire import control

from .conftest import Type

# behaviour/corolistener.md, from the seed's page.
TABLE = """\
VMmanager-cloud node list
=============================================================
        Id               Ip    Status  Master/Slave  Priority
         7    172.31.224.72    joined             M       100
         9    172.31.224.74    joined             S        40
        13    172.31.224.80    joined             S        10
"""


@pytest.mark.parametrize("word", ["-l", "--list"])
def test_the_table_of_the_seed_to_the_byte(typed: Type, daemon: Told, word: str) -> None:
    assert typed(word) == (0, TABLE, "")


def test_json_tells_the_same_and_more(typed: Type, daemon: Told) -> None:
    got = typed("-l", "--json")
    assert (got.status, got.err) == (0, "")
    assert json.loads(got.out) == {"source": "daemon", **STATUS}


def test_rows_are_by_id_and_who_left_has_no_role(typed: Type, daemon: Told) -> None:
    daemon.reply = copy.deepcopy(STATUS)
    daemon.reply["nodes"].reverse()
    daemon.reply["nodes"][0].update(status="left", role="-")
    rows = typed("-l").out.splitlines()[3:]
    assert [row.split()[0] for row in rows] == ["7", "9", "13"]
    assert rows[2] == "        13    172.31.224.80      left             -        10"


def test_a_long_address_widens_its_column_for_all_rows() -> None:
    nodes = copy.deepcopy(STATUS["nodes"])
    nodes[1]["ip"] = "fd00:172:31:224::74"
    assert listing.table(nodes) == (
        "VMmanager-cloud node list\n"
        "=============================================================\n"
        "        Id                  Ip    Status  Master/Slave  Priority\n"
        "         7       172.31.224.72    joined             M       100\n"
        "         9 fd00:172:31:224::74    joined             S        40\n"
        "        13       172.31.224.80    joined             S        10\n"
    )


def test_no_field_touches_its_neighbour() -> None:
    node = {**STATUS["nodes"][0], "id": 2**32 - 1, "ip": "1" * 17, "priority": 2**31 - 1}
    row = listing.table([node]).splitlines()[-1]
    assert row.split() == ["4294967295", "1" * 17, "joined", "M", "2147483647"]


def test_neither_daemon_nor_corosync(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        def __init__(self) -> None:
            raise unaided.LibraryUnavailable("cmap_initialize", 2)

    monkeypatch.setattr(unaided, "Cmap", Nobody)
    got = typed("-l")
    assert (got.status, got.out, got.err.count("\n")) == (1, "", 1)
    assert "no daemon at" in got.err
    assert "`systemctl start corosync`" in got.err


def test_bad_settings_are_the_administrators(typed: Type, root: Path) -> None:
    (root / "corolistener.toml").write_text("[paths\n run = ")
    got = typed("-l")
    assert (got.status, got.out) == (78, "")
    assert str(root / "corolistener.toml") in got.err
    assert typed("-l", "--config", "/does/not/exist", config=False).status == 78


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-l"], (False, None)),
        (["--list", "--json"], (True, None)),
        (["--config", "x", "-l"], (False, "x")),
        (["-l", "--config=x"], (False, "x")),
        (["-l", "--config"], None),
        (["-l", "status"], None),
        (["-l", "--jsn"], None),
        (["-l", "--help"], None),
    ],
)
def test_what_counts_as_a_plain_list(words: list[str], wanted: object) -> None:
    assert listing.wanted(words) == wanted


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("", "/run/corolistener"),
        ("# run = 1\n[paths]\nlog = '/x'\n", "/run/corolistener"),
        ('[paths]\nrun = "/a"\n', "/a"),
        ("[paths] # here\n  run='/a'\n", "/a"),
        ('[paths]\nrun = "/a#b" # c\n', "/a#b"),
        ('[paths]\nrun = "/a\\u0062"\n', "/ab"),
        ('paths.run = "/a"\n', "/a"),
        ('paths = { run = "/a" }\n', "/a"),
        ('[cloud]\ndevice = "brun0"\n[paths]\nrun = "/a"\n', "/a"),
        ('[cloud]\nrun = "/b"\n[paths]\nrun = "/a"\n', "/a"),
        ('[paths]\nlog = """\nrun = "/b"\n"""\nrun = "/a"\n', "/a"),
        ("paths = 1\n#run\nx = 'run'", "/run/corolistener"),
    ],
)
def test_the_run_directory_is_found_without_reading_all_settings(tmp_path: Path, text: str, directory: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    assert place.run_directory(str(path)) == directory


def test_what_is_said_twice_is_said_alike() -> None:
    assert place.RUN_DIRECTORY == control.RUN_DIRECTORY == settings.Paths().run
    assert place.PATH == settings.PATH
    assert list(unaided.UNKNOWN) == list(STATUS)
    assert all(key in control.__doc__ for key in STATUS)
    keys = set(STATUS["nodes"][0])
    assert set(unaided._row(1, "", True)) == keys
    assert set(listing.KEYS) <= keys
