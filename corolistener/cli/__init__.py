"""The command line: one file per verb, imported when the verb is chosen. Here is the door and the short way to `-l`."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the program with these words, or those of the process; returns its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if "-l" in words or "--list" in words:
        from corolistener.cli import listing

        wanted = listing.wanted(words)
        if wanted is not None:
            status = listing.run(*wanted)
            return status if argv is not None else listing.leave(status)
    from corolistener.cli.verbs import run

    return run(words)
