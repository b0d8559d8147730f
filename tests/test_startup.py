"""What `corolistener -l` may import: what it costs is mostly that (behaviour/corolistener.md, `corolistener -l`)."""

import json
import subprocess
import sys
from pathlib import Path

from daemon.serving import Told, serving

HEAVY = {
    "argparse",
    "asyncio",
    "cffi",
    "dataclasses",
    "libvirt",
    "logging",
    "msgspec",
    "pyroute2",
    "sqlalchemy",
    "tomllib",
    "typing",
}
BINDINGS = ("corolistener.corosync", "_cffi_backend")
SCRIPT = """
import json, sys
before = set(sys.modules)
from corolistener.cli import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(set(sys.modules) - before)]), file=sys.stderr)
"""


def imported(*words: str) -> tuple[int, set[str], str]:
    """Exit status, modules imported by the program, standard output."""
    command = [sys.executable, "-c", SCRIPT, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    return status, set(modules), done.stdout


def settings(tmp_path: Path) -> str:
    path = tmp_path / "corolistener.toml"
    path.write_text(f'[paths]\nrun = "{tmp_path}/run"\n')
    return str(path)


def test_with_a_daemon_no_c_library_is_opened(tmp_path: Path) -> None:
    with serving(str(tmp_path / "run"), Told()):
        status, modules, out = imported("-l", "--config", settings(tmp_path))
    assert (status, out.count("joined")) == (0, 3)
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith(BINDINGS)]
    assert not [name for name in modules if name.startswith(("corolistener.daemon", "corolistener.effects"))]


def test_without_a_daemon_the_bindings_are_all_there_is(tmp_path: Path) -> None:
    _, modules, _ = imported("-l", "--config", settings(tmp_path))
    assert "corolistener.corosync.cmap" in modules
    assert not modules & (HEAVY - {"typing"})
    assert "corolistener.wire.control" not in modules


def test_the_client_library_costs_socket_and_json(tmp_path: Path) -> None:
    script = "import json, socket, sys; before = set(sys.modules); import corolistener.client\n"
    script += "print(sorted(set(sys.modules) - before - {'__future__', 'struct', '_struct'}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(name.startswith("corolistener") for name in eval(done.stdout))
