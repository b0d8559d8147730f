"""What libvirt's hook has to know while no daemon runs, and that a hook that is not called is noticed."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from corolistener.core.actions import Reason, StartVm, TicketedAction, Until
from corolistener.core.capacity import Vm
from corolistener.core.events import Outcome, Result
from corolistener.core.ledger import Placed, Version
from corolistener.core.view import NO_RING
from corolistener.daemon import guarded as module
from corolistener.daemon.guarded import Guarded
from corolistener.effects.managed import NAME
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket, VmName

WEB, DB = VmName("web"), VmName("db")
DONE = Outcome(Result.DONE)
XML = b"<domain><devices><disk type='file'><source file='/shared/%s.img'/></disk></devices></domain>"


class Said:
    """The log."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def say(self, level: int, code: str, **fields: object) -> None:
        self.codes.append(code)


def rows(*names: VmName, definition: str = "d") -> dict[VmName, Placed]:
    made = {name: Vm(name, 1024, definition=definition, uuid=f"uuid-of-{name}") for name in names}
    return {name: Placed(vm, NodeId(1), 1) for name, vm in made.items()}


def text(name: VmName, definition: str) -> bytes:
    if definition != "d":
        raise EffectError("definition", "it is not here")
    return XML % name.encode()


def guarded(state: Path) -> tuple[Guarded, Said]:
    log = Said()
    return Guarded(state, text, log), log  # type: ignore[arg-type]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def told(made: Guarded, index: int, placed: dict[VmName, Placed]) -> None:
    """It was told of this ledger, and has written what it writes."""
    made.tell(Version(1, index), placed)
    await asyncio.get_running_loop().run_in_executor(made._thread, lambda: None)


def test_a_definition_that_comes_after_its_row_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a second VM on the same image would start here until the ledger changes."""
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    here = dict[str, bytes]()

    def read(name: VmName, definition: str) -> bytes:
        if name not in here:
            raise EffectError("definition", "it is not here")
        return here[name]

    async def story() -> None:
        made = Guarded(tmp_path, read, Said())  # type: ignore[arg-type]
        await told(made, 1, rows(WEB))
        assert (tmp_path / NAME).read_text().splitlines() == ["uuid-of-web", "web"]
        here[WEB] = text(WEB, "d")
        await told(made, 1, rows(WEB))
        assert "/shared/web.img" in (tmp_path / NAME).read_text().splitlines()

    play(story())


def test_the_list_has_names_uuids_and_disks(tmp_path: Path) -> None:
    async def story() -> None:
        made, _ = guarded(tmp_path)
        await told(made, 1, rows(WEB, DB))
        wanted = ["/shared/db.img", "/shared/web.img", "db", "uuid-of-db", "uuid-of-web", "web"]
        assert (tmp_path / NAME).read_text().splitlines() == wanted
        assert made.sharing(("/shared/web.img", "/shared/other.img")) == (WEB,)
        await told(made, 2, rows(DB, definition="not here"))
        assert (tmp_path / NAME).read_text().splitlines() == ["db", "uuid-of-db"]
        assert made.sharing(("/shared/web.img", "/shared/db.img")) == ()
        await told(made, 3, rows(DB))
        assert made.sharing(("/shared/db.img",)) == (DB,), "it is here now"

    play(story())


def test_a_list_that_somebody_removed_is_written_again(tmp_path: Path) -> None:
    async def story() -> None:
        made, _ = guarded(tmp_path)
        await told(made, 1, rows(WEB))
        (tmp_path / NAME).unlink()
        await told(made, 1, rows(WEB))
        assert not (tmp_path / NAME).exists(), "nobody looks while nobody asks"
        made.asked(VmName("other"))
        await told(made, 1, rows(WEB))
        assert "web" in (tmp_path / NAME).read_text()

    play(story())


def start(name: VmName) -> StartVm:
    return StartVm(Ticket(1), Vm(name, 1024), 1, Until(NO_RING, Instant(0)), Reason.PLACED)


@pytest.mark.parametrize("outcome", [DONE, Outcome(Result.FAILED, "no"), Outcome(Result.DONE, facts=(("kept", "yes"),))])
def test_only_a_start_that_was_carried_out_shows_that_the_hook_is_silent(tmp_path: Path, outcome: Outcome) -> None:
    async def perform(action: TicketedAction) -> Outcome:
        return outcome

    async def story() -> None:
        made, log = guarded(tmp_path)
        watched = made.watching(perform)
        await watched(start(WEB))
        assert (made.silent, log.codes) == (None, []), "the list did not have it yet"
        await told(made, 1, rows(WEB))
        for _ in range(3):
            assert await watched(start(WEB)) == outcome
        assert (made.silent, log.codes) == ((True, ["hook-silent"]) if outcome is DONE else (None, []))

    play(story())


def test_a_hook_that_asks_is_there(tmp_path: Path) -> None:
    async def story() -> None:
        made, log = guarded(tmp_path)
        calls = True

        async def perform(action: TicketedAction) -> Outcome:
            if calls:
                made.asked(WEB)
            return DONE

        watched = made.watching(perform)
        await told(made, 1, rows(WEB))
        await watched(start(WEB))
        assert (made.silent, log.codes) == (False, [])
        calls = False
        await watched(start(WEB))
        assert (made.silent, log.codes) == (True, ["hook-silent"])
        calls = True
        await watched(start(WEB))
        assert made.silent is False

    play(story())
