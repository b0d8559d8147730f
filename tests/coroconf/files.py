"""The files the tests of coroconf share: the seed's sample, and cases that were once surprising."""

from pathlib import Path

HERE = Path(__file__).parent
SEED = (HERE / "seed.conf").read_bytes()
"""The two snippets of the seed's page, one after the other, with the wiki's own blanks."""


def accepted() -> dict[str, bytes]:
    """Files in which corosync 3.1.7 finds nothing wrong with structure and names, by what they show."""
    return {path.stem: path.read_bytes() for path in sorted((HERE / "cases/accepted").glob("*.conf"))}


def refused() -> dict[str, tuple[bytes, int]]:
    """Files its parser refuses, with the line to blame (in the file's name after the @)."""
    files = sorted((HERE / "cases/refused").glob("*.conf"))
    return {path.stem: (path.read_bytes(), int(path.stem.rpartition("@")[2])) for path in files}
