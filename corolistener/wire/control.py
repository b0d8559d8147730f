"""Control frames: what local programs and the daemon say to each other over its two sockets.

A frame is a 4-byte big-endian length and that many bytes of JSON, one object, at most MOST bytes. A client asks

    {"id": 1, "verb": "status", "args": {}}                      "args" may be left out

and gets any number of progress frames and then exactly one answer, all with its id:

    {"id": 1, "progress": {"code": "offered", "version": 7}}     codes and their fields: PROGRESS
    {"id": 1, "ok": {...}}
    {"id": 1, "error": {"code": "not-permitted", "text": "..."}}  `code` is stable, `text` is for people

Answers to different ids may overtake each other. A frame that is no request is answered, too: error `bad-frame`, with its id,
or with id null if it has none that can be read. Bytes of which the end cannot be known, because they announce too long a
frame, end the connection after that answer.

Verbs and their arguments; all but the last four belong to the admin socket. The first five are transactions of the cluster:
progress as they go; they answer {version, stored, of}: the new config_version, and how many of the members have it. The
next three change the ledger; they answer {in_force}: whether a majority has it on disk already, or it is still to come. The
six after them are orders about VMs and nodes: they answer {node}, the one that the VM is on or goes to, null for none, as
soon as somebody carries them out; `vms` shows how far that is. Nodes are ids, groups are names.

    config-push      text (base64 of the file)
    config-revert    version
    node-add         address, and if wanted id, name, priority, replication ("on", "off"); answers id as well
    node-edit        id, and what shall change of name, priority, replication
    node-remove      id
    fence-confirm   node: it is gone and runs nothing; refused for a node that is here
    panic           reason: nothing is decided about VMs any more
    recover         ends a panic
    open-ledger     the ledger is opened with what the members here remember, though they may not know all that was committed
    vm-start        vm, and node if wanted
    vm-stop         vm, and force: true does not ask its own system to shut down
    vm-move         vm, live (true, false), and `to` if wanted
    vm-set          vm, and what shall change of priority, order, together [groups], apart [groups], nodes [ids; none for any],
                    managed (true, false)
    vm-forget       vm: the cluster knows it no more, and its name is free; refused for one that runs and would be adopted
    maintenance     node, on (true, false), and drain: true to have its VMs moved off
    fence           node: a lost one, whose fence agents are to be tried now
    join-token       answers {token, from}: for `config pull --from FROM --token -` on a new node
    prepare-restart  answers {restart_ms}: the next process may take that long, and adopts everything
    journal-dump     takes {secrets}: also passwords that are in definitions; answers {path}
    may-start        vm (its name), and if known uuid and disks [places of those it writes to]: libvirt's hook wants to know
                     whether it may come to run on this node, now; answers {may, why}: true or false, and words for people
                     if it may not
    plan             lose [nodes] or drain node: what would be; answers PLAN below
    vms              all, or of them: names [vms], those on node, those after a name, at most `most`; answers VMS below
    status           answers the following, keys stable; more may come

    version, protocol, uptime_ms         of this daemon
    cluster                              totem.cluster_name
    node       {id, name, address}       this node
    role                                 "master", "slave" or "none"
    mode, phase                          states of this node, words of core/lifecycle
    acting                               whether it acts as master now
    quorate, ring, epoch                 ring "1.8" and epoch "8.0", null while there is none
    master                               node id or null
    waits_for  [node ids]                former masters that may still serve, for whose end this master waits
    lease      {valid, ms_left}
    nodes      [{id, name, ip, status, role, priority, replication, config_version, member, eligible, why,
               unable}] sorted by id; status "joined" or "left" (corosync's word), role "M", "S" or "-", replication true, false
               or null where the file does not say, config_version null where unknown, member whether its daemon is in
               the group, why [codes] if it is not eligible as master; unable: with "cannot-serve"
               among them, what it says that it cannot do, else null
    config     {version, sha256, rewriting}  the file in force; stage of the transaction under way
    file       {version, sha256}         this node's own file
    address    {ip, prefix, device, state}   state "held", "none" or "in-doubt"; null if none is configured
    service    {state}                   "running", "stopped" or "in-doubt"
    locks      {service, relocated}      whether the lock file is certainly taken
    bad_messages                         count of what other nodes said and nobody understood
    ledger     {version, stored, open, stable, placements}  versions "8.1.3", `stored` being what a loss of power leaves;
               open whether the members agreed on it, stable whether a majority has it on disk; how many VMs are placed
    owed       [{node, vms, proof}]      nodes that are gone and may run VMs; proof null while there is none
    proven     [{node, proof}]           nodes that are known to run nothing, by what kind of proof
    panic      {reason, evidence, at}    null where there is none
    foreign                              why the corosync that runs is not the file's and what to type; null if it is
    unusable                             why the settings cannot be used, so that the last good ones are; null if they can
    differences [{node, setting, here, there}]  other settings of members, where members rely on them; "default" for a default
    hook                                 whether libvirt calls our hook: "called", "silent" (the daemon started a VM and the
                                         hook did not ask about it), null while nothing has shown it

PLAN: what the master would decide, were these nodes lost and proven now, or drained; it changes nothing.

    placements [{vm, from, to, reason, joined, left_mib}]   reason "most-memory-left", or "together" with the VM `joined`
    owed       [{vm, from, refusals: [{obstacle, nodes, subject}]}]   what fits nowhere: which obstacle closes how many nodes,
               and the storage, VM or group that it is about, else ""; obstacles are words of core/capacity
    frozen     [{vm, from, why}]         of which nothing is decided
    quorate    whether the nodes that are left have a quorum; without one nothing is started

VMS: at most 500 at once, by name. `nodes` and `unmanaged` are left empty where names or after were given, `states` and
`owed` but where most is 0.

    vms        [{name, node, node_name, to, state, pause, on, frozen, generation, priority, order, memory_mib, cpus,
               storages, together, apart, nodes, definition, live, tried, local, uuid,
               unmanaged, unkept, others, troubles, copies, owed, why, refusals}]
               node where it belongs, `to` where it goes (null: nowhere), live or by being stopped; state "running",
               "suspended", "starting", "none", "in-doubt" or "lost" with its node; pause why it is suspended, where that is
               known: "user" (its user's will), "busy" (a dump, a save, a snapshot), "starting", "io-error", "panicked",
               "watchdog" (its own), or a word of a newer daemon; on whether it shall run; frozen why
               nothing is decided about it, or ""; nodes where it may run, null for any; definition the SHA-256 of what it
               is started from; tried the nodes that could not keep it running; local [storages] that no other member
               reaches; uuid what tells it from others of its name, unmanaged why its node would not adopt it any more, or "";
               others [{node, uuid}] other VMs of its name; troubles [{node, why, given_up}] and copies
               [{node, state, generation, stray, stuck}] what members
               say; owed whether it should run and nobody is making it; why then "no-proof", "no-room" (and refusals, as
               above), "given-up", "frozen", "panic" or "soon", else ""; unkept why its definition cannot be kept, so that no
               other node could start it, or ""
    more       the name to go on after, null at the end
    states     {state: how many}         of all VMs; instead of "none": "off" for those that shall not run, else "down"
    owed       {why: how many}           of all VMs; "unkept" of those that run and that no other node could start;
                                         "unplaced" of those that a node has suspended and the ledger does not have run
    nodes      [{id, name, here, takes, why, memory_mib, reserved_percent, free_mib, cpus, vms, limit, storages,
               maintenance}]
               takes whether it is given VMs, why "left", "maintenance", "disallowed", "hypervisor-silent" or "settings" if
               not; memory_mib to storages null where unknown; limit null for none; vms how many shall run there;
               maintenance {drained, by, leaving}, null for none
    unmanaged  [{name, why, node}]       what is not cared for: what this node's hypervisor has (node null), and what runs on
                                         others by its user's will
"""

from __future__ import annotations

import json
import struct

from corolistener.errors import CorolistenerError

TYPE_CHECKING = False  # `corolistener -l` comes through here and has no time for typing
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Frame = dict[str, Any]

PROTOCOL = 1
MOST = 1 << 20
"""Bytes of JSON in one frame."""
QUEUED = 128
"""Frames that wait for a client that does not read, before it is disconnected."""
RUN_DIRECTORY = "/run/corolistener"
CLIENT, ADMIN = "client", "admin"
"""File names of the two sockets, in the run directory."""

VERBS = {
    "status": CLIENT,
    "vms": CLIENT,
    "plan": CLIENT,
    "may-start": CLIENT,
    "config-push": ADMIN,
    "config-revert": ADMIN,
    "node-add": ADMIN,
    "node-edit": ADMIN,
    "node-remove": ADMIN,
    "fence-confirm": ADMIN,
    "open-ledger": ADMIN,
    "panic": ADMIN,
    "recover": ADMIN,
    "vm-start": ADMIN,
    "vm-stop": ADMIN,
    "vm-move": ADMIN,
    "vm-set": ADMIN,
    "vm-forget": ADMIN,
    "maintenance": ADMIN,
    "fence": ADMIN,
    "join-token": ADMIN,
    "prepare-restart": ADMIN,
    "journal-dump": ADMIN,
}
"""The socket each verb needs; what CLIENT allows, ADMIN allows too."""
PROGRESS = {
    "offered": ("version",),
    "stored": ("node", "members"),
    "not-stored": ("node", "members", "why"),
}
"""Progress of a transaction of corosync.conf: codes and their fields. `members` is how many have to store it."""

DIGITS_MOST = 30
"""Digits of a whole number that is read as one. Python itself reads no more than 4300, and says so with an exception."""

LENGTH = struct.Struct(">I")


class FrameError(CorolistenerError):
    """Bytes that are no frame of this protocol. `number` is the id of the request, None if it has none that can be read;
    `ends`: it is not known where the next frame begins."""

    def __init__(self, why: str, number: int | None = None, ends: bool = False) -> None:
        self.number, self.ends = number, ends
        super().__init__(why)


def encode(frame: Mapping[str, Any]) -> bytes:
    """The bytes of a frame. Raises FrameError if it is longer than MOST."""
    body = json.dumps(frame, separators=(",", ":")).encode()
    if len(body) > MOST:
        raise FrameError(f"a frame of {len(body)} bytes; at most {MOST} are allowed")
    return LENGTH.pack(len(body)) + body


def answer_of(number: int, ok: bytes) -> tuple[bytes, bytes, bytes]:
    """The bytes of a good answer whose JSON `ok` was made before, in three pieces of which `ok` itself is one.

    Raises FrameError if the frame is longer than MOST.
    """
    head, tail = b'{"id":%d,"ok":' % number, b"}"
    size = len(head) + len(ok) + len(tail)
    if size > MOST:
        raise FrameError(f"a frame of {size} bytes; at most {MOST} are allowed")
    return LENGTH.pack(size) + head, ok, tail


class Decoder:
    """The bytes of one connection, in pieces of any size, to frames."""

    def __init__(self, most: int = MOST) -> None:
        self._held, self._most = bytearray(), most

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes, to be taken to the end. Raises FrameError at the first that is none; unless that
        `ends` everything, feed(b"") goes on with the next."""
        self._held += data
        while len(self._held) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._held)
            if size > self._most:
                raise FrameError(f"a frame of {size} bytes is announced; at most {self._most} are allowed", ends=True)
            end = LENGTH.size + size
            if len(self._held) < end:
                return
            body = bytes(self._held[LENGTH.size : end])
            del self._held[:end]
            yield _object(body)


def _object(body: bytes) -> Frame:
    try:
        value = json.loads(body, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise FrameError(f"JSON, but a {type(value).__name__} instead of an object")
    return value


def _whole(digits: str) -> int | float:
    """A whole number; one of absurd length becomes what no verb takes, so that its request is refused and not unreadable."""
    return float("inf") if len(digits) > DIGITS_MOST else int(digits)


def request_of(frame: Frame) -> tuple[int, str, Frame]:
    """(id, verb, args) of a request. Raises FrameError if one is missing or of another type; judges no verb."""
    number, verb, args = frame.get("id"), frame.get("verb"), frame.get("args", {})
    if type(number) is not int or not 0 <= number < 2**53:
        raise FrameError("a request without a whole number as id")
    if not isinstance(verb, str):
        raise FrameError("a request without a verb", number)
    if not isinstance(args, dict):
        raise FrameError("a request whose args are no object", number)
    return number, verb, args
