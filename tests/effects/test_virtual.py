"""Which watchdogs stand still together with their machine: effects/virtual."""

from pathlib import Path

import pytest

from corolistener.effects import virtual


def machine(monkeypatch: pytest.MonkeyPatch, path: Path, **texts: str) -> None:
    """A machine whose files say this."""
    for name in ("CPUINFO", "XEN", "DMI", "WATCHDOGS"):
        monkeypatch.setattr(virtual, name, path / name)
    (path / "DMI").mkdir()
    for name, text in texts.items():
        (path / name if name.isupper() else path / "DMI" / name).write_text(text)


@pytest.mark.parametrize(
    ("texts", "so"),
    [
        ({"CPUINFO": "processor : 0\nflags : fpu vme hypervisor sse\n"}, True),
        ({"CPUINFO": "flags : fpu vme\n", "sys_vendor": "Dell Inc.", "product_name": "PowerEdge"}, False),
        ({"CPUINFO": "Features : fp asimd\n", "sys_vendor": "QEMU", "product_name": "virt"}, True),
        ({"CPUINFO": "flags : fpu hypervisor\n", "XEN": "control_d\n"}, False),
        ({"CPUINFO": "flags : fpu hypervisor\n", "XEN": ""}, True),
        ({}, False),
    ],
)
def test_which_machine_is_virtual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, texts: dict[str, str], so: bool) -> None:
    machine(monkeypatch, tmp_path, **texts)
    assert virtual.virtual() == so
    assert bool(virtual.weakness("iTCO_wdt")) == so


@pytest.mark.parametrize("identity", ["Software Watchdog", "softdog"])
def test_a_software_watchdog_is_weak_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, identity: str) -> None:
    machine(monkeypatch, tmp_path)
    assert "software" in virtual.weakness(identity)


def test_the_identity_is_read_without_opening_the_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path)
    (tmp_path / "WATCHDOGS" / "watchdog1").mkdir(parents=True)
    (tmp_path / "WATCHDOGS" / "watchdog1" / "identity").write_text("Software Watchdog\n")
    assert virtual.identity("/dev/watchdog1") == "Software Watchdog"
    assert virtual.identity("/dev/watchdog") == ""
