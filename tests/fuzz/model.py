"""A model of valid requests, one for each verb at least, and the ways to break a single field of one."""

import base64
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

from corolistener.wire.control import ADMIN, LENGTH, MOST, VERBS

NOBODY = 4_000_000_000
"""The id of no node: what is asked about it is refused, so that the cluster is the same after a million requests."""
TOO_MANY = ",".join(f"192.0.2.{link}" for link in range(1, 10))
"""Addresses of a node: one more than corosync has links."""
CONF = """totem {
    version: 2
    cluster_name: fuzz
    config_version: 2
    token: 1000
}
nodelist {
    node {
        nodeid: 1
        ring0_addr: 192.0.2.1
        quorum_votes: 1
        prio: 7
    }
}
quorum {
    provider: corosync_votequorum
    expected_votes: 1
}
"""
"""The file of another cluster: the daemon reads all of it, and refuses it."""

VALID: dict[str, tuple[dict[str, Any], ...]] = {
    "status": ({},),
    "vms": ({}, {"names": ["web", "db"]}, {"node": 1, "after": "a", "most": 7}, {"most": 0}),
    "plan": ({"lose": [2]}, {"drain": 2}),
    "may-start": ({"vm": "fuzz"}, {"vm": "fuzz", "uuid": "6a0b8c1e-0000-4000-8000-000000000001", "disks": ["/a", "/b"]}),
    "config-push": ({"text": base64.b64encode(CONF.encode()).decode()},),
    "config-revert": ({"version": 1},),
    "node-add": ({"address": TOO_MANY, "id": NOBODY, "name": "fuzz", "priority": 7, "replication": "on"},),
    "node-edit": ({"id": NOBODY, "name": "{", "priority": 7, "replication": "off"},),
    "node-remove": ({"id": NOBODY},),
    "fence-confirm": ({"node": NOBODY},),
    "panic": ({"reason": "somebody fuzzes"},),
    "recover": ({},),
    "open-ledger": ({},),
    "vm-start": ({"vm": "fuzz", "node": 1},),
    "vm-stop": ({"vm": "fuzz", "force": True},),
    "vm-move": ({"vm": "fuzz", "live": True, "to": 2},),
    "vm-set": (
        {"vm": "fuzz", "priority": 1, "order": 2, "together": ["a"], "apart": ["b"], "nodes": [1, 2], "managed": False},
        {"vm": "web", "priority": 3},
    ),
    "vm-forget": ({"vm": "fuzz"},),
    "maintenance": ({"node": 3, "on": False, "drain": True},),
    "fence": ({"node": NOBODY},),
    "join-token": ({},),
    "prepare-restart": ({},),
    "journal-dump": ({"secrets": False},),
}
"""Arguments that the daemon knows, by verb. What they ask for is refused by its rules, or changes little."""
SELDOM = {"journal-dump": 0.02, "panic": 0.1}
"""Verbs that are drawn less often: one writes a file, one stops what the others ask for."""


class Raw(NamedTuple):
    """Bytes in the place of a JSON value."""

    data: bytes


class Pairs(NamedTuple):
    """An object that may have a key twice."""

    pairs: tuple[tuple[Any, Any], ...]


def written(value: Any) -> bytes:
    """JSON, and what only looks like it."""
    match value:
        case Raw(data):
            return data
        case Pairs(pairs):
            return b"{" + b",".join(written(key) + b":" + written(each) for key, each in pairs) + b"}"
        case dict():
            return written(Pairs(tuple(value.items())))
        case list():
            return b"[" + b",".join(map(written, value)) + b"]"
    return json.dumps(value).encode()


def nested(levels: int) -> Raw:
    return Raw(b"[" * levels + b"]" * levels)


WRONG: tuple[Any, ...] = (
    *(True, False, None, 0, -1, 1, 7, 1.5, -0.0, "", " ", "1", "on", "no such thing", [], [[]], [None], {}, {"": {}}, ["a", 1]),
    *(2**31, 2**32, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63), 10**29, 10**31),
    *(Raw(b"9" * digits) for digits in (1000, 4299, 4300, 4301, 10_000, 60_000)),
    *(Raw(b"-" + b"9" * digits) for digits in (4299, 4300, 5000)),
    *(
        Raw(text)
        for text in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e-400", b"1." + b"3" * 5000, b"1e" + b"9" * 5000)
    ),
    *(
        "\ud800",
        "a\udfffb",
        "\udcff",
        "a\0b",
        "\0",
        "a\nb",
        "a\x1b[2Jb",
        "\u202eabc",
        "é" * 700,
        "²",
        "١٢",
        "n" * 255,
        "n" * 256,
    ),
    *("n" * 1024, "n" * 1025, "n" * 60_000, "/" * 5000, "ﬁ" * 300, "%s%n", "$(id)", "../../etc/passwd", "A" * 4 + "=", "=a"),
    *(nested(levels) for levels in (3, 4, 5, 60, 300, 900, 940, 980, 1000, 30_000)),
    *([0] * 1000, [0] * 1001, ["x"] * 5000, [[]] * 1001, dict.fromkeys(map(str, range(1001)), 1)),
    Raw(b'{"a":' * 900 + b"1" + b"}" * 900),
    Pairs((("a", 1), ("a", 2))),
)
"""What may be written where something else is expected."""
NO_JSON: tuple[Raw, ...] = (
    *(Raw(text) for text in (b"01", b"0x10", b"+1", b"1_000", b"tru", b"", b"\xff", b"'a'", b"\x00", b'"a', b"undefined")),
    *(Raw(b'"' + text + b'"') for text in (b"\xff\xfe", b"\xc0\x80", b"a\nb", b"\x00", b"\xed\xa0\x80", b"\\u12", b"\\x41")),
)
VALUES = (
    b"",
    b"0",
    b"-1",
    b"9" * 20,
    b"9" * 480,
    b"9" * 5000,
    b"\xd9\xa3",
    b"1e9",
    b"nan",
    b"0x10",
    b"\0",
    b"\xff",
    b"}",
    b"{",
    b"fd00::1",
    b"2",
)
"""Values for a line of corosync.conf."""
CODECS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le", "cp037")
NAMES = ("", "unknown", "Id", "\ud800", "a\0b", "é", "k" * 61, "k" * 5000, "id ", "__class__", "node", "vm", "version")
"""Keys that are nobody's, or another's."""


class Sent(NamedTuple):
    """Bytes for one request. `answered`: an answer must come; `ends`: the connection ends after it."""

    data: bytes
    answered: bool = True
    ends: bool = False


class Model:
    """Draws requests, valid and broken ones; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self._verbs = list(VALID)
        self._weights = [SELDOM.get(verb, 1.0) for verb in self._verbs]
        self._ways: list[tuple[Callable[[dict[str, Any]], bytes], float]] = [
            (self._wrong, 10),
            (self._missing, 3),
            (self._unknown, 2),
            (self._doubled, 2),
            (self._recased, 2),
            (written, 2),
            (self._cut, 1),
            (self._flipped, 2),
            (self._junk, 1),
            (self._shapeless, 1),
            (self._recoded, 0.5),
        ]

    def request(self, number: int, most: int = MOST, admin: bool = True) -> Sent:
        """The next one. `number` is its id, unless that is what is broken; `most` bytes of a frame are taken here. What is not
        for an admin's socket alone is mostly drawn for the other."""
        ways, weights = zip(*self._ways, strict=True)
        valid = self.valid(number)
        while not admin and VERBS[valid["verb"]] == ADMIN and self.dice.random() < 0.8:
            valid = self.valid(number)
        body: bytes = self.dice.choices(ways, weights)[0](valid)
        if len(body) > most:
            return Sent(LENGTH.pack(len(body)) + body, ends=True)
        match self.dice.randrange(400):
            case 0:
                return Sent(LENGTH.pack(self.dice.choice((most + 1, 2**31, 2**32 - 1))) + body, ends=True)
            case 1:
                return Sent((LENGTH.pack(len(body) + 1) + body)[: self.dice.randrange(1, len(body) + 5)], False, True)
        return Sent(LENGTH.pack(len(body)) + body)

    def valid(self, number: int) -> dict[str, Any]:
        """A request of which every field is as it should be."""
        verb = self.dice.choices(self._verbs, self._weights)[0]
        args = deepcopy(self.dice.choice(VALID[verb]))
        if verb == "config-push" and self.dice.random() < 0.7:
            args["text"] = base64.b64encode(self._config()).decode()
        return {"id": number, "verb": verb, "args": args}

    def _config(self) -> bytes:
        """A file of which one line is another one, or several bytes are."""
        lines = CONF.encode().split(b"\n")
        at = self.dice.randrange(len(lines))
        key, colon, _ = lines[at].partition(b":")
        match self.dice.randrange(4):
            case 0:
                lines[at] = self.dice.randbytes(self.dice.randrange(20))
            case 1:
                lines[at:at] = [lines[self.dice.randrange(len(lines))]] * self.dice.choice((1, 2, 200))
            case _:
                lines[at] = key + colon + b" " + self.dice.choice(VALUES)
        return b"\n".join(lines)

    def _wrong(self, frame: dict[str, Any]) -> bytes:
        """One value, wherever it is, is another one."""
        place, key = self._place(frame)
        wrong = self.dice.choice(WRONG if self.dice.random() < 0.95 else NO_JSON)
        if isinstance(place[key], list):
            place[key] = self.dice.choice((wrong, [*place[key], wrong]))
        else:
            place[key] = wrong
        return written(frame)

    def _missing(self, frame: dict[str, Any]) -> bytes:
        place, key = self._place(frame)
        del place[key]
        return written(frame)

    def _unknown(self, frame: dict[str, Any]) -> bytes:
        self._object(frame)[self.dice.choice(NAMES)] = self.dice.choice(WRONG)
        return written(frame)

    def _doubled(self, frame: dict[str, Any]) -> bytes:
        """One key twice, with two values, or with one."""
        inside = self._object(frame)
        if not inside:
            return written(frame)
        key = self.dice.choice(list(inside))
        pairs = Pairs((*inside.items(), (key, self.dice.choice((inside[key], self.dice.choice(WRONG))))))
        return written(pairs if inside is frame else {**frame, "args": pairs})

    def _recased(self, frame: dict[str, Any]) -> bytes:
        place, key = self._place(frame)
        if isinstance(place, list):
            return written(frame)
        if isinstance(place[key], str) and self.dice.random() < 0.5:
            place[key] = place[key].swapcase()
        else:
            place[self.dice.choice((key.upper(), key.title()))] = place.pop(key)
        return written(frame)

    def _cut(self, frame: dict[str, Any]) -> bytes:
        body = written(frame)
        return body[: self.dice.randrange(len(body))]

    def _flipped(self, frame: dict[str, Any]) -> bytes:
        body = bytearray(written(frame))
        for _ in range(self.dice.choice((1, 1, 2, 5))):
            body[self.dice.randrange(len(body))] = self.dice.randrange(256)
        return bytes(body)

    def _junk(self, frame: dict[str, Any]) -> bytes:
        return self.dice.randbytes(self.dice.choice((0, 1, 10, 1000, 50_000)))

    def _shapeless(self, frame: dict[str, Any]) -> bytes:
        return written(self.dice.choice((*WRONG, [frame], Raw(written(frame) * 2), Raw(written(frame) + b"\0"))))

    def _recoded(self, frame: dict[str, Any]) -> bytes:
        return (
            written(frame)
            .decode()
            .encode(self.dice.choice(("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le", "cp037")))
        )

    def _place(self, frame: dict[str, Any]) -> tuple[Any, Any]:
        """A place of the arguments, if there are any; or, seldom, of the request itself."""
        inside = list(_places(frame["args"]))
        return self.dice.choice(inside if inside and self.dice.random() < 0.8 else list(_places(frame)))

    def _object(self, frame: dict[str, Any]) -> dict[str, Any]:
        inside: dict[str, Any] = self.dice.choice((frame, frame["args"], frame["args"]))
        return inside


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in objects and lists at which a value is: (container, key)."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
