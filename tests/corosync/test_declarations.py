"""The three descriptions of a library's C side agree: what is compiled, what is typed, what is used."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import corolistener.corosync

ROOM = Path(corolistener.corosync.__file__).parent
LIBRARIES = ("cpg", "quorum", "votequorum", "cmap", "cfg")


def members(tree, name):
    """What a class of a stub declares."""
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {node.target.id if isinstance(node, ast.AnnAssign) else node.name for node in found.body}


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_stub_has_what_is_compiled_and_no_more(library):
    compiled = importlib.import_module(f"corolistener.corosync._{library}")
    tree = ast.parse((ROOM / f"_{library}.pyi").read_text())
    assert members(tree, "Lib") == set(dir(compiled.lib))


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_compiled_is_used(library):
    compiled = importlib.import_module(f"corolistener.corosync._{library}")
    used = set(re.findall(r"\blib\.(\w+)", (ROOM / f"{library}.py").read_text()))
    assert used == set(dir(compiled.lib))


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_stubs_names_of_types_are_cs(library):
    compiled = importlib.import_module(f"corolistener.corosync._{library}")
    tree = ast.parse((ROOM / f"_{library}.pyi").read_text())
    names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    types = {name for name in names if name.endswith(("*", "[]"))}  # the others are names of fields
    assert types
    for name in types:
        assert compiled.ffi.typeof(name)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_type_that_is_made_is_typed(library):
    made = set(re.findall(r'ffi\.(?:new|cast)\(\s*"([^"]+)"', (ROOM / f"{library}.py").read_text()))
    stub = (ROOM / f"_{library}.pyi").read_text()
    assert made
    assert {name for name in made if f'"{name}"' not in stub} == set()
