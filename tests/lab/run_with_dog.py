"""The daemon on a lab's node whose watchdog is the lab's: `corolistener --config FILE run`, with another device."""

import sys

from corolistener.cli.verbs import guarded
from corolistener.daemon.main import run
from corolistener.effects import virtual
from lab.dog import DogLine

if __name__ == "__main__":
    virtual.virtual = lambda: False  # the lab's watchdog is outside of the machine, whatever machine the lab runs on
    sys.exit(guarded(lambda: run(sys.argv[sys.argv.index("--config") + 1], DogLine())))
