"""Show, compare, pull, push or revert corosync.conf; make the shared key."""

import argparse
import base64
import getpass
import json
import sys
import time
from pathlib import Path

from corolistener.cli import ask, render
from corolistener.cli.verbs import Parser, complain
from corolistener.errors import ConfigError, RequestRefused

ACTIONS = ("show", "diff", "log", "pull", "push", "revert", "keygen")
PUSHED = "pushed file"
"""What daemons call it, who do not know its name."""
TOKEN_MOST = 4096
"""Bytes that are read where a token should be."""
TEXT_MOST = 512 * 1024
"""Bytes of a corosync.conf that can be pushed: base64 of it must fit into a control frame."""


def arguments(parser: Parser) -> None:
    """The verbs below `config`."""
    verbs = parser.add_subparsers(dest="action", metavar="|".join(ACTIONS), required=True)
    show = verbs.add_parser("show", help="print the file, or a kept version of it")
    show.add_argument("version", metavar="VERSION", nargs="?", type=_version)
    diff = verbs.add_parser("diff", help="what the last change was; since VERSION; or what pushing FILE would change")
    diff.add_argument("other", metavar="FILE|VERSION", nargs="?")
    log = verbs.add_parser("log", help="the versions that are kept on this node")
    log.add_argument("--json", action="store_true", help="for programs; keys are stable")
    pull = verbs.add_parser("pull", help="fetch the newest file from the other nodes, before corosync starts")
    pull.add_argument("--from", dest="source", metavar="ADDRESS", default="", help="ask only this node")
    token = pull.add_mutually_exclusive_group()
    token.add_argument("--token", default="", help="fetch the key as well: - asks for what `corolistener node add` printed")
    token.add_argument("--token-file", metavar="FILE", help="the same, with the token from a file that only its owner can read")
    pull.add_argument("--force", action="store_true", help="with --from: even if older, or another cluster's")
    push = verbs.add_parser("push", help="replace the file on every node, as one transaction")
    push.add_argument("file", metavar="FILE", help="- reads stdin")
    revert = verbs.add_parser("revert", help="a kept version again, with a new version number, on every node")
    revert.add_argument("version", metavar="VERSION", type=_version)
    keygen = verbs.add_parser("keygen", help="make the key that nodes recognise each other by in `config pull`")
    keygen.add_argument("--force", action="store_true", help="replace the present key")


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no version: `corolistener config log` lists them")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """The exit status of the action."""
    actions = dict(zip(ACTIONS, (_show, _diff, _log, _pull, _push, _revert, _keygen), strict=True))
    return actions[args.action](args)


def _show(args: argparse.Namespace) -> int:
    from corolistener.effects.confstore import Versions

    versions = Versions(ask.load(args.config).cluster.corosync_conf)
    sys.stdout.buffer.write(versions.read() if args.version is None else versions.kept(args.version))
    return 0


def _diff(args: argparse.Namespace) -> int:
    from corolistener.coroconf.successor import diff
    from corolistener.effects.confstore import Versions

    path = ask.load(args.config).cluster.corosync_conf
    versions, other = Versions(path), args.other
    if other is None:
        kept = [version for version in versions.log() if not version.current]
        if not kept:
            raise RequestRefused("nothing-kept", f"no earlier version of {path} is kept here")
        other = str(kept[-1].id.version)
    if other.isascii() and other.isdigit():
        sides = (versions.kept(int(other)), versions.read(), f"{path}.{other}", path)
    else:
        sides = (versions.read(), _read(other), path, other)
    text = diff(*sides)
    print(text, end="\n" if text else "")
    return 0


def _log(args: argparse.Namespace) -> int:
    from corolistener.effects.confstore import Versions

    versions = Versions(ask.load(args.config).cluster.corosync_conf).log()
    if args.json:
        keys = ("version", "sha256", "path", "modified", "current")
        rows = [(v.id.version, v.id.sha256, str(v.path), v.modified, v.current) for v in versions]
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return 0
    for version in versions:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.modified))
        mark = "  in use" if version.current else ""
        print(f"{version.id.version:>8}  {when}  {version.id.sha256[:8]}  {version.path}{mark}")
    return 0


def _pull(args: argparse.Namespace) -> int:
    """0 also where nobody answers: nodes that start together have nobody to ask. With --from somebody must."""
    from corolistener.effects.keys import AUTHKEY
    from corolistener.effects.pull import Pull, Pulled, pull

    if (args.token or args.token_file or args.force) and not args.source:
        raise RequestRefused("bad-request", "--token and --force need --from: which node is to be believed?")
    token = _token(args)
    cluster = ask.load(args.config).cluster
    keys = (Path(cluster.key_file), AUTHKEY)
    wanted = Pull(Path(cluster.corosync_conf), keys, cluster.pull_port, args.source, token, args.force)
    found = pull(wanted)
    if args.token not in ("", "-"):
        complain("others can see a token on the command line in the list of processes: give --token - or --token-file FILE")
    for address, why in found.failures:
        complain(f"{address}: {why}")
    for warning in found.warnings:
        complain(warning)
    for path in found.keys:
        print(f"wrote {path}")
    print(render.pulled(found.result.value, found.local, found.chosen))
    return 1 if found.result is Pulled.REFUSED or (args.source and found.result is Pulled.UNANSWERED) else 0


def _token(args: argparse.Namespace) -> str:
    """The join token, if there is one. Raises ConfigError, RequestRefused."""
    if args.token_file:
        return _token_in(Path(args.token_file))
    if args.token != "-":
        return str(args.token)
    text = getpass.getpass("join token: ") if sys.stdin.isatty() else sys.stdin.readline(TOKEN_MOST)
    if not text.strip():
        raise RequestRefused("bad-request", "there is no token on standard input")
    return text.strip()


def _token_in(path: Path) -> str:
    from corolistener.effects import files

    try:
        data, look = files.read(path, TOKEN_MOST)
    except OSError as error:
        raise ConfigError(str(path), 0, error.strerror or str(error)) from None
    if look.st_mode & 0o077:
        raise ConfigError(str(path), 0, f"others may read this token (mode {look.st_mode & 0o7777:04o}): chmod 0600 {path}")
    return data.decode("ascii", "replace").strip()


def _push(args: argparse.Namespace) -> int:
    text = base64.b64encode(_read(args.file)).decode()
    try:
        return _change(args, "config-push", {"text": text})
    except RequestRefused as refused:
        named = refused.why.startswith(f"{PUSHED}:") and args.file != "-"
        raise RequestRefused(refused.code, args.file + refused.why.removeprefix(PUSHED) if named else refused.why) from None


def _revert(args: argparse.Namespace) -> int:
    return _change(args, "config-revert", {"version": args.version})


def _change(args: argparse.Namespace, verb: str, arguments: dict[str, object]) -> int:
    print(render.done(ask.request(args.config, verb, arguments, render.Progress())))
    return 0


def _keygen(args: argparse.Namespace) -> int:
    from corolistener.effects.keys import keygen

    path = ask.load(args.config).cluster.key_file
    keygen(Path(path), args.force)
    print(f"wrote {path}: copy it to every node, readable by root alone, and restart corolistener there")
    return 0


def _read(file: str) -> bytes:
    """A file of the administrator's, or stdin. Raises ConfigError."""
    try:
        if file == "-":
            text = sys.stdin.buffer.read(TEXT_MOST + 1)
        else:
            with open(file, "rb") as source:
                text = source.read(TEXT_MOST + 1)
    except OSError as error:
        raise ConfigError(file, 0, error.strerror or str(error)) from None
    if len(text) > TEXT_MOST:
        raise ConfigError(file, 0, f"longer than {TEXT_MOST} bytes: this is no corosync.conf")
    return text
