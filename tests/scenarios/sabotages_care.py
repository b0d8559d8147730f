"""Broken cores: rules about restarts, about what a node knows of its VMs, and about leaving."""

from typing import Any

from corolistener.core import care, group, mastership, recovery, status, watchdog
from corolistener.core.broken import Broken

SABOTAGES: dict[str, list[tuple[Any, str, Any]]] = {
    "a second hello of a restarted daemon is taken for a return": [(group, "_staying", lambda hellos, current: frozenset())],
    "a broken node starves its watchdog": [(Broken, "quiet", property(lambda self: False))],
    "other settings of members are not told": [(status, "differences", lambda s: ())],
    "a node without a hypervisor is believed to run nothing": [
        (recovery, "_at_rest", lambda s, node, inventory: True),
        (care, "told_at_rest", lambda s: True),
        (mastership, "_blind", lambda s: False),
        (watchdog, "suspended", lambda s: s.copies.quiet or not s.config.care.hypervisor),
    ],
}
