"""Broken cores for the rules about ends and pauses of instances."""

from typing import Any

from corolistener.core.instance import Copy
from corolistener.core.reports import VmState
from corolistener.ids import Instant


def _no_wait_for_a_cause(copy: Copy, own: bool, now: Instant) -> None:
    """What a list does not show any more is started again, whatever the event says later."""
    if not own and copy.state is VmState.RUNNING:
        copy.failures = 1
    copy.gone()


PAUSES: dict[str, list[tuple[Any, str, Any]]] = {
    "an end without its event is a crash": [(Copy, "vanished", _no_wait_for_a_cause)],
}
