"""Says why corosync does not stay here, where the reason is a corosync.conf that the others have replaced.

corosync ends when it meets a cluster with a higher config_version. It says so in its own log alone, and not what to do.
"""

import asyncio
import logging
from pathlib import Path

from corolistener.core.view import NO_RING
from corolistener.daemon.node import Node
from corolistener.effects.detached import detached
from corolistener.effects.keys import AUTHKEY
from corolistener.effects.pull import Pull, PullResult, compare
from corolistener.errors import CorolistenerError

LOOK_S, ASK_AGAIN_S, TELL_AGAIN_S = 2.0, 15.0, 60.0
WAY_OUT = "corosync ends when it meets a newer corosync.conf: `corolistener config pull`, then `systemctl start corosync`"


async def tell(node: Node) -> None:
    """While corosync cannot be reached, ask the other nodes for their files, and note a newer one. Ends by cancellation."""
    while True:
        await asyncio.sleep(LOOK_S)
        if node.status().ring == NO_RING:
            behind = await detached(lambda: _compared(node))
            if behind is None or behind.chosen is None or behind.local is None:
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            who = next(answer.node for answer in behind.answers if answer.id == behind.chosen)
            versions = {"version": behind.local.version, "newest": behind.chosen.version}
            node.log.say(logging.WARNING, "config-behind", **versions, node=who, why=WAY_OUT)
            await asyncio.sleep(TELL_AGAIN_S)


def _compared(node: Node) -> PullResult | None:
    """None where nobody can be asked."""
    cluster = node.settings.cluster
    keys = (Path(cluster.key_file), AUTHKEY)
    try:
        return compare(Pull(Path(cluster.corosync_conf), keys, cluster.pull_port, me=node.config.me))
    except CorolistenerError:
        return None
