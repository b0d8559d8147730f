"""Secrets taken out of what people copy, mail and attach to reports: journals, and what is shown of them.

A definition of a VM holds console passwords, and its checksum stands beside it: whoever knows the rest of the text can try
passwords until the checksum fits. So of a definition, or a part of one, not a byte is kept. corosync.conf stays; its key is
another file. Lengths stay, because decisions depend on them: a journal without secrets replays as the one with them.
"""

import base64
import re
from typing import Any

CONF = re.compile(rb"^\s*(?:#[^\n]*\n\s*)*(?:totem|nodelist|quorum|logging|system|resources|uidgid|nozzle)\b[^<]*\{")
"""What a corosync.conf begins with, and nothing else that the core carries."""
PLAIN = re.compile(rb"[^<>]*")
SECRET = re.compile(
    r"""(?ix) (?<![a-z])
    ( (?: [a-z_-]*pass(?:wd|word|phrase)? | pwd | [a-z_-]*secret | (?:api|auth|private|secret|shared)[_-]?key | (?:join[_ -]?)?token )
      ["']? \s* [=:] \s* )
    (?: " ((?:[^"\\]|\\.)*) | ' ((?:[^'\\]|\\.)*) | (\S+) )
    """  # noqa: E501
)
"""A word that announces a secret, and the secret: quoted, also if the quote does not end, or up to the next blank."""
TOKEN = re.compile(r"(?<![0-9A-Za-z])(?=[0-9A-Za-z]*[A-Za-z])(?![0-9a-f]+(?![0-9A-Za-z]))[0-9A-Za-z]{32}(?![0-9A-Za-z])")
"""A join token: 32 letters and digits, and no checksum."""
DEFINITION = re.compile(r"<(?:domain|devices|graphics|secret|disk|qemu:)[\s>].*", re.S)
NUMBER = re.compile(r"\d{1,9}")


def text(value: str) -> str:
    """A text, with a star for each character of a secret."""
    value = DEFINITION.sub(lambda found: "*" * len(found[0]), value)
    value = SECRET.sub(_starred, value)
    return TOKEN.sub(lambda found: "*" * len(found[0]), value)


def content(value: bytes) -> bytes:
    """A file's bytes: those of a corosync.conf, else a star for each."""
    return value if CONF.match(value) and PLAIN.fullmatch(value) else b"*" * len(value)


def packed(data: Any) -> Any:
    """What wire.values.pack made, without secrets."""
    match data:
        case str():
            return text(data)
        case list():
            return [packed(each) for each in data]
        case {"!": "bytes", "v": str(encoded)}:
            return {"!": "bytes", "v": base64.b64encode(content(base64.b64decode(encoded))).decode()}
        case dict():
            return {key: value if key == "!" else packed(value) for key, value in data.items()}
    return data


def _starred(found: re.Match[str]) -> str:
    """The announcing word and the quotes stay. `token: 1000` is one of corosync's durations."""
    secret = next(group for group in found.groups()[1:] if group is not None)
    if NUMBER.fullmatch(secret) and "token" in found[1].lower():
        return found[0]
    return found[0].removesuffix(secret) + "*" * len(secret)
