"""The manual pages: nothing missing that the program has, and nothing that man itself stumbles over."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from corolistener.cli import config, hooks, node, verbs, vm
from corolistener.daemon import settings

MAN = Path(__file__).parents[2] / "docs/man"


def plain(page: str) -> str:
    """The source without what only says how it looks."""
    return re.sub(r"\\f.|\"|\\", "", (MAN / page).read_text())


def test_every_verb_action_and_option_is_described() -> None:
    page = plain("corolistener.8")
    for verb in set(verbs.VERBS) - {"config", "hooks", "node", "vm"}:
        assert re.search(rf"^\.BR? {verb}\b", page, re.M), verb
    for verb, actions in (
        ("config", config.ACTIONS),
        ("node", node.ACTIONS),
        ("hooks", hooks.ACTIONS),
        ("vm", vm.ACTIONS),
    ):
        for action in actions:
            assert re.search(rf"^\.BR {verb} {action}\b", page, re.M), action
    for option in (
        "--list",
        "--json",
        "--config",
        "--version",
        "--help",
        "--from",
        "--token",
        "--token-file",
        "--force",
        "--address",
    ):
        assert option in page
    for option in ("--id", "--name", "--priority", "--replication", "--confirm", "--test", "--directory", "--reason"):
        assert option in page
    for option in ("--test", "--on", "--to", "--order", "--together", "--apart", "--nodes", "--manage", "--lose", "--dry-run"):
        assert option in page
    for option in ("--no-wait", "--timeout", "--redact", "--no-redact"):
        assert option in page


def test_every_setting_is_described_with_its_default() -> None:
    page = plain("corolistener.toml.5")
    for table, kind in {**settings.TABLES, **{f"[{name}]": kind for name, kind in settings.ELEMENTS.items()}}.items():
        section = page[page.index(f".SS [{table}]") :]
        for key in fields(kind):
            line = re.search(rf"^\.BR {key.name} +\((.*)\)$", section, re.M)
            assert line, f"{table}.{key.name}"
            if isinstance(key.default, str | int | float) and key.name != "hook":
                words = (
                    [f"{key.default:g}"]
                    if isinstance(key.default, float)
                    else [str(key.default).replace("True", "true").replace("False", "false")]
                )
                assert line[1].split(", ")[-1] in words
    assert ".SS [database]" in page


@pytest.mark.parametrize("page", sorted(path.name for path in MAN.glob("*.[58]")))
def test_man_has_nothing_to_complain_about(page: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    command = ["groff", "-man", "-Tutf8", "-ww", str(MAN / page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout) > 2000
