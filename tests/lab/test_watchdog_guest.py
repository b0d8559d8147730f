"""The watchdog against a real kernel's ioctls, in a guest that is seen to be reset (lab.kernel_guest), and one that is not.

Every story is told by lab.guest_stories inside; what is believed is QEMU's word for what happened, in its order.
"""

import re

import pytest

from lab import kernel_guest as guest
from lab.kernel_guest import Told


@pytest.fixture(autouse=True)
def guest_can() -> None:
    """Skips, with the reason, where no guest can be run."""
    if reason := guest.cannot():
        pytest.skip(f"no guest here: {reason}")


def position(told: Told, pattern: str, after: int = -1) -> int:
    """Which line matches, after that one. AssertionError with the whole console where none does."""
    for index, line in enumerate(told.lines):
        if index > after and re.search(pattern, line):
            return index
    raise AssertionError(f"nowhere after line {after}: {pattern}\n{told.events}\n{told.console}")


def in_order(told: Told, *patterns: str) -> None:
    """Lines that match these, one after the other."""
    index = -1
    for pattern in patterns:
        index = position(told, pattern, index)


def test_fed_handed_over_disarmed_and_starved() -> None:
    """Fed for longer than its timeout by two processes, the first of which is killed; stopped for longer than its timeout;
    armed again, fed for longer than its timeout, and starved: reset then, and not before."""
    told = guest.play("fed")
    in_order(
        told,
        r"opened=4000 .*identity=i6300ESB timer .*adopted=no kept=yes stoppable=yes",
        r"fed_s=3 ",
        r"ended=-9$",
        r"opened=4000 .*asked_ms=60000 adopted=yes kept=yes",
        r"fed_s=3 ",
        r"disarmed=yes",
        r"refused=no watchdog is armed",
        r"ended=0$",
        r"alive=True",
        r"asked_ms=3500 timeout_ms=4000",
        r"asked_ms=5000000 timeout_ms=4000",
        r"timeout_ms=0 unused=.* has a timeout of 3000 ms, and a restart may take 5000 ms",
        r"state=inactive",
        r"fed_s=3 ",
        r"starving=True",
    )
    assert "did not stop" not in told.console
    assert told.bitten, told


def test_the_death_of_the_process_disarms_nothing() -> None:
    """Killed without magic close and without anybody who kept the descriptor; what starts next does not feed it."""
    told = guest.play("killed")
    in_order(told, r"timeout_ms=2000", r"ended=-9$", r"timeout_ms=0 unused=/dev/watchdog ticks already: ")
    assert "watchdog0: watchdog did not stop!" in told.console
    assert told.bitten, told


def test_adoption_feeds_nothing() -> None:
    """However often: the machine is reset. And one that was stopped, but not given back, is armed by adoption."""
    told = guest.play("adopted")
    again = r"timeout_ms=3000 adopted=yes state=active"
    in_order(told, r"alive=True state=inactive", again, again, again)
    assert told.bitten, told


def test_nowayout() -> None:
    """Recognised, fed like any other; its disarming is refused, and it resets the machine."""
    told = guest.play("nowayout", dog="nowayout=1")
    in_order(told, r"opened=2000 .*stoppable=no", r"refused=.*nowayout", r"fed_s=3 ", r"starving=True")
    assert told.bitten, told


def test_a_guest_without_any_of_this_ends_by_itself() -> None:
    """What `bitten` means: a guest in which nobody touches the watchdog is not reset."""
    told = guest.boot(guest.RUN.format(command="/bin/true"))
    assert told.ended, told
    assert not told.bitten, told
