"""VMs, plans and orders in the shapes that wire/control promises, from cores of a virtual cluster."""

import re
from dataclasses import replace
from typing import Any

import pytest

from corolistener.cli import render
from corolistener.core.capacity import Obstacle
from corolistener.core.relocation import Choice
from corolistener.core.wishes import ExcuseOrder, FenceOrder, MoveOrder, StartOrder, StopOrder, Wishes, WishOrder
from corolistener.daemon.vm_frames import order_of, orders, plan_frame, vms_frame
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId, VmName
from corolistener.sim.script import Teller
from corolistener.wire import control

N1, N2, N3 = map(NodeId, (1, 2, 3))
NODELIST = (N1, N2, N3)


def cluster(*commands: str) -> Teller:
    teller = Teller()
    teller.play(["nodes 3", "vms boots=never watchdog=off memory=16G", "boot", "settle", *commands])
    return teller


def frame(teller: Teller, at: int = 1, **args: Any) -> dict[str, Any]:
    return vms_frame(teller.w.daemons[NodeId(at)].pump.core.state, args, [("printer", "it is not marked")])


def told(teller: Teller, name: str, at: int = 1) -> dict[str, Any]:
    (found,) = frame(teller, at, names=[name])["vms"]
    return dict(found)


def test_every_key_is_promised_and_every_node_says_the_same() -> None:
    teller = cluster("vm create a priority=7 order=2 together=g apart=h nodes=n1,n2 on n1", "vm create b on n3", "settle")
    seen = frame(teller)
    assert [frame(teller, node)["vms"] for node in (2, 3)] == [seen["vms"]] * 2
    section = (control.__doc__ or "").partition("VMS: ")[2]
    for keys in (seen, seen["vms"][0], seen["nodes"][0], seen["unmanaged"][0], seen["vms"][0]["copies"][0]):
        assert [key for key in keys if not re.search(rf"\b{key}\b", section)] == []
    a, b = seen["vms"]
    expected = {
        "name": "a",
        "node": 1,
        "to": None,
        "state": "running",
        "on": True,
        "frozen": "",
        "generation": 1,
        "priority": 7,
    }
    assert a.items() >= expected.items()
    assert (a["order"], a["memory_mib"], a["nodes"], a["storages"]) == (2, 4096, [1, 2], ["shared"])
    assert (a["together"], a["apart"], b["nodes"], b["node"]) == (["g"], ["h"], None, 3)
    assert a["copies"] == [{"node": 1, "state": "running", "generation": 1, "stray": False, "stuck": ""}]
    n1 = seen["nodes"][0]
    assert (n1["takes"], n1["why"], n1["memory_mib"], n1["free_mib"], n1["vms"], n1["maintenance"]) == (
        True,
        "",
        16 * 1024,
        12 * 1024,
        1,
        None,
    )
    assert seen["unmanaged"] == [{"name": "printer", "why": "it is not marked", "node": None}]


def test_pages_names_and_nodes() -> None:
    teller = cluster("vm create a b c on n1", "vm create d on n2", "settle")
    first = frame(teller, most=3)
    assert ([each["name"] for each in first["vms"]], first["more"]) == (["a", "b", "c"], "c")
    rest = frame(teller, most=3, after="c")
    assert ([each["name"] for each in rest["vms"]], rest["more"], rest["nodes"], rest["unmanaged"]) == (["d"], None, [], [])
    assert [each["name"] for each in frame(teller, names=["d", "a", "x"])["vms"]] == ["a", "d"]
    assert [each["name"] for each in frame(teller, node=2)["vms"]] == ["d"]
    counted = frame(teller, most=0)
    assert (counted["vms"], counted["more"], counted["states"], counted["owed"]) == ([], None, {"running": 4}, {})


def test_what_a_lost_node_owes_and_why() -> None:
    teller = cluster("vm create a memory=4G on n3", "vm create big memory=14G on n3", "vm create c memory=14G on n2", "settle")
    teller.play(["kill n3", "advance 5s"])
    assert [(each["state"], each["owed"], each["why"]) for each in (told(teller, "a"), told(teller, "big"))] == [
        ("lost", True, "no-proof")
    ] * 2
    assert frame(teller, most=0)["owed"] == {"no-proof": 2}
    teller.play(["advance 10s", "fence --confirm n3 at n1", "settle"])  # out of sight for longer than lease and grace
    assert (told(teller, "big")["node"], told(teller, "a")["why"]) == (1, "no-room")
    assert told(teller, "a")["refusals"] == [{"obstacle": "not-enough-memory", "nodes": 2, "subject": ""}]
    assert frame(teller, most=0)["states"] == {"running": 2, "lost": 1}
    n3 = frame(teller)["nodes"][2]
    assert (n3["here"], n3["takes"], n3["why"], n3["memory_mib"], n3["vms"]) == (False, False, "left", None, 1)
    teller.play(["panic n1 smoke", "advance 2s"])
    assert told(teller, "a", at=2)["why"] == "panic"


def test_what_was_shut_down_is_not_owed_by_anybody() -> None:
    teller = cluster("vm create a on n3", "settle", "order n1 stop a", "advance 30s")
    a = told(teller, "a")
    assert (a["state"], a["on"], a["owed"], a["copies"]) == ("none", False, False, [])
    teller.play(["kill n3", "advance 5s"])
    assert (told(teller, "a")["state"], told(teller, "a")["owed"]) == ("none", False)


def test_given_up_frozen_and_moving() -> None:
    teller = cluster("vm create a nodes=n1 on n1", "vm create b on n2", "vm create c on n3", "settle")
    teller.play(["hang n1 vm-start-fails", "vm crash a on n1", "vm start b on n3", "order n1 move c n2", "advance 500ms"])
    assert (told(teller, "c")["to"], told(teller, "c")["live"]) == (2, True)
    teller.play(["advance 4s"])
    a, b = told(teller, "a", at=3), told(teller, "b", at=3)
    assert (a["state"], a["owed"], a["why"]) == ("none", True, "given-up")
    assert [(each["node"], each["why"], each["given_up"]) for each in a["troubles"]] == [(1, "internal error", True)]
    assert (b["frozen"], b["owed"]) == ("was started by hand on node 3", False)
    assert [(each["node"], each["state"], each["stray"]) for each in b["copies"]] == [
        (2, "running", False),
        (3, "suspended", True),
    ]
    assert told(teller, "c")["node"] == 2


def test_without_a_quorum_nothing_is_said_of_the_others() -> None:
    teller = cluster("vm create a on n1", "vm create b on n2", "settle", "cut n1 | n2 n3", "advance 20s")
    assert (told(teller, "a")["state"], told(teller, "b")["state"]) == ("suspended", "in-doubt")
    with pytest.raises(RequestRefused) as refused:
        plan_frame(teller.w.daemons[N1].pump.core.state, {"lose": [2]})
    assert refused.value.code == "no-quorum"


def test_a_disk_that_no_other_node_reaches_is_named() -> None:
    teller = cluster("vm create a on n1", "settle")
    state = teller.w.daemons[N1].pump.core.state
    assert told(teller, "a")["local"] == []
    row = state.keeping.ledger.placements[VmName("a")]
    local = replace(row.vm, storages=row.vm.storages | {"/srv/a.img"})
    state.keeping.ledger.placements[VmName("a")] = replace(row, vm=local)
    assert told(teller, "a")["local"] == ["/srv/a.img"]


def test_maintenance_and_hypervisors_that_are_silent() -> None:
    teller = cluster("vm create a on n1", "settle", "order n1 excuse n2", "order n1 excuse n1 drain", "hypervisor n3 stop")
    teller.play(["advance 5s"])
    n1, n2, n3 = frame(teller)["nodes"]
    assert n1["maintenance"] == {"drained": True, "by": "operator", "leaving": False}
    assert (n2["maintenance"]["drained"], n2["why"], n3["why"], n3["maintenance"]) == (
        False,
        "maintenance",
        "hypervisor-silent",
        None,
    )


# -- plans


def planned(teller: Teller, **args: Any) -> dict[str, Any]:
    return plan_frame(teller.w.daemons[N1].pump.core.state, args)


def test_a_plan_is_what_then_happens() -> None:
    teller = cluster(
        *("vm create a priority=2 on n3", "vm create b memory=14G on n3", "vm create c memory=14G on n2", "settle")
    )
    plan = planned(teller, lose=[3])
    assert [(each["vm"], each["from"], each["to"], each["reason"], each["left_mib"]) for each in plan["placements"]] == [
        ("a", 3, 1, "most-memory-left", 12 * 1024)
    ]
    assert plan["owed"] == [{"vm": "b", "from": 3, "refusals": [{"obstacle": "not-enough-memory", "nodes": 2, "subject": ""}]}]
    assert (plan["frozen"], plan["quorate"], planned(teller, drain=3)["owed"]) == ([], True, plan["owed"])
    before = teller.w.daemons[N1].pump.core.state.keeping.version
    teller.play(["kill n3", "advance 15s", "fence --confirm n3 at n1", "settle"])
    assert (told(teller, "a")["node"], told(teller, "b")["why"]) == (1, "no-room")
    assert before < teller.w.daemons[N1].pump.core.state.keeping.version


def test_a_plan_says_when_no_quorum_would_be_left_and_what_is_frozen() -> None:
    teller = cluster("vm create a on n3", "settle", "vm start a on n2", "advance 2s")
    plan = planned(teller, lose=[2, 3])
    assert (plan["quorate"], plan["placements"]) == (False, [])
    assert plan["frozen"] == [{"vm": "a", "from": 3, "why": "was started by hand on node 2"}]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({}, "bad-request"),
        ({"lose": [1], "drain": 1}, "bad-request"),
        ({"lose": 3}, "bad-request"),
        ({"lose": ["3"]}, "bad-request"),
        ({"drain": True}, "bad-request"),
        ({"lose": [9]}, "unknown-node"),
    ],
)
def test_what_cannot_be_planned(args: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        planned(cluster(), **args)
    assert refused.value.code == code


@pytest.mark.parametrize("args", [{"names": "a"}, {"names": [1]}, {"after": 1}, {"most": 501}, {"most": -1}, {"node": "n1"}])
def test_what_cannot_be_listed(args: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused, match="expected"):
        frame(cluster(), **args)


# -- orders

SET = {"priority": -3, "order": 4, "together": ["g", "h"], "apart": [], "nodes": [1, 3], "managed": False}


@pytest.mark.parametrize(
    ("verb", "args", "order"),
    [
        ("vm-start", {"vm": "a"}, StartOrder(VmName("a"))),
        ("vm-start", {"vm": "a", "node": 2}, StartOrder(VmName("a"), N2)),
        ("vm-stop", {"vm": "a"}, StopOrder(VmName("a"))),
        ("vm-stop", {"vm": "a", "force": True}, StopOrder(VmName("a"), True)),
        ("vm-move", {"vm": "a", "live": False, "to": 3}, MoveOrder(VmName("a"), N3, False)),
        ("vm-set", {"vm": "a", "nodes": []}, WishOrder(VmName("a"), Wishes(nodes=frozenset()))),
        (
            "vm-set",
            {"vm": "a", **SET},
            WishOrder(VmName("a"), Wishes(-3, 4, frozenset({"g", "h"}), frozenset(), frozenset({N1, N3}), False)),
        ),
        ("maintenance", {"node": 2, "on": True, "drain": True}, ExcuseOrder(N2, True, True)),
        ("maintenance", {"node": 2, "on": False, "drain": True}, ExcuseOrder(N2, False, False)),
        ("fence", {"node": 3}, FenceOrder(N3)),
    ],
)
def test_orders(verb: str, args: dict[str, Any], order: object) -> None:
    assert orders(verb)
    assert control.VERBS[verb] == control.ADMIN
    assert order_of(verb, args, NODELIST) == order


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("vm-start", {}),
        ("vm-start", {"vm": ""}),
        ("vm-start", {"vm": 3}),
        ("vm-start", {"vm": "a", "node": "n2"}),
        ("vm-start", {"vm": "a", "node": 0}),
        ("vm-stop", {"vm": "a", "force": 1}),
        ("vm-set", {"vm": "a"}),
        ("vm-set", {"vm": "a", "priority": "7"}),
        ("vm-set", {"vm": "a", "priority": 2**31}),
        ("vm-set", {"vm": "a", "together": "g"}),
        ("vm-set", {"vm": "a", "together": ["two words"]}),
        ("vm-set", {"vm": "a", "apart": ["</x>"]}),
        ("vm-set", {"vm": "a", "managed": "yes"}),
        ("maintenance", {"node": 2}),
        ("maintenance", {"on": True}),
        ("fence", {"node": 2**32}),
    ],
)
def test_what_is_no_order(verb: str, args: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused) as refused:
        order_of(verb, args, NODELIST)
    assert refused.value.code == "bad-request"


def test_a_vm_is_not_confined_to_nodes_that_do_not_exist() -> None:
    with pytest.raises(RequestRefused) as refused:
        order_of("vm-set", {"vm": "a", "nodes": [1, 9]}, NODELIST)
    assert (refused.value.code, "9" in str(refused.value)) == ("unknown-node", True)


def test_every_code_has_words() -> None:
    assert {each.value for each in Obstacle} == set(render.OBSTACLE)
    assert {each.value for each in Choice} == set(render.CHOICE)
