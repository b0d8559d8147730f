"""`config pull`: the newest corosync.conf is fetched from the other nodes before corosync starts. The protocol: wire/pull.

A node that was away asks every other node of its own file, on all its ring addresses at once, and takes the highest
version that somebody with the shared key answers. corosync starts with what is there if nobody answers in time: being
without a cluster is normal when all nodes start together.

A new node has neither file nor key. It asks one member (`--from`), and either the key was copied to it by hand, or it
has a token that `corolistener node add` printed at that member; then the keys come along, once. A token is the
operator's word that this machine shall join: what file it had before, such as the one the distribution installs, is kept
as a version and replaced, whatever cluster it named.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from corolistener.core.config import ConfigId
from corolistener.coroconf.facts import Facts, read_facts
from corolistener.coroconf.tree import encoded, parse
from corolistener.effects.confstore import Versions
from corolistener.effects.detached import detached
from corolistener.effects.keys import KEY_PATHS, install_keys, load_key
from corolistener.effects.whoami import node_here, resolved
from corolistener.engine.conf import cluster_facts
from corolistener.errors import ConfigError, PeerError
from corolistener.ids import NodeId
from corolistener.wire import pull as wire

TIMEOUT_S = 5.0
"""What a node may be late by because nobody answers."""


class Pulled(Enum):
    """How it ended. Only the last needs an administrator."""

    INSTALLED = "installed"
    CURRENT = "current"
    UNANSWERED = "unanswered"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Pull:
    """What is asked for.

    `conf` is the own file; the first of `key_paths` that exists is the shared key. `source` is the one address to ask in
    place of the own file's, `token` what `node add` printed. `force` takes what is answered even if it is older or
    another cluster's. `me` is this node where the machine's addresses do not tell.
    """

    conf: Path
    key_paths: Sequence[Path] = KEY_PATHS
    port: int = wire.PORT
    source: str = ""
    token: str = ""
    force: bool = False
    timeout_s: float = TIMEOUT_S
    me: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An authentic answer: `id` names `text`, the file of `node`, in which this machine is `here`; `keys` came with it."""

    address: str
    node: NodeId
    id: ConfigId
    text: bytes
    here: NodeId | None
    keys: tuple[wire.Key, ...] = ()


@dataclass(frozen=True, slots=True)
class PullResult:
    """What was found and done. `failures` are (address, why); `warnings` are sentences; `keys` were written."""

    result: Pulled
    local: ConfigId | None
    answers: tuple[Answered, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    chosen: ConfigId | None = None
    warnings: tuple[str, ...] = ()
    keys: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Local:
    """The own file, as far as it can be used."""

    id: ConfigId
    text: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class Asker:
    """How to ask, and to prove who asks; `cluster` is empty where any will do."""

    port: int
    secret: bytes
    token_id: bytes
    cluster: bytes
    me: NodeId | None


def pull(wanted: Pull) -> PullResult:
    """Fetches the newest file and installs it; blocks for `timeout_s` at most, plus the disk's time.

    Raises ConfigError (own file or key unusable), RequestRefused (no token), EffectError (the disk).
    """
    found, local = _asked(wanted)
    return _settled(found, wanted, local) if found.answers else found


def compare(wanted: Pull) -> PullResult:
    """Asks as `pull` does and installs nothing: `chosen` is what the others have, if it is newer than the own file.

    Raises ConfigError (own file or key unusable), RequestRefused (no token).
    """
    found, local = _asked(wanted)
    if not found.answers:
        return found
    best, warnings = _newest(found.answers)
    newer = local is None or best.id.version > local.id.version
    return replace(found, result=Pulled.CURRENT, chosen=best.id if newer else None, warnings=tuple(warnings))


def _asked(wanted: Pull) -> tuple[PullResult, Local | None]:
    """The answers, and the own file; nothing is decided yet. Raises as `pull` does."""
    secret = wire.token_of(wanted.token) if wanted.token else load_key(wanted.key_paths)
    local = _local(wanted)
    any_cluster = local is None or wanted.token or wanted.force
    cluster = b"" if local is None or any_cluster else encoded(local.facts.cluster_name)
    asker = Asker(wanted.port, secret, wire.token_id(secret) if wanted.token else b"", cluster, wanted.me)
    answers, failures = asyncio.run(_ask_all(lambda: _addresses(wanted, local), asker, wanted.timeout_s))
    result = Pulled.UNANSWERED if failures else Pulled.CURRENT
    return PullResult(result, local.id if local else None, answers, failures), local


def _local(wanted: Pull) -> Local | None:
    """The own file. Raises ConfigError if it must say whom to ask and cannot be read."""
    try:
        text = Versions(wanted.conf).read()
        facts = read_facts(parse(text, str(wanted.conf)))
    except ConfigError as error:
        if wanted.source:
            return None
        raise ConfigError(error.path, error.line, f"{error.why}; `config pull --from ADDRESS` asks a member") from None
    return Local(cluster_facts(facts, text).id, text, facts)


def _addresses(wanted: Pull, local: Local | None) -> list[tuple[str, ...]]:
    """The addresses of each node to ask. May ask the resolver."""
    if wanted.source or local is None:
        return [(wanted.source,)]
    here = wanted.me or node_here(local.facts.nodes)
    return [node.addresses for node in local.facts.nodes if node.nodeid != here and node.addresses]


async def _ask_all(
    find: Callable[[], list[tuple[str, ...]]], asker: Asker, timeout_s: float
) -> tuple[tuple[Answered, ...], tuple[tuple[str, str], ...]]:
    """Asks every node, until all have answered or failed or the time is up. Returns answers, and failures by address."""
    answers: list[Answered] = []
    failures = {"nodelist": "its names were not resolved in time"}
    try:
        async with asyncio.timeout(timeout_s):
            nodes = await detached(find)
            failures.clear()
            await asyncio.gather(*(_ask_node(addresses, asker, answers, failures) for addresses in nodes))
    except TimeoutError:
        pass
    return tuple(sorted(answers, key=lambda answer: answer.node)), tuple(sorted(failures.items()))


async def _ask_node(addresses: tuple[str, ...], asker: Asker, answers: list[Answered], failures: dict[str, str]) -> None:
    """Asks one node on all its addresses at once; its first authentic answer is enough."""
    failures.update(dict.fromkeys(addresses, "no answer in time"))
    asked = [asyncio.create_task(_ask(address, asker)) for address in addresses]
    try:
        for done in asyncio.as_completed(asked):
            answer = await done
            if isinstance(answer, Answered):
                answers.append(answer)
                for address in addresses:
                    failures.pop(address, None)
                return
            failures.update((answer,))
    finally:
        for task in asked:
            task.cancel()


async def _ask(address: str, asker: Asker) -> Answered | tuple[str, str]:
    """One address's authentic answer, or (address, why there is none)."""
    try:
        return await _exchange(address, asker)
    except PeerError as error:
        return address, printable(error.why)
    except OSError as error:
        return address, os.strerror(error.errno) if error.errno else str(error)
    except EOFError:
        return address, "the connection was closed"


async def _exchange(address: str, asker: Asker) -> Answered:
    reader, writer = await _connected(address, asker.port)
    try:
        greeting = wire.read_greeting(await receive(reader, wire.GREETING_MOST))
        question = wire.question(asker.secret, greeting, asker.cluster, asker.token_id)
        writer.write(wire.frame(question))
        reply = wire.read_reply(await receive(reader, wire.ANSWER_MOST))
    finally:
        writer.transport.abort()
    if isinstance(reply, wire.Refusal):
        raise PeerError(0, f"refused: {reply.why}")
    file, keys = wire.verified(reply, asker.secret, greeting, question)
    facts = _understood(address, file, asker)
    here = asker.me or await detached(lambda: node_here(facts.nodes))
    return Answered(address, NodeId(file.node), cluster_facts(facts, file.text).id, file.text, here, keys)


async def _connected(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first of the name's addresses that takes one. Raises OSError."""
    found = sorted(map(str, await detached(lambda: resolved(address))))
    if not found:
        raise OSError("the name is not known")
    for ip in found[:-1]:
        try:
            return await asyncio.open_connection(ip, port)
        except OSError:
            continue
    return await asyncio.open_connection(found[-1], port)


def _understood(address: str, file: wire.File, asker: Asker) -> Facts:
    """The facts of an authentic file, if it is what it says. Raises PeerError."""
    try:
        facts = read_facts(parse(file.text, f"the file of {address}"))
    except ConfigError as error:
        raise PeerError(file.node, str(error)) from None
    if (encoded(facts.cluster_name), facts.config_version) != (file.cluster, file.version):
        raise PeerError(file.node, "the file is not the one that the answer says")
    if asker.cluster and asker.cluster != file.cluster:
        raise PeerError(file.node, f"a node of another cluster, {facts.cluster_name!r}")
    return facts


async def receive(reader: asyncio.StreamReader, most: int) -> bytes:
    """One frame's body. Raises PeerError (longer than `most`), EOFError, OSError."""
    size = wire.length(await reader.readexactly(wire.LENGTH_BYTES), most)
    return await reader.readexactly(size)


def printable(text: str) -> str:
    """A stranger's words on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _settled(found: PullResult, wanted: Pull, local: Local | None) -> PullResult:
    """Decides between the own file and the answers, and installs. Raises EffectError."""
    best, warnings = _newest(found.answers)
    found = replace(found, warnings=tuple(warnings))
    regardless = wanted.force or bool(wanted.token)
    if local is not None and best.text == local.text:
        return replace(found, result=Pulled.CURRENT, keys=install_keys(best.keys, wanted.key_paths))
    if local is not None and best.id.version <= local.id.version and not regardless:
        return replace(found, result=Pulled.CURRENT, warnings=(*warnings, *_doubts(local, best)))
    try:
        Versions(wanted.conf).install(best.id, best.text, _here(best), regardless)
    except ConfigError as error:
        return replace(found, result=Pulled.REFUSED, warnings=(*warnings, str(error)))
    return replace(found, result=Pulled.INSTALLED, chosen=best.id, keys=install_keys(best.keys, wanted.key_paths))


def _newest(answers: Iterable[Answered]) -> tuple[Answered, list[str]]:
    """The highest version; of two contents with the same one, that of most nodes, then that of the lowest node."""
    version = max(answer.id.version for answer in answers)
    newest = [answer for answer in answers if answer.id.version == version]
    counts = Counter(answer.id for answer in newest)
    best = min(newest, key=lambda answer: (-counts[answer.id], answer.node))
    if len(counts) == 1:
        return best, []
    return best, [f"version {version} has {len(counts)} contents in the cluster: that of node {best.node} is taken"]


def _doubts(local: Local, best: Answered) -> list[str]:
    if best.id.version < local.id.version:
        return [f"the file here has version {local.id.version}, the newest elsewhere {best.id.version}"]
    return [f"the file of node {best.node} has version {best.id.version} as well, but other content: the own is kept"]


def _here(best: Answered) -> NodeId:
    """Which node this machine is in that file. Raises ConfigError."""
    if best.here is not None:
        return best.here
    path = f"the file of {best.address}, version {best.id.version}"
    raise ConfigError(path, 0, "no node in it has an address of this machine: was it removed from the cluster?")
