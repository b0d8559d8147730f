"""The shipped unit is as hardened as decision 16 says, and takes nothing from hooks and agents that it refuses to take."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "conf/corolistener.service"
DROP_IN = ROOT / "conf/corosync.service.d/corolistener.conf"
DECISION = (ROOT / "docs/decisions/0016-what-of-the-unit-is-hardened.md").read_text()
USED = ("CapabilityBoundingSet", "LockPersonality", "RestrictAddressFamilies", "SystemCallFilter", "SystemCallErrorNumber")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def options(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if (match := re.fullmatch(r"([A-Z]\w+)=(.*)", line)) is not None:
            found.setdefault(match[1], []).append(match[2])
    return found


def refused() -> set[str]:
    """Every option in a row of the decision's table that says no."""
    rows = [line.split("|") for line in DECISION.splitlines() if line.startswith("| `")]
    return {
        word.partition("=")[0] for row in rows if row[2].strip() == "no" for word in re.findall(r"`([A-Z]\w+[^`]*)`", row[1])
    }


def test_the_options_are_there() -> None:
    found = options(UNIT)
    assert set(USED) <= set(found)
    assert found["NotifyAccess"] == ["main"]
    assert found["StateDirectoryMode"] == ["0700"]
    assert found["LockPersonality"] == ["yes"]
    assert "CAP_SYS_TIME" in found["CapabilityBoundingSet"][0]
    for kept in (
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_SYS_NICE",
        "CAP_SYS_MODULE",
        "CAP_KILL",
    ):
        assert kept not in found["CapabilityBoundingSet"][0]
    for kept in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_KEY", "AF_ALG"):
        assert kept not in " ".join(found["RestrictAddressFamilies"]).split()


@pytest.mark.parametrize("path", [UNIT, DROP_IN])
def test_nothing_is_taken_from_hooks_and_agents(path: Path) -> None:
    assert len(refused()) > 20
    found = options(path)
    assert {name for name in refused() if found.get(name, ["no"]) != ["no"]} == set()


@needs_systemd
def test_the_figure_is_the_measured_one(tmp_path: Path) -> None:
    def measured(text: str) -> str:
        unit = tmp_path / "corolistener.service"
        unit.write_text(text)
        words = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
        assert found, said.stdout + said.stderr
        return found[1]

    text = UNIT.read_text()
    bare = "\n".join(line for line in text.splitlines() if not line.startswith(USED))
    version = re.search(
        r"systemd (\d+)", subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout
    )
    with_them, without = float(measured(text)), float(measured(bare))
    assert with_them < without
    if version and version[1] == "252":
        assert f"{without:g} without these lines, {with_them:g} with them" in text
        assert f"{without:g} without these options and {with_them:g} with them" in DECISION.replace("\n", " ")


@needs_systemd
def test_systemd_knows_every_option(tmp_path: Path) -> None:
    unit = tmp_path / "corolistener.service"
    unit.write_text(UNIT.read_text().replace("ExecStart=corolistener", "ExecStart=/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert str(unit) not in done.stderr, done.stderr
    unit.write_text(unit.read_text().replace("LockPersonality=", "LockPersonalty="))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert "LockPersonalty" in done.stderr, "it would have been told"
