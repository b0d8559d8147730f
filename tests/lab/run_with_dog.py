"""The daemon on a lab's node whose watchdog is the lab's: `corolistener --config FILE run`, with another device."""

import sys

from corolistener.cli.verbs import guarded
from corolistener.daemon.main import run
from lab.dog import DogLine

if __name__ == "__main__":
    sys.exit(guarded(lambda: run(sys.argv[sys.argv.index("--config") + 1], DogLine())))
