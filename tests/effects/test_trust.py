"""What root reads and runs can be changed by root alone: files, directories on the way, symbolic links."""

import os
from pathlib import Path

import pytest

from corolistener.effects.trust import objection, objections, read, require
from corolistener.errors import ConfigError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to another user")
OTHER = 12345
"""A user that no machine has."""


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A file two directories deep that only its owner can write."""
    path = tmp_path / "etc" / "sub" / "file"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_what_only_its_owner_can_write_is_trusted(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert objection(deep) is None
    require(deep)
    monkeypatch.chdir(deep.parent)
    assert objection("file") is None
    assert objection("../sub/./file") is None


def test_what_is_not_there_is_trusted_where_only_root_can_create_it(deep: Path) -> None:
    assert objection(deep.with_name("none")) is None
    assert objection(deep / "below-a-file") is None
    deep.parent.chmod(0o777)
    assert objection(deep.with_name("none")) is not None


@pytest.mark.parametrize("mode", [0o646, 0o664, 0o666, 0o602, 0o620, 0o777])
def test_a_file_that_others_can_write(deep: Path, mode: int) -> None:
    deep.chmod(mode)
    why = objection(deep)
    assert why is not None
    assert f"can write {deep} (mode {mode:04o}): chmod go-w {deep}" in why
    assert ("every user" if mode & 0o002 else "the group ") in why
    with pytest.raises(ConfigError) as refused:
        require(deep)
    assert refused.value.path == str(deep)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o2775])
def test_a_directory_on_the_way_that_others_can_write(deep: Path, tmp_path: Path, level: int, mode: int) -> None:
    directory = (tmp_path, tmp_path / "etc", tmp_path / "etc" / "sub")[level]
    directory.chmod(mode)
    why = objection(deep)
    assert why is not None
    assert f"the directory {directory} (mode {mode:04o}): chmod go-w {directory}" in why


def test_a_sticky_directory_does_not_let_others_replace_what_is_root_s(deep: Path) -> None:
    deep.parent.chmod(0o1777)
    assert objection(deep) is None


@needs_root
def test_in_a_sticky_directory_what_belongs_to_another_is_refused(deep: Path) -> None:
    deep.parent.chmod(0o1777)
    os.chown(deep, OTHER, 0)
    assert objection(deep) == f"{deep} belongs to uid {OTHER}, who can change it: chown root {deep}"


def test_a_hard_link_in_a_directory_that_others_can_write_is_refused(deep: Path) -> None:
    os.link(deep, deep.with_name("second"))
    assert objection(deep) is None
    deep.parent.chmod(0o1777)
    assert "hard links" in str(objection(deep))


@needs_root
def test_owners(deep: Path, tmp_path: Path) -> None:
    for each in (deep, deep.parent, tmp_path):
        os.chown(each, OTHER, 0)
        why = objection(deep)
        assert why is not None
        assert f"{each} belongs to uid {OTHER}" in why
        assert f"chown root {each}" in why
        os.chown(each, 0, 0)
    os.chown(deep, 0, OTHER)  # a group that cannot write does no harm
    assert objection(deep) is None


def test_reading(deep: Path) -> None:
    assert read(deep, 100) == b"#!/bin/sh\n"
    assert read("/dev/null", 100) == b""
    with pytest.raises(OSError, match="longer than 3 bytes"):
        read(deep, 3)
    with pytest.raises(FileNotFoundError):
        read(deep.with_name("none"), 3)
    pipe = deep.with_name("pipe")
    os.mkfifo(pipe)
    pipe.chmod(0o600)
    with pytest.raises(OSError, match="not a regular file"):
        read(pipe, 100)
    deep.chmod(0o666)
    with pytest.raises(ConfigError, match="every user can write"):
        read(deep, 100)


@needs_root
def test_the_user_that_this_program_runs_as_is_trusted_as_root_is(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(deep, OTHER, 0)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert objection(deep) is None


def test_symbolic_links_are_followed_to_the_end(deep: Path, tmp_path: Path) -> None:
    (tmp_path / "absolute").symlink_to(deep)
    (tmp_path / "relative").symlink_to("etc/../etc/sub/file")
    (tmp_path / "directory").symlink_to("etc/sub")
    paths = [tmp_path / "absolute", tmp_path / "relative", tmp_path / "directory" / "file"]
    assert [objection(path) for path in paths] == [None, None, None]
    deep.parent.chmod(0o777)
    assert all(f"the directory {deep.parent}" in str(objection(path)) for path in paths)


def test_a_link_in_a_directory_that_others_can_write_is_refused_whatever_it_names(deep: Path, tmp_path: Path) -> None:
    """Its target is safe, and the link can be replaced."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    (open_to_all / "link").symlink_to(deep)
    (tmp_path / "first").symlink_to(open_to_all / "link")
    assert objection(tmp_path / "first") is None
    open_to_all.chmod(0o777)
    assert f"the directory {open_to_all}" in str(objection(tmp_path / "first"))


@needs_root
def test_a_link_of_another_user_is_refused(deep: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(deep)
    os.chown(link, OTHER, 0, follow_symlinks=False)
    assert objection(link) == f"the symbolic link {link} belongs to uid {OTHER}: remove it, or chown -h root {link}"


def test_links_that_lead_nowhere_or_in_circles(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("none")
    assert objection(tmp_path / "dangling") is None
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert objection(tmp_path / "one") == "cannot be examined: Too many levels of symbolic links"


def test_programs_are_judged_with_their_interpreters(deep: Path, tmp_path: Path) -> None:
    python, script = tmp_path / "python", tmp_path / "script"
    python.write_bytes(b"\x7fELF")
    script.write_text(f"#! {python} -I\nprint()\n")
    missing, pipe = tmp_path / "missing", tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o644)
    assert objections([str(deep), str(script), str(missing), str(python), str(pipe)]) == []
    python.chmod(0o777)
    problems = objections([str(deep), str(script), str(script)])
    assert [str(each) for each in problems] == [
        f"{script}: its interpreter {python}: every user can write {python} (mode 0777): chmod go-w {python}"
    ]
