"""The checkers find what they are there for: each of these broken cores is caught by a random run."""

from collections.abc import Callable
from typing import Any

import pytest

from corolistener.core import changes, election, line, mastership
from corolistener.core.lease import Lease, Quorum
from corolistener.core.storing import Storing
from corolistener.sim.seeds import draw, play

SEEDS_MOST = 400

FIRST_TRIED = {
    "a lease needs no heartbeats of others": 207,
    "a lease needs no quorum": 51,
    "corosync may run with more than the file says": 591,
}
"""A seed that is known to catch it, where it takes many: found again by searching whenever the faults change."""

SABOTAGES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "service does not wait for the former master's lease": (mastership, "cleared", lambda s, now: True),
    "nobody waits for a former master that is alive": (mastership, "here", lambda s: False),
    "a lease never ends": (line, "lapse", lambda s, reason: None),
    "a lease needs no quorum": (Quorum, "holds", lambda self, nodes: True),
    "a lease needs no heartbeats of others": (
        Lease,
        "confirm",
        lambda self, now, me, quorum, lease_ms: setattr(self, "ends", now + lease_ms),
    ),
    "the highest priority, whoever has what file": (election, "obstacles", lambda candidate, agreed, replicated: ()),
    "corosync may run with more than the file says": (Storing, "restamp", lambda self, version, members, now, out: None),
    "a member's text is not asked for": (Storing, "ask", lambda self, holders, now, out: None),
    "no rewrite but an operator's": (changes, "_own", lambda s, files, now: None),
    "nobody is admitted again": (mastership, "_admit", lambda s: None),
    "nobody says that it has let go": (mastership, "_believed_to_hold", lambda s: False),
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_caught(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead = SABOTAGES[sabotage]
    assert hasattr(where, name)
    monkeypatch.setattr(where, name, instead)
    first = FIRST_TRIED.get(sabotage, 0)
    for seed in [first, *range(SEEDS_MOST)]:
        violation = play(draw(seed)).violation
        if violation is not None:
            print(f"seed {seed}: {violation.splitlines()[0][:150]}")
            return
    pytest.fail(f"not caught by {SEEDS_MOST} seeds")
