"""`pytest tests/scenarios --rewrite` writes what follows from the commands now into the stories; a human reads the diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the stories' output anew")
