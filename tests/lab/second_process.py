"""Joins the daemons' group beside them, and says again whatever it hears there, until it is killed."""

import select

from corolistener.corosync.cpg import Cpg, Delivered
from corolistener.corosync.errors import TryAgain
from corolistener.daemon.membership import GROUP

OFTEN = 20
"""One of so many messages is repeated: it hears its own, too."""


def main() -> None:
    heard = 0
    with Cpg() as group:
        group.join(GROUP)
        print("joined", flush=True)
        while True:
            select.select([group.fileno()], [], [])
            for value in group.dispatch():
                heard += isinstance(value, Delivered)
                if isinstance(value, Delivered) and heard % OFTEN == 1:
                    try:
                        group.mcast(value.data)
                    except TryAgain:
                        pass


main()
