"""Install libvirt's hook, which keeps VMs in the cluster's care from being started where they are not placed; look at it."""

import argparse
import shlex
import sys
from pathlib import Path

import corolistener
from corolistener.cli import ask
from corolistener.cli.verbs import Parser
from corolistener.daemon.settings import PATH, Settings, shipped_hook
from corolistener.effects.managed import NAME
from corolistener.errors import ConfigError, RequestRefused

ACTIONS = ("install", "status")
DIRECTORY = "/etc/libvirt/hooks"
PLACE = "qemu.d/corolistener"
MARK = "# libvirt's qemu hook: a VM in the cluster's care starts where corolistener has placed it"
"""What tells a hook of ours, of this version or another, from somebody else's file."""


def arguments(parser: Parser) -> None:
    """The verbs below `hooks`."""
    verbs = parser.add_subparsers(dest="action", metavar="|".join(ACTIONS), required=True)
    for action, text in (
        ("install", "put the hook in its place, or the newest version of it"),
        ("status", "whether it is there"),
    ):
        verb = verbs.add_parser(action, help=text)
        verb.add_argument("--directory", metavar="DIR", default=DIRECTORY, help=f"libvirt's hooks, instead of {DIRECTORY}")


def run(args: argparse.Namespace) -> int:
    """0; `status` 1 where the hook is not there, or not as `install` would make it. Raises ConfigError, RequestRefused."""
    directory, wanted = Path(args.directory), filled(ask.load(args.config))
    place = directory / PLACE
    found = _found(place)
    if args.action == "status":
        print(f"{place}: {_state(found, wanted)}")
        return int(found != wanted)
    if found is not None and MARK not in found:
        raise RequestRefused("foreign-file", f"{place} is not of corolistener's making, and is left as it is")
    if found == wanted:
        print(f"{place} is there already")
        return 0
    if not directory.parent.is_dir():
        raise RequestRefused("no-libvirt", f"there is no {directory.parent}: libvirt is not installed here")
    _put(place, directory / ".corolistener.new", wanted)
    print(f"wrote {place}")
    if found is None:
        print("libvirt looks for hooks when it starts: `systemctl try-restart libvirtd virtqemud`; VMs go on running")
    return 0


def filled(settings: Settings) -> str:
    """The shipped hook with the places of this installation. Raises ConfigError."""
    path = shipped_hook("libvirt/qemu")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, 0, error.strerror or str(error)) from None
    places = {
        "managed=${COROLISTENER_MANAGED:-/var/lib/corolistener/managed}": str(Path(settings.paths.state, NAME)),
        "settings=${COROLISTENER_SETTINGS:-/etc/corolistener/corolistener.toml}": str(Path(settings.path or PATH).absolute()),
        "run=${COROLISTENER_RUN:-/run/corolistener}": settings.paths.run,
        # Not the one of a virtual environment: where AppArmor confines libvirt, it may run what is in /usr/bin only.
        "python=${COROLISTENER_PYTHON:-/usr/bin/python3}": str(Path(sys.executable).resolve()),
        "package=${COROLISTENER_PACKAGE:-}": str(Path(corolistener.__file__).resolve().parent.parent),
    }
    for line, place in places.items():
        if text.count(f"\n{line}\n") != 1:
            raise ConfigError(path, 0, f"expected one line {line}")
        text = text.replace(line, f"{line.partition(':-')[0]}:-{shlex.quote(place)}}}")
    return text


def _found(place: Path) -> str | None:
    """What is there now; None for nothing. What cannot be read as text is somebody else's."""
    try:
        return place.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise ConfigError(str(place), 0, error.strerror or str(error)) from None


def _state(found: str | None, wanted: str) -> str:
    if found is None:
        return "not there: `corolistener hooks install`"
    if MARK not in found:
        return "not of corolistener's making"
    return "there" if found == wanted else "there, but of another version or for other settings: `corolistener hooks install`"


def _put(place: Path, temporary: Path, text: str) -> None:
    """In one instant, and made elsewhere: libvirt runs whatever it finds in the directory."""
    try:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600, exist_ok=False)
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(place)
    except OSError as error:
        raise ConfigError(str(error.filename or place), 0, error.strerror or str(error)) from None
