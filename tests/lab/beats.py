"""A service that testifies by itself where and when it executes, whatever a daemon or a hook believes.

Each process of it writes its number and the wall clock (one clock for all nodes of the lab) many times a second. Whoever reads
the files of all nodes sees whether two of them executed at the same time. A node that is started anew may use a number again,
so this is not for those stories.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from lab.node import Node

PATH = "/var/log/beats"
HOOK = """\
#!/bin/bash
# A service of processes in a session of their own, that ignore SIGTERM. Its stop takes STOP_S seconds.
pid=/run/lab/service.pid log=/var/log/service.log beats=/var/log/beats
running() { [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
case $1 in
    start)
        running && exit 0
        setsid -f bash -c '
            trap "" TERM; echo $$ >"$0.new"; mv "$0.new" "$0"
            while :; do echo "$$ $(date +%s%N)"; sleep 0.05; done >>"$1"' "$pid" "$beats" </dev/null >/dev/null 2>&1
        until running; do sleep 0.01; done
        echo "$(date +%s%N) start" >>"$log";;
    stop)
        running || exit 0
        sleep STOP_S
        kill -KILL "$(cat "$pid")"
        while running; do sleep 0.01; done
        echo "$(date +%s%N) stop" >>"$log";;
    status)
        running || exit 3;;
    *)
        echo "usage: service start|stop|status" >&2
        exit 2;;
esac
"""


class Execution(NamedTuple):
    """One process of the service: from its first beat to its newest, wall clock in ns."""

    node: int
    pid: int
    first: int
    last: int


def install(nodes: Sequence[Node], stop_s: float = 0) -> None:
    """Put this service in the place of the lab's on nodes whose daemon has not started yet."""
    for node in nodes:
        hook = node.path("/etc/corolistener/service")
        hook.write_text(HOOK.replace("STOP_S", str(stop_s)))
        hook.chmod(0o755)


def executions(nodes: Sequence[Node]) -> list[Execution]:
    """All there have been, oldest first."""
    found = dict[tuple[int, int], list[int]]()
    for node in nodes:
        path = node.path(PATH)
        for line in path.read_text().splitlines() if path.exists() else ():
            pid, _, when = line.partition(" ")
            if when.isdigit():  # the last line may be half written
                found.setdefault((node.nodeid, int(pid)), []).append(int(when))
    all_of_them = [Execution(node, pid, min(beats), max(beats)) for (node, pid), beats in found.items()]
    return sorted(all_of_them, key=lambda each: each.first)


def one_after_the_other(nodes: Sequence[Node]) -> list[int]:
    """The nodes on which it executed, in order, without repetitions. AssertionError if it ever did so on two at once."""
    runs = executions(nodes)
    for before, after in combinations(runs, 2):
        assert before.node == after.node or before.last < after.first, f"the service executed on two nodes: {runs}"
    return [run.node for number, run in enumerate(runs) if number == 0 or runs[number - 1].node != run.node]
