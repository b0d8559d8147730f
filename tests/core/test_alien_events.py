"""Nothing that a peer says, however wrong, stops the core or breaks what it promises about itself."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ring_messages import ANY

from corolistener.core import messages as m
from corolistener.core.events import Delivered, Finished, Outcome, Result, TimePassed
from corolistener.core.invariants import check
from corolistener.core.machine import Core
from corolistener.ids import Instant, NodeId, Ticket
from corolistener.sim.cluster import world


def _lived(node: int) -> tuple[Core, Instant]:
    w = world([50, 40, 30])
    for each in w.machines:
        w.power_on(each)
    w.pass_time(5000)
    return w.daemons[NodeId(node)].pump.core, w.clock(NodeId(node))


LIVED = {node: _lived(node) for node in (1, 2)}


def _near(core: Core) -> st.SearchStrategy[m.Message]:
    """Messages that look as if they belonged: of this ring, this group, these files."""
    s = core.state
    nodes = st.sampled_from([NodeId(0), NodeId(1), NodeId(2), NodeId(3), NodeId(9)])
    rings = st.sampled_from([s.group.ring, m.RingId(s.group.ring.seq + 4, NodeId(2))])
    members = st.just(s.group.here) | st.lists(nodes, max_size=3).map(tuple)
    files = st.sampled_from([s.agreed, m.ConfigId(s.agreed.version, "x"), m.ConfigId(s.agreed.version + 1, "y"), m.ConfigId()])
    epochs = st.sampled_from([s.epoch, m.Epoch(), m.Epoch(s.epoch.seq + 4, 0)])
    table = st.just(s.nodes) | st.just(s.nodes[:1]) | st.just(())
    flags = {name: st.booleans() for name in ("lapsed", "dirty", "disallowed", "holding", "database")}
    return st.one_of(
        st.builds(
            m.Hello,
            ring=rings,
            members=members,
            boot=st.just("b"),
            incarnation=st.just("i"),
            epoch=epochs,
            file=files,
            agreed=files,
            nodes=table,
            master=nodes,
            claims=members,
            pending=members,
            **flags,
        ),
        st.builds(m.Heartbeat, rings, st.integers(0, 20)),
        st.builds(m.Released, st.just(s.group.line) | epochs),
        st.builds(m.Absent, rings, nodes),
        st.builds(m.Farewell),
        st.builds(m.Verdict, nodes, st.just("run-1")),
        st.builds(m.Offer, files, files, st.text(max_size=3), table),
        st.builds(m.Wanted, files, nodes),
        st.builds(m.Text, files, st.binary(max_size=3)),
        st.builds(m.Stored, files, st.integers(0, 3)),
        st.builds(m.Unstored, files, st.text(max_size=3)),
        st.builds(m.Committed, files, files, table, st.booleans()),
        st.builds(m.Withdrawn, files, files, st.text(max_size=3)),
        st.builds(m.Proposed, st.integers(0, 3), st.just(m.Restamp())),
    )


@pytest.mark.parametrize("node", LIVED)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_messages_in_any_order(node: int, data: st.DataObject) -> None:
    lived, now = LIVED[node]
    core = Core(lived.state.config)
    core.state = copy.deepcopy(lived.state)
    senders = st.sampled_from([NodeId(1), NodeId(2), NodeId(3), NodeId(9)])
    outcomes = st.sampled_from([Outcome(Result.DONE), Outcome(Result.FAILED, "no"), Outcome(Result.SUPERSEDED)])
    happenings: st.SearchStrategy[Any] = st.one_of(
        st.builds(Delivered, senders, _near(core)),
        st.builds(Delivered, senders, ANY),
        st.builds(Finished, st.integers(0, 30).map(Ticket), outcomes),
        st.just(TimePassed()),
    )
    for event in data.draw(st.lists(happenings, max_size=30)):
        now = Instant(now + data.draw(st.sampled_from([0, 1, 400, 3000, 6000])))
        before = core.state.mode
        actions = core.step(event, now)
        check(core, actions, before, now)
        deadline = core.next_deadline()
        assert deadline is None or deadline > now
        core.status(now)
