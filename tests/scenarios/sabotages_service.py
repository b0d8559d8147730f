"""Cores and worlds without one of the rules about the service, and about who can be master (sabotages.SABOTAGES)."""

from typing import Any

from corolistener.core import ability, mastership, serving
from corolistener.core.group import Group
from corolistener.core.ledger import Known
from corolistener.core.state import State
from corolistener.ids import Instant, NodeId

_over, _choose = mastership.over, mastership.choose


def _over_by_time(s: State, node: NodeId, now: Instant) -> bool:
    """As it was: whoever is out of sight has let go in time, also without a daemon."""
    unattended, s.unattended = s.unattended, set()
    try:
        return _over(s, node, now)
    finally:
        s.unattended = unattended


def _first_is_a_takeover(s: State) -> None:
    _choose(s)
    s.first = NodeId(0)


def _grace_only(known: Known) -> int:
    return known.grace_ms


SERVICE: dict[str, list[tuple[Any, str, Any]]] = {
    "a stop of the service has all the time it wants": [(serving, "overdue", lambda s, now: False)],
    "time proves that a node without a daemon has let go": [(mastership, "over", _over_by_time)],
    "nobody waits for a service that cannot be killed": [
        (mastership.serving, "may_last_ms", _grace_only),
        (serving, "overdue", lambda s, now: False),
    ],
    "daemons of the ring are not waited for at a start": [(Group, "starting", property(lambda self: False))],
    "the first master after a start swaps priorities": [(mastership, "choose", _first_is_a_takeover)],
    "a master that cannot serve stays": [(ability, "proceed", lambda s, now: None)],
}
