"""The status of a core in the shape that wire/control promises, in a virtual cluster that loses a node with VMs."""

from typing import Any

from corolistener.daemon.operators import status_frame
from corolistener.ids import Instant, NodeId
from corolistener.sim.script import Teller
from corolistener.wire import control

from .serving import STATUS

N1, N3 = NodeId(1), NodeId(3)


def frame(teller: Teller, node: NodeId) -> dict[str, Any]:
    """What the daemon on that node would answer to `status`."""
    daemon = teller.w.daemons.get(node)
    assert daemon is not None
    return status_frame(daemon.pump.core.status(Instant(daemon.now())), 1000, daemon.config.cloud)


def told(teller: Teller, *commands: str) -> dict[str, Any]:
    teller.play(list(commands))
    return frame(teller, N1)


def test_what_the_cluster_owes_and_what_is_proven() -> None:
    teller = Teller()
    seen = told(
        teller,
        "nodes 3",
        "vms boots=never watchdog=off",
        "boot",
        "settle",
        "vm create a b on n3",
        "vm create c on n2",
        "settle",
    )
    assert seen.keys() == STATUS.keys()
    assert all(key in (control.__doc__ or "") for key in seen)
    assert (seen["ledger"]["placements"], seen["owed"], seen["proven"], seen["panic"]) == (3, [], [], None)
    assert seen["ledger"] == {**seen["ledger"], "open": True, "stable": True, "stored": seen["ledger"]["version"]}
    seen = told(teller, "kill n3", "advance 5s")
    assert seen["owed"] == [{"node": 3, "vms": 2, "proof": None, "agent_waits_ms": 0}]
    seen = told(teller, "fence --confirm n3 at n1", "advance 100ms")
    assert (seen["owed"][0]["proof"], seen["proven"]) == (None, []), "the node was seen less than lease and grace ago"
    seen = told(teller, "advance 10s")
    assert seen["owed"] == []
    assert seen["proven"] == [{"node": 3, "proof": "operator"}]
    assert seen["ledger"]["placements"] == 3


def test_a_node_that_cannot_serve_says_why() -> None:
    teller = Teller()
    told(teller, "nodes 3", "boot", "settle", "fault read-only n2", "advance 20s")
    row = frame(teller, N3)["nodes"][1]
    assert (row["why"], row["unable"], row["eligible"]) == (["cannot-serve"], "read-only file system", False)
    told(teller, "fault-ends read-only n2", "advance 50s")
    row = frame(teller, N3)["nodes"][1]
    assert (row["why"], row["unable"], row["eligible"]) == ([], None, True)


def test_a_panic_and_a_ledger_that_no_majority_has() -> None:
    teller = Teller()
    seen = told(teller, "nodes 3", "vms boots=never", "boot", "settle", "panic n1 smoke in the rack", "advance 2s")
    assert seen["panic"]["reason"] == "smoke in the rack"
    before = seen["ledger"]["version"]
    assert frame(teller, N3)["ledger"] == seen["ledger"]
    seen = told(teller, "kill n2 n3", "advance 10s")
    assert (seen["quorate"], seen["panic"]["reason"]) == (False, "smoke in the rack")
    assert seen["ledger"]["stored"] == before
    assert not seen["ledger"]["stable"]
