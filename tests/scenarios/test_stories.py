"""Every story is played and has to go as it is written."""

from pathlib import Path

import pytest

from corolistener.sim import script

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*/*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_story(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    now = script.told(script.parse(text))
    if request.config.getoption("--rewrite", default=False):
        path.write_text(now)
        return
    assert text == now
