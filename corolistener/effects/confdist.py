"""The lane `config`: corosync.conf is read, changed, put in place, taken back and reloaded, as the core says.

What the actions mean is said in engine/conf. File work happens in a thread, so that a slow disk holds up nothing else.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from corolistener.core.actions import ReloadConfig
from corolistener.core.config import Cluster
from corolistener.core.events import Outcome, Result
from corolistener.corosync.errors import CsError
from corolistener.effects.confstore import Versions
from corolistener.effects.detached import detached
from corolistener.engine.conf import ConfigAction, carry_out
from corolistener.errors import ConfigError, CorolistenerError, EffectError
from corolistener.ids import NodeId


class ConfigFile:
    """This node's corosync.conf behind the port `config`.

    `reload` asks corosync to re-read the file on every node, and waits until this one runs the version given; what it
    raises of CorolistenerError, CsError and OSError becomes EffectError.
    """

    def __init__(self, path: Path | str, me: NodeId, reload: Callable[[int], Awaitable[None]]) -> None:
        self.versions = Versions(path)
        self._me = me
        self._reload = reload

    def load(self) -> tuple[Cluster, bytes]:
        """The file's facts and bytes. Raises ConfigError."""
        return self.versions.load()

    async def perform(self, action: ConfigAction) -> Outcome:
        """Does what the action says. What a file rules out is Outcome(FAILED, why), what the world refuses EffectError.

        DONE says in `cluster` which file is in place now (not after a reload, which changes none).
        A cancelled perform goes on in its thread: the next action waits for it there, at the directory's lock.
        """
        try:
            outcome = await detached(lambda: carry_out(self.versions, self._me, action))
        except ConfigError as error:
            return Outcome(Result.FAILED, why=str(error))
        if isinstance(action, ReloadConfig) and outcome.result is Result.DONE:
            return await self._reloaded(action)
        return outcome

    async def _reloaded(self, action: ReloadConfig) -> Outcome:
        try:
            await self._reload(action.config.version)
        except CsError as error:
            raise EffectError("reload", f"{error}; its log says why") from error
        except (CorolistenerError, OSError) as error:
            raise EffectError("reload", str(error)) from error
        return Outcome(Result.DONE)
