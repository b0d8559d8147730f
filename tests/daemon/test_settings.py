"""Settings: what is read from where, and that everything wrong is said at once, with file, line and expectation."""

import os
import textwrap
from pathlib import Path

import pytest

from corolistener.core.config import CloudAddress, OnTakeover, ProofKind, Timing
from corolistener.daemon import settings
from corolistener.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    """Writes the settings file, with a [vmmgr] conf that this machine's own cannot disturb, and returns its path."""

    def write(text: str, vmmgr: str | None = "", **drop_ins: str) -> str:
        conf = tmp_path / "vmmgr.conf"
        if vmmgr is not None:
            conf.write_text(textwrap.dedent(vmmgr))
        for name, content in drop_ins.items():
            (tmp_path / "vmmgr.conf.d").mkdir(exist_ok=True)
            (tmp_path / "vmmgr.conf.d" / name).write_text(textwrap.dedent(content))
        path = tmp_path / "corolistener.toml"
        path.write_text(textwrap.dedent(text) + f'\n[vmmgr]\nconf = "{conf}"\n')
        return str(path)

    return write


def whys(path: str) -> list[str]:
    return [str(problem).replace(path, "FILE").replace(os.path.dirname(path), "DIR") for problem in settings.problems(path)]


def test_an_empty_file_gives_the_defaults_of_the_behaviour(write) -> None:
    got = settings.load(write(""))
    assert got.cluster.corosync_conf == "/etc/corosync/corosync.conf"
    assert got.cluster.on_takeover is OnTakeover.SWAP
    assert (got.cloud.device, got.locks.directory, got.address) == ("vmbr0", "/tmp", None)
    assert (got.paths.run, got.paths.state) == ("/run/corolistener", "/var/lib/corolistener")
    fencing = got.fencing
    assert (fencing.heartbeat_ms, fencing.grace_ms, fencing.margin_ms) == (500, 2000, 1000)
    assert (fencing.restart_ms, fencing.hello_ms, fencing.watchdog_timeout_ms) == (5000, 2000, 10_000)
    assert (fencing.watchdog, fencing.watchdog_device, fencing.disallowed) == ("automatic", "/dev/watchdog", "kill")
    assert got.agents == ()
    assert got.database is False


def test_every_key_can_be_set(write) -> None:
    got = settings.load(
        write(
            """
            [cluster]
            corosync_conf = "/srv/corosync.conf"
            key_file = "/srv/key"
            pull_port = 7000
            on_takeover = "keep"
            [cloud]
            ip = "172.31.224.70"
            device = "br0"
            mask = "255.255.255.0"
            [service]
            unit = "ihttpd"
            moved = "/srv/moved"
            timeout_s = 1.5
            [locks]
            directory = "/srv/locks/"
            [paths]
            state = "/srv/state"
            run = "/srv/run"
            log = "/srv/log"
            [fencing]
            proofs = ["operator", "suspend"]
            heartbeat_ms = 100
            lease_ms = 9000
            grace_ms = 1
            margin_ms = 2
            restart_ms = 3
            hello_ms = 400
            watchdog_timeout_ms = 5000
            watchdog = "required"
            watchdog_device = "/dev/watchdog1"
            disallowed = "hold"
            [[fencing.agent]]
            nodes = [1, "two"]
            program = "fence_ipmilan"
            options = { ip = "bmc-{name}", ipport = 623, lanplus = true, verbose = false }
            timeout_s = 20
            then = "off"
            [[fencing.agent]]
            nodes = [1]
            program = "/srv/fence pdu"
            [vms]
            uri = "qemu:///system"
            migrate_uri = "qemu+tcp://{address}/system"
            manage = "tagged"
            shared_storage = ["/srv/vms/", "pool:san", "rbd"]
            reserved_memory_percent = 0
            max_per_node = 7
            parallel_starts = 2
            on_shutdown = "refuse"
            migrate_tls = false
            [control]
            group = "adm"
            [database]
            anything = true
            """
        )
    )
    assert got.cluster == settings.Cluster("/srv/corosync.conf", "/srv/key", 7000, OnTakeover.KEEP)
    assert got.address == CloudAddress("172.31.224.70", 24, "br0")
    assert (got.service.unit, got.service.moved, got.service.timeout_s) == ("ihttpd.service", "/srv/moved", 1.5)
    assert got.locks.directory == "/srv/locks"
    assert (got.paths, got.log) == (settings.Paths("/srv/state", "/srv/run", "/srv/log"), "/srv/log")
    numbers = 100, 9000, 1, 2, 3, 400, 5000
    proofs = (ProofKind.OPERATOR, ProofKind.SUSPEND)
    assert got.fencing == settings.Fencing(proofs, *numbers, "required", "/dev/watchdog1", "hold")
    options = (("ip", "bmc-{name}"), ("ipport", "623"), ("lanplus", "1"), ("verbose", "0"))
    assert got.agents == (
        settings.Agent((1, "two"), "/usr/sbin/fence_ipmilan", options, 20.0, "off"),
        settings.Agent((1,), "/srv/fence pdu", (), 60.0, "on"),
    )
    storages = ("/srv/vms", "pool:san", "rbd")
    peers = "qemu+tcp://{address}/system"
    assert got.vms == settings.Vms("qemu:///system", peers, "tagged", storages, 0, 7, 2, "refuse", False)
    assert got.timing(1000, 1200).margin_ms == 2
    assert (got.control.group, got.database) == ("adm", True)


ONE = "[[fencing.agent]]\nnodes = [1]\nprogram = 'x'\n"
MANY = "[[fencing.agent]]\nnodes = [1, 2]\nprogram = 'x'\n"
REST = "nodes = [2]\nprogram = 'x'\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[cloud]\n\nip = 7", "FILE:3: cloud.ip: expected an IPv4 or IPv6 address"),
        ('[cloud]\nip = "172.31.224.70/24"', "FILE:2: cloud.ip: expected an IPv4 or IPv6 address"),
        ('[cloud]\nip = "224.0.0.1"', "FILE:2: cloud.ip: expected"),
        ('[cloud]\nip = "fe80::1%eth0"', "FILE:2: cloud.ip: expected"),
        ('[cloud]\nmask = "255.0.255.0"', "FILE:2: cloud.mask: expected a prefix length, or for IPv4 a dotted mask"),
        ('[cloud]\nmask = "0.0.0.0"', "FILE:2: cloud.mask: expected"),
        ("[cloud]\nmask = 0", "FILE:2: cloud.mask: expected"),
        ("[cloud]\nmask = 129", "FILE:2: cloud.mask: expected"),
        ("[cloud]\nmask = true", "FILE:2: cloud.mask: expected"),
        ('[cloud]\nip="10.0.0.1"\nmask = 33', "FILE:3: the mask 33 does not fit 10.0.0.1: expected a prefix length from"),
        ('[cloud]\nip="fd00::1"\nmask = "255.255.255.0"', "FILE:3: the mask 255.255.255.0 does not fit fd00::1"),
        ('[cloud]\ndevice = "a-name-much-too-long"', "FILE:2: cloud.device: expected a network device's name"),
        ('[locks]\ndirectory = "tmp"', "FILE:2: locks.directory: expected an absolute path, found 'tmp'"),
        ("[cluster]\npull_port = 70000", "FILE:2: cluster.pull_port: expected a whole number from 1 to 65535"),
        ("[cluster]\npull_port = true", "FILE:2: cluster.pull_port: expected a whole number"),
        ('[cluster]\non_takeover = "swop"', "FILE:2: cluster.on_takeover: expected one of 'swap', 'keep', found 'swop'"),
        ("[fencing]\ngrace_ms = 2.5", "FILE:2: fencing.grace_ms: expected a whole number from 0 to 600000 (milli"),
        ("[fencing]\nproofs = []", "FILE:2: fencing.proofs: expected a list of one or more of 'farewell', 'agent', 'watchdog'"),
        ('[fencing]\nproofs = "agent"', "FILE:2: fencing.proofs: expected a list of one or more"),
        ('[fencing]\nproofs = ["agent", "hope"]', "FILE:2: fencing.proofs: expected a list"),
        ('[fencing]\nproofs = ["agent", "agent"]', "FILE:2: fencing.proofs: expected a list"),
        ("[fencing]\nproofs = [7, {}]", "FILE:2: fencing.proofs: expected a list"),
        ('[service]\ntimeout_s = "60"', "FILE:2: service.timeout_s: expected seconds, from 1 to 3600, found '60'"),
        ("[service]\ntimeout_s = nan", "FILE:2: service.timeout_s: expected seconds"),
        ('[service]\nhook = "/x"\nunit = "y"', "FILE:3: service.unit: expected either hook or unit, found both"),
        ('[control]\ngroup = "no-such-group"', "FILE:2: control.group: expected a group of this machine"),
        ("[fencing]\nrestart_ms = 10000", "FILE:2: restart_ms 10000 must be less than watchdog_timeout_ms 10000"),
        ("[cluod]\nip = 1", "FILE:1: unknown table [cluod]; did you mean 'cloud'?"),
        ("cloud = 1", "FILE:1: cloud is a table: write [cloud]"),
        ("[cloud]\nadress = 1", "FILE:2: unknown key 'adress' in [cloud]"),
        ("[fencing]\nheartbeat = 1", "FILE:2: unknown key 'heartbeat' in [fencing]; did you mean 'heartbeat_ms'?"),
        ("# comment\nlonely = 1", "FILE:2: unknown table [lonely]"),
        ("[cloud]\nip = ", "FILE:2: not TOML: "),
        ("[cloud]\n[cloud]", "FILE:2: not TOML: "),
        (
            f"{ONE}[[fencing.agent]]\nnods = []\n{REST}",
            "FILE:5: unknown key 'nods' in [[fencing.agent]]; did you mean 'nodes'?",
        ),
        (f"{ONE}[[fencing.agent]]\nnodes = [1]", "FILE:4: fencing.agent.program is missing: expected an absolute path, or the"),
        (f"{ONE}[[fencing.agent]]\nnodes = []\nprogram='x'", "FILE:5: fencing.agent.nodes: expected a list of one or more ids"),
        (f"{ONE}[[fencing.agent]]\nnodes = [1, '1']\nprogram='x'", "FILE:5: fencing.agent.nodes: expected"),
        (f"{ONE}[[fencing.agent]]\nnodes = [0]\nprogram='x'", "FILE:5: fencing.agent.nodes: expected"),
        (f"{ONE}[[fencing.agent]]\nnodes = [1]\nprogram='x/y'", "FILE:6: fencing.agent.program: expected an absolute path, or"),
        (f"{ONE}then = 'reboot'", "FILE:4: fencing.agent.then: expected one of 'on', 'off', found 'reboot'"),
        (f"{ONE}timeout_s = 0", "FILE:4: fencing.agent.timeout_s: expected seconds, from 1 to 3600, found 0"),
        (
            "[[fencing.agent]]\nnodes = [1, 2]\nprogram='x'",
            "FILE:1: fencing.agent: 2 nodes, but no option with {node} or {name}",
        ),
        (f"{MANY}options = {{ plug = '7' }}", "FILE:4: fencing.agent: 2 nodes, but no option with {node} or {name}"),
        ("[fencing]\nagent = 'x'", "FILE:2: fencing.agent is an array of tables: write [[fencing.agent]]"),
        ("[fencing]\nagnet = 'x'", "FILE:2: unknown key 'agnet' in [fencing]; did you mean 'agent'?"),
        (
            "[fencing]\nwatchdog = '/dev/watchdog'",
            "FILE:2: fencing.watchdog: expected one of 'required', 'automatic', 'off', f",
        ),
        ("[fencing]\ndisallowed = true", "FILE:2: fencing.disallowed: expected one of 'kill', 'hold', found True"),
        ("[vms]\nuri = 'qemu'", "FILE:2: vms.uri: expected a libvirt URI such as qemu:///system, found 'qemu'"),
        ("[vms]\nmigrate_uri = 'qemu+tls://there/system'", "FILE:2: vms.migrate_uri: expected a libvirt URI with {address} in"),
        ("[vms]\nmanage = 'some'", "FILE:2: vms.manage: expected one of 'shared', 'tagged', 'all', found 'some'"),
        ("[vms]\nshared_storage = '/srv'", "FILE:2: vms.shared_storage: expected a list of absolute paths, 'pool:NAME', "),
        ("[vms]\nshared_storage = ['srv']", "FILE:2: vms.shared_storage: expected a list of"),
        ("[vms]\nshared_storage = ['pool:']", "FILE:2: vms.shared_storage: expected a list of"),
        ("[vms]\nshared_storage = ['rbd', 'rbd']", "FILE:2: vms.shared_storage: expected a list of"),
        (
            "[vms]\nreserved_memory_percent = 91",
            "FILE:2: vms.reserved_memory_percent: expected a whole number from 0 to 90 (per",
        ),
        ("[vms]\nmax_per_node = 0", "FILE:2: vms.max_per_node: expected a whole number from 1 to"),
        ("[vms]\nparallel_starts = 0", "FILE:2: vms.parallel_starts: expected a whole number from 1 to 64"),
        ("[vms]\non_shutdown = 'move'", "FILE:2: vms.on_shutdown: expected one of 'migrate', 'stop', 'refuse', found 'move'"),
        ("x = " + "[" * 3000, "FILE: not TOML: "),
        (f'[paths]\nrun = "/{"x" * 100}"', "FILE:2: paths.run: expected an absolute path of at most 90 bytes"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(write, text: str, expected: str) -> None:
    path = write(text)
    found = whys(path)
    assert len(found) == 1
    assert found[0].startswith(expected)
    with pytest.raises(ConfigError) as raised:
        settings.load(path)
    assert str(raised.value).replace(path, "FILE") == found[0]


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(write) -> None:
    path = write('[fencing]\ngrace_ms = "x"\n[cloud]\nip = "nowhere"\nspeed = 9\n', vmmgr="CloudMask 255.0.255.0\n")
    assert [why.split(": expected")[0] for why in whys(path)] == [
        "FILE:2: fencing.grace_ms",
        "FILE:4: cloud.ip",
        "FILE:5: unknown key 'speed' in [cloud]",
        "DIR/vmmgr.conf:1: CloudMask",
    ]


@pytest.mark.parametrize(
    "options",
    [
        '{ action = "off", passwd = "hunter2" }',
        '{ passwd = "hunter2\\naction=status" }',
        '{ "passwd=hunter2" = "x" }',
        '{ passwd = ["hunter2"] }',
        '"hunter2"',
    ],
)
def test_options_of_an_agent_are_refused_without_being_shown(write, options: str) -> None:
    path = write(f"{ONE}options = {options}")
    expected = (
        "FILE:4: fencing.agent.options: expected a table of options: strings without line breaks, whole numbers, true and "
    )
    assert whys(path) == [expected + "false; `action` is not among them, found something else"]


def test_options_in_a_table_of_their_own_have_their_own_line(write) -> None:
    path = write(f"{ONE}\n{ONE}[fencing.agent.options]\nip = 1.5")
    assert [problem.line for problem in settings.problems(path)] == [8]
    assert settings.load(write(f"{ONE}[fencing.agent.options]\nip = 1\n")).agents[0].options == (("ip", "1"),)


def test_an_agent_does_not_show_its_options(write) -> None:
    got = settings.load(write(f'{ONE}options = {{ passwd = "hunter2" }}'))
    assert got.agents[0].options == (("passwd", "hunter2"),)
    assert "hunter2" not in repr(got)


@pytest.mark.parametrize("option", ["plug = '{node}'", "plug = 'n-{name}'"])
def test_one_agent_serves_several_nodes_when_told_which(write, option: str) -> None:
    (agent,) = settings.load(write(f"{MANY}options = {{ {option} }}")).agents
    assert agent.nodes == (1, 2)


def test_without_a_hypervisor_there_is_none_and_nothing_in_care_is_said(write) -> None:
    assert settings.load(write("")).vms == settings.Vms(uri=None)
    lines = [warning for warning in settings.examine(write("[vms]\nparallel_starts = 2")).warnings if warning.line]
    assert [(each.line, each.text[:27]) for each in lines] == [(2, "[vms] has no effect without")]
    lines = [warning for warning in settings.examine(write('[vms]\nuri = "test:///default"')).warnings if warning.line]
    assert [(each.line, each.text[:37]) for each in lines] == [(2, "vms.shared_storage names no storage: ")]
    for good in ('shared_storage = ["rbd"]', 'manage = "all"'):
        found = settings.examine(write(f'[vms]\nuri = "test:///default"\n{good}')).warnings
        assert not [warning for warning in found if warning.line]


def test_keys_of_later_versions_are_known_but_said_to_have_no_effect(write) -> None:
    path = write('[store]\nurl = "postgresql:///x"\n[metrics]\nlisten = "::1"\n')
    assert settings.problems(path) == []
    later = [warning for warning in settings.examine(path).warnings if warning.line]
    assert [(warning.line, warning.text.split()[0]) for warning in later] == [(2, "store.url"), (4, "metrics.listen")]


def test_vmmgr_conf_supplies_what_the_toml_leaves_open(write) -> None:
    vmmgr = """\
        # CloudIp 10.9.9.9
        path var\tother
        CloudIp 172.31.224.70
        CloudIpDev\tbr7
          CloudMask   255.255.255.128
        """
    assert settings.load(write("", vmmgr)).address == CloudAddress("172.31.224.70", 25, "br7")
    got = settings.load(write('[cloud]\nip = "10.0.0.9"\n', vmmgr))
    assert got.address == CloudAddress("10.0.0.9", 25, "br7")


def test_drop_ins_come_after_the_file_in_the_order_of_their_names(write) -> None:
    drop_ins = {"20-b.conf": "CloudIp 10.0.0.2", "10-a.conf": "CloudIp 10.0.0.1\nCloudMask 24", ".30.conf": "CloudIp x"}
    drop_ins["40.conf~"] = "CloudIp x"
    got = settings.load(write("", "CloudIp 10.0.0.0\nCloudIpDev br0", **drop_ins))
    assert got.address == CloudAddress("10.0.0.2", 24, "br0")


def test_a_bad_value_in_a_drop_in_is_named_by_its_file_and_line(write) -> None:
    path = write("", "CloudIp 10.0.0.1", **{"a.conf": "\nCloudMask 255.255.0.255"})
    assert whys(path)[0].startswith("DIR/vmmgr.conf.d/a.conf:2: CloudMask: expected a prefix length")


def test_a_named_vmmgr_conf_must_exist_and_one_that_is_no_text_is_still_read(write, tmp_path: Path) -> None:
    assert "there is no file" in whys(write("", vmmgr=None))[0]
    path = write("")
    (tmp_path / "vmmgr.conf").write_bytes(b"Title \xff\xfe\nCloudIp 10.0.0.1\n")
    assert settings.load(path).cloud.ip == "10.0.0.1"


def test_without_a_mask_the_address_is_alone_and_a_warning_says_so(write) -> None:
    four = settings.load(write('[cloud]\nip = "10.0.0.1"'))
    assert four.address == CloudAddress("10.0.0.1", 32, "vmbr0")
    assert [str(warning).split(": ", 1)[1] for warning in four.warnings] == [
        "no mask is given for 10.0.0.1: it will be held as /32"
    ]
    assert four.warnings[0].line == 2
    six = settings.load(write('[cloud]\nip = "fd00::0:1"'))
    assert six.address == CloudAddress("fd00::1", 128, "vmbr0")


def test_an_ipv6_prefix(write) -> None:
    got = settings.load(write('[cloud]\nip = "fd00::1"\nmask = "64"'))
    assert got.address == CloudAddress("fd00::1", 64, "vmbr0")


def test_a_named_file_must_exist_the_default_one_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file"):
        settings.load(missing)
    monkeypatch.setattr(settings, "PATH", missing)
    assert settings.load().path == ""


def test_what_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        settings.load(str(tmp_path))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[cloud]\nip = "\xe4"\n')
    with pytest.raises(ConfigError, match="not UTF-8"):
        settings.load(str(latin))


@pytest.mark.parametrize("name", ["corolistener.toml", "vmmgr.conf", "vmmgr.conf.d", "vmmgr.conf.d/a.conf", "."])
def test_what_others_can_write_is_not_read(write, tmp_path: Path, name: str) -> None:
    path = write('[cloud]\ndevice = "br0"\n', **{"a.conf": "CloudIp 10.0.0.1"})
    assert settings.load(path).address is not None
    open_to_all = (tmp_path / name).resolve()
    open_to_all.chmod(0o777)
    [said, *_] = [str(problem) for problem in settings.problems(path)]
    assert f"{open_to_all} (mode 0777): chmod go-w {open_to_all}" in said
    assert "every user" in said


def test_a_drop_in_directory_that_others_own_is_not_read(write, tmp_path: Path) -> None:
    path = write("", **{"a.conf": "CloudIp 10.0.0.1"})
    if os.geteuid() == 0:
        os.chown(tmp_path / "vmmgr.conf.d", 12345, 0)
        assert "belongs to uid 12345" in whys(path)[0]


@pytest.mark.parametrize("table", ["[service]\nhook = ", "[service]\nmoved = ", "[[fencing.agent]]\nnodes = [1]\nprogram = "])
def test_the_daemon_runs_no_program_that_others_can_change(write, tmp_path: Path, table: str) -> None:
    program = tmp_path / "bin" / "program"
    program.parent.mkdir()
    program.touch(0o755)
    path = write(f'{table}"{program}"\n')
    assert str(program) in settings.load_to_run(path).programs()
    program.parent.chmod(0o777)
    assert settings.load(path)  # questions of others are still answered
    with pytest.raises(ConfigError, match=f"{program}: every user can replace what is in the directory {program.parent}"):
        settings.load_to_run(path)


def test_the_lease_is_the_least_that_outlives_a_membership_change(write) -> None:
    # The example of safety.md: token 1000 (1650 with the coefficient), consensus 1980.
    got = settings.load(write(""))
    assert got.timing(1650, 1980) == Timing(lease_ms=5130)
    assert got.timing(1650, 1980, device_ms=1000).lease_ms == 6130
    assert settings.load(write("[fencing]\nlease_ms = 9000")).timing(1650, 1980).lease_ms == 9000


def test_a_lease_that_breaks_the_sum_is_refused_with_the_sum(write) -> None:
    path = write("[fencing]\nheartbeat_ms = 100\nlease_ms = 4000")
    with pytest.raises(ConfigError) as raised:
        settings.load(path).timing(1650, 1980)
    assert (raised.value.path, raised.value.line) == (path, 3)
    assert "token 1650 + consensus 1980 + 2 * heartbeat_ms 100 + 500 = 4330 ms" in raised.value.why


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[paths]\nrun = 1", 2),
        ("[ paths ] # where\n# run = 0\n'run' = 1", 3),
        ("paths.run = 1", 1),
        ("\n\npaths = { run = 1 }", 3),
        ('[cloud]\ndevice = "run=1"\n[paths]\n"run"=1', 4),
    ],
)
def test_a_line_is_found_however_the_key_is_written(write, text: str, line: int) -> None:
    assert [problem.line for problem in settings.problems(write(text))] == [line]


def test_memory_is_encrypted_on_its_way_unless_somebody_says_otherwise(write) -> None:
    assert settings.load(write("")).vms.migrate_tls is True
    assert settings.load(write("[vms]\nmigrate_tls = false\n")).vms.migrate_tls is False
    assert "expected true or false, found 'no'" in whys(write("[vms]\nmigrate_tls = 'no'\n"))[0]
