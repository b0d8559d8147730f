"""The files of a lab's node: corosync.conf, corolistener.toml, the service hook."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

NETWORK = "172.31.223"
NETWORK6 = "fd00:172:31:223:"
CLOUD_IP = f"{NETWORK}.100"
CLOUD_IP6 = f"{NETWORK6}:100"

# Token 150 with knet's own timers kept long: what makes a short token unstable is knet, not totem.
TUNED = {"token": 150, "coefficient": 0, "join": 30, "knet_ping_interval": 200, "knet_ping_timeout": 1000}

# The vendor's own sample, byte for byte as its page shows it.
SEED = """\
 totem {
 \tinterface {
 \t\tbindnetaddr: 172.31.223.47
 \t\tmcastaddr: 239.255.1.1
 \t\tmcastport: 5405
 \t\tttl: 1
 \t}
 \tconfig_version: 1
 \tcluster_name: VMmanager
  }\x20
  quorum {
 \texpected_votes: 3
  }
  ihttpd {
 \tcount: 1
 \tport0: 1500
  }
nodelist {
\tnode {
\t\tring0_addr: 172.31.223.46
\t\tnodeid: 2
\t\tprio: 99
\t\treplication: on
\t}
\tnode {
\t\tring0_addr: 172.31.223.47
\t\tnodeid: 4
\t\tprio: 100
\t\treplication: on
\t}
\tnode {
\t\tring0_addr: 172.31.223.48
\t\tnodeid: 8
\t\tprio: 98
\t\treplication: on
\t}
}
"""


class Listed(Protocol):
    """What a nodelist says of a node."""

    @property
    def nodeid(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def prio(self) -> int | None: ...


def timers(token: int, coefficient: int, join: int | None, consensus: int | None) -> str:
    """The totem timers, milliseconds, as lines."""
    values = {"token": token, "token_coefficient": coefficient, "join": join, "consensus": consensus}
    return "".join(f"\t{key}: {value}\n" for key, value in values.items() if value is not None)


def knet(ping_interval: int | None, ping_timeout: int | None) -> str:
    """The link timers of knet, milliseconds, as lines of an interface section."""
    values = {"knet_ping_interval": ping_interval, "knet_ping_timeout": ping_timeout}
    return "".join(f"\t\t{key}: {value}\n" for key, value in values.items() if value is not None)


def plain_conf(
    nodes: Sequence[Listed],
    *,
    token: int = 1000,
    coefficient: int = 0,
    join: int | None = None,
    consensus: int | None = None,
    knet_ping_interval: int | None = 200,
    knet_ping_timeout: int | None = 1000,
    version: int = 1,
    quorum: str = "",
) -> str:
    """A corosync.conf for `nodes`, with `quorum` as further lines of the quorum section. Times in milliseconds."""
    entries = "".join(listed(node) for node in nodes)
    return (
        "totem {\n\tversion: 2\n"
        f"\tconfig_version: {version}\n\tcluster_name: VMmanager\n\ttransport: knet\n"
        + timers(token, coefficient, join, consensus)
        + f"\tinterface {{\n\t\tlinknumber: 0\n{knet(knet_ping_interval, knet_ping_timeout)}\t}}\n}}\n"
        + f"quorum {{\n\tprovider: corosync_votequorum\n{quorum}}}\n"
        + f"nodelist {{\n{entries}}}\n"
        + "logging {\n\tto_stderr: yes\n\tto_syslog: no\n\ttimestamp: hires\n}\n"
    )


def listed(node: Listed) -> str:
    """One node section of the nodelist."""
    prio = "" if node.prio is None else f"\t\tprio: {node.prio}\n"
    return (
        f"\tnode {{\n\t\tring0_addr: {node.address}\n\t\tnodeid: {node.nodeid}\n\t\tname: {node.name}\n"
        f"{prio}\t\treplication: on\n\t}}\n"
    )


def seed_conf(
    nodes: Sequence[Listed],
    *,
    token: int = 1000,
    coefficient: int = 0,
    join: int | None = None,
    consensus: int | None = None,
    knet_ping_interval: int | None = 200,
    knet_ping_timeout: int | None = 1000,
) -> str:
    """The vendor's sample with the lines added that corosync 3 needs (totem.version, quorum.provider) and the timers.

    Its nodes are 2, 4 and 8 at the addresses the lab gives its first three nodes; `nodes` must be these.
    """
    for node in nodes:
        if f"ring0_addr: {node.address}\n\t\tnodeid: {node.nodeid}\n" not in SEED:
            raise ValueError(f"the sample has no node {node.nodeid} at {node.address}")
    totem = "\tversion: 2\n\ttransport: knet\n" + timers(token, coefficient, join, consensus)
    return (
        SEED.replace(" totem {\n", " totem {\n" + totem, 1)
        .replace(" \t\tttl: 1\n", " \t\tttl: 1\n" + knet(knet_ping_interval, knet_ping_timeout), 1)
        .replace("  quorum {\n", "  quorum {\n\tprovider: corosync_votequorum\n", 1)
    )


def settings(**sections: Mapping[str, Any]) -> dict[str, Any]:
    """The lab's corolistener.toml as nested dicts; `sections` overrides single keys, None removes one."""
    merged: dict[str, Any] = {
        "cluster": {"corosync_conf": "/etc/corosync/corosync.conf", "key_file": "/etc/corolistener/key"},
        "cloud": {"ip": CLOUD_IP, "device": "vmbr0", "mask": "255.255.255.0"},
        "service": {"hook": "/etc/corolistener/service"},
        "locks": {"directory": "/tmp"},
        "paths": {"state": "/var/lib/corolistener", "run": "/run/corolistener", "log": "/var/log/corolistener.log"},
    }
    for section, values in sections.items():
        kept = {**merged.get(section, {}), **values}
        merged[section] = {key: value for key, value in kept.items() if value is not None}
    return merged


def toml(tables: Mapping[str, Any], prefix: str = "") -> str:
    """Nested dicts as TOML: scalars and lists of scalars, tables, lists of dicts as arrays of tables."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping) and not nested(value)}
    text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items())
    for key, value in tables.items():
        if isinstance(value, Mapping):
            text += f"\n[{prefix}{key}]\n" + toml(value, f"{prefix}{key}.")
        elif nested(value):
            text += "".join(f"\n[[{prefix}{key}]]\n" + toml(each, f"{prefix}{key}.") for each in value)
    return text


def nested(value: object) -> bool:
    """Whether a value is a list of tables."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


# The service of the lab: one process that does nothing, and a line (wall clock, ns) in a log for every change.
SERVICE = """\
#!/bin/sh
pid=/run/lab/service.pid log=/var/log/service.log
running() { [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
# A start that is killed half-way leaves a process that is not known yet: it holds the lock, so a stop waits for it.
case $1 in start|stop) exec 9>/run/lab/service.flock; flock 9;; esac
case $1 in
    start)
        running && exit 0
        setsid -f sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec 9>&-; exec sleep infinity' "$pid" </dev/null >/dev/null 2>&1
        until running; do sleep 0.002; done
        echo "$(date +%s%N) start" >>"$log";;
    stop)
        running || exit 0
        kill "$(cat "$pid")"
        while running; do sleep 0.002; done
        rm -f "$pid"
        echo "$(date +%s%N) stop" >>"$log";;
    status)
        running || exit 3;;
    *)
        echo "usage: service start|stop|status" >&2
        exit 2;;
esac
"""
