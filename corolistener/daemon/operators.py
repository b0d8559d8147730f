"""What operators ask over the control sockets: status as a dictionary, and changes handed to the core."""

import asyncio
import base64
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import corolistener
from corolistener.core.actions import Answer
from corolistener.core.config import CloudAddress
from corolistener.core.differences import Difference
from corolistener.core.events import AlarmAsked, ChangeAsked, ConfirmAsked, Event, LedgerAsked, OrderAsked
from corolistener.core.messages import PROTOCOL, TEXT_MOST, AddNode, Change, EditNode, PushText, RemoveNode, RevertTo
from corolistener.core.status import Debt, LedgerStatus, NodeStatus, Status
from corolistener.core.view import NO_RING
from corolistener.core.wishes import Wishes, WishOrder
from corolistener.coroconf.facts import NODEID_MAX, PRIO_MAX, VERSION_MAX
from corolistener.daemon import vm_frames
from corolistener.daemon.asked import check, shown
from corolistener.daemon.clock import now
from corolistener.daemon.control import Peer
from corolistener.daemon.guarded import Guarded
from corolistener.daemon.node import Node
from corolistener.effects.pull_server import PullServer
from corolistener.errors import RequestRefused
from corolistener.ids import NodeId, VmName
from corolistener.wire.control import ADMIN, VERBS

Frame = dict[str, Any]
Progress = Callable[[Frame], None]
LEDGER_S, LOOK_S = 10.0, 0.05
"""How long a change of the ledger is waited for, and how often it is looked for."""
MAY_S = 1.0
"""How long a start that is objected to is waited for: the row that allows it may be on its way to this node."""
NUMBERS = ("version", "node", "members")
"""Fields of a progress that are whole numbers; the others are words, also if they look like a number."""
REASON_MOST = 500
"""Characters of the reason for a panic: it heads every output."""


class Operators:
    """The Handler of the control server. `pull` is None where no key allows it; `prepared` is set by prepare-restart.

    What this node's neighbours add, where there are any: `unmanaged`, the VMs of its hypervisor that are not cared for and
    why; `edit`, which writes what is wanted of one of these, and raises EffectError.
    """

    def __init__(self, node: Node, pull: PullServer | None) -> None:
        self.node, self.pull = node, pull
        self.prepared = asyncio.Event()
        self.unmanaged: Callable[[], Iterable[tuple[str, str]]] = tuple
        self.edit: Callable[[VmName, Wishes], Awaitable[None]] | None = None
        self.guarded: Guarded | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[Answer], Progress]] = {}
        node.answered = self._answered

    def status(self) -> Frame:
        """The answer to `status`; its shape is the docstring of wire/control."""
        node = self.node
        silent = self.guarded.silent if self.guarded is not None else None
        return status_frame(node.status(), now() - node.started_ms, node.config.cloud, node.unusable, silent)

    def note(self, code: str, fields: Mapping[str, str]) -> None:
        self.node.log.say(logging.INFO, code, **fields)

    async def request(self, verb: str, args: Frame, progress: Progress, peer: Peer) -> Frame:
        check(verb, args)
        if VERBS.get(verb) == ADMIN:
            self.note("request", {"verb": verb, "uid": str(peer.uid), "pid": str(peer.pid)})
        match verb:
            case "vms":
                return vm_frames.vms_frame(self.node.pump.core.state, args, self.unmanaged())
            case "plan":
                return vm_frames.plan_frame(self.node.pump.core.state, args)
            case "may-start":
                return await self._may_start(*vm_frames.start_in(args))
            case _ if vm_frames.orders(verb):
                return await self._order(verb, args, peer, progress)
            case "fence-confirm" | "panic" | "recover" | "open-ledger":
                return await self._decree(verb, args, peer, progress)
            case "prepare-restart":
                self.prepared.set()
                return {"restart_ms": self.node.config.timing.restart_ms}
            case "journal-dump":
                return {"path": self.node.save_journal("asked", secrets=vm_frames.yes_in(args, "secrets", False))}
            case "join-token":
                return self._join_token()
            case _:
                return await self._change(change_of(verb, args), progress)

    async def _order(self, verb: str, args: Frame, peer: Peer, progress: Progress) -> Frame:
        """Have the cluster carry out an order about VMs; one about a VM that is not cared for is done here, if it is here."""
        order = vm_frames.order_of(verb, args, [entry.id for entry in self.node.status().nodes])
        if isinstance(order, WishOrder) and self.edit is not None and order.name in dict(self.unmanaged()):
            await self.edit(order.name, order.wishes)
            return {"node": self.node.config.me}
        by = f"{_name(peer.uid)} at node {self.node.config.me}"
        fields = await self._ask(lambda number: OrderAsked(number, order, by), progress)
        return {"node": int(fields["node"]) if "node" in fields else None}

    async def _may_start(self, name: VmName, uuid: str, disks: tuple[str, ...]) -> Frame:
        end, sharing = now() + MAY_S * 1000, tuple[VmName, ...]()
        if self.guarded is not None:
            self.guarded.asked(name)
            sharing = self.guarded.sharing(disks)
        why = self.node.objection(name, uuid, sharing)
        while why and now() < end:
            await asyncio.sleep(LOOK_S)
            why = self.node.objection(name, uuid, sharing)
        return {"may": not why, "why": why}

    def _join_token(self) -> Frame:
        if self.pull is None:
            raise RequestRefused("no-key", "no shared key on this node: make one with `corolistener config keygen`")
        entry = next((n for n in self.node.status().nodes if n.id == self.node.config.me), None)
        return {"token": self.pull.tokens.new(), "from": entry.address if entry is not None else ""}

    async def _ask(self, asked: Callable[[int], Event], progress: Progress) -> dict[str, str]:
        """The fields of the core's good answer to what was asked under a number. Raises RequestRefused."""
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (future, progress)
        try:
            self.node.take([asked(number)])
            answer = await future
        finally:
            del self._waiting[number]
        fields = dict(answer.fields)
        if answer.code != "ok":
            raise RequestRefused(answer.code, fields.get("why", answer.code))
        return fields

    async def _decree(self, verb: str, args: Frame, peer: Peer, progress: Progress) -> Frame:
        """Ask for a change of the ledger, and wait a while for it: without a quorum it does not come."""
        if verb == "fence-confirm":
            lost = vm_frames.node_in(args, "node")
            by = f"{_name(peer.uid)} at node {self.node.config.me}"
            told = await self._ask(lambda number: ConfirmAsked(number, lost, by), progress)
            so = await self._becomes(lambda seen: all(debt.proof for debt in seen.owed if debt.node == lost))
            return {"in_force": so, "wait_ms": int(told.get("wait_ms", 0))}
        if verb == "open-ledger":
            by = f"{_name(peer.uid)} at node {self.node.config.me}"
            await self._ask(lambda number: LedgerAsked(number, by), progress)
            return {"in_force": await self._becomes(lambda seen: seen.ledger.open)}
        calm, reason = verb == "recover", "" if verb == "recover" else _reason(args)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        await self._ask(lambda number: AlarmAsked(number, calm, reason, at), progress)
        return {"in_force": await self._becomes(lambda seen: (seen.panic is None) == calm)}

    async def _becomes(self, so: Callable[[Status], bool]) -> bool:
        """Whether the status becomes so in time, and a majority has that on disk: what it is without may be forgotten."""
        end = now() + LEDGER_S * 1000
        while not (so(seen := self.node.status()) and seen.ledger.stable):
            if now() >= end:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _change(self, change: Change, progress: Progress) -> Frame:
        fields = await self._ask(lambda number: ChangeAsked(number, change), progress)
        done: Frame = {"version": int(fields["version"])}
        status = self.node.status()
        members = [node for node in status.nodes if node.member]
        done["stored"] = sum(node.config is not None and node.config.version >= done["version"] for node in members)
        done["of"] = len(members)
        if isinstance(change, AddNode):
            done["id"] = change.id or next((n.id for n in status.nodes if n.address == change.address), 0)
        return done

    def _answered(self, answer: Answer) -> None:
        waiting = self._waiting.get(answer.request)
        if waiting is None:
            return
        future, progress = waiting
        if answer.done:
            if not future.done():
                future.set_result(answer)
            return
        fields: Frame = dict(answer.fields)
        fields["code"] = fields.pop("stage")
        progress({name: int(text) if name in NUMBERS else text for name, text in fields.items() if text != ""})


def change_of(verb: str, args: Frame) -> Change:
    """The change an operator asks for. Raises RequestRefused `bad-request` naming what is wrong with it."""
    try:
        match verb:
            case "config-push":
                return _pushed(args)
            case "config-revert":
                return RevertTo(_whole(args, "version", VERSION_MAX))
            case "node-add":
                return AddNode(
                    _text(args, "address"),
                    NodeId(_whole(args, "id", NODEID_MAX, 0)),
                    _text(args, "name", ""),
                    _whole(args, "priority", PRIO_MAX, 0),
                    _switch(args),
                )
            case "node-edit":
                return EditNode(
                    NodeId(_whole(args, "id", NODEID_MAX)),
                    None if args.get("name") is None else _text(args, "name"),
                    None if args.get("priority") is None else _whole(args, "priority", PRIO_MAX),
                    _switch(args),
                )
            case "node-remove":
                return RemoveNode(NodeId(_whole(args, "id", NODEID_MAX)))
    except KeyError as missing:
        raise RequestRefused("bad-request", f"{verb}: {missing.args[0]} is missing") from None
    except (TypeError, ValueError) as error:  # binascii.Error is one, and not all that base64 raises
        raise RequestRefused("bad-request", f"{verb}: {error}") from None
    raise RequestRefused("unknown-verb", f"{verb}: not known to this daemon")


def _pushed(args: Frame) -> PushText:
    text = args["text"]
    if not isinstance(text, str):
        raise RequestRefused("bad-request", f"text: expected base64, found {shown(text)}")
    pushed = base64.b64decode(text, validate=True)
    if len(pushed) > TEXT_MOST:
        raise RequestRefused("bad-request", f"text: {len(pushed)} bytes are too many for a corosync.conf: {TEXT_MOST} at most")
    return PushText(pushed)


def _whole(args: Frame, name: str, most: int, default: int | None = None) -> int:
    value = args.get(name)
    if value is None:
        if default is None:
            raise KeyError(name)
        return default
    if type(value) is not int or not 0 <= value <= most:
        raise RequestRefused("bad-request", f"{name}: expected a whole number from 0 to {most}, found {shown(value)}")
    return value


def _text(args: Frame, name: str, default: str | None = None) -> str:
    value = args.get(name)
    if value is None:
        if default is None:
            raise KeyError(name)
        return default
    if not isinstance(value, str) or not value.isprintable():
        raise RequestRefused("bad-request", f"{name}: expected one line of text, found {shown(value)}")
    return value


def _reason(args: Frame) -> str:
    """Why there shall be panic: one line, for everybody to read."""
    reason = args.get("reason")
    if not isinstance(reason, str) or not reason.strip() or not reason.isprintable() or len(reason) > REASON_MOST:
        raise RequestRefused("bad-request", f"reason: expected one line of at most {REASON_MOST} characters")
    return reason.strip()


def _name(uid: int) -> str:
    """A user as the log knows them. Nobody is asked for the name: what answers may be on another machine, and be silent."""
    return "root (uid 0)" if uid == 0 else f"uid {uid}"


def _switch(args: Frame) -> bool | None:
    value = args.get("replication")
    if value not in (None, "on", "off"):
        raise RequestRefused("bad-request", f"replication: expected on or off, found {shown(value)}")
    return None if value is None else value == "on"


_HOOK = {True: "silent", False: "called", None: None}
_STATES = {True: "held", False: "none", None: "in-doubt"}


def status_frame(
    status: Status, uptime_ms: int, cloud: CloudAddress | None, unusable: str = "", silent: bool | None = None
) -> Frame:
    """`status` in the shape that wire/control promises. `unusable`: what is wrong with settings that are not used; `silent`:
    whether libvirt does not call our hook, None while nothing has shown it."""
    duties = dict(status.duties)
    own = next((n for n in status.nodes if n.id == status.me), None)
    role = "none"
    if status.quorate and status.master is not None:
        role = "master" if status.master == status.me else "slave"
    return {
        "version": corolistener.__version__,
        "protocol": PROTOCOL,
        "uptime_ms": uptime_ms,
        "cluster": status.cluster,
        "node": {"id": status.me, "name": own.name if own else "", "address": own.address if own else ""},
        "role": role,
        "mode": status.mode,
        "phase": status.phase,
        "acting": status.acting,
        "quorate": status.quorate,
        "ring": str(status.ring) if status.ring != NO_RING else None,
        "epoch": str(status.epoch) if status.epoch.seq else None,
        "master": status.master,
        "waits_for": list(status.waits_for),
        "lease": {"valid": status.lease_ms_left > 0, "ms_left": status.lease_ms_left},
        "nodes": [_node_frame(each, status) for each in status.nodes],
        "config": {"version": status.agreed.version, "sha256": status.agreed.sha256, "rewriting": status.rewriting},
        "file": {"version": status.file.version, "sha256": status.file.sha256},
        "address": None
        if cloud is None
        else {"ip": cloud.ip, "prefix": cloud.prefix, "device": cloud.device, "state": _STATES[duties["address"]]},
        "service": {"state": {True: "running", False: "stopped", None: "in-doubt"}[duties["service"]]},
        "locks": {"service": duties["service-lock"] is True, "relocated": duties["relocated-lock"] is True},
        "bad_messages": status.bad_messages,
        "ledger": _ledger_frame(status.ledger),
        "owed": [_debt_frame(debt) for debt in status.owed],
        "proven": [{"node": node, "proof": proof} for node, proof in status.proven],
        "foreign": status.foreign or None,
        "unusable": unusable or None,
        "hook": _HOOK[silent],
        "differences": [_difference_frame(each) for each in status.differences],
        "panic": None
        if status.panic is None
        else {"reason": status.panic.reason, "evidence": status.panic.evidence, "at": status.panic.at},
    }


def _difference_frame(each: Difference) -> Frame:
    return {"node": each.node, "setting": each.setting, "here": each.here, "there": each.there}


def _debt_frame(debt: Debt) -> Frame:
    return {
        "node": debt.node,
        "vms": debt.vms,
        "proof": debt.proof or None,
        "agent_waits_ms": debt.agent_waits_ms,
    }


def _ledger_frame(ledger: LedgerStatus) -> Frame:
    return {
        "version": str(ledger.version),
        "stored": str(ledger.stored),
        "open": ledger.open,
        "stable": ledger.stable,
        "placements": ledger.placements,
        "doubt": ledger.doubt or None,
        "waits": ledger.waits or None,
        "owner": ledger.owner or None,
    }


def _node_frame(node: NodeStatus, status: Status) -> Frame:
    role = "-"
    if node.joined and status.quorate:
        role = "M" if node.id == status.master else "S"
    return {
        "id": node.id,
        "name": node.name,
        "ip": node.address,
        "status": "joined" if node.joined else "left",
        "role": role,
        "priority": node.priority,
        "replication": node.replication,
        "config_version": node.config.version if node.config is not None else None,
        "member": node.member,
        "eligible": node.member and not node.obstacles,
        "why": list(node.obstacles) if node.member else ["no-daemon" if node.joined else "left"],
        "unable": node.unable or None,
    }
