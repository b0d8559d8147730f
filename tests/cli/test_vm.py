"""Verbs about VMs, typed at a node of a virtual cluster: real sockets, real Operators, a real core, the ring and the others."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon.serving import Told
from daemon.simulated import Scene, simulated

from corolistener.client import connect, connect_admin
from corolistener.daemon.vm_frames import vms_frame
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId
from corolistener.sim.script import Teller

from .conftest import Type

WATCHED = "vms boots=never watchdog=off agents memory=16G"
BEGIN = ("nodes 3", WATCHED, "boot", "settle", "vm create web priority=5 on n1", "vm create db memory=8G on n3", "settle")


@pytest.fixture
def scene(root: Path) -> Iterator[Scene]:
    """Three nodes of 16 GiB; web is on n1, where one types, db on n3."""
    with simulated(str(root / "run"), *BEGIN) as scene:
        yield scene


def vm(scene: Scene, root: Path, name: str) -> dict[str, Any]:
    with connect(str(root / "run")) as daemon:
        (found,) = daemon.request("vms", {"names": [name]})["vms"]
    return dict(found)


# -- looking


def test_list_and_show(typed: Type, scene: Scene) -> None:
    assert typed("vm", "list") == (
        0,
        "name  node  state    gen  memory  priority\n"
        "db    n3    running  1    8 GiB   0\n"
        "web   n1    running  1    4 GiB   5\n",
        "",
    )
    assert typed("vm", "list", "--node", "n3").out.splitlines()[1:] == ["db    n3    running  1    8 GiB   0"]
    told = json.loads(typed("vm", "list", "--json").out)
    assert (told.keys(), [each["name"] for each in told["vms"]]) == ({"vms", "nodes", "unmanaged"}, ["db", "web"])
    assert json.loads(typed("vm", "show", "web", "--json").out) == told["vms"][1]
    shown = dict(line.split(":", 1) for line in typed("vm", "show", "web").out.splitlines())
    assert (shown["node"].strip(), shown["state"].strip()) == ("n1", "running")
    assert shown["needs"].strip() == "4 GiB, 1 cpus, storages: shared"


def test_what_this_node_does_not_care_for_is_listed_with_the_reason(typed: Type, scene: Scene) -> None:
    scene.operators.unmanaged = lambda: [("printer", "it is not marked")]
    assert typed("vm", "list").out.splitlines()[-1].split(None, 6) == [
        *("printer", "here", "unmanaged", "-", "-", "-", "it is not marked")
    ]
    done = typed("vm", "start", "printer")
    assert (done.status, "printer is not managed: it is not marked" in done.err, "--manage yes" in done.err) == (1, True, True)


def test_more_vms_than_one_answer_holds_are_all_listed(typed: Type, daemon: Told) -> None:
    teller = Teller()
    teller.play(["nodes 1", WATCHED, "boot", "settle", "vm create a b c on n1", "settle"])

    async def two_at_once(verb: str, args: dict[str, Any], *_: object) -> dict[str, Any]:
        return vms_frame(teller.w.daemons[NodeId(1)].pump.core.state, {**args, "most": 2}, [])

    daemon.answer = two_at_once
    told = json.loads(typed("vm", "list", "--json").out)
    assert ([each["name"] for each in told["vms"]], len(told["nodes"])) == (["a", "b", "c"], 1)
    assert daemon.asked == [("vms", {}), ("vms", {"after": "b"})]


def test_names_are_guessed(typed: Type, scene: Scene) -> None:
    for words in (("vm", "show", "wbe"), ("vm", "stop", "wbe"), ("vm", "set", "wbe", "--priority", "1")):
        assert typed(*words) == (1, "", "corolistener: no managed VM is named 'wbe'; did you mean 'web'?\n")
    assert typed("drain", "n33").err == "corolistener: no nodes are called 'n33': give the id; did you mean 'n3'?\n"
    assert typed("plan", "--lose", "n1,x").err == "corolistener: no nodes are called 'x': give the id\n"


def test_what_is_not_as_it_should_be_is_said(typed: Type, scene: Scene) -> None:
    scene.play("vm create odd nodes=n1 on n1", "hang n1 vm-start-fails", "settle", "vm crash odd on n1", "vm start db on n2")
    scene.play("advance 10s")
    rows = {line.split()[0]: line for line in typed("vm", "list").out.splitlines()}
    assert "down" in rows["odd"]
    assert rows["odd"].endswith("owed: its node cannot keep it running; n1: internal error, given up")
    assert "frozen: it was started by hand on node 2; suspended on n2 as well, started by hand" in rows["db"]
    told = typed("status").out
    assert "VMs:          1 down, 2 running\n" in told
    assert "owed:         1 VM: its node cannot keep it running\n" in told


def test_status_names_who_is_in_maintenance(typed: Type, scene: Scene) -> None:
    scene.play("order n1 excuse n3", "advance 2s")
    assert "maintenance:  n3: given no VMs, by operator; 1 VM there\n" in typed("status").out
    assert json.loads(typed("status", "--json").out)["vms"]["states"] == {"running": 2}


# -- plans


def test_a_plan_changes_nothing_and_says_what_fits_nowhere(typed: Type, scene: Scene, root: Path) -> None:
    scene.play("vm create big memory=14G on n2", "settle")
    done = typed("plan", "--lose", "n3")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[:5] == ["db", "n3", "n1", "4", "GiB"]
    done = typed("plan", "--lose", "2")
    assert done.status == 1
    assert "big  n2    not enough memory (2 nodes)" in done.out
    assert typed("drain", "n2", "--dry-run").out.replace("drained", "lost") == done.out
    done = typed("plan", "--lose", "n1,3")
    assert (done.status, "would have no quorum" in done.out) == (1, True)
    told = json.loads(typed("plan", "--lose", "3", "--json").out)
    assert [(each["vm"], each["to"]) for each in told["placements"]] == [("db", 1)]
    assert typed("plan", "--lose", "9").err == "corolistener: no node of the nodelist has the id 9\n"
    assert [vm(scene, root, name)["generation"] for name in ("web", "db", "big")] == [1, 1, 1]


# -- orders, and waiting for their end


def test_migrate_and_relocate(typed: Type, scene: Scene, root: Path) -> None:
    assert typed("vm", "migrate", "web", "--to", "n2") == (
        0,
        "web goes from n1 to n2\nweb is running on n1; migrates to n2\nweb runs on n2\n",
        "",
    )
    assert vm(scene, root, "web")["generation"] == 1
    done = typed("vm", "relocate", "web", "--to", "1")
    assert (done.status, done.out.splitlines()[0], done.out.splitlines()[-1]) == (0, "web goes from n2 to n1", "web runs on n1")
    assert "is stopped here, to be started on n1" in done.out
    assert vm(scene, root, "web")["generation"] == 2
    assert typed("vm", "migrate", "web", "--to", "n1") == (1, "", "corolistener: web is on node 1 already\n")


def test_a_migration_that_fails_says_why(typed: Type, scene: Scene, root: Path) -> None:
    scene.play("hang n1 vm-migrate-fails")
    done = typed("vm", "migrate", "web")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert done.err.startswith("corolistener: web was not moved from n1: ")
    assert (vm(scene, root, "web")["node"], vm(scene, root, "web")["state"]) == (1, "running")


def test_stop_start_and_start_elsewhere(typed: Type, scene: Scene, root: Path) -> None:
    done = typed("vm", "stop", "db")
    assert (done.status, done.out.splitlines()[0], done.out.splitlines()[-1], done.err) == (0, "db is to stop", "db is off", "")
    assert "db    n3    off      1    8 GiB" in typed("vm", "list").out
    done = typed("vm", "start", "db")
    assert (done.status, done.out.splitlines()[-1]) == (0, "db runs on n3")
    assert typed("vm", "stop", "db", "--force").status == 0
    done = typed("vm", "start", "db", "--on", "n2")
    assert (done.status, done.out.splitlines()[0], done.out.splitlines()[-1]) == (0, "db is to run on n2", "db runs on n2")
    assert vm(scene, root, "db")["node"] == 2
    assert typed("vm", "start", "db", "--on", "3").err.startswith("corolistener: db is on node 2: ")


def test_a_start_that_comes_to_nothing(typed: Type, scene: Scene) -> None:
    scene.play("hang n1 vm-start-fails", "hang n2 vm-start-fails", "hang n3 vm-start-fails", "vm stop web", "advance 5s")
    done = typed("vm", "start", "web")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "internal error, given up" in done.err
    assert "tried in vain on " in done.out + done.err


def test_what_is_not_done_in_time_goes_on(typed: Type, scene: Scene) -> None:
    scene.play("hang n3 vm-shutdown")
    done = typed("vm", "stop", "db", "--timeout", "0.2")
    assert (done.status, done.out) == (3, "db is to stop\ndb is running on n3\n")
    assert done.err == (
        "corolistener: not done after 0.2 s, it goes on: db is running on n3; `corolistener vm show db` tells more\n"
    )
    assert typed("vm", "start", "web", "--no-wait") == (0, "web is to run on n1\n", "")


def test_who_stops_waiting_stops_nothing_else(scene: Scene, root: Path) -> None:
    scene.play("hang n3 vm-shutdown")
    command = [sys.executable, "-m", "corolistener", "--config", str(root / "corolistener.toml"), "vm", "stop", "db"]
    interruptible = ["env", "--default-signal=INT", *command]  # a shell's background jobs ignore it, and so would this
    process = subprocess.Popen(interruptible, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == ["db is to stop\n", "db is running on n3\n"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err.count("\n")) == (130, 1)
    assert err.startswith("corolistener: nobody waits any longer, but it goes on: db is running on n3")
    scene.play("works n3 vm-shutdown", "advance 60s")
    assert vm(scene, root, "db")["on"] is False


def test_on_a_terminal_progress_is_one_line(scene: Scene, root: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "corolistener", "--config", str(root / "corolistener.toml"), "vm", "migrate", "web"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, timeout=120, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.stderr == b""
    assert shown.startswith("web goes from n1 to n2\r\n\r\x1b[Kweb is running on n1")
    assert shown.endswith("\r\x1b[Kweb runs on n2\r\n")


def test_wishes_reach_the_node_that_has_the_vm(typed: Type, scene: Scene) -> None:
    words = ("--priority", "9", "--order", "-1", "--together", "shop,mail", "--apart", "", "--nodes", "n1,3", "--manage", "yes")
    assert typed("vm", "set", "db", *words) == (0, "db is changed\n", "")
    (action,) = [what for _, node, what in scene.teller.w.told if type(what).__name__ == "EditVm" and node == 3]
    wishes = action.wishes  # type: ignore[union-attr]
    assert (wishes.priority, wishes.start_order, wishes.managed, wishes.nodes) == (9, -1, True, {1, 3})
    assert (wishes.together, wishes.apart) == ({"shop", "mail"}, frozenset())
    assert typed("vm", "set", "db", "--nodes", "any").status == 0
    assert "nothing to change" in typed("vm", "set", "db").err
    assert "expected nodes, or any" in typed("vm", "set", "db", "--nodes", ",").err
    assert typed("vm", "set", "db", "--together", "a b").status == 2
    scene.play("hang n3 vm-edit-fails")
    assert typed("vm", "set", "db", "--priority", "1") == (1, "", "corolistener: internal error\n")


def test_a_vm_of_this_node_comes_under_our_care(typed: Type, scene: Scene) -> None:
    asked = []

    async def edit(name: str, wishes: object) -> None:
        asked.append((name, wishes))

    scene.operators.unmanaged, scene.operators.edit = (lambda: [("printer", "it is not marked")]), edit  # type: ignore[assignment]
    assert typed("vm", "set", "printer", "--manage", "yes") == (0, "printer is changed\n", "")
    assert [(name, wishes.managed) for name, wishes in asked] == [("printer", True)]  # type: ignore[attr-defined]
    assert typed("vm", "set", "ghost", "--manage", "yes").err.startswith("corolistener: no managed vm is named ghost")


# -- nodes


def test_drain_and_maintenance(typed: Type, scene: Scene, root: Path) -> None:
    done = typed("drain", "n3")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "n3 is given no VMs any more, and its own move off",
        *[line for line in done.out.splitlines() if line.startswith("1 of 1 VM left on n3")],
        "n3 is in maintenance, and nothing runs there",
    ]
    assert vm(scene, root, "db")["node"] == 2
    assert "does not fit on node 3: node 3 takes no vms now" in typed("vm", "migrate", "db", "--to", "n3").err
    assert typed("maintenance", "n3", "off") == (0, "n3 is given VMs again\n", "")
    assert typed("maintenance", "3", "off").err == "corolistener: node 3 is not in maintenance\n"
    assert typed("maintenance", "3", "on").out.endswith("n3 is in maintenance: it is given no VMs\n")


def test_a_drain_says_what_cannot_go(typed: Type, scene: Scene) -> None:
    scene.play("vm create big memory=14G on n2", "settle")
    done = typed("drain", "n2", "--timeout", "3")
    assert done.status == 3
    assert "1 of 1 VM left on n2; big fits nowhere: not enough memory (2 nodes)" in done.out


def test_fence_waits_for_the_proof(typed: Type, scene: Scene) -> None:
    assert typed("fence", "n3").err == "corolistener: node 3 is here: only a node that is lost is fenced\n"
    scene.play("agent n3 fails", "kill n3", "advance 5s")
    done = typed("fence", "n3", "--timeout", "1")
    assert (done.status, "node 3 is not proven to be off yet" in done.out) == (3, True)
    assert "owed: it is not proven yet that its node runs nothing" in typed("vm", "list").out
    scene.play("agent n3 works")
    done = typed("fence", "n3")
    assert (done.status, done.out.splitlines()[-1]) == (0, "node 3 runs nothing: its fence agent switched it off")


# -- without a quorum, in a panic, and for hooks


def test_without_a_quorum_nothing_is_ordered(typed: Type, scene: Scene) -> None:
    scene.play("agent n1 fails", "cut n1 | n2 n3", "advance 20s")
    for words in (("vm", "stop", "web"), ("drain", "3"), ("maintenance", "3", "on")):
        assert typed(*words) == (1, "", "corolistener: this partition has no quorum; nothing was changed\n")
    assert "nothing can be planned" in typed("plan", "--lose", "3").err
    rows = {line.split()[0]: line for line in typed("vm", "list").out.splitlines()}
    assert ("suspended" in rows["web"], "in-doubt" in rows["db"]) == (True, True)


def test_in_a_panic_every_verb_says_so(typed: Type, scene: Scene) -> None:
    scene.play("panic n1 smoke", "advance 2s")
    for words in (("vm", "list"), ("plan", "--lose", "3"), ("drain", "3", "--dry-run")):
        assert (typed(*words).status, typed(*words).err.startswith("corolistener: PANIC since")) == (0, True)
    done = typed("vm", "start", "web")
    assert (done.status, done.out, done.err.splitlines()[-1]) == (
        1,
        "",
        "corolistener: nothing is decided about vms until `corolistener recover`",
    )


def test_hooks_ask_whether_a_start_here_is_lawful(scene: Scene, root: Path) -> None:
    with connect(str(root / "run")) as daemon:
        assert daemon.request("may-start", {"vm": "web"}) == {"may": True, "why": ""}
        assert daemon.request("may-start", {"vm": "nobodys"}) == {"may": True, "why": ""}
        assert daemon.request("may-start", {"vm": "db"}) == {"may": False, "why": "db belongs on node 3"}
        for verb in ("vm-stop", "fence", "maintenance"):
            with pytest.raises(RequestRefused) as refused:
                daemon.request(verb, {"vm": "web", "node": 3})
            assert refused.value.code == "not-permitted"
    assert [code for code, _ in scene.node.log.lines] == []
    with connect_admin(str(root / "run")) as daemon:
        assert daemon.request("vm-start", {"vm": "web"}) == {"node": 1}
    assert [fields["verb"] for _, fields in scene.node.log.lines] == ["vm-start"]
