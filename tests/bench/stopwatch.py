"""Times whole processes, one command after the other and again, so that whatever else the machine does hits all alike.

They run at a real-time priority, so that a busy machine hardly matters: at an ordinary one the slower program waits more
often, which says nothing of the programs.

A program of its own (stdlib alone) because it runs on a node: COUNT, then commands separated by a word `--`. It prints a JSON
list with, per command, the wall times in ms.
"""

import json
import os
import sys
import time


def once(argv: list[str], quiet: list[tuple[int, int, str, int, int]]) -> float:
    """Milliseconds from spawn to reaped."""
    begin = time.perf_counter()
    _, status = os.waitpid(os.posix_spawnp(argv[0], argv, os.environ, file_actions=quiet), 0)
    took = (time.perf_counter() - begin) * 1000
    if status:
        sys.exit(f"{' '.join(argv)}: exit status {os.waitstatus_to_exitcode(status)}")
    return took


def main() -> None:
    """The program."""
    count = int(sys.argv[1])
    commands: list[list[str]] = [[]]
    for word in sys.argv[2:]:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_WRONLY, 0) for fd in (1, 2)]
    for command in commands:
        once(command, quiet)  # what comes from the disk the first time is not what is to be known
    print(json.dumps(list(zip(*[[once(command, quiet) for command in commands] for _ in range(count)], strict=True))))


if __name__ == "__main__":
    main()
