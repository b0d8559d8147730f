"""`compare`: the others are asked as by `config pull`, and nothing is installed."""

from pathlib import Path

import pytest

from corolistener.effects.detached import detached
from corolistener.effects.pull import Pull, Pulled, PullResult, compare
from corolistener.engine.conf import config_id

from .conffiles import names
from .pullers import Asking, text


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


async def compared(asking: Asking) -> PullResult:
    return await detached(lambda: compare(Pull(asking.conf, (asking.key,), asking.port, timeout_s=20)))


@pytest.mark.parametrize(("others", "newer"), [((6, 8, 7), 8), ((4, 5, 5), None), ((5, 5, 5), None)])
def test_only_a_newer_file_is_chosen(asking: Asking, others: tuple[int, ...], newer: int | None) -> None:
    async def scene(asking: Asking) -> None:
        for node, version in enumerate(others, 2):
            await asking.node(node, text(version))
        result = await compared(asking)
        assert (result.result, result.local) == (Pulled.CURRENT, config_id(text(5)))
        assert result.chosen == (config_id(text(newer)) if newer else None)
        assert len(result.answers) == 3

    asking.run(scene)
    assert asking.conf.read_bytes() == text(5)
    assert names(asking.directory) == ["corosync.conf", "key"]


def test_nobody_answers(asking: Asking) -> None:
    async def scene(asking: Asking) -> None:
        (await asking.node(2, text(8)))._servers[0].close()
        result = await compared(asking)
        assert (result.result, result.answers, result.chosen) == (Pulled.UNANSWERED, (), None)
        assert len(result.failures) == 4

    asking.run(scene)
