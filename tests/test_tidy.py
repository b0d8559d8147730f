"""House rules that a machine can hold: short functions, small modules, captions, nothing asynchronous in the wrong room."""

import ast
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PACKAGE = TOP / "corolistener"
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTION_MOST = 60
MODULE_MOST = {"core": 400}
MODULE_MOST_ELSEWHERE = 500
ASYNCHRONOUS = {"daemon", "effects"}
DOORS = {"cli", "client"}
"""Packages whose `__init__` is a door: the program's entry, and the library's `connect`."""
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
FORBIDDEN_WORDS = {"Manager", "Handler", "Helper", "Util", "Base"}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


@pytest.fixture(params=MODULES, ids=name)
def module(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    path: Path = request.param
    return path, ast.parse(path.read_text(encoding="utf-8"))


def test_modules_are_small_and_have_a_caption(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    most = MODULE_MOST.get(room(path), MODULE_MOST_ELSEWHERE)
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= most, f"{name(path)} has {lines} lines, at most {most} fit a reader's head"
    assert ast.get_docstring(tree), f"{name(path)} does not say what lives here"


def test_functions_are_short(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_MOST, f"{name(path)}:{node.lineno}: {node.name} has {lines} lines"


def test_only_daemon_and_effects_wait(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    waiting = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    assert not waiting or room(path) in ASYNCHRONOUS, f"{name(path)}:{waiting[0]}: async outside {sorted(ASYNCHRONOUS)}"


def test_package_doors_import_nothing(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    if path.name != "__init__.py" or room(path) in DOORS:
        return
    imports = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not imports, f"{name(path)}:{imports[0]}: the caption of a room imports nothing"


def test_no_class_is_named_for_nothing(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bad = [word for word in FORBIDDEN_WORDS if node.name.endswith(word) and node.name != word]
            assert not bad, f"{name(path)}:{node.lineno}: {node.name} says {bad[0]}, not what it is"


def test_architecture_names_every_room() -> None:
    text = (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert not [each for each in sorted(ROOMS) if f"`{each}`" not in text]


def test_architecture_shows_the_tables_as_they_are() -> None:
    drawn = subprocess.run([str(TOP / "scripts/draw-states")], capture_output=True, text=True, check=True, timeout=60).stdout
    assert drawn.strip() in (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8"), "run scripts/draw-states --write"
