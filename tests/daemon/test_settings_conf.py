"""conf/corolistener.toml, which administrators copy: complete, and true about every default."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from corolistener.daemon import settings

TEXT = (Path(__file__).parents[2] / "conf/corolistener.toml").read_text()
KEY = re.compile(r"^#(\w+) = (.+)$")
NOWHERE = '[vmmgr]\nconf = "/dev/null"\n'


def offered() -> dict[str, tuple[str, bool]]:
    """Dotted name of each key that the file shows, its line without #, and whether that is the default."""
    found, table, example = {}, "", False
    for line in TEXT.split("\n"):
        if line.startswith("["):
            table = line.strip("[]")
        elif match := KEY.match(line):
            found[f"{table}.{match[1]}"] = (line[1:], not example)
        example = line == "# no default"
    return found


def alone(tmp_path: Path, name: str, line: str) -> settings.Settings:
    """Settings with this key and nothing else, as far as that is possible."""
    table = name.partition(".")[0]
    path = tmp_path / "one.toml"
    path.write_text(f"[{table}]\n{line}\n" + (NOWHERE if table != "vmmgr" else ""))
    return settings.load(str(path))


def test_as_it_is_it_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "corolistener.toml"
    path.write_text(TEXT)
    (tmp_path / "empty.toml").write_text("")
    assert settings.problems(str(path)) == []
    assert settings.load(str(path)) == settings.load(str(tmp_path / "empty.toml"))


def test_every_key_is_shown_and_no_other() -> None:
    known = {f"{table}.{key.name}" for table, kind in settings.TABLES.items() for key in fields(kind)}
    assert set(offered()) == known
    assert "[database]" in TEXT


@pytest.mark.parametrize("name", [name for name, (_, default) in offered().items() if default])
def test_a_shown_default_is_the_default(tmp_path: Path, name: str) -> None:
    (tmp_path / "vmmgr.conf").touch()
    table, _, key = name.partition(".")
    line = offered()[name][0]
    if name == "vmmgr.conf":  # a named file must exist, so only the words can be compared
        assert line == f'conf = "{settings.Vmmgr().conf}"'
    elif name == "paths.log":
        assert alone(tmp_path, name, line).paths.log == settings.LOG
    else:
        got = getattr(alone(tmp_path, name, line), table)
        assert getattr(got, key) == getattr(settings.TABLES[table](), key)


@pytest.mark.parametrize("name", [name for name, (_, default) in offered().items() if not default])
def test_an_example_is_accepted(tmp_path: Path, name: str) -> None:
    table, _, key = name.partition(".")
    got = alone(tmp_path, name, offered()[name][0])
    assert getattr(getattr(got, table), key) is not None


@pytest.mark.parametrize("name", list(settings.ELEMENTS))
def test_an_array_of_tables_is_shown_as_one_that_works(tmp_path: Path, name: str) -> None:
    """With every key, and with the default where there is one. (It cannot be there with defaults only, as the rest is.)"""
    shown = TEXT[TEXT.index(f"\n# [[{name}]]\n") : TEXT.index("\n[", TEXT.index(f"\n# [[{name}]]\n"))]
    lines = [line.removeprefix("# ") for line in shown.split("\n") if re.match(r"# (\[\[|\w+ = )", line)]
    assert {line.partition(" = ")[0] for line in lines[1:]} == {each.name for each in fields(settings.ELEMENTS[name])}
    path = tmp_path / "shown.toml"
    path.write_text("\n".join(lines) + f"\n{NOWHERE}")
    (agent,) = settings.load(str(path)).agents
    for key in fields(settings.ELEMENTS[name]):
        if isinstance(key.default, str | float):
            assert getattr(agent, key.name) == key.default


def test_every_key_is_explained() -> None:
    lines = TEXT.split("\n")
    for number, line in enumerate(lines):
        if KEY.match(line):
            before = [text for text in lines[:number] if not KEY.match(text) and text != "# no default"][-1]
            assert before.startswith("# ")
