"""A unit of a guest's systemd that does with the watchdog what the daemon does, in place of the daemon.

    python -m lab.guest_unit

It adds a line to TOLD for everything that it does. The unit is conf/corolistener.service, with this as its program.
"""

import asyncio
import functools
import signal
from pathlib import Path

from corolistener.core.actions import DisarmWatchdog, FeedWatchdog
from corolistener.daemon.sdnotify import Notifier, take_kept
from corolistener.effects.watchdog import Mode, Watchdog
from corolistener.effects.watchdog_device import DeviceFile
from corolistener.ids import Ticket

TOLD, TIMEOUT = Path("/run/told"), Path("/run/timeout_ms")
EVERY_S = 0.3


def tell(*words: object) -> None:
    with TOLD.open("a") as file:
        print(*words, file=file)


async def life() -> None:
    """From open to disarmed; or, where systemd restarts the unit, to an end that leaves everything to the next process."""
    kept = take_kept(("watchdog",)).get("watchdog")
    notifier, asked = Notifier(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    dog = Watchdog(
        Mode.REQUIRED,
        DeviceFile(),
        int(TIMEOUT.read_text()),  # noqa: ASYNC240 - nothing else runs here
        kept=kept,
        keep=functools.partial(notifier.keep, "watchdog"),
        forget=functools.partial(notifier.forget, "watchdog"),
    )
    timeout_ms = await dog.open()
    tell("open", timeout_ms, *(f"{name}={word}" for name, word in dog.found))
    notifier.ready()
    while not asked.is_set():
        await dog.perform(FeedWatchdog(Ticket(1), None))
        tell("fed")
        notifier.feed()
        await asyncio.sleep(EVERY_S)
    from corolistener.daemon.main import restart_job  # the whole daemon: a slow guest reads it twice, not four times

    if await asyncio.to_thread(restart_job):
        tell("left to the next")
        return
    await dog.perform(DisarmWatchdog(Ticket(2)))
    tell("disarmed")


if __name__ == "__main__":
    asyncio.run(life())
