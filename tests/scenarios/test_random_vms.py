"""Random runs with VMs: users, hypervisors, watchdogs, fence agents and the ledger's disk have their misfortunes too."""

import os

from .runs import passes

ALWAYS = range(15)
LARGE = range(3)
"""Of 3 to 9 nodes and up to 60 VMs."""
FRESH = 10
VMS = 8


def test_always() -> None:
    for seed in ALWAYS:
        passes(seed, VMS)


def test_large() -> None:
    for seed in LARGE:
        passes(seed, 60, (3, 9))


def test_fresh() -> None:
    """Never the same: the seed is in the message, and is all that is needed to play it again."""
    first = int.from_bytes(os.urandom(4), "big")
    print(f"seeds {first} to {first + FRESH - 1}")
    for seed in range(first, first + FRESH):
        passes(seed, VMS)
