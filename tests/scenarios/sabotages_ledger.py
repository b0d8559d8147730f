"""Broken cores of the rules about starts, ledgers that go back, and what stops time (7, 16 and 19 of docs/safety.md)."""

from typing import Any

from corolistener.core import fencing, group, start, witness
from corolistener.core.config import Care

SABOTAGES: dict[str, list[tuple[Any, str, Any]]] = {
    "fence agents do not wait at a start": [(start, "over", lambda s, node, now: True)],
    "a ledger that went back is a witness": [(group, "doubted", lambda hellos: {})],
    "a watchdog that stands still with its node is a proof": [(Care, "accepted", lambda self, weak: self.proofs)],
    "an operator is believed at once": [(fencing, "believed_at", lambda seen, known, fencing: fencing.gone[seen.node])],
    "what others announced is not remembered": [(witness, "heard", lambda s: ())],
}
