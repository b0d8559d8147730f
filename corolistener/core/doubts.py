"""Which members' ledgers went back, as their Hellos show it; core/witness has the argument."""

from collections.abc import Mapping

from corolistener.core.ledger import Version
from corolistener.core.messages import Hello
from corolistener.ids import NodeId

NOTHING = Version()


def doubted(hellos: Mapping[NodeId, Hello]) -> dict[NodeId, str]:
    """The members that are no witnesses, and why. Pure: every member concludes the same from the same Hellos."""
    least = min(hello.ledger for hello in hellos.values())
    found = {node: "its file was restored or copied" for node, hello in hellos.items() if hello.doubted}
    for witness, hello in sorted(hellos.items()):
        for version, nodes in hello.heard:
            if version <= least:
                continue
            for node in nodes:
                if node in hellos and node not in found and NOTHING < hellos[node].ledger < version:
                    found[node] = f"it has version {hellos[node].ledger}, and node {witness} remembers its version {version}"
    return found
