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
from corolistener.effects.vm.texts import writable
from corolistener.errors import EffectError, RequestRefused
from corolistener.ids import VmName

from .conftest import Type

SHIPPED = Path(__file__).parents[2] / "vmmgr_hooks/libvirt/qemu"
STARTS = [("prepare", "begin", "-"), ("migrate", "begin", "-"), ("restore", "begin", "-")]
WEB = VmName("web [1]")
UUID, OTHER = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
DISK = "/var/lib/shared/we'b & co.img"
DISKS = """<devices>
    <disk type='file' device='disk'><source file='{disk}'/><target dev='vda'/>{more}</disk>
    <disk type='file' device='cdrom'><source file='/iso/debian.iso'/><target dev='hda'/><readonly/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='rbd/web'/><target dev='vdb'/></disk>
    <disk type='block' device='disk'><source dev='/dev/vg/web'/><target dev='vdc'/></disk>
    <disk type='file' device='cdrom'><target dev='hdb'/></disk>
  </devices>"""


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


def xml(uuid: str = "", devices: str = "", metadata: str = "") -> str:
    """A domain as libvirt hands it over; longer than a pipe holds."""
    return f"<domain><uuid>{uuid}</uuid><metadata>{metadata}</metadata>{devices}{' ' * 200_000}</domain>"


def disks(disk: str, more: str = "") -> str:
    return DISKS.format(disk=disk.replace("&", "&amp;").replace("'", "&apos;"), more=more)


def called(hook: Path, *words: str, domain: str = "<domain>" + " " * 200_000, **environment: str) -> tuple[int, str]:
    """Exit status and stderr. libvirt's environment has no more than this; the XML is more than a pipe holds."""
    done = subprocess.run(
        [str(hook), *words],
        input=domain,
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
    assert daemon.asked == [("may-start", {"vm": WEB, "uuid": "", "disks": []})] * 2


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


@pytest.mark.parametrize("start", STARTS, ids=lambda words: words[0])
def test_a_vm_is_known_by_its_uuid_and_its_disks(hook: Path, root: Path, daemon: Told, start: tuple[str, ...]) -> None:
    answers(daemon, {"may": False, "why": "no"})
    keep(str(root / "st ate"), [WEB, UUID, DISK, "rbd:rbd/db", "/iso/debian.iso"])
    assert called(hook, "renamed", *start, domain=xml(UUID))[0] == 1
    assert called(hook, "rescue", *start, domain=xml(OTHER, disks(DISK)))[0] == 1
    assert daemon.asked == [
        ("may-start", {"vm": "renamed", "uuid": UUID, "disks": []}),
        ("may-start", {"vm": "rescue", "uuid": OTHER, "disks": ["/dev/vg/web", DISK, "rbd:rbd/web"]}),
    ]
    for more in ("<readonly/>", "<shareable/>"):
        assert called(hook, "reads", *start, domain=xml(OTHER, disks(DISK, more))) == (0, ""), "its CD is nobody's own"
    assert called(hook, "other", *start, domain=xml(OTHER, disks("/var/lib/shared/other.img"))) == (0, "")


def test_the_daemon_lists_the_disks_that_the_hook_looks_for() -> None:
    definition = xml(UUID, disks(DISK)).encode()
    assert writable(definition) == ("/dev/vg/web", DISK, "rbd:rbd/web")
    assert writable(xml(UUID, disks(DISK, "<shareable/>")).encode()) == ("/dev/vg/web", "rbd:rbd/web")
    assert writable(b"") == ()


# -- no list


LABELS = ["<c:copy xmlns:c='urn:corolistener:copy:1' generation='3'/>", "<c:vm xmlns:c='urn:corolistener:vm:1' manage='yes'/>"]
LET_GO = "<c:vm xmlns:c='urn:corolistener:vm:1' manage='no'/>"


def test_without_a_list_and_a_ledger_only_a_vm_with_our_metadata_is_asked_about(hook: Path, root: Path) -> None:
    (root / "st ate" / NAME).unlink()
    assert called(hook, WEB, *STARTS[0]) == (0, "")
    assert called(hook, WEB, *STARTS[0], domain=xml(UUID, metadata=LET_GO)) == (0, "")
    for label in LABELS:
        status, words = called(hook, "web", *STARTS[0], domain=xml(UUID, metadata=label))
        assert (status, "the list of VMs in the cluster's care is missing" in words) == (1, True)


@pytest.mark.parametrize("may", [True, False])
def test_without_a_list_a_node_with_a_ledger_asks_about_every_vm(hook: Path, root: Path, daemon: Told, may: bool) -> None:
    (root / "st ate" / NAME).unlink()
    (root / "st ate/ledger.sqlite").touch()
    answers(daemon, {"may": may, "why": "no"})
    assert called(hook, "other", *STARTS[0], domain=xml(OTHER))[0] == (0 if may else 1)
    assert daemon.asked == [("may-start", {"vm": "other", "uuid": OTHER, "disks": []})]


def test_without_a_list_and_a_daemon_nothing_starts_on_a_node_with_a_ledger(hook: Path, root: Path) -> None:
    (root / "st ate" / NAME).unlink()
    (root / "st ate/ledger.sqlite").touch()
    status, words = called(hook, "other", *STARTS[0], domain=xml(OTHER))
    assert (status, "the list of VMs in the cluster's care is missing" in words) == (1, True)


def test_a_host_on_which_corolistener_is_not_set_up_is_left_alone(hook: Path, root: Path) -> None:
    """It was removed, say, and its hook and its state directory were forgotten."""
    (root / "st ate" / NAME).unlink()
    (root / "st ate/ledger.sqlite").touch()
    (root / "corolistener.toml").unlink()
    assert called(hook, "other", *STARTS[0], domain=xml(OTHER, metadata=LABELS[0])) == (0, "")


def test_a_list_that_cannot_be_read_may_have_it(hook: Path, root: Path, daemon: Told) -> None:
    (root / "st ate" / NAME).unlink()
    (root / "st ate" / NAME).mkdir()
    answers(daemon, {"may": True, "why": ""})
    assert called(hook, "other", *STARTS[0]) == (0, ""), "the daemon knows"
    answers(daemon, {"may": False, "why": "no"})
    assert called(hook, "other", *STARTS[0])[0] == 1


def test_a_list_that_cannot_be_read_and_no_daemon(hook: Path, root: Path) -> None:
    (root / "st ate" / NAME).unlink()
    (root / "st ate" / NAME).mkdir()
    status, words = called(hook, "other", *STARTS[0])
    assert status == 1
    assert f"the list of VMs in the cluster's care cannot be read, {root}/st ate/{NAME}" in words


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
