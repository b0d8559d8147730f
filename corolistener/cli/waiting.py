"""How verbs wait for the end of long work: they look at what the daemon knows, and show what changes.

The work is the cluster's. Whoever stops waiting stops nothing.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from corolistener.cli import ask
from corolistener.cli.verbs import complain
from corolistener.client import Client

POLL_S = 0.25
LIMIT_S = 300.0
EX_NOT_YET = 3


class Seen(NamedTuple):
    """How things are, in one line; with an exit status when that is the end."""

    line: str
    status: int | None = None


Look = Callable[[Client], Seen]


def arguments(parser: argparse.ArgumentParser) -> None:
    """--wait, --no-wait, --timeout"""
    parser.add_argument("--wait", action="store_true", default=True, help="wait until it is done (usual)")
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="return as soon as it is begun")
    parser.add_argument(
        "--timeout", type=_seconds, default=LIMIT_S, metavar="S", help=f"seconds to wait at most; {LIMIT_S:g} if left out"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"expected seconds, found {text!r}")
    return value


def wait(args: argparse.Namespace, look: Look, hint: str) -> int:
    """Look until the end is seen, `args.timeout` seconds at most; the exit status. Raises ClientError where there is nobody
    to ask any more. `hint` says what shows how things are later."""
    if not args.wait:
        return 0
    ends, progress, seen = time.monotonic() + args.timeout, Progress(), Seen("it is begun")
    try:
        with ask.reader(args.config) as daemon:
            while True:
                seen = look(daemon)
                if seen.status is not None:
                    return _ended(progress, seen)
                progress.tell(seen.line)
                if time.monotonic() >= ends:
                    break
                time.sleep(max(0.0, min(POLL_S, ends - time.monotonic())))
    except KeyboardInterrupt:
        progress.end()
        complain(f"nobody waits any longer, but it goes on: {seen.line}; {hint}")
        return 130
    finally:
        progress.end()
    complain(f"not done after {args.timeout:g} s, it goes on: {seen.line}; {hint}")
    return EX_NOT_YET


def _ended(progress: "Progress", seen: Seen) -> int:
    assert seen.status is not None
    if seen.status == 0:
        progress.tell(seen.line)
    else:
        progress.end()
        complain(seen.line)
    return seen.status


class Progress:
    """Shows lines as they change: on a terminal one in place of the other, else one below the other."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._last = ""

    def tell(self, line: str) -> None:
        """Show a line, if it is another one."""
        if line == self._last:
            return
        self._last = line
        print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", flush=True)

    def end(self) -> None:
        """What follows begins on a line of its own; also twice."""
        if self._terminal and self._last:
            print(flush=True)
        self._last = ""
