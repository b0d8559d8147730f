"""One node's directory with a corosync.conf in it, and the lane `config` on top."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from corolistener.core.actions import InstallConfig, PrepareConfig
from corolistener.core.events import Outcome
from corolistener.core.messages import Change
from corolistener.effects.confdist import ConfigFile
from corolistener.engine.conf import ConfigAction, config_id
from corolistener.ids import NodeId, Ticket

from .conffiles import names

T1 = Ticket(1)
ME = NodeId(2)
MEMBERS = (NodeId(1), NodeId(2))


async def no_reload(version: int) -> None:
    raise AssertionError("nobody asked for a reload")


@dataclass
class Here:
    """One node's directory, with version 5 in it."""

    directory: Path
    reload: Callable[[int], Awaitable[None]] = no_reload

    @property
    def path(self) -> Path:
        return self.directory / "corosync.conf"

    @property
    def file(self) -> ConfigFile:
        return ConfigFile(self.path, ME, self.reload)

    def do(self, action: ConfigAction) -> Outcome:
        return asyncio.run(self.file.perform(action))

    def prepare(self, change: Change, version: int = 6, members: tuple[NodeId, ...] = MEMBERS) -> Outcome:
        """Prepares against what is there, and looks that nothing was written."""
        before = {name: (self.directory / name).read_bytes() for name in names(self.directory)}
        outcome = self.do(PrepareConfig(T1, config_id(self.path.read_bytes()), version, change, members))
        assert {name: (self.directory / name).read_bytes() for name in names(self.directory)} == before
        return outcome

    def install(self, text: bytes) -> Outcome:
        return self.do(InstallConfig(T1, config_id(text), text))
