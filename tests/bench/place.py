"""The machine the figures were taken on, and where they are written."""

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.machine import CHECKOUT

from bench.figures import Figure, markdown, notes

QUIET = 0.7
"""A load average of the last minute below which nobody else is at work; a lab of ours takes about 0.2."""
TITLE = "## Figures"


def here() -> str:
    """Date, processor, memory, system, and how busy it is."""
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text(), re.MULTILINE)
    parts = [
        time.strftime("%Y-%m-%d"),
        f"{os.cpu_count()} × {model[1] if model else platform.machine()}",
        f"{int(total[1]) / 1048576:.0f} GB" if total else "",
        system[1] if system else "",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"load average {load():.1f} before",
    ]
    return ", ".join(part for part in parts if part)


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def quiet(wait_s: float, progress: Callable[[str], None]) -> None:
    """Wait until nobody else uses the machine, but not longer than `wait_s`."""
    end = time.monotonic() + wait_s
    while load() >= QUIET and time.monotonic() < end:
        progress(f"load average {load():.1f}: waiting for less than {QUIET}")
        time.sleep(min(10, max(0.1, end - time.monotonic())))


def section(figures: Sequence[Figure], where: str) -> str:
    """The section of README."""
    below = [f"{each}  " for each in notes(figures)]
    return "\n".join([TITLE, "", f"`scripts/bench` on {where}.", "", *markdown(figures), "", *below]).rstrip() + "\n"


def put(text: str, section: str) -> str:
    """README with this section in place of the one it has, or at its end."""
    old = re.search(rf"^{TITLE}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if old is None:
        return f"{text.rstrip()}\n\n{section}"
    rest = text[old.end() :]
    return text[: old.start()] + section + (f"\n{rest}" if rest else "")


def write_readme(figures: Sequence[Figure], where: str) -> None:
    """Write them into README.md."""
    path = CHECKOUT / "README.md"
    path.write_text(put(path.read_text(), section(figures, where)))
