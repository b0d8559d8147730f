"""The key that the nodes share: read, made, and taken over from the cluster by a new node.

It is corolistener's own (`corolistener config keygen`) where there is one, else corosync's authkey, which is the same
on every node already where corosync encrypts. Both are raw bytes. A key that others may read or replace is none, and refused.
All of it blocks.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from corolistener.effects import files, trust
from corolistener.errors import ConfigError, EffectError, RequestRefused
from corolistener.wire.pull import KEY_MOST, Key

OWN_KEY = Path("/etc/corolistener/key")
AUTHKEY = Path("/etc/corosync/authkey")
KEY_PATHS = (OWN_KEY, AUTHKEY)
"""Where keys are looked for; the first that exists is used."""
KEY_BYTES = 32
KEY_LEAST = 16
"""A shorter key could be guessed."""
MODES = {"key": 0o600, "authkey": 0o400}


def load_keys(paths: Sequence[Path] = KEY_PATHS) -> tuple[Key, ...]:
    """Every key there is, the one to use first. Raises ConfigError: none, too open, not a key."""
    found = tuple(Key(_role(path), key) for path in paths if (key := _loaded(path)) is not None)
    if not found:
        others = "".join(f", nor {path}" for path in paths[1:])
        why = f"there is no shared key{others}: make one with `corolistener config keygen` and copy it to every node"
        raise ConfigError(str(paths[0]), 0, why)
    return found


def load_key(paths: Sequence[Path] = KEY_PATHS) -> bytes:
    """The key to use. Raises ConfigError: none, too open, not a key."""
    return load_keys(paths)[0].secret


def keygen(path: Path = OWN_KEY, force: bool = False) -> None:
    """Makes a new key, readable by its owner alone. Raises RequestRefused (exists), EffectError.

    `force` replaces the present one: until every node has the new one, none can pull from another.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _put(path, secrets.token_bytes(KEY_BYTES), MODES["key"], replace=force)
    except FileExistsError:
        raise RequestRefused("exists", f"{path}: there is a key already; --force replaces it") from None
    except OSError as error:
        raise EffectError("keygen", files.words(error, path)) from None


def install_keys(keys: Sequence[Key], paths: Sequence[Path] = KEY_PATHS) -> tuple[Path, ...]:
    """Writes the cluster's keys where this node looks for them; another key in the place is kept as `.old`.

    Returns the paths written. Raises EffectError.
    """
    places = {_role(path): path for path in paths}
    wanted = [(places[key.name], key) for key in keys if key.name in places]
    try:
        return tuple(path for path, key in wanted if _installed(path, key))
    except OSError as error:
        raise EffectError("key", files.words(error, paths[0])) from None


def _installed(path: Path, key: Key) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if files.read(path, KEY_MOST)[0] == key.secret:
            return False
        old = path.with_name(f"{path.name}.old")
        with contextlib.suppress(FileNotFoundError):
            old.unlink()
        os.link(path, old)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _put(path, key.secret, MODES[key.name], replace=True)
    return True


def _put(path: Path, key: bytes, mode: int, replace: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    files.put(path, key, files.Owner(mode), temporary, replace)


def _role(path: Path) -> str:
    """What a key is for, whatever its file is called: corosync's own, or ours."""
    return "authkey" if path.name == "authkey" else "key"


def _loaded(path: Path) -> bytes | None:
    try:
        key, look = files.read(path, KEY_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(str(path), 0, error.strerror or str(error)) from None
    mode = stat.S_IMODE(look.st_mode)
    if mode & 0o077:
        raise ConfigError(str(path), 0, f"others may read or write this key (mode {mode:04o}): chmod 0400, or make another")
    trust.require(path)
    if len(key) < KEY_LEAST:
        raise ConfigError(str(path), 0, f"{len(key)} bytes are no key: make one with `corolistener config keygen`")
    return key
