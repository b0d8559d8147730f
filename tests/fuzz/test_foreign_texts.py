"""What only looks like a number, or is one of thousands of digits, in texts that others write: it is refused in words."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corolistener.cli import ask, place
from corolistener.core.actions import Answer
from corolistener.daemon import kinds, settings
from corolistener.daemon.kinds import Kind
from corolistener.daemon.operators import Operators
from corolistener.daemon.sdnotify import Notifier
from corolistener.effects.lockfiles import LONGEST, _owner
from corolistener.effects.marks import decode
from corolistener.errors import ConfigError
from corolistener.wire import rows, values

DIGITS = "9" * 5000
HUGE = int("f" * 5000, 16)
ODD = (
    HUGE,
    -HUGE,
    10**400,
    float("inf"),
    float("nan"),
    "²",
    "١٢",
    DIGITS,
    "\ud800",
    "a\0b",
    [HUGE],
    {"a": HUGE},
    [],
    {},
    None,
    True,
)
KINDS = sorted(name for name, value in vars(kinds).items() if isinstance(value, Kind))
MADE = {"seconds": kinds.seconds(0, 60), "whole": kinds.whole(0, 60), "words": kinds.one_of("a", "b")}


@pytest.mark.parametrize("name", [*KINDS, *MADE])
@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_a_setting_of_any_kind_is_accepted_or_refused(name: str, value: Any) -> None:
    kind: Kind = MADE.get(name) or getattr(kinds, name)
    with suppress(ValueError, OverflowError):
        kind.accept(value)


@pytest.mark.parametrize(
    "value", [DIGITS, "0x" + "f" * 5000, f"[{DIGITS}]", "[0x" + "f" * 5000 + "]", "inf", "nan", "1e999", "[" * 3000]
)
@pytest.mark.parametrize("key", ["fencing.grace_ms", "fencing.start_grace_s", "cloud.address", "vms.storages"])
def test_settings_with_absurd_numbers_are_refused_in_words(tmp_path: Path, key: str, value: str) -> None:
    table, _, name = key.partition(".")
    path = tmp_path / "corolistener.toml"
    path.write_text(f"[{table}]\n{name} = {value}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError) as found:
        settings.load(str(path))
    assert str(found.value).isprintable()
    with pytest.raises(ConfigError):
        settings.load_to_run(str(path))


def test_the_run_directory_is_asked_of_any_file(tmp_path: Path) -> None:
    path = tmp_path / "corolistener.toml"
    path.write_text(f'x = {DIGITS}\n[paths]\nrun = """/run/x"""\n')
    with pytest.raises(ConfigError, match="not TOML"):
        place.run_directory(str(path))


@pytest.mark.parametrize("text", [DIGITS, f"[{DIGITS}]", '{"!": "Quorum", "votes": ' + DIGITS + "}", "NaN", "[" * 100_000, "²"])
def test_a_line_of_a_journal_is_a_value_or_refused(text: str) -> None:
    with suppress(ConfigError):
        values.load_line(text, "journal", 1)


@pytest.mark.parametrize("text", [DIGITS, f"[{DIGITS}, 1, 2]", "[1e999, 0, 0]", "NaN"])
def test_a_row_of_the_ledger_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        rows.decode("version", "", text)
    with suppress(ValueError, TypeError):
        decode(text)


@pytest.mark.parametrize("content", [DIGITS[:LONGEST], "[" * LONGEST, '{"node": ' + "9" * 400 + "}", "\ud800", "{}"])
def test_a_lock_file_with_anything_in_it_is_nobodys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    assert _owner(str(path)) is None


@pytest.mark.parametrize("number", ["²", "١٢", DIGITS])
def test_systemds_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    monkeypatch.setenv("WATCHDOG_USEC", number)
    try:
        assert Notifier().watchdog_s is None
    finally:
        monkeypatch.delenv("WATCHDOG_USEC")


def test_a_node_called_by_thousands_of_digits_is_asked_for_by_name() -> None:
    assert ask.node_ids(None, ["7", "9", "7"]) == [7, 9]
    assert not ask._whole(DIGITS)


class Answered:
    """What Operators need in order to be told of an answer."""

    answered: Any = None


@pytest.mark.parametrize("why", ["²", "12", "no space left on device"])
def test_the_words_of_another_node_stay_words(why: str) -> None:
    told: list[dict[str, Any]] = []
    node: Any = Answered()
    operators = Operators(node, None)
    operators._waiting[1] = (None, told.append)  # type: ignore[assignment]
    fields = (("stage", "not-stored"), ("node", "2"), ("members", "3"), ("why", why))
    node.answered(Answer(1, False, "ok", fields))
    assert told == [{"code": "not-stored", "node": 2, "members": 3, "why": why}]
