"""Links to nodes that the core waits for are looked at, and only changes are told."""

import asyncio

import pytest

from corolistener.core.events import Linked
from corolistener.daemon import links
from corolistener.errors import EffectError
from corolistener.ids import NodeId

N2, N3 = NodeId(2), NodeId(3)


def test_changes_are_told_and_a_corosync_without_an_answer_shows_no_life(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: dict[NodeId, bool | None] = {N2: False, N3: False}
    told: list[Linked] = []
    awaited = [N2, N3]

    async def linked(node: NodeId) -> bool:
        if (answer := connected[node]) is None:
            raise EffectError("links", "no answer")
        return answer

    async def looks() -> None:
        monkeypatch.setattr(links, "linked", linked)
        watching = links.Links(lambda: awaited, told.append)
        await watching.look()
        assert told == []
        connected[N3] = True
        await watching.look()
        await watching.look()
        assert told == [Linked((N3,))]
        connected.update({N2: True, N3: None})
        await watching.look()
        assert told[-1] == Linked((N2,))
        awaited.clear()
        await watching.look()
        assert told[-1] == Linked(())

    asyncio.run(looks())
