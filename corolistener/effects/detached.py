"""Work that may hang, in a thread of its own.

asyncio.to_thread shares few threads among all its users, so that one neighbour that hangs (a name server, a disk) stops
the others, and it keeps the process from ending. Here each call has its own thread, and nobody waits for it at exit.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def detached(function: Callable[[], T]) -> T:
    """The function's result, or what it raised. Cancelled, it goes on and its result is dropped."""
    result: concurrent.futures.Future[T] = concurrent.futures.Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - not handled here, but carried to whoever awaits it
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(result)
