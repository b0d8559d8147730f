"""libvirt's hook: that it is put in its place, and what it lets through, asked by the very program that libvirt runs."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from daemon.serving import Told

from corolistener.cli.hooks import MARK
from corolistener.effects.managed import NAME, keep
from corolistener.errors import EffectError, RequestRefused
from corolistener.ids import VmName

from .conftest import Type

SHIPPED = Path(__file__).parents[2] / "vmmgr_hooks/libvirt/qemu"
STARTS = [("prepare", "begin", "-"), ("migrate", "begin", "-"), ("restore", "begin", "-")]
WEB = VmName("web [1]")


@pytest.fixture
def libvirt(root: Path) -> Path:
    """libvirt's directory of hooks, and settings that keep the daemon's state in a directory of the test's own."""
    settings = root / "corolistener.toml"
    settings.write_text(settings.read_text().replace("[paths]", f'[paths]\nstate = "{root}/st ate"'))
    (root / "libvirt").mkdir()
    return root / "libvirt/hooks"


@pytest.fixture
def hook(typed: Type, libvirt: Path, root: Path) -> Path:
    """The hook as it was installed, and a list with one VM in it."""
    assert typed("hooks", "install", "--directory", str(libvirt)).status == 0
    keep(str(root / "st ate"), [WEB])
    return libvirt / "qemu.d/corolistener"


def called(hook: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and stderr. libvirt's environment has no more than this; the XML is more than a pipe holds."""
    done = subprocess.run(
        [str(hook), *words],
        input="<domain>" + " " * 200_000,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "", "for migrate and restore it would be taken for XML"
    return done.returncode, done.stderr


def answers(daemon: Told, answer: dict[str, Any]) -> None:
    async def reply(*_: object) -> dict[str, Any]:
        return answer

    daemon.answer = reply


@pytest.mark.parametrize("start", STARTS, ids=lambda words: words[0])
def test_the_daemon_is_asked_and_its_word_counts(hook: Path, daemon: Told, start: tuple[str, ...]) -> None:
    answers(daemon, {"may": True, "why": ""})
    assert called(hook, WEB, *start) == (0, "")
    answers(daemon, {"may": False, "why": "it is placed on node 3"})
    assert called(hook, WEB, *start) == (1, f"corolistener: {WEB} does not start here: it is placed on node 3\n")
    assert daemon.asked == [("may-start", {"vm": WEB})] * 2


@pytest.mark.parametrize("answer", [{}, {"may": "yes"}, {"may": 1}, {"may": None}])
def test_what_is_no_yes_is_a_no(hook: Path, daemon: Told, answer: dict[str, Any]) -> None:
    answers(daemon, answer)
    assert called(hook, WEB, *STARTS[0])[0] == 1


def test_a_daemon_that_refuses_to_answer(hook: Path, daemon: Told) -> None:
    async def refuse(*_: object) -> dict[str, Any]:
        raise RequestRefused("panic", "panic since noon")

    daemon.answer = refuse
    assert called(hook, WEB, *STARTS[0]) == (1, f"corolistener: {WEB} does not start here: panic since noon\n")


@pytest.mark.parametrize("start", STARTS, ids=lambda words: words[0])
def test_without_a_daemon_a_vm_in_care_does_not_start(hook: Path, start: tuple[str, ...]) -> None:
    status, words = called(hook, WEB, *start)
    assert status == 1
    assert words.startswith(f"corolistener: {WEB} does not start here: it is in the cluster's care, and it may run on another")
    assert "systemctl start corolistener" in words
    assert words.count("\n") == 1


@pytest.mark.parametrize("name", ["web 1", "web", "web [1", "web [1] ", "WEB [1]", "w.*", "other", "-e"])
@pytest.mark.parametrize("start", STARTS, ids=lambda words: words[0])
def test_a_vm_in_nobodys_care_is_not_touched(hook: Path, daemon: Told, name: str, start: tuple[str, ...]) -> None:
    assert called(hook, name, *start) == (0, "")
    assert daemon.asked == []


@pytest.mark.parametrize("operation", ["start", "started", "stopped", "release", "reconnect", "attach", "new in libvirt 99"])
def test_nothing_else_is_ever_refused(hook: Path, operation: str) -> None:
    """A hook that fails in `reconnect` would end a VM that runs."""
    assert called(hook, WEB, operation, "begin", "-") == (0, "")


def test_without_a_list_nothing_is_in_care(hook: Path, root: Path) -> None:
    (root / "st ate" / NAME).unlink()
    assert called(hook, WEB, *STARTS[0]) == (0, "")


def test_a_list_that_cannot_be_read_may_have_it(hook: Path, root: Path) -> None:
    (root / "st ate" / NAME).unlink()
    (root / "st ate" / NAME).mkdir()
    status, words = called(hook, "other", *STARTS[0])
    assert status == 1
    assert words.splitlines()[-1].endswith(f"the list of VMs in the cluster's care cannot be read, {root}/st ate/{NAME}")


@pytest.mark.parametrize("gone", ["python", "package"])
def test_a_program_that_was_removed_stops_nobody_elses_vm(hook: Path, root: Path, gone: str) -> None:
    (root / "empty/corolistener").mkdir(parents=True)
    (root / "empty/corolistener/__init__.py").touch()
    environment = {"python": {"COROLISTENER_PYTHON": "/nowhere"}, "package": {"COROLISTENER_PACKAGE": f"{root}/empty"}}[gone]
    assert called(hook, "other", *STARTS[0], **environment) == (0, "")
    status, words = called(hook, WEB, *STARTS[0], **environment)
    assert status == 1
    assert words.startswith(f"corolistener: {WEB} does not start here: it is in the cluster's care, and")
    assert words.endswith("run `corolistener hooks install` again\n")


def test_the_shipped_one_works_where_it_lies(root: Path, daemon: Told) -> None:
    keep(str(root), [WEB])
    answers(daemon, {"may": False, "why": "no"})
    places = {"COROLISTENER_MANAGED": f"{root}/{NAME}", "COROLISTENER_RUN": f"{root}/run"}
    package = {"COROLISTENER_PACKAGE": str(SHIPPED.parents[2])}
    assert called(SHIPPED, WEB, *STARTS[0], **places, **package) == (1, f"corolistener: {WEB} does not start here: no\n")
    assert called(SHIPPED)[0] == 2


# -- install and status


def test_install_and_status(typed: Type, libvirt: Path) -> None:
    place = libvirt / "qemu.d/corolistener"
    words = ("--directory", str(libvirt))
    assert typed("hooks", "status", *words)[:2] == (1, f"{place}: not there: `corolistener hooks install`\n")
    got = typed("hooks", "install", *words)
    assert (got.status, got.err) == (0, "")
    assert "restart libvirtd" in got.out
    assert os.access(place, os.X_OK)
    assert [path.name for path in libvirt.iterdir()] == ["qemu.d"]
    assert typed("hooks", "status", *words) == (0, f"{place}: there\n", "")
    before = place.stat()
    assert typed("hooks", "install", *words) == (0, f"{place} is there already\n", "")
    assert place.stat() == before


def test_one_of_another_version_is_replaced(typed: Type, libvirt: Path) -> None:
    place = libvirt / "qemu.d/corolistener"
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\n{MARK}, and so on\nexit 1\n")
    words = ("--directory", str(libvirt))
    got = typed("hooks", "status", *words)
    assert (got.status, "of another version" in got.out) == (1, True)
    assert typed("hooks", "install", *words) == (0, f"wrote {place}\n", "")
    assert typed("hooks", "status", *words).status == 0


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexit 0\n", b"", b"\x7fELF\xff\xfe"])
def test_somebody_elses_file_is_left_alone(typed: Type, libvirt: Path, content: bytes) -> None:
    place = libvirt / "qemu.d/corolistener"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    words = ("--directory", str(libvirt))
    got = typed("hooks", "install", *words)
    assert (got.status, got.out) == (1, "")
    assert f"{place} is not of corolistener's making" in got.err
    assert place.read_bytes() == content
    got = typed("hooks", "status", *words)
    assert (got.status, got.out) == (1, f"{place}: not of corolistener's making\n")


def test_where_libvirt_is_not(typed: Type, tmp_path: Path) -> None:
    got = typed("hooks", "install", "--directory", str(tmp_path / "none/hooks"))
    assert (got.status, got.out) == (1, "")
    assert "libvirt is not installed here" in got.err


def test_it_is_written_in_the_shell_of_every_system(hook: Path) -> None:
    shells = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
    for shell in shells:
        command = [shell, "sh"] if shell == "busybox" else [shell]
        done = subprocess.run([*command, "-n", str(hook)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert shells


# -- the list


def test_the_list_is_written_whole(tmp_path: Path) -> None:
    state = tmp_path / "new/state"
    keep(str(state), [VmName("b"), VmName("a"), VmName("b")])
    assert (state / NAME).read_text() == "a\nb\n"
    keep(str(state), [])
    assert (state / NAME).read_text() == ""
    assert [path.name for path in state.iterdir()] == [NAME]
    (tmp_path / "file").touch()
    with pytest.raises(EffectError, match=re.escape(str(tmp_path / "file"))):
        keep(str(tmp_path / "file"), [])
