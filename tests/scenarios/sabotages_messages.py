"""Broken engines for the rule about messages: nothing that is said is dropped, and no heartbeat is behind bulk."""

from typing import Any

from corolistener.engine import conf, speech

ENDLESS = 1 << 20


MESSAGES: dict[str, list[tuple[Any, str, Any]]] = {
    "long messages go in one piece": [(speech, name, ENDLESS) for name in ("SHORT_MOST", "BULK_MOST", "PACKET_MOST")],
    "a pushed version rises by any step": [(conf, "STEP_MOST", 2**64)],
}
