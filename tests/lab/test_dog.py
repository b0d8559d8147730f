"""The lab's watchdog, with a machine and a program on it that uses the daemon's own effect."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.dog import Dog
from lab.machine import CHECKOUT, Machine
from lab.waiting import stays, wait_for

# Takes the watchdog as the daemon does, and feeds it; told to (SIGTERM), it disarms it first, as after a farewell.
PROGRAM = """
import asyncio, signal, sys
from corolistener.core.actions import DisarmWatchdog, FeedWatchdog
from corolistener.effects.watchdog import Mode, Watchdog
from corolistener.ids import Ticket
from lab.dog import DogLine

async def life(timeout_ms):
    dog, asked = Watchdog(Mode.REQUIRED, DogLine(), timeout_ms), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    print("open", await dog.open(), dict(dog.found)["adopted"], flush=True)
    while not asked.is_set():
        await dog.perform(FeedWatchdog(Ticket(1), None))
        print("fed", flush=True)
        await asyncio.sleep(0.1)
    await dog.perform(DisarmWatchdog(Ticket(2)))

asyncio.run(life(int(sys.argv[1])))
"""


@pytest.fixture
def machine(machine_can: None, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine("dogged", tmp_path / "dogged")
    machine.install()
    machine.power_up()
    machine.await_up()
    yield machine
    machine.power_down()


@pytest.fixture
def dog(machine: Machine) -> Iterator[Dog]:
    dog = Dog(machine)
    dog.start()
    yield dog
    machine.power_down()
    dog.reap()


def start(machine: Machine, timeout_ms: int) -> None:
    """The program, supervised: killed, it is started again."""
    argv = [sys.executable, "-c", PROGRAM, str(timeout_ms)]
    machine.start("program", argv, restart="on-failure", env={"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"})
    wait_for(lambda: "fed" in lines(machine), "it feeds")


def lines(machine: Machine) -> list[str]:
    return machine.output("program").splitlines()


def test_a_killed_program_is_followed_by_one_that_adopts_and_a_starved_machine_is_off(machine: Machine, dog: Dog) -> None:
    start(machine, 8000)
    before = lines(machine)
    assert before[0] == "open 8000 no"
    machine.send("program", signal.SIGKILL)
    wait_for(lambda: "open 8000 yes" in lines(machine), "the next one adopts it")
    fed = len(lines(machine))
    wait_for(lambda: len(lines(machine)) > fed + 85, "fed for longer than the timeout")
    assert machine.on
    assert dog.told == ["armed 8000", "adopted"]
    machine.stop("program", signal.SIGKILL)
    wait_for(lambda: dog.bitten, "the machine loses its power")
    assert dog.told == ["armed 8000", "adopted", "bite"]
    assert machine.processes() == []
    machine.power_down()
    machine.power_up()
    machine.await_up()
    dog.start()
    assert dog.told == []


def test_disarmed_it_bites_nobody(machine: Machine, dog: Dog) -> None:
    start(machine, 3000)
    machine.stop("program", signal.SIGTERM)
    assert dog.told == ["armed 3000", "stopped"]
    stays(lambda: machine.on, "on", 4)
    assert dog.told == ["armed 3000", "stopped"]


def test_it_goes_with_its_machine(machine: Machine, dog: Dog) -> None:
    start(machine, 60_000)
    machine.power_down()
    dog.reap()
    assert dog.told == ["armed 60000"]
