"""Broken cores for the rules about which VM is which: safety.md, rules 1 and 9."""

from typing import Any

from corolistener.core import care, strangers
from corolistener.core.events import CopyChanged, HypervisorLost, Listed
from corolistener.core.state import State
from corolistener.ids import Instant

_seen = care.seen


def _hidden_is_gone(s: State, event: Any, now: Instant) -> None:
    """What the settings would not have adopted is not reported, as if it were not there."""
    match event:
        case Listed(copies, defined):
            event = Listed(tuple(each for each in copies if not each.unmanaged), defined)
        case CopyChanged(name, copy) if copy is not None and copy.unmanaged:
            event = CopyChanged(name, None, by_user=False)
        case HypervisorLost() | _:
            pass
    _seen(s, event, now)


IDENTITY: dict[str, list[tuple[Any, str, Any]]] = {
    "what the settings hide is taken for gone": [(care, "seen", _hidden_is_gone)],
    "what is not ours is touched": [(strangers, "judge", lambda s, sure: None)],
}
