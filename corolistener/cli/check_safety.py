"""What `check` looks at so that nobody but root rules this node: whose the files are that root reads, runs and writes."""

from collections.abc import Iterator
from pathlib import Path

import corolistener
from corolistener.cli.check_vms import HOOK
from corolistener.daemon.settings import Settings
from corolistener.effects import trust

OK, WARNING, ERROR = "ok", "warning", "error"
Said = tuple[str, str, str, str]
"""Level, topic, text, and the file it is about, if any."""


def look(settings: Settings) -> Iterator[Said]:
    """Everything there is to say of one node."""
    yield from _programs(settings)


def _programs(settings: Settings) -> Iterator[Said]:
    """What the daemon, corosync and libvirt run or read as root. The settings themselves are judged when they are read."""
    package = Path(corolistener.__file__).resolve().parent
    problems = trust.objections([*settings.programs(), HOOK, str(package), settings.cluster.corosync_conf])
    for problem in problems:
        yield ERROR, "programs", problem.why, problem.path
    if not problems:
        yield OK, "programs", "only root can change what the daemon reads and runs", ""
