"""coroconf against `corosync -t -c FILE`: what corosync's parser takes, ours takes, and what it refuses, ours refuses.

corosync -t parses the file, types its values, reads the logging section and checks totem; it does not start votequorum.
A refusal by the parser reads `parser error: FILE:LINE: why`; any other refusal is about meaning. Over some files the
parser of 3.1.7 aborts instead: those we must refuse all the more.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from coroconf.files import SEED, accepted, refused
from coroconf.strategies import clusters, layouts, meanings, spoiled
from hypothesis import given, settings
from hypothesis import strategies as st

from corolistener.coroconf.accept import refusals
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.problems import Problem, Severity
from corolistener.coroconf.rewrite import NodeSpec, with_node_added, with_node_removed, with_priorities, with_version
from corolistener.coroconf.tree import parse
from corolistener.coroconf.validate import problems
from corolistener.errors import ConfigError
from lab.cluster import Cluster, wait_for

pytestmark = pytest.mark.lab

# Its own network, so that the files' addresses exist; its own /etc/corosync, so that there is a key and no uidgid.d.
SETUP = """
set -e
mount -t tmpfs tmpfs /etc/corosync
head -c 256 /dev/zero >/etc/corosync/authkey
ip link set lo up
for address in 10.9.0.1 10.9.1.1 172.31.223.47; do ip address add $address/24 dev lo; done
echo ready
while read -r file; do
    code=0; corosync -t -c "$file" </dev/null >"$file.out" 2>&1 || code=$?
    echo $code
done
"""
PARSER = re.compile(r"^parser error: .*?:(\d+): (.*)", re.MULTILINE)
TOTEM, QUORUM = "version: 2\ncluster_name: lab\nconfig_version: 1\n", "provider: corosync_votequorum\n"
NODES = ("ring0_addr: 10.9.0.1\nnodeid: 1\nname: a\n", "ring0_addr: 10.9.0.2\nnodeid: 2\nname: b\n")
TWO_LINKS = tuple(f"{node}ring1_addr: 10.9.1.{at}\n" for at, node in enumerate(NODES, 1))


@dataclass(frozen=True)
class Verdict:
    """What corosync said of a file. `line` is 0 unless its parser refused; `died` if it aborted."""

    taken: bool
    line: int
    words: str
    died: bool = False

    @property
    def parser_refused(self) -> bool:
        return bool(self.line) or self.died


class Oracle:
    """One corosync -t after the other in one set of namespaces, which end with our end of the pipe."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "corosync.conf"
        command = ["unshare", "--net", "--mount", "sh", "-c", SETUP]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self._answer() != "ready":
            _, why = self.process.communicate()
            pytest.skip(f"no namespaces here: {why.strip()}")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, data: bytes) -> Verdict:
        assert self.process.stdin is not None
        self.file.write_bytes(data)
        self.process.stdin.write(f"{self.file}\n")
        self.process.stdin.flush()
        code = self._answer()
        assert code, "the oracle's shell died"
        words = Path(f"{self.file}.out").read_text("utf-8", "replace")
        match = PARSER.search(words)
        return Verdict(code == "0", int(match[1]) if match else 0, words, int(code) > 128)

    def close(self) -> None:
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a network namespace in which the addresses exist")
    if not shutil.which("corosync"):
        pytest.skip("not installed: corosync")
    asked = Oracle(tmp_path_factory.mktemp("oracle"))
    yield asked
    asked.close()


def conf(totem: str = TOTEM, quorum: str = QUORUM, nodes: tuple[str, ...] = NODES, rest: str = "") -> bytes:
    nodelist = "".join(f"node {{\n{node}}}\n" for node in nodes)
    return f"totem {{\n{totem}}}\nquorum {{\n{quorum}}}\nnodelist {{\n{nodelist}}}\n{rest}".encode()


def refused_line(data: bytes) -> tuple[int, str]:
    """The line our side refuses and why, (0, "") where it takes structure, names and values."""
    try:
        document = parse(data)
    except ConfigError as refusal:
        return refusal.line, refusal.why
    return next(((refusal.line, refusal.why) for refusal in refusals(document)), (0, ""))


def test_the_oracle_says_yes_and_no(oracle: Oracle) -> None:
    assert oracle.ask(conf()).taken
    said = oracle.ask(conf(totem="version: two\n"))
    assert (said.taken, said.line) == (False, 2)


@pytest.mark.parametrize("name", accepted())
def test_accepted_cases_are_taken_by_corosync(oracle: Oracle, name: str) -> None:
    said = oracle.ask(accepted()[name])
    assert said.line == refused_line(accepted()[name])[0] == 0, said.words


@pytest.mark.parametrize("name", refused())
def test_refused_cases_are_refused_by_corosync(oracle: Oracle, name: str) -> None:
    data, line = refused()[name]
    said = oracle.ask(data)
    assert said.line, said.words
    # corosync sees a missing brace only at the end of the file; the section's own line helps more
    assert said.line == line or "Missing closing brace" in said.words


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(layouts(), spoiled(), st.binary(max_size=200)))
def test_our_parser_refuses_what_corosyncs_does(oracle: Oracle, data: bytes) -> None:
    said, (line, why) = oracle.ask(data), refused_line(data)
    if "does not survive" not in why:  # it corrupts its memory then, and may well not notice
        assert said.parser_refused == bool(line), (said.words, line, why)


@settings(max_examples=60, deadline=None)
@given(data=clusters(), nodeid=st.integers(1, 65535), prio=st.integers(0, 100))
def test_rewritten_files_are_taken(oracle: Oracle, data: bytes, nodeid: int, prio: int) -> None:
    assert oracle.ask(data).taken
    if read_facts(parse(data)).node(nodeid) is None:
        data = with_node_added(data, NodeSpec(nodeid, ("10.9.0.77",), f"n{nodeid}", prio, True))
    data = with_version(with_priorities(data, {nodeid: prio}), 7)
    said = oracle.ask(data)
    assert said.taken, said.words
    if len(read_facts(parse(data)).nodes) > 1 and nodeid != read_facts(parse(data)).nodes[0].nodeid:
        said = oracle.ask(with_node_removed(data, nodeid))
        assert said.taken, said.words


MEANING = {
    # what is wrong: the file, the problem we name, what corosync says of it
    "version missing": (conf(totem="cluster_name: lab\n"), "totem-version", "version 2 configurations"),
    "version wrong": (conf(totem="version: 3\n"), "totem-version", "version 2 configurations"),
    "no node": (conf(nodes=()), "nodelist", "No interfaces defined"),
    "no nodeid": (conf(nodes=(NODES[0], "ring0_addr: 10.9.0.2\n")), "node", "explicit nodeid"),
    "nodeid 0": (conf(nodes=(NODES[0], "ring0_addr: 10.9.0.2\nnodeid: 0\n")), "node", "explicit nodeid"),
    "nodeid too high": (conf(nodes=(NODES[0], "ring0_addr: 10.9.0.2\nnodeid: 65536\n")), "node", "less than 65536"),
    "nodeid twice": (conf(nodes=(NODES[0], "ring0_addr: 10.9.0.2\nnodeid: 1\n")), "duplicate-nodeid", "appears twice"),
    "links without names": (conf(nodes=tuple(n.replace("name", "x") for n in TWO_LINKS)), "node-name", "'name'"),
    "links uneven": (conf(nodes=(TWO_LINKS[0], NODES[1])), "node-links", "same number"),
    "link 8": (conf(nodes=(NODES[0] + "ring8_addr: 10.9.1.1\n", NODES[1])), "node-address", "bigger than"),
    "links and udpu": (conf(TOTEM + "transport: udpu\n", nodes=TWO_LINKS), "node-links", "too many configured"),
    "address empty": (conf(nodes=(NODES[0], "ring0_addr:\nnodeid: 2\n")), "node-address", "failed to parse node"),
    "address wrong": (conf(nodes=(NODES[0], "ring0_addr: 10.9.0.300\nnodeid: 2\n")), "node-address", "failed to parse"),
    "address 6 wrong": (conf(nodes=(NODES[0], "ring0_addr: fd00::z\nnodeid: 2\n")), "node-address", "failed to parse"),
    "address with prefix": (conf(nodes=(NODES[0], "ring0_addr: 10.9.0.2/24\nnodeid: 2\n")), "node-address", "failed to"),
    "families mixed": (conf(nodes=(NODES[0], "ring0_addr: fd00::2\nnodeid: 2\n")), "node-family", "different IP"),
    "transport": (conf(TOTEM + "transport: tcp\n"), "transport", "Invalid transport"),
    "link mode": (conf(TOTEM + "link_mode: fast\n"), "link-mode", "link mode"),
    "ttl": (conf(TOTEM + "interface {\nttl: 2\n}\n"), "ttl", "Can only set ttl"),
    "link number": (conf(TOTEM + "interface {\nlinknumber: 8\nttl: 1\n}\n"), "linknumber", "bigger than"),
    "link unused": (conf(TOTEM + "interface {\nlinknumber: 1\nttl: 1\n}\n"), "linknumber", "same number of links"),
    "knet transport": (conf(TOTEM + "interface {\nknet_transport: tcp\n}\n"), "knet-transport", "knet_transport"),
    "link priority": (
        conf(TOTEM + "transport: udpu\ninterface {\nknet_link_priority: 2\n}\n"),
        "link-priority",
        "link priority",
    ),
    "cipher without hash": (conf(TOTEM + "crypto_cipher: aes256\n"), "crypto", "requires crypto_hash"),
    "crypto and udpu": (conf(TOTEM + "transport: udpu\nsecauth: on\n"), "crypto", "only valid for the Knet"),
    "token short": (conf(TOTEM + "token: 125\n"), "token", "Not appropriate token"),
    "token tiny": (conf(TOTEM + "token: 20\n"), "token", "token timeout parameter"),
    "token warning": (conf(TOTEM + "token_warning: 101\n"), "timeout", "token warning"),
    "join long": (conf(TOTEM + "token: 1000\njoin: 1300\n"), "join", "less than join"),
    "merge short": (conf(TOTEM + "merge: 5\n"), "timeout", "merge timeout"),
    "hold short": (conf(TOTEM + "hold: 13\n"), "timeout", "hold timeout"),
    "log switch": (conf(rest="logging {\nto_syslog: maybe\n}\n"), "logging-value", "unknown value"),
    "log debug": (conf(rest="logging {\nlogger_subsys {\nsubsys: X\ndebug: 1\n}\n}\n"), "logging-value", "unknown"),
    "log time": (conf(rest="logging {\ntimestamp: yes\n}\n"), "logging-value", "unknown value"),
    "log priority": (conf(rest="logging {\nsyslog_priority: loud\n}\n"), "logging-value", "unknown syslog"),
    "log facility": (conf(rest="logging {\nsyslog_facility: x\n}\n"), "logging-value", "unknown syslog facility"),
    "log file priority": (conf(rest="logging {\nlogfile_priority: x\n}\n"), "logging-value", "unknown logfile"),
}


@pytest.mark.parametrize("name", MEANING)
def test_what_corosync_does_not_start_with_is_an_error(oracle: Oracle, name: str) -> None:
    data, code, words = MEANING[name]
    said = oracle.ask(data)
    assert not said.taken
    assert said.line == 0
    assert words in said.words
    errors = {problem.code for problem in problems(parse(data)) if problem.severity is Severity.ERROR}
    assert code in errors, said.words


# Errors that corosync -t does not look for, or that are corolistener's own.
UNSEEN = {"quorum-provider", "duplicate-address", "duplicate-name"}


def errors_of(data: bytes) -> list[Problem]:
    """The errors corosync -t must agree with. Without knet it makes up a missing nodeid; we need to know it."""
    document = parse(data)
    found = [problem for problem in problems(document) if problem.severity is Severity.ERROR and problem.code not in UNSEEN]
    made_up = document.get("totem.transport") in ("udp", "udpu")
    return [problem for problem in found if not (made_up and "without nodeid" in problem.text)]


@settings(max_examples=200, deadline=None)
@given(data=meanings())
def test_errors_are_what_corosync_does_not_start_with(oracle: Oracle, data: bytes) -> None:
    said, errors = oracle.ask(data), errors_of(data)
    assert said.taken == (not errors), (said.words, errors)


HARMLESS = {
    "plain": conf(),
    "udp": conf(TOTEM + "transport: udp\ninterface {\nmcastaddr: 239.1.1.1\nttl: 3\n}\n"),
    "two links": conf(nodes=TWO_LINKS),
    "link timers": conf(TOTEM + "interface {\nlinknumber: 1\nknet_ping_timeout: 1000\n}\n", nodes=TWO_LINKS),
    "bindnetaddr": conf(TOTEM + "interface {\nbindnetaddr: 10.9.0.0\nmcastaddr: 239.1.1.1\nbroadcast: yes\n}\n"),
    "ringnumber": conf(TOTEM + "interface {\nringnumber: 3\n}\n"),
    "empty link": conf(TOTEM + "interface {\nlinknumber: 1\n}\n"),
    "member": conf(TOTEM + "interface {\nmember {\nmemberaddr: 10.9.0.1\n}\n}\n"),
    "nodeid": conf(TOTEM + "nodeid: 7\n"),
    "token": conf(TOTEM + "token: 126\ntoken_warning: 100\nhold: 14\n"),
    "token 0": conf(TOTEM + "token: 0\njoin: 30\nmerge: 30\n"),
    "two_node for three": conf(quorum=QUORUM + "two_node: 1\n", nodes=(*NODES, "ring0_addr: 10.9.0.3\nnodeid: 3\n")),
    "votes": conf(quorum=QUORUM + "expected_votes: 9\n"),
    "crypto": conf(TOTEM + "crypto_cipher: aes256\ncrypto_hash: sha256\ncrypto_model: openssl\n"),
    "hash": conf(TOTEM + "crypto_hash: sha1\n"),
    "secauth": conf(TOTEM + "secauth: on\n"),
    "log": conf(rest="logging {\nto_syslog: off\nto_logfile: no\ndebug: off\ntimestamp: hires\nfileline: on\n}\n"),
    "log levels": conf(rest="logging {\nsyslog_priority: warning\nlogfile_priority: debug\nsyslog_facility: local0\n}\n"),
    "foreign": conf(rest="ihttpd {\ncount: 1\nport0: 1500\n}\nfoo {\nbar {\nkey: x\n}\n}\n"),
    "repeated": conf(TOTEM + "token: 2000\ntoken: 3000\n"),
    "misplaced": conf(rest="totem.token: 4000\n"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_corosync_starts_with_is_no_error(oracle: Oracle, name: str) -> None:
    said = oracle.ask(HARMLESS[name])
    assert said.taken, said.words
    assert [problem for problem in problems(parse(HARMLESS[name])) if problem.severity is Severity.ERROR] == []


TYPED = """
totem { token: 1x|totem { token: -1|totem { token: 4294967296|totem { token: +5|totem { token:|totem { deep { token: x
totem { crypto_hash: SHA1|totem { ip_version: 4|totem { crypto_model: gcrypt|totem { knet_compression_model: none
totem { config_version: -5|totem { config_version: -18446744073709551615|totem { interface.ttl: x|totem { rrp_mode: x
totem { interface { mcastport: 65536|totem { interface { linknumber: x|totem { interface { deep { linknumber: x
totem { interface { ringnumber: x|totem { interface { member { foo: x|totem { interface { member { deep { foo: x
totem { interface { member { deep { memberaddr: x|totem { interface { knet_pong_count: -1|totem { threads: many
quorum { two_node: 256|quorum { expected_votes:|quorum { device { votes: x|quorum { device { net { votes: x
nodelist { node { nodeid: a|nodelist { node { deep { nodeid: x|nodelist.node { nodeid: x|nodelist { nodeid: x
uidgid { foo: 1|uidgid { deep { foo: x|uidgid { deep { uid: 0|uidgid { deep {|uidgid { gid: 0
logging { logger_subsys { debug: on|logging { logger_subsys { subsys: a b|logging { logger_subsys {
logging { logging_daemon { subsys: x|logging { logging_daemon { name: a b|logging { logging_daemon { name: corosync
system { sched_rr: maybe|system { deep { sched_rr: maybe|system { qb_ipc_type: x|system { move_to_root_cgroup: x
resources { watchdog_timeout: x|resources { deep { watchdog_timeout: x|resources { system { watchdog_timeout: x
"""
DEADLY = """
totem { config_version: x|totem { config_version:|totem { config_version: 18446744073709551616
resources { system { poll_period: x|resources { process { deep { poll_period: x
resources { system { memory_used { poll_period: x|resources { process { memory_used { poll_period:
logging { logger_subsys { deep { subsys: x|logging { logging_daemon { deep { name: x
"""


def nested(words: str) -> bytes:
    """`a { b { key: value` as a file of one statement a line."""
    *sections, last = words.split(" { ")
    depth = len(sections) + last.endswith("{")
    return ("".join(f"{section} {{\n" for section in sections) + f"{last}\n" + "}\n" * depth).encode()


@pytest.mark.parametrize("words", TYPED.strip().replace("\n", "|").split("|"))
def test_values_are_typed_as_corosync_types_them(oracle: Oracle, words: str) -> None:
    said, (line, why) = oracle.ask(nested(words)), refused_line(nested(words))
    assert said.line == line, (said.words, why)


@pytest.mark.parametrize("words", DEADLY.strip().replace("\n", "|").split("|"))
def test_what_kills_corosync_is_refused(oracle: Oracle, words: str) -> None:
    said = oracle.ask(nested(words))
    assert said.died, said.words
    assert refused_line(nested(words))[0]


def test_the_seed_needs_a_version_and_is_taken_with_one(oracle: Oracle) -> None:
    said = oracle.ask(SEED)
    assert not said.taken
    assert "version 2 configurations" in said.words
    assert "bindnetaddr is used together with nodelist" in said.words
    fixed = SEED.replace(b"totem {\n", b"totem {\n \tversion: 2\n")
    assert oracle.ask(fixed).taken


# What only a running corosync tells: the lab's own node 1.
ALONE = "ring0_addr: 172.31.223.46\nnodeid: 1\nname: n1\nprio: 7\nreplication: on\nremark: \xe9 # \tnot a comment\n"


@pytest.fixture(scope="module")
def machine(machine_can: None) -> Iterator[Cluster]:
    with Cluster(nodes=1) as cluster:
        yield cluster


def install(machine: Cluster, data: bytes) -> None:
    machine.nodes[0].path("/etc/corosync/corosync.conf").write_bytes(data)


def test_a_running_corosync_holds_what_we_read(machine: Cluster) -> None:
    foreign = "ihttpd {\r\n\tcount:1 \r\n\tport0 :\t1500\r\n}\nfoo {\n.a/b-c: x:y\nempty:\n}\nfoo {\nempty: }\n}"
    install(machine, conf(TOTEM + "token: 900\ntoken: 1100\n", QUORUM + "expected_votes: +1\n", (ALONE,), foreign))
    node = machine.nodes[0]
    document = parse(node.path("/etc/corosync/corosync.conf").read_bytes())
    node.start_corosync(wait=True)
    listed = node.run(["corosync-cmapctl"]).stdout
    node.stop_corosync()
    held = dict(re.findall(r"^(\S+) \(\w+\) = (.*)$", listed, re.MULTILINE))
    for entry in document.entries():
        key, value = entry.path.replace("nodelist.node.", "nodelist.node.0."), document.get(entry.path) or ""
        assert held[key] == value.removeprefix("+"), key


def test_a_reload_with_a_bad_version_kills_corosync(machine: Cluster) -> None:
    """Why such a file is refused before anybody stores it."""
    node = machine.nodes[0]
    install(machine, conf(nodes=(ALONE,)))
    node.start_corosync(wait=True)
    install(machine, conf(nodes=(ALONE,)).replace(b"config_version: 1", b"config_version: one"))
    node.run(["corosync-cfgtool", "-R"], check=False)
    wait_for(lambda: node.pid("corosync") is None, "corosync aborts over its configuration")
    assert refused_line(conf().replace(b"config_version: 1", b"config_version: one"))[0] == 4


@pytest.mark.parametrize(
    "quorum",
    [
        "two_node: 1\ndevice {\nmodel: net\n}\n",
        "last_man_standing: 1\ndevice {\nmodel: net\n}\n",
        "auto_tie_breaker: 1\nwait_for_all: 1\ndevice {\nmodel: net\n}\n",
        "allow_downscale: 1\ndevice {\nmodel: net\n}\n",
        "expected_votes: 3\ndevice {\nmodel: net\n}\n",
        "expected_votes: 3\ndevice {\nmodel: net\nvotes: 2\n}\n",
        "device {\nmodel: net\n}\n}\nnodelist.node {\nring0_addr: 10.9.0.9\nname: x\nnodeid: 9\nquorum_votes: 2\n",
        "auto_tie_breaker: 1\nlast_man_standing: 1\n}\nquorum {\nprovider: other\n",
        "auto_tie_breaker: 1\nlast_man_standing: 1\n",
    ],
)
def test_what_votequorum_does_not_start_with_is_an_error(machine: Cluster, quorum: str) -> None:
    node, data = machine.nodes[0], conf(quorum=QUORUM + quorum, nodes=(ALONE,))
    install(machine, data)
    node.start_corosync()
    exits = wait_for(lambda: node.exits("corosync"), "corosync exits over its configuration")
    assert exits == [20], node.path("/var/log/corosync.out").read_text()[-500:]
    errors = {problem.code for problem in problems(parse(data)) if problem.severity is Severity.ERROR}
    assert errors & {"quorum-device", "auto-tie-breaker", "quorum-provider"}


def test_without_a_provider_corosync_runs_and_has_no_votequorum(machine: Cluster) -> None:
    node, data = machine.nodes[0], conf(quorum="", nodes=(ALONE,))
    install(machine, data)
    node.start_corosync()
    wait_for(lambda: "runtime.members.1" in node.run(["corosync-cmapctl"], check=False).stdout, "corosync forms a ring")
    assert "votequorum" in node.run(["corosync-quorumtool"], check=False).stderr
    node.stop_corosync()
    assert "quorum-provider" in {problem.code for problem in problems(parse(data)) if problem.severity is Severity.ERROR}
