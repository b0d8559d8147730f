"""The corosync.conf of a scenario's cluster, and worlds made of it."""

from collections.abc import Collection, Sequence

from corolistener.ids import NodeId
from corolistener.sim.votequorum import QuorumOptions
from corolistener.sim.world import Options, World

PLAIN = QuorumOptions()


def text(
    priorities: Sequence[int | None],
    version: int = 1,
    replication: Sequence[str] = (),
    two_node: bool = False,
    quorum: QuorumOptions = PLAIN,
    later: Collection[NodeId] = (),
) -> bytes:
    """A file in the seed's manner, as corosync 3 takes it. Nodes are 1, 2 …; a priority of None is not written. Nodes that are
    to come `later` are not listed."""
    nodes = ""
    for node, priority in enumerate(priorities, 1):
        if node in later:
            continue
        nodes += f"\tnode {{\n\t\tring0_addr: 172.31.224.{node}\n\t\tnodeid: {node}\n\t\tname: n{node}\n"
        if priority is not None:
            nodes += f"\t\tprio: {priority}\n"
        if replication and replication[node - 1] != "-":
            nodes += f"\t\treplication: {replication[node - 1]}\n"
        if quorum.votes:
            nodes += f"\t\tquorum_votes: {quorum.votes[node - 1]}\n"
        nodes += "\t}\n"
    return (
        f"totem {{\n\tversion: 2\n\tcluster_name: VMmanager\n\tconfig_version: {version}\n}}\n"
        f"quorum {{\n\tprovider: corosync_votequorum\n{chr(9) + 'two_node: 1' + chr(10) if two_node else ''}"
        f"{quorum.lines()}}}\n"
        f"ihttpd {{\n\tcount: 1\n\tport0: 1500\n}}\nnodelist {{\n{nodes}}}\n"
    ).encode()


def world(
    priorities: Sequence[int | None],
    options: Options | None = None,
    replication: Sequence[str] = (),
    seed: int | None = None,
    later: Collection[NodeId] = (),
) -> World:
    """A world of as many nodes as there are priorities, all powered off. Who is to come `later` cannot be started before."""
    options = options or Options()
    file = text(priorities, replication=replication, two_node=options.two_node, quorum=options.quorum, later=later)
    return World({NodeId(node): file for node in range(1, len(priorities) + 1)}, options, seed)
