"""corosync.conf on a virtual disk; what the lane `config` does to it is said in engine/conf, as for real ones."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from corolistener.core.config import Cluster, ConfigId
from corolistener.core.events import Outcome, Result
from corolistener.coroconf.successor import validate_successor
from corolistener.engine import conf
from corolistener.errors import ConfigError, EffectError
from corolistener.ids import NodeId
from corolistener.sim.votequorum import FileRead, file_read

PATH = Path("/etc/corosync/corosync.conf")


@lru_cache(maxsize=512)
def cluster_of(text: bytes) -> Cluster:
    """The same as engine/conf's, remembered, because all nodes of a world mostly have the same file."""
    return conf.cluster_of(text, str(PATH))


@lru_cache(maxsize=512)
def read(text: bytes) -> FileRead:
    """What corosync takes from this file."""
    return file_read(text, str(PATH))


@dataclass(slots=True)
class Disk:
    """corosync.conf and its kept versions, in memory. `full`: nothing is written."""

    text: bytes
    old: dict[int, bytes] = field(default_factory=dict)
    full: bool = False

    @property
    def path(self) -> Path:
        return PATH

    def load(self) -> tuple[Cluster, bytes]:
        """The file's facts and bytes. Raises ConfigError."""
        return cluster_of(self.text), self.text

    def kept(self, version: int) -> bytes:
        """Raises ConfigError where that version is not kept."""
        if version not in self.old:
            raise ConfigError(f"{PATH}.{version}", 0, "no such version is kept here")
        return self.old[version]

    def install(self, config: ConfigId, text: bytes, me: NodeId) -> tuple[tuple[str, str], ...]:
        """Put `text` in place. Raises ConfigError where it may not follow the file there is, EffectError on a full disk."""
        if hashlib.sha256(text).hexdigest() != config.sha256:
            raise ConfigError(str(PATH), 0, f"the text received is not that of version {config}")
        if text == self.text:
            return (("present", "already"),)
        facts = validate_successor(self.text, text, me, str(PATH))
        if facts.config_version != config.version:
            raise ConfigError(str(PATH), 0, f"the text received has version {facts.config_version}")
        self._writable("install")
        self.old[cluster_of(self.text).id.version] = self.text
        self.text = text
        return ()

    def withdraw(self, config: ConfigId, previous: ConfigId) -> tuple[tuple[str, str], ...]:
        """Put the kept `previous` back in place of `config`. Raises ConfigError and EffectError."""
        found = cluster_of(self.text).id
        if found != config:
            return (("found", str(found)),)
        text = self.kept(previous.version)
        self._writable("withdraw")
        self.text = text
        return ()

    def _writable(self, action: str) -> None:
        if self.full:
            raise EffectError(action, f"{PATH}: No space left on device")


def carry_out(disk: Disk, me: NodeId, action: conf.ConfigAction) -> Outcome:
    """Do what an action of the lane `config` says, at this instant."""
    try:
        return conf.carry_out(disk, me, action)
    except ConfigError as error:
        return Outcome(Result.FAILED, str(error))
    except EffectError as error:
        return Outcome(Result.FAILED, error.why)
