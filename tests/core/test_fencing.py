"""Which proof about a lost node is there when: safety.md, "Proofs"."""

import pytest

from corolistener.core.config import Care, ProofKind, Timing
from corolistener.core.fencing import Fencing, deadline_ms, proof, proof_due
from corolistener.core.ledger import Known, Proven
from corolistener.ids import Instant, NodeId

N1 = NodeId(1)
LOST = Instant(50_000)
TIMING = Timing()
ARMED = Known(N1, "boot", 5130, 2000, 10_000)
UNARMED = Known(N1, "boot", 5130, 2000)
ALL = tuple(ProofKind)
SUSPENDED_MS = 5130 + 2000 + 1000
RESET_MS = SUSPENDED_MS + 10_000
LET_GO_MS = 5130 + 2000


def seen(kind: ProofKind | None = None, boot: str = "boot", alive: bool = True) -> Fencing:
    evidence = {N1: Proven(N1, boot, kind)} if kind is not None else {}
    return Fencing(gone={N1: LOST}, alive={N1} if alive else set(), evidence=evidence)


def test_nothing_is_subtracted_from_the_deadline() -> None:
    assert deadline_ms(ProofKind.WATCHDOG, ARMED, TIMING) == 18_130, "the example of the page on safety"
    assert deadline_ms(ProofKind.WATCHDOG, UNARMED, TIMING) is None
    assert deadline_ms(ProofKind.SUSPEND, UNARMED, TIMING) == 8_130
    assert deadline_ms(ProofKind.AGENT, ARMED, TIMING) is None


@pytest.mark.parametrize(
    ("known", "fencing", "accepted", "exclusive", "after_ms", "kind"),
    [
        (ARMED, seen(), ALL, True, RESET_MS - 1, ProofKind.SUSPEND),
        (ARMED, seen(), ALL, True, SUSPENDED_MS - 1, None),
        (ARMED, seen(), (ProofKind.WATCHDOG,), True, RESET_MS - 1, None),
        (ARMED, seen(), (ProofKind.WATCHDOG,), True, RESET_MS, ProofKind.WATCHDOG),
        (ARMED, seen(), (ProofKind.WATCHDOG,), False, 1_000_000, None),
        (UNARMED, seen(), (ProofKind.WATCHDOG,), True, 1_000_000, None),
        (UNARMED, seen(), (ProofKind.SUSPEND,), True, SUSPENDED_MS, ProofKind.SUSPEND),
        (UNARMED, seen(alive=False), (ProofKind.SUSPEND,), True, 1_000_000, None),
        (UNARMED, seen(), (ProofKind.SUSPEND,), False, 1_000_000, None),
        (UNARMED, seen(ProofKind.AGENT), (ProofKind.AGENT,), False, 0, ProofKind.AGENT),
        (UNARMED, seen(ProofKind.AGENT, boot="older"), (ProofKind.AGENT,), True, 0, None),
        (UNARMED, seen(ProofKind.AGENT), (ProofKind.OPERATOR,), True, 1_000_000, None),
        (UNARMED, seen(ProofKind.OPERATOR), (ProofKind.OPERATOR,), False, LET_GO_MS, ProofKind.OPERATOR),
        (UNARMED, seen(ProofKind.OPERATOR), (ProofKind.OPERATOR,), False, LET_GO_MS - 1, None),
        (UNARMED, seen(ProofKind.FAREWELL), (ProofKind.FAREWELL,), False, 0, ProofKind.FAREWELL),
    ],
)
def test_proof(
    known: Known, fencing: Fencing, accepted: tuple[ProofKind, ...], exclusive: bool, after_ms: int, kind: ProofKind | None
) -> None:
    found = proof(N1, known, fencing, accepted, exclusive, TIMING, Instant(LOST + after_ms))
    assert (found.kind if found is not None else None) is kind
    assert found is None or found.boot == known.boot


def test_when_a_proof_is_coming() -> None:
    assert proof_due(N1, ARMED, seen(), (ProofKind.WATCHDOG,), True, TIMING) == LOST + RESET_MS
    assert proof_due(N1, ARMED, seen(), ALL, True, TIMING) == LOST + SUSPENDED_MS
    assert proof_due(N1, ARMED, seen(), (ProofKind.AGENT,), True, TIMING) is None
    assert proof_due(N1, ARMED, seen(), ALL, False, TIMING) is None
    assert proof_due(N1, ARMED, Fencing(), ALL, True, TIMING) is None


def test_what_was_seen_of_an_absence_is_void_when_it_ends() -> None:
    fencing = seen(ProofKind.AGENT)
    fencing.returned(N1)
    assert fencing == Fencing()
    fencing = seen(ProofKind.AGENT)
    fencing.blind()
    assert fencing == Fencing()


def test_when_an_operators_word_counts() -> None:
    assert proof_due(N1, UNARMED, seen(ProofKind.OPERATOR), (ProofKind.OPERATOR,), True, TIMING) == LOST + LET_GO_MS
    assert proof_due(N1, UNARMED, seen(ProofKind.AGENT), (ProofKind.AGENT,), True, TIMING) == LOST, (
        "an agent looks from outside"
    )


@pytest.mark.parametrize(("weak", "known", "counts"), [("", False, True), ("virtual", False, False), ("virtual", True, True)])
def test_a_watchdog_that_stands_still_with_its_node_is_no_proof(weak: str, known: bool, counts: bool) -> None:
    accepted = Care(weak_watchdogs=known).accepted(weak)
    assert (ProofKind.WATCHDOG in accepted) == counts
    assert {*accepted, ProofKind.WATCHDOG} == set(Care().proofs), "nothing else is lost by that"
    assert (ProofKind.SUSPEND in Care(proofs=ALL, weak_watchdogs=known).accepted(weak)) == counts, (
        "a node counts its lease itself"
    )
