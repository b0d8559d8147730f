"""Joins the daemons' group and multicasts what is no message: noise, and real messages cut short or with flipped bytes."""

import random
import sys

from corolistener.core.config import ConfigId
from corolistener.core.messages import Heartbeat, Offer
from corolistener.core.view import RingId
from corolistener.corosync.cpg import Cpg
from corolistener.corosync.errors import TryAgain
from corolistener.daemon.membership import GROUP
from corolistener.ids import NodeId
from corolistener.wire.ring import encode


def junk(dice: random.Random) -> bytes:
    real = encode(dice.choice((Heartbeat(RingId(9, NodeId(2)), 7), Offer(ConfigId(9, "00"), ConfigId(1, "11"), "pushed", ()))))
    match dice.randrange(3):
        case 0:
            return dice.randbytes(dice.randrange(200))
        case 1:
            return real[: dice.randrange(len(real))]
    broken = bytearray(real)
    broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
    broken[3] = dice.randrange(100, 256)
    return bytes(broken)


def main(count: int) -> None:
    dice = random.Random(4)
    with Cpg() as group:
        group.join(GROUP)
        for _ in range(count):
            message = junk(dice)
            for _ in range(1000):
                try:
                    group.mcast(message)
                except TryAgain:
                    group.dispatch()
                else:
                    break


main(int(sys.argv[1]))
