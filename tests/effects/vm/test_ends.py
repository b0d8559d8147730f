"""By whose will a copy ended."""

import libvirt
import pytest

from corolistener.effects.vm.ends import SHUT_DOWN_S, STOPPED_S, Ends
from corolistener.ids import VmName

WEB = VmName("web")
GUEST, HOST = libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST


class Watch:
    now = 0.0


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def ends(watch: Watch) -> Ends:
    return Ends(lambda: watch.now)


@pytest.mark.parametrize(
    ("turned_off", "how", "by_user"),
    [
        (GUEST, "SHUTDOWN", True),
        (HOST, "SHUTDOWN", False),
        (None, "SHUTDOWN", True),  # Xen does not say more
        (None, "DESTROYED", True),
        (HOST, "DESTROYED", True),
        (None, "SAVED", True),
        (None, "CRASHED", False),
        (None, "FAILED", False),
        (None, "MIGRATED", False),
    ],
)
def test_how_it_ended(ends: Ends, turned_off: int | None, how: str, by_user: bool) -> None:
    if turned_off is not None:
        ends.shutdown(WEB, turned_off)
    ends.stopped(WEB, getattr(libvirt, f"VIR_DOMAIN_EVENT_STOPPED_{how}"))
    assert ends.take(WEB) is by_user
    assert ends.take(WEB) is None, "it is told once"


def test_what_we_asked_for_is_ours(ends: Ends, watch: Watch) -> None:
    ends.ask(WEB)
    watch.now = 1e6
    ends.stopped(WEB, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
    assert ends.take(WEB) is False
    ends.ask(WEB, STOPPED_S)
    watch.now += STOPPED_S + 1
    ends.stopped(WEB, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
    assert ends.take(WEB) is True, "that was long ago"


def test_a_system_that_was_asked_and_took_its_time(ends: Ends, watch: Watch) -> None:
    ends.ask(WEB, SHUT_DOWN_S)
    watch.now += SHUT_DOWN_S - 1
    ends.shutdown(WEB, GUEST)
    ends.stopped(WEB, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    assert ends.take(WEB) is False
    ends.ask(WEB, SHUT_DOWN_S)
    ends.begin(WEB)
    ends.stopped(WEB, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    assert ends.take(WEB) is True, "another copy"
