"""What importing the bindings brings in: `corolistener -l` without a daemon pays for every module."""

import subprocess
import sys

import pytest

COSTLY = {"asyncio", "cffi", "dataclasses", "inspect", "logging", "msgspec", "pathlib", "socket", "threading", "typing"}


def imported_by(module):
    source = f"import sys\nbefore = set(sys.modules)\nimport {module}\nprint(*sorted(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{source}"],
                              capture_output=True, text=True, check=True).stdout.split())  # fmt: skip


def test_cmap_brings_in_nothing_costly():
    assert imported_by("corolistener.corosync.cmap") & COSTLY == set()


@pytest.mark.parametrize("library", ["cpg", "quorum", "votequorum", "cfg"])
def test_no_library_brings_in_what_a_daemon_does_not_need(library):
    assert imported_by(f"corolistener.corosync.{library}") & {"asyncio", "cffi", "dataclasses", "logging", "msgspec"} == set()


@pytest.mark.parametrize("library", ["cpg", "quorum", "votequorum", "cmap", "cfg"])
def test_a_library_brings_in_no_other_and_nothing_of_ours(library):
    ours = {name for name in imported_by(f"corolistener.corosync.{library}") if name.startswith("corolistener")}
    room = "corolistener.corosync"
    common = {"corolistener", room, f"{room}.errors", f"{room}.handle", f"{room}.values"}
    assert ours - common == {f"{room}.{library}", f"{room}._{library}", f"{room}._{library}.lib"}
