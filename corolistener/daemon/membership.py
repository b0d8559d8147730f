"""corosync's descriptors on the loop: what its callbacks say becomes events, and what the core says goes into the group.

Connects, and connects again with backoff; every loss is told at once. Dispatching never blocks and is done in the main
thread (cpg_dispatch needs its stack). Every other call waits for corosync's answer, without limit should corosync itself be
stopped, so none is made here in the loop's thread: a hanging corosync must not keep this node from letting go when its
lease ends.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from corolistener.core import events as e
from corolistener.core.actions import KillNode, TellExpected
from corolistener.core.events import Outcome, Result
from corolistener.core.messages import Message
from corolistener.core.view import RingId
from corolistener.corosync import cfg, cmap, cpg, quorum, votequorum
from corolistener.corosync.errors import CsError, Interrupt, NotExist, TryAgain
from corolistener.corosync.handle import Handle
from corolistener.corosync.values import RingId as CorosyncRing
from corolistener.daemon.notes import Log
from corolistener.engine.speech import Heard, heard
from corolistener.errors import CorolistenerError, EffectError
from corolistener.ids import NodeId

GROUP = "corolistener"
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.1, 5.0
ASK_S = 1.0
AGAIN_S = 0.01
RELOAD_S, RELOAD_AGAIN_S = 20.0, 2.0
MOST_UNSENT = 256
TIMERS = ("runtime.config.totem.token", "runtime.config.totem.consensus")

_DEPARTURES = {
    cpg.Reason.LEAVE: e.Departure.LEAVE,
    cpg.Reason.NODEDOWN: e.Departure.NODEDOWN,
    cpg.Reason.PROCDOWN: e.Departure.PROCDOWN,
}


class Timers(NamedTuple):
    """corosync's own durations in ms; `device` is 0 without a quorum device."""

    token: int
    consensus: int
    device: int


class _Sender(threading.Thread):
    """Multicasts in order, and waits where corosync makes it wait. `failed` is called once, from this thread, when it ends
    because corosync or this program failed: what is put after that reaches nobody."""

    def __init__(self, mcast: Callable[[bytes], None], failed: Callable[[Exception], None]) -> None:
        super().__init__(name="corosync-sender", daemon=True)
        self._mcast, self._failed = mcast, failed
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._over = threading.Event()

    def put(self, data: bytes) -> bool:
        if self._unsent.qsize() >= MOST_UNSENT:
            return False
        self._unsent.put(data)
        return True

    def run(self) -> None:
        try:
            while (data := self._unsent.get()) is not None and self._sent(data):
                pass
        except Exception as error:  # noqa: BLE001 - a sender that is gone must be noticed, whatever ended it
            self._failed(error)

    def _sent(self, data: bytes) -> bool:
        while not self._over.is_set():
            try:
                self._mcast(data)
            except (TryAgain, Interrupt):
                time.sleep(AGAIN_S)
            else:
                return True
        return False

    def stop(self) -> None:
        """Returns when no call is under way any more."""
        self._over.set()
        self._unsent.put(None)
        self.join()


class _Handles:
    """One connection: all handles and the sender. Everything here may wait for corosync; nothing runs in the loop."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._open: list[Handle] = []
        self.sender: _Sender | None = None
        try:
            self.map = self._own(cmap.Cmap())
            self.votes = self._own(votequorum.VoteQuorum())
            self.quorum = self._own(quorum.Quorum())
            self.group = self._own(cpg.Cpg())
            self._running = f"runtime.members.{self.group.local_nodeid()}.config_version"
            for key in (*TIMERS, self._running):
                self.map.track_add(key)
            self.found, self.runs = self.timers(), self.running()
            """Known before the group hears of this node: what it first says of itself depends on them."""
            self.votes.trackstart(current=False)
            self.quorum.trackstart()
            self.group.join(GROUP)
        except BaseException:
            self.close()
            raise
        self.sender = _Sender(self.group.mcast, failed)
        self.sender.start()

    def _own(self, handle: Any) -> Any:
        self._open.append(handle)
        return handle

    def close(self) -> None:
        if self.sender is not None:
            self.sender.stop()
        for handle in self._open:
            handle.close()
        self._open.clear()

    def timers(self) -> Timers:
        token, consensus = (int(self.map.get(key)) for key in TIMERS)
        try:
            self.map.get("quorum.device.model")
        except NotExist:
            return Timers(token, consensus, 0)
        try:
            return Timers(token, consensus, int(self.map.get("quorum.device.sync_timeout")))
        except NotExist:
            return Timers(token, consensus, 30_000)  # votequorum's default

    def running(self) -> e.Running:
        """What corosync runs with here."""
        me = self.group.local_nodeid()
        try:
            cluster = str(self.map.get("totem.cluster_name"))
        except NotExist:
            cluster = ""
        keys = [key for key in self.map.keys("nodelist.node.") if key.endswith(".nodeid") and int(self.map.get(key)) == me]
        own = keys[0].removesuffix("nodeid") if keys else "nodelist.node.none."
        addresses = tuple(str(self.map.get(key)) for key in sorted(self.map.keys(own)) if key.endswith("_addr"))
        return e.Running(int(self.map.get(self._running)), cluster, NodeId(me), addresses)

    def counted(self, nodes: Iterable[int]) -> e.VotesCounted:
        """votequorum's numbers for every node of the nodelist that it knows, and those of the rings seen."""
        listed = {int(self.map.get(key)) for key in self.map.keys("nodelist.node.") if key.endswith(".nodeid")}
        each: dict[NodeId, int] = {}
        info = None
        for node in sorted(listed | set(nodes)):
            try:
                info = self.votes.getinfo(node)
            except NotExist:
                continue
            each[NodeId(node)] = info.votes
        if info is None:
            return e.VotesCounted(0, (), 0)
        casting = bool(info.flags & votequorum.Flag.QDEVICE_CAST_VOTE)
        return e.VotesCounted(
            info.quorum,
            tuple(each.items()),
            info.highest_expected,
            info.qdevice_votes if casting else 0,
            bool(info.flags & votequorum.Flag.TWO_NODE),
            info.qdevice_votes if info.flags & votequorum.Flag.QDEVICE_REGISTERED else 0,
            self.votes.getinfo(0).expected_votes,
        )


class Membership:
    """The connection to corosync. `post` takes events, oldest first, and handles them before it returns; `timers` is told
    corosync's timers after connecting and whenever they change."""

    def __init__(self, post: Callable[[list[Heard]], None], timers: Callable[[Timers], None], log: Log) -> None:
        self._post, self._told_timers, self._log = post, timers, log
        self._handles: _Handles | None = None
        self._watched: list[int] = []
        self._counted: e.VotesCounted | None = None
        self._ran: e.Running | None = None
        self._count = asyncio.Event()
        self._time = asyncio.Event()
        self._gone = asyncio.Event()
        self._nodes: set[int] = set()
        self._quorate = False
        self._retired = False
        self._connections = 0

    async def keep_connected(self) -> None:
        """Connect, wait for the loss, say so, and again; ends by cancellation only."""
        pause, told = BACKOFF_FIRST_S, ""
        while not self._retired:
            try:
                handles = await asyncio.to_thread(_Handles, self._failing())
            except CsError as error:
                if str(error) != told:
                    told = str(error)
                    self._log.say(logging.WARNING, "corosync-unreachable", why=told)
                await asyncio.sleep(pause)
                pause = min(2 * pause, BACKOFF_MOST_S)
                continue
            pause, told = BACKOFF_FIRST_S, ""
            await self._live(handles)
        while True:
            self._post([e.GroupChanged(await asyncio.to_thread(_others), ())])
            await asyncio.sleep(ASK_S)

    def _failing(self) -> Callable[[Exception], None]:
        """For the next connection's sender to call, from its thread: without one the connection is useless."""
        loop = asyncio.get_running_loop()
        number = self._connections = self._connections + 1

        def failed(error: Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(self._sender_failed, number, error)

        return failed

    def _sender_failed(self, number: int, error: Exception) -> None:
        if number == self._connections and self._handles is not None:
            self._lost(error)

    async def _live(self, handles: _Handles) -> None:
        self._log.say(logging.INFO, "corosync-connected", group=GROUP)
        self._handles, self._counted, self._ran = handles, None, None
        self._gone.clear()
        self._told_timers(handles.found)
        self._tell_running(handles.runs)
        inquiring = asyncio.create_task(self._inquire(handles))
        inquiring.add_done_callback(self._inquired)
        self._watch(handles.group, self._from_cpg)
        self._watch(handles.quorum, self._from_quorum)
        self._watch(handles.votes, lambda _: self._count.set())
        self._watch(handles.map, lambda _: self._time.set())
        self._time.set()
        self._count.set()
        try:
            await self._gone.wait()
        finally:
            self._handles = None
            self._unwatch()
            inquiring.cancel()
        self._post([e.CorosyncLost()])
        await asyncio.gather(inquiring, return_exceptions=True)
        await asyncio.to_thread(handles.close)

    def _watch(self, handle: Handle, take: Callable[[list[Any]], None]) -> None:
        """Dispatch `handle` whenever it is readable, and once now for what came while connecting."""

        def readable() -> None:
            if self._gone.is_set():
                return
            try:
                if values := handle.dispatch():  # type: ignore[attr-defined]
                    take(values)
            except Exception as error:  # noqa: BLE001 - what cannot be read is lost: a new connection begins anew
                self._lost(error)

        descriptor = handle.fileno()
        self._watched.append(descriptor)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, readable)
        loop.call_soon(readable)

    def _unwatch(self) -> None:
        loop = asyncio.get_running_loop()
        for descriptor in self._watched:
            loop.remove_reader(descriptor)
        self._watched.clear()

    def _lost(self, error: Exception) -> None:
        if not self._gone.is_set():
            self._log.say(logging.WARNING, "corosync-disconnected", why=error)
            self._unwatch()
            self._gone.set()

    def send(self, data: bytes, message: Message | None) -> bool:
        """Multicast; False where too much waits already. Without a group there is nobody to hear it: that is no failure."""
        if self._handles is None or self._handles.sender is None:
            return True
        return self._handles.sender.put(data)

    def _from_cpg(self, values: list[Any]) -> None:
        found: list[Heard] = []
        for value in values:
            match value:
                case cpg.Delivered(_, node, pid, data):
                    found.append(heard(NodeId(node), data, pid))
                case cpg.GroupChanged(_, members, left, joined):
                    gone = tuple((NodeId(p.node), _DEPARTURES.get(p.reason, e.Departure.PROCDOWN)) for p in left)
                    there = tuple(sorted((NodeId(p.node), p.pid) for p in members))
                    nodes = _sorted({p.node for p in members}), _sorted({p.node for p in joined})
                    found.append(e.GroupChanged(*nodes, gone, there))
                case cpg.RingChanged(ring, nodes):
                    found.append(e.RingChanged(_ring(ring), _sorted(nodes)))
        self._post(found)

    def _from_quorum(self, values: list[Any]) -> None:
        found: list[Heard] = []
        for value in values:
            if isinstance(value, quorum.QuorumChanged):
                self._nodes.update(value.nodes)
                self._quorate = value.quorate
                found.append(e.QuorumChanged(_ring(value.ring), value.quorate))
        if found:
            self._post(found)
            self._count.set()

    async def _inquire(self, handles: _Handles) -> None:
        """Ask for votes and timers whenever something may have changed them; nobody in a takeover waits for the answer."""
        asked = [asyncio.create_task(self._count.wait()), asyncio.create_task(self._time.wait())]
        try:
            while True:
                pause = None if self._quorate else ASK_S  # not every announcement that costs the quorum is told
                done, _ = await asyncio.wait(asked, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                times, counts = self._time.is_set(), self._count.is_set() or not done
                self._time.clear()
                self._count.clear()
                try:
                    if times:
                        self._told_timers(await asyncio.to_thread(handles.timers))
                        self._tell_running(await asyncio.to_thread(handles.running))
                    if counts:
                        self._tell_votes(await asyncio.to_thread(handles.counted, tuple(self._nodes)))
                except (TryAgain, NotExist):
                    await asyncio.sleep(AGAIN_S)
                    self._time.set()
                    self._count.set()
                except CsError as error:
                    self._lost(error)
                    return
                for number, news in enumerate((self._count, self._time)):
                    if asked[number].done():
                        asked[number] = asyncio.create_task(news.wait())
        finally:
            for task in asked:
                task.cancel()

    def _inquired(self, task: asyncio.Task[None]) -> None:
        """Nobody asks any more: whatever ended that, a new connection begins anew."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.say(logging.ERROR, "bug", action="inquire", why=repr(error))
            self._gone.set()

    def _tell_running(self, runs: e.Running) -> None:
        if runs != self._ran:
            self._ran = runs
            self._post([runs])

    def _tell_votes(self, counted: e.VotesCounted) -> None:
        if counted != self._counted:
            self._counted = counted
            self._post([counted])

    def retire(self) -> None:
        """Leave the group for good: this node decides nothing any more, and the others must know. From then on the core is told
        who is in the group, because that says whether the others go on."""
        self._retired = True
        if not self._gone.is_set():
            self._unwatch()
            self._gone.set()

    async def reload(self, version: int) -> None:
        """Make corosync reload everywhere, until it runs `version` here. Raises CsError, EffectError where it does not."""
        await asyncio.to_thread(_reload, version)

    async def perform(self, action: KillNode | TellExpected) -> Outcome:
        """The lane `corosync`. Raises EffectError where corosync here does not take it."""
        try:
            if isinstance(action, KillNode):
                await asyncio.to_thread(_kill, action.node)
            else:
                await asyncio.to_thread(_expect, action.votes)
        except (CorolistenerError, CsError) as error:
            raise EffectError(type(action).__name__, str(error)) from error
        return Outcome(Result.DONE)


def _others() -> tuple[NodeId, ...]:
    """Who is in the group, for one who is not; nobody where corosync does not answer."""
    try:
        with cpg.Cpg() as handle:
            return _sorted(process.node for process in handle.membership(GROUP))
    except CsError:
        return ()


def _kill(node: NodeId) -> None:
    with cfg.Cfg() as handle:
        handle.kill_node(node, "corolistener: it was left behind, and cannot put its VMs in order")


def _expect(votes: int) -> None:
    """Only what this corosync expects itself, also now: since it was decided it may have read another file."""
    with votequorum.VoteQuorum() as handle:
        if (own := handle.getinfo(0).expected_votes) != votes:
            raise CorolistenerError(f"votequorum expects {own} votes by now, not {votes}")
        handle.setexpected(votes)


def _reload(version: int) -> None:
    """One request can be lost to a change of the ring, and a file that corosync cannot read leaves it "in progress" for
    ever (both seen on 3.1.7), so what corosync runs is what counts."""
    until = time.monotonic() + RELOAD_S
    with cfg.Cfg() as handle, cmap.Cmap() as values:
        key = f"runtime.members.{handle.local_get()}.config_version"
        while time.monotonic() < until:
            with contextlib.suppress(TryAgain):
                handle.reload_config()
                if _comes_true(lambda: values.get(key) == version, RELOAD_AGAIN_S):
                    return
            time.sleep(AGAIN_S)
        raise EffectError("reload", f"corosync still runs version {values.get(key)!r}, not {version}; its log says why")


def _comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < until:
        time.sleep(AGAIN_S)
    return true


def _ring(ring: CorosyncRing) -> RingId:
    return RingId(ring.seq, NodeId(ring.node))


def _sorted(nodes: Iterable[int]) -> tuple[NodeId, ...]:
    return tuple(NodeId(node) for node in sorted(set(nodes)))
