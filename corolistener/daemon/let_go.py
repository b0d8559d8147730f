"""What a daemon of this node held is let go when no daemon will come back to do that (safety.md, rule 4).

It needs no settings: the daemon has written down by what names to find everything (effects/held). systemd calls it after each
end of the daemon (ExecStopPost=). If a process follows that takes all of it over, it does nothing.
"""

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from corolistener.core.actions import DropAddress, KillService, Lock, Reason, ReleaseLock, StopService
from corolistener.core.config import CloudAddress
from corolistener.core.events import Outcome, Result
from corolistener.core.messages import Vacated
from corolistener.corosync import cpg
from corolistener.corosync.errors import CsError
from corolistener.daemon import last_good
from corolistener.daemon.membership import GROUP
from corolistener.effects.addresses.cloud import Addresses
from corolistener.effects.held import NAME, Held, left
from corolistener.effects.lockfiles import LockFiles
from corolistener.effects.service import Service
from corolistener.errors import EffectError
from corolistener.ids import Ticket
from corolistener.wire import ring as wire

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNIT = "corolistener.service"
NEVER_AGAIN = ("2", "78")
"""Exit statuses after which systemd does not start the daemon again (RestartPreventExitStatus=)."""
SAYING_S = 5.0
NO_TICKET = Ticket(0)


@dataclass(frozen=True, slots=True)
class Programs:
    """The service as the daemon knew it."""

    hook: str
    unit: str | None
    moved: str | None = None


def run(path: str | None, after_stop: bool) -> int:
    """0 where nothing is held any more, or the next process takes it over; 1 where something could not be let go."""
    directory = last_good.run_directory(path)
    held = left(directory)
    if held is None:
        _say("nothing is left to let go, or a daemon runs that holds it")
        return 0
    if after_stop and not ended_for_good(os.environ, jobs(), held.invocation):
        _say("the next process takes everything over")
        return 0
    return 0 if let_go(directory) else 1


def ended_for_good(environment: Mapping[str, str], waiting: Mapping[str, str], took_over: str) -> bool:
    """No process will come that takes over what is held; by what systemd tells (systemd.exec(5), "SERVICE_RESULT").

    `waiting`: systemd's jobs by unit; `took_over`: the run that wrote down what is held. A run that fails before it could do
    that is the second one to fail: whatever keeps it from starting will keep the next one from it. One that was told to end
    before it could do that has not failed, but nobody follows a stop.
    """
    job, status = waiting.get(UNIT, ""), environment.get("EXIT_STATUS", "")
    clean = environment.get("SERVICE_RESULT") == "success"
    took = environment.get("INVOCATION_ID", "") == took_over
    if job == "restart" and (clean or took):
        return False
    if job == "stop" or environment.get("SERVICE_RESULT") == "start-limit-hit":
        return not (clean and took)
    if environment.get("EXIT_CODE") == "exited" and status in NEVER_AGAIN:
        return True
    return not (clean or took)


def jobs() -> dict[str, str]:
    """What systemd is about to do, by unit; nothing where it does not say."""
    words = ["systemctl", "list-jobs", "--no-legend", "--plain"]
    try:
        listed = subprocess.run(words, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {line[1]: line[2] for line in map(str.split, listed.stdout.splitlines()) if len(line) > 2}


def let_go(directory: str) -> bool:
    """Let go of everything that the file in this directory names, and tell the others; True where nothing is left."""
    held = left(directory)
    if held is None:
        return True
    gone = held.boot != BOOT_ID.read_text(encoding="ascii").strip() or asyncio.run(_everything(held))
    if gone:
        _tell_others()
        Path(directory, NAME).unlink(missing_ok=True)
    return gone


async def _everything(held: Held) -> bool:
    """The service has as long to stop as a daemon without the lease gives it."""
    found = await asyncio.gather(_service(held), _locks(held), _address(held), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            _say(f"not let go: {each}")
    return all(each is True for each in found)


async def _service(held: Held) -> bool:
    service = Service(Programs(held.hook, held.unit), held.corosync_conf, held.run)
    try:
        outcome = Outcome(Result.TIMED_OUT, "no end in time")
        try:
            async with asyncio.timeout(held.orderly_ms / 1000):
                outcome = await service.perform(StopService(NO_TICKET, Reason.LEAVING))
        except (TimeoutError, EffectError) as error:
            outcome = Outcome(Result.FAILED, str(error) or outcome.why)
        if outcome.result is not Result.DONE:
            _say(f"the service is killed: {outcome.why}")
            outcome = await service.perform(KillService(NO_TICKET, Reason.LEAVING))
        return _ended("service", outcome)
    finally:
        await service.close()


async def _locks(held: Held) -> bool:
    locks = LockFiles(held.locks, held.node, held.boot)
    try:
        return all([_ended(lock.value, await locks.perform(ReleaseLock(NO_TICKET, lock, Reason.LEAVING))) for lock in Lock])
    finally:
        await locks.close()


async def _address(held: Held) -> bool:
    if not held.address:
        return True
    cloud = CloudAddress(held.address, held.prefix, held.device)
    addresses = Addresses(cloud, lambda event: None)
    await addresses.open()
    try:
        return _ended("address", await addresses.perform(DropAddress(NO_TICKET, cloud, Reason.LEAVING)))
    finally:
        await addresses.close()


def _ended(what: str, outcome: Outcome) -> bool:
    done = outcome.result is Result.DONE
    _say(f"{what}: let go" if done else f"{what}: not let go: {outcome.why}")
    return done


def _tell_others() -> None:
    """So that they need not wait for a proof. Without corosync, or beside a daemon, nobody is told."""
    try:
        _say_vacated()
    except (CsError, OSError, TimeoutError) as error:
        _say(f"the others are not told: {error}")


def _say_vacated() -> None:
    handle = cpg.Cpg()
    try:
        me = handle.local_nodeid()
        if any(process.node == me for process in handle.membership(GROUP)):
            return
        handle.join(GROUP)
        _await(handle, lambda value: isinstance(value, cpg.GroupChanged))
        handle.mcast(wire.encode(Vacated(os.getpid())))
        _await(handle, lambda value: isinstance(value, cpg.Delivered) and value.node == me and value.pid == os.getpid())
    finally:
        handle.close()


def _await(handle: cpg.Cpg, found: Callable[[object], bool]) -> None:
    end = time.monotonic() + SAYING_S
    while time.monotonic() < end:
        if any(map(found, handle.dispatch())):
            return
        select.select([handle], [], [], 0.1)
    raise TimeoutError("corosync does not answer")


def _say(text: str) -> None:
    sys.stderr.write(f"let-go: {text}\n")
    sys.stderr.flush()
