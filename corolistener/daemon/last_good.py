"""The last settings with which a daemon ran here, for a start with unusable ones (safety.md, rule 4).

They are kept as values in the state directory, together with the path of the file that said them: they hold passwords of fence
agents, so only root may read them. What a broken file still says of its directories is believed, else the defaults are.
"""

import os
import re
import tempfile
from pathlib import Path

import msgspec

from corolistener.daemon import settings as settings_module
from corolistener.daemon.settings import PATH, Paths, Settings
from corolistener.effects import trust
from corolistener.errors import ConfigError

NAME = "last-good-settings.json"
SAID = re.compile(r"^\s*(state|run)\s*=\s*[\"'](/[^\"'\n]+)[\"']?", re.MULTILINE)
MOST = 1 << 20


def keep(settings: Settings, path: str | None) -> None:
    """These were usable, and come from this file. Raises OSError."""
    directory = Path(settings.paths.state)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = msgspec.json.encode({"from": path or PATH, "settings": settings})
    file = Path(directory, NAME)
    if file.is_file() and file.read_bytes() == content:
        return
    descriptor, new = tempfile.mkstemp(dir=directory, prefix=NAME)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as writing:
            writing.write(content)
            writing.flush()
            os.fsync(writing.fileno())
        os.replace(new, file)
    except OSError:
        Path(new).unlink(missing_ok=True)
        raise


def load(path: str | None) -> tuple[Settings, ConfigError | None]:
    """The settings, or the last good ones of the same file and what is wrong with it now. Raises ConfigError without any, and
    where others than root can change a program that the last good ones name."""
    try:
        return settings_module.load_to_run(path), None
    except ConfigError as error:
        kept = _kept(path)
        if kept is None or any(trust.objections(kept.programs())):
            raise
        return kept, error


def daemons_directory(path: str | None) -> str | None:
    """Where a daemon listens that was started with this file, which cannot be used now; None where nothing says so."""
    kept = _kept(path)
    return kept.paths.run if kept is not None else _said(path).get("run")


def run_directory(path: str | None) -> str:
    """Where a daemon with these settings would leave its word, also if they cannot be used."""
    try:
        return load(path)[0].paths.run
    except ConfigError:
        return _said(path).get("run", Paths().run)


def _kept(path: str | None) -> Settings | None:
    for directory in dict.fromkeys((_said(path).get("state", Paths().state), Paths().state)):
        file = Path(directory, NAME)
        try:
            found = file.lstat()
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                continue
            said = msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
            if msgspec.json.decode(said["from"], type=str) == (path or PATH):
                return msgspec.json.decode(said["settings"], type=Settings)
        except (OSError, KeyError, ValueError, RecursionError):
            continue
    return None


def _said(path: str | None) -> dict[str, str]:
    """Directories that a file names, whatever else is wrong with it."""
    try:
        with open(path or PATH, encoding="utf-8", errors="replace") as file:
            return dict(SAID.findall(file.read(MOST)))
    except OSError:
        return {}
