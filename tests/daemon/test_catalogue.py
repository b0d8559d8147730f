"""Every line of the log has a code that somebody emits, a level, and a text in the catalogue."""

import ast
import logging
from pathlib import Path

from corolistener.core.notes import NoteCode
from corolistener.daemon import catalogue
from corolistener.daemon.notes import level_of

ROOT = Path(__file__).parents[2]


def emitted() -> set[str]:
    """Names of NoteCode that the core and the engine use. What the shell says of their levels is no use."""
    found = set()
    for path in [*(ROOT / "corolistener/core").rglob("*.py"), *(ROOT / "corolistener/engine").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "NoteCode":
                found.add(node.attr)
    return found


def said() -> set[str]:
    """Codes that the shell says by itself: the word after the level in a call of `say`."""
    found = set()
    for path in (ROOT / "corolistener/daemon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="say"), args=[_, ast.Constant(value=code), *_]):
                    found.add(code)
    return found


def test_every_code_is_emitted() -> None:
    assert {code.name for code in NoteCode} - emitted() == set()


def test_every_code_has_a_level_and_a_text() -> None:
    assert {code.value for code in NoteCode} == set(catalogue.CORE)
    assert {level_of(code) for code in NoteCode} <= {logging.INFO, logging.WARNING, logging.ERROR}
    assert said() - set(catalogue.SHELL) == set()
    assert len(said()) > 20
    for text in (*catalogue.CORE.values(), *catalogue.SHELL.values()):
        assert text[0].isupper() or text.startswith(("corosync", "lease_ms"))
        assert text.endswith(".")


def test_the_page_is_the_catalogue() -> None:
    assert (ROOT / "docs/log.md").read_text() == catalogue.page()


def test_a_node_that_becomes_eligible_is_called_so() -> None:
    assert NoteCode.ELIGIBLE.value == "eligible"
    assert level_of(NoteCode.ELIGIBLE) == logging.INFO
