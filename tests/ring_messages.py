"""Strategies for everything that daemons say to each other, and for the ledger."""

from typing import Any

from hypothesis import strategies as st

from corolistener.core import messages as m
from corolistener.core import wishes as w
from corolistener.core.capacity import Capacity, Vm
from corolistener.core.config import ConfigId, NodeEntry, ProofKind
from corolistener.core.ledger import Excused, Known, Panic, Placed, Proven, Rows, Version
from corolistener.core.view import Epoch, RingId
from corolistener.ids import NodeId, VmName

_ids = st.integers(0, 2**32 - 1).map(NodeId)
_text = st.text(max_size=40)
_counts = st.integers(0, 2**63 - 1)
_rings = st.builds(RingId, _counts, _ids)
_epochs = st.builds(Epoch, _counts, _counts)
_configs = st.builds(ConfigId, _counts, _text)
_entries = st.builds(NodeEntry, _ids, _text, _text, _counts, st.none() | st.booleans())
_nodes = st.lists(_ids, max_size=5).map(tuple)
_bytes = st.binary(max_size=200)
_few_ids = st.integers(1, 5).map(NodeId)
_names = st.sampled_from(["web", "db", "mail", "über"]).map(VmName)
_words = st.frozensets(_text, max_size=3)
_vms = st.builds(
    Vm,
    _names,
    _counts,
    _counts,
    st.integers(-100, 100),
    _counts,
    _words,
    _words,
    _words,
    st.none() | st.frozensets(_few_ids, max_size=3),
    _text,
)
_capacities = st.builds(Capacity, _ids, _counts, _counts, _words, st.integers(0, 100), _counts, st.none() | _counts)
VERSIONS = st.builds(Version, _counts, _counts, _counts, _text)


def _unique(rows: st.SearchStrategy[Any], key: Any) -> st.SearchStrategy[Any]:
    return st.lists(rows, max_size=4, unique_by=key).map(tuple)


ROWS = st.builds(
    Rows,
    placed=_unique(
        st.builds(Placed, _vms, _few_ids, _counts, st.just(NodeId(0)) | _few_ids, st.booleans(), _text, st.booleans(), _nodes),
        lambda row: row.vm.name,
    ),
    known=_unique(st.builds(Known, _few_ids, _text, _counts, _counts, _counts), lambda row: row.node),
    proven=_unique(st.builds(Proven, _few_ids, _text, st.sampled_from(ProofKind), _text), lambda row: row.node),
    forgotten=_unique(_names, None),
    voided=_unique(_few_ids, None),
    panic=st.none() | st.builds(Panic, _text, _text, _text),
    calm=st.booleans(),
    excused=_unique(st.builds(Excused, _few_ids, st.booleans(), _text, _text), lambda row: row.node),
    recalled=_unique(_few_ids, None),
)
_reports = st.builds(m.Report, _vms, st.none() | st.sampled_from(m.VmState), _counts, st.booleans(), _text)
_troubles = st.builds(m.Trouble, _names, _text, _counts)
_inventories = st.builds(
    m.Inventory, _unique(_reports, None), _unique(_names, None), _unique(_troubles, None), st.booleans(), VERSIONS
)
_wishes = st.builds(
    w.Wishes,
    st.none() | _counts,
    st.none() | _counts,
    st.none() | _words,
    st.none() | _words,
    st.none() | st.frozensets(_few_ids, max_size=3),
    st.none() | st.booleans(),
)
_orders = st.one_of(
    st.builds(w.StartOrder, _names, _ids),
    st.builds(w.StopOrder, _names, st.booleans()),
    st.builds(w.MoveOrder, _names, _ids, st.booleans()),
    st.builds(w.WishOrder, _names, _wishes),
    st.builds(w.ExcuseOrder, _ids, st.booleans(), st.booleans(), st.booleans()),
    st.builds(w.FenceOrder, _ids),
)
_changes = st.one_of(
    st.builds(m.PushText, _bytes),
    st.builds(m.RevertTo, _counts),
    st.builds(m.AddNode, _text, _ids, _text, _counts, st.none() | st.booleans()),
    st.builds(m.EditNode, _ids, st.none() | _text, st.none() | _counts, st.none() | st.booleans()),
    st.builds(m.RemoveNode, _ids),
    st.builds(m.SetPriorities, st.lists(st.tuples(_ids, _counts), max_size=4).map(tuple)),
    st.builds(m.Restamp),
)
MESSAGES: dict[type[Any], st.SearchStrategy[Any]] = {
    m.Hello: st.builds(
        m.Hello,
        ring=_rings,
        members=_nodes,
        boot=_text,
        incarnation=_text,
        epoch=_epochs,
        file=_configs,
        agreed=_configs,
        nodes=st.lists(_entries, max_size=4).map(tuple),
        lapsed=st.booleans(),
        dirty=st.booleans(),
        disallowed=st.booleans(),
        holding=st.booleans(),
        database=st.booleans(),
        master=_ids,
        claims=_nodes,
        pending=_nodes,
        running=_counts,
        protocol=_counts,
        ledger=VERSIONS,
        lease_ms=_counts,
        grace_ms=_counts,
        watchdog_ms=_counts,
        capacity=st.none() | _capacities,
        inventory=_inventories,
        met=_nodes,
        doubted=st.booleans(),
        heard=st.lists(st.tuples(VERSIONS, _nodes), max_size=3).map(tuple),
        weak=_text,
    ),
    m.Heartbeat: st.builds(m.Heartbeat, _rings, _counts, VERSIONS),
    m.Released: st.builds(m.Released, _epochs),
    m.Absent: st.builds(m.Absent, _rings, _ids),
    m.Farewell: st.builds(m.Farewell),
    m.Vacated: st.builds(m.Vacated, st.integers(0, 2**22)),
    m.Able: st.builds(m.Able, st.text()),
    m.Inventory: _inventories,
    m.Chapter: st.builds(m.Chapter, _epochs, VERSIONS, _text, ROWS, st.booleans()),
    m.Entries: st.builds(m.Entries, VERSIONS, ROWS),
    m.Confirm: st.builds(m.Confirm, _ids, _text, _text),
    m.Alarm: st.builds(m.Alarm, st.booleans(), _text, _text),
    m.OpenLedger: st.builds(m.OpenLedger, _rings, _text),
    m.Verdict: st.builds(m.Verdict, _ids, _text),
    m.Proposed: st.builds(m.Proposed, _counts, _changes),
    m.Ordered: st.builds(m.Ordered, _counts, _orders, _text),
    m.Granted: st.builds(m.Granted, _ids, _counts, _ids),
    m.Definition: st.builds(m.Definition, _names, _text, _bytes),
    m.Lacking: st.builds(m.Lacking, _ids, st.lists(st.tuples(_names, _text), max_size=4).map(tuple)),
    m.Refused: st.builds(m.Refused, _ids, _counts, _text, _text),
    m.Offer: st.builds(m.Offer, _configs, _configs, _text, st.lists(_entries, max_size=4).map(tuple), _ids, _counts),
    m.Wanted: st.builds(m.Wanted, _configs, _ids),
    m.Text: st.builds(m.Text, _configs, _bytes),
    m.Stored: st.builds(m.Stored, _configs, _counts),
    m.Unstored: st.builds(m.Unstored, _configs, _text),
    m.Committed: st.builds(
        m.Committed, _configs, _configs, st.lists(_entries, max_size=4).map(tuple), st.booleans(), _ids, _counts
    ),
    m.Withdrawn: st.builds(m.Withdrawn, _configs, _configs, _text, _ids, _counts),
}
ANY = st.one_of(*MESSAGES.values())
