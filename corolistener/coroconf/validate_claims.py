"""By which settings two parts of a cluster could be quorate at once, or one that is no majority of all votes.

corolistener acts on none of them (docs/safety.md, "Rule 3"): if corosync says "quorate" to such a part, nothing is done there.
So each is an error: what its author wants of it does not come true.
"""

from collections.abc import Iterator

from corolistener.coroconf.problems import Problem, error, info, line_of, number, warning
from corolistener.coroconf.tree import Document, Section

NOTHING = "corolistener does nothing in a part without a majority of all votes"


def claim_problems(document: Document) -> Iterator[Problem]:
    """What may be claimed by a part of the cluster that does not exclude the others."""
    nodes = document.sections("nodelist.node")
    device = bool(document.get("quorum.device.model"))
    yield from _expected(document, nodes, device)
    if number(document, "quorum.last_man_standing"):
        why = (
            f"last_man_standing lets two parts be quorate at once: {NOTHING}; write last_man_standing: 0, or take the line out"
        )
        yield error(line_of(document, "quorum.last_man_standing"), "claim-last-man-standing", why)
    if number(document, "quorum.allow_downscale"):
        why = f"allow_downscale expects fewer votes after nodes have left: {NOTHING}; write allow_downscale: 0"
        yield error(line_of(document, "quorum.allow_downscale"), "claim-allow-downscale", why)
    if number(document, "quorum.two_node") and len(nodes) == 2 and not device:
        why = "two_node: one of two is quorate, so no deadline is a proof; after a loss the other node starts nothing by itself"
        yield info(line_of(document, "quorum.two_node"), "claim-two-node", why)
    if number(document, "quorum.auto_tie_breaker") and not device:
        even = sum(_votes(node) for node in nodes) % 2 == 0
        why = f"auto_tie_breaker calls half of the votes quorate: {NOTHING}, so the half that wins stands still as well"
        line = line_of(document, "quorum.auto_tie_breaker")
        yield (
            warning(line, "claim-auto-tie-breaker", f"{why}; add a node or a quorum device")
            if even
            else info(line, "claim-auto-tie-breaker", "auto_tie_breaker changes nothing: the number of all votes is odd")
        )


def _expected(document: Document, nodes: tuple[Section, ...], device: bool) -> Iterator[Problem]:
    """An expected_votes below the sum of all votes."""
    expected, everything = number(document, "quorum.expected_votes"), sum(_votes(node) for node in nodes)
    most = everything + (number(document, "quorum.device.votes", max(0, everything - 1)) if device else 0)
    if nodes and 0 < expected < most:
        what = f"all nodes{' and the quorum device' if device else ''} have {most} votes"
        why = f"expected_votes is {expected}, and {what}: two parts could be quorate at once, and {NOTHING}"
        yield error(
            line_of(document, "quorum.expected_votes"), "claim-expected-votes", f"{why}; write {most}, or take the line out"
        )


def _votes(node: Section) -> int:
    value = node.get("quorum_votes")
    return int(value) if value is not None and value.isascii() and value.isdigit() else 1
