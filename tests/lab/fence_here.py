"""Run on a node of the lab: the fence effect as the daemon there would have it, for one order. `fence_here.py off|test NODEID`

Prints as JSON what came of it: [result, words] of `off`, the list of what each agent said of `test`, and in both cases what was
told to the log. It waits for what nobody else waits for: switching on again.
"""

import asyncio
import json
import sys

from corolistener.core.actions import Fence, Until
from corolistener.core.view import RingId
from corolistener.daemon import settings
from corolistener.daemon.links import linked
from corolistener.daemon.main import whoami
from corolistener.effects.fence import FenceAgents
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket

MOST_S = 120


async def main(order: str, node: NodeId) -> None:
    given = settings.load()
    me, cluster = whoami(given)
    told: list[tuple[str, dict[str, str]]] = []
    names = {entry.id: entry.name for entry in cluster.nodes}
    effect = FenceAgents(given.agents, names, me, linked, lambda code, fields: told.append((code, dict(fields))))
    came: object
    try:
        if order == "test":
            came = await effect.test(node)
        else:
            outcome = await effect.perform(Fence(Ticket(1), node, "", Until(RingId(1, me), Instant(1 << 40))))
            came = [outcome.result.value, outcome.why]
    except EffectError as error:
        came = ["failed", error.why]
    for _ in range(MOST_S * 10):
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.1)
    await effect.close()
    print(json.dumps([came, told]))


asyncio.run(main(sys.argv[1], NodeId(int(sys.argv[2]))))
