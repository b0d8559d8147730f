"""The effects' coroutines behind the engine's port: whatever happens inside becomes exactly one outcome."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from corolistener.core.actions import TicketedAction
from corolistener.core.events import Outcome, Result
from corolistener.daemon.notes import Log
from corolistener.engine.ports import Cancel, Finish
from corolistener.errors import EffectError

Perform = Callable[[Any], Awaitable[Outcome]]


class AsyncEffect:
    """An effect of one lane. `kick` runs the pump after an outcome was posted."""

    def __init__(self, perform: Perform, kick: Callable[[], None], log: Log) -> None:
        self._perform, self._kick, self._log = perform, kick, log
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, action: TicketedAction, finish: Finish) -> Cancel:
        task = asyncio.get_running_loop().create_task(self._run(action, finish))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def cancel() -> None:
            task.cancel()

        return cancel

    async def _run(self, action: TicketedAction, finish: Finish) -> None:
        try:
            outcome = await self._perform(action)
        except EffectError as error:
            outcome = Outcome(Result.FAILED, error.why)
        except Exception as error:  # noqa: BLE001 - the lane runner: what an effect did not expect must not end the daemon
            self._log.say(logging.ERROR, "bug", action=type(action).__name__, trace=traceback.format_exc())
            outcome = Outcome(Result.FAILED, f"{type(error).__name__}: {error}")
        finish(outcome)
        self._kick()
