"""Which members' ledgers are no witnesses of what was committed, as their Hellos show it; core/witness has the argument."""

from collections import Counter
from collections.abc import Mapping

from corolistener.core.ledger import Version
from corolistener.core.messages import Hello
from corolistener.ids import NodeId

NOTHING = Version()


def doubted(hellos: Mapping[NodeId, Hello]) -> dict[NodeId, str]:
    """The members that are no witnesses, and why. Pure: every member concludes the same from the same Hellos."""
    least = min(hello.ledger for hello in hellos.values())
    aliens = strangers({n: hello.owner for n, hello in hellos.items()}, any(hello.owned for hello in hellos.values()))
    found = {node: "its file was restored or copied" for node, hello in hellos.items() if hello.doubted}
    found |= {node: f"its ledger is of another cluster ({owner})" for node, owner in aliens.items()}
    for witness, hello in sorted(hellos.items()):
        for version, nodes in hello.heard:
            if version <= least or witness in aliens:
                continue
            for node in nodes:
                if node in hellos and node not in found and NOTHING < hellos[node].ledger < version:
                    found[node] = f"it has version {hellos[node].ledger}, and node {witness} remembers its version {version}"
    return found


def strangers(owners: Mapping[NodeId, str], owned: bool) -> dict[NodeId, str]:
    """The members whose ledgers are of another cluster than those of most members, and which one; '' owns nothing yet.

    If no cluster has most, all are strangers to each other: nobody can say which ledger is the right one. `owned`: one of the
    ledgers has had a change. Before any change nobody is a stranger: one cluster may have begun its first chapter twice, if the
    few nodes that stored it were lost.
    """
    if not owned:
        return {}
    counted = Counter(owner for owner in owners.values() if owner).most_common(2)
    most = "" if len(counted) == 2 and counted[0][1] == counted[1][1] else counted[0][0] if counted else ""
    return {node: owner for node, owner in owners.items() if owner not in ("", most)}
