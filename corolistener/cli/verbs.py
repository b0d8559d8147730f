"""The words of the command line: which verbs there are, and what is said to a word that is none.

An error is one line on stderr. Exit status: 0 done, 1 refused or failed, 2 not understood, 3 not done yet when the time to
wait was over, 78 (EX_CONFIG) a file of the administrator's cannot be used.
"""

import argparse
import difflib
import errno
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import corolistener
from corolistener.cli import listing
from corolistener.cli.place import PATH
from corolistener.errors import ConfigError, CorolistenerError

VERBS = {
    "run": "be the daemon, in the foreground (what systemd starts)",
    "status": "what this node's daemon knows and does",
    "check": "look for mistakes: settings, corosync.conf, this machine, the other nodes",
    "config": "show, compare, pull, push or revert corosync.conf; make the shared key",
    "node": "list, add, edit or remove nodes of the cluster",
    "vm": "list, show, start, stop, migrate, relocate VMs; set what is wanted of one",
    "drain": "move every VM off a node, live, and keep it in maintenance",
    "maintenance": "give a node no VMs (on), or as any other again (off)",
    "plan": "show where the VMs of nodes would go if these were lost: --lose NODE,...",
    "fence": "switch a lost node off, ask its fence agents, or say that it runs nothing",
    "hooks": "keep libvirt from starting VMs where they are not placed: install, status",
    "panic": "stop every decision about VMs, in the whole cluster: --reason TEXT",
    "recover": "end a panic",
    "replay": "show what the core decided, and decides again, from a saved journal",
    "simulate": "play a story or a seed in a virtual cluster, and show what its nodes say and do",
    "let-go": "let go of what a daemon held that has ended for good: address, locks, service",
    "prepare-restart": "the daemon's next end is no farewell: everything stays for the next process",
}
"""Each is a module of this package (with _ for -) that has arguments(parser) and run(args) -> exit status."""
EX_USAGE, EX_CONFIG = 2, 78
FULL = (errno.ENOSPC, errno.EDQUOT)
PROGRAM = "corolistener"


class Parser(argparse.ArgumentParser):
    """argparse, but what it does not understand costs one line, with the nearest word there is."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, **options)
        self.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=f"settings, instead of {PATH}")

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        complain(message)
        sys.exit(EX_USAGE)

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """parse_args, but with a guess for an unknown option."""
        args, unknown = self.parse_known_args(words)
        if unknown:
            self.error(f"unknown {_kind(unknown[0])} {unknown[0]!r}" + nearest(unknown[0], self.options()))
        return args

    def options(self) -> list[str]:
        """Every option of this parser and of the verbs below it."""
        found = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [option for parser in action.choices.values() for option in parser.options()]
        return sorted(set(found))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = "verb" if isinstance(action, argparse._SubParsersAction) else "/".join(action.option_strings)
            self.error(f"unknown {what} {value!r}" + (nearest(str(value), known) or f"; one of {', '.join(known)}"))


def redaction(parser: Parser) -> None:
    """--redact, which is the default, and --no-redact."""
    text = "leave out passwords, tokens and definitions of VMs (the default); --no-redact shows what is there"
    parser.add_argument("--redact", action=argparse.BooleanOptionalAction, default=True, help=text)


def _kind(word: str) -> str:
    return "option" if word.startswith("-") else "word"


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?", or nothing where no word is near."""
    near = difflib.get_close_matches(word.partition("=")[0], list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def complain(message: object) -> None:
    """One line on stderr."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)


def run(words: Sequence[str]) -> int:
    """Carry out the verb in `words`; returns the exit status, or raises SystemExit where argparse says enough."""
    return guarded(lambda: _understood(parser().parse_all(words)))


def _understood(args: argparse.Namespace) -> int:
    if args.list:
        return _list(args)
    if args.json:
        complain("--json belongs to -l, or behind a verb")
        return EX_USAGE
    if args.verb is None:
        complain(f"a verb is missing: one of {', '.join(VERBS)}; --help says more")
        return EX_USAGE
    if args.verb not in VERBS:
        complain(f"unknown verb {args.verb!r}" + (nearest(args.verb, VERBS) or f"; one of {', '.join(VERBS)}"))
        return EX_USAGE
    return _verb(args.verb, args.rest, args.config)


def _list(args: argparse.Namespace) -> int:
    if args.verb is not None:
        complain(f"-l takes no verb: {args.verb!r}")
        return EX_USAGE
    return listing.run(args.json, args.config)


def _verb(verb: str, words: Sequence[str], config: str | None) -> int:
    module = importlib.import_module(f"corolistener.cli.{verb.replace('-', '_')}")
    own = Parser(f"{PROGRAM} {verb}", description=str(module.__doc__).partition("\n\n")[0])
    own.set_defaults(config=config)
    module.arguments(own)
    status: int = module.run(own.parse_all(words))
    return status


def parser() -> Parser:
    """The parser of what stands before the verb."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{width}}  {text}" for verb, text in VERBS.items())
    own = Parser(
        PROGRAM,
        usage=f"{PROGRAM} [--config FILE] VERB ...\n       {PROGRAM} [--config FILE] -l [--json]",
        epilog=f"verbs (each knows --help):\n{verbs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.set_defaults(config=None)
    own.add_argument("-l", "--list", action="store_true", help="list the nodes, the master and the priorities")
    own.add_argument("--json", action="store_true", help="with -l: the same and more, for programs")
    own.add_argument("--version", action="version", version=f"{PROGRAM} {corolistener.__version__}")
    own.add_argument("verb", nargs="?", metavar="VERB", help=argparse.SUPPRESS)
    own.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return own


def guarded(verb: Callable[[], int]) -> int:
    """The verb's exit status, with the errors of this package said in one line."""
    try:
        try:
            return verb()
        finally:
            print(end="", flush=True)  # here: what is wrong with stdout is beyond words when the interpreter ends
    except ConfigError as error:
        complain(error)
        return EX_CONFIG
    except CorolistenerError as error:
        complain(error)
        return 1
    except BrokenPipeError:  # the reader has seen enough
        listing.discard_output()
        return 1
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise  # ours; what the world does to files is among the errors above
        listing.discard_output()
        complain(f"standard output: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        return 130
