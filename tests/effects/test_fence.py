"""Fence agents: real programs that succeed, fail, lie, hang and talk too much."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from corolistener.core.actions import Fence, Spare, Until
from corolistener.core.events import Outcome, Result
from corolistener.core.view import RingId
from corolistener.effects import fence, programs
from corolistener.effects.fence import Asked, FenceAgents
from corolistener.errors import EffectError
from corolistener.ids import Instant, NodeId, Ticket

from .conftest import eventually

ME, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
NAMES = {ME: "one", TWO: "two", THREE: "three", NodeId(4): ""}
UNTIL = Until(RingId(9, ME), Instant(1 << 40))
SECRETS = (("passwd", "hunter2 = x"), ("ip", "192.0.2.7"), ("pin_token", "7"), ("plug", "{node}:{name}"))
DIES = "trap '' TERM; sleep 1000 & echo $! >>$HERE/pids; echo $$ >>$HERE/pids; wait; sleep 1000"


@dataclass(frozen=True)
class Agent:
    program: str
    nodes: tuple[int | str, ...] = (2, "three")
    options: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 60.0
    then: str = "off"


class Stage:
    """Agents written as scripts, links that are connected as a test says, and what is told to the log."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.told: list[tuple[str, dict[str, str]]] = []
        self.looks = 0
        self.connected: Callable[[], Awaitable[bool]] | list[bool] = []

    def agent(self, script: str, name: str = "agent", **options: object) -> Agent:
        """A program that runs this script; `$HERE` is the test's directory, `$action` what is wanted of it."""
        path = self.here / name
        start = f'#!/bin/bash\nHERE={self.here}\nstdin=$(cat); action=$(sed -n s/^action=//p <<<"$stdin")\n'
        path.write_text(f'{start}echo "{name} $action" >>$HERE/calls\n{script}\n')
        path.chmod(0o755)
        return Agent(str(path), **options)  # type: ignore[arg-type]

    def effect(self, *agents: Agent) -> FenceAgents:
        return FenceAgents(agents, NAMES, ME, self.linked, lambda code, fields: self.told.append((code, dict(fields))))

    async def linked(self, node: NodeId) -> bool:
        self.looks += 1
        if callable(self.connected):
            return await self.connected()
        return self.connected.pop(0) if self.connected else False

    def calls(self) -> list[str]:
        path = self.here / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self) -> list[int]:
        path = self.here / "pids"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def living(self) -> list[int]:
        return [pid for pid in self.pids() if alive(pid)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def act(node: NodeId = TWO) -> Fence:
    return Fence(Ticket(1), node, "boot-of-it", UNTIL)


def perform(effect: FenceAgents, node: NodeId = TWO) -> Outcome:
    async def story() -> Outcome:
        try:
            return await effect.perform(act(node))
        finally:
            await effect.close()

    return asyncio.run(story())


def test_what_an_agent_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COROLISTENER_SECRET", "1")
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    script = (
        'echo "$stdin" >$HERE/stdin; echo $# >$HERE/count; env >$HERE/env; ls -l /proc/$$/fd >$HERE/fds; echo $PWD >$HERE/in'
    )
    agent = stage.agent(script, options=SECRETS)
    try:
        assert perform(stage.effect(agent), THREE) == Outcome(Result.DONE, facts=(("agent", agent.program),))
    finally:
        os.close(leak)
    lines = (stage.here / "stdin").read_text().splitlines()
    assert lines == ["action=off", "passwd=hunter2 = x", "ip=192.0.2.7", "pin_token=7", "plug=3:three"]
    assert (stage.here / "count").read_text() == "0\n"
    environment = {line.partition("=")[0] for line in (stage.here / "env").read_text().splitlines()}
    assert environment == {"PATH", "LANG", "PWD", "SHLVL", "_"}
    descriptors = {
        line.partition(" -> ")[0].split()[-1] for line in (stage.here / "fds").read_text().splitlines() if ">" in line
    }
    assert descriptors <= {"0", "1", "2", "255"}, "bash itself keeps its script at 255"
    assert (stage.here / "in").read_text() == "/\n"
    assert stage.told == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo first >&2; echo the reason >&2; exit 1", "agent off: exit 1: the reason"),
        ("exit 2", "agent off: exit 2"),
        ("kill -9 $$", "agent off: signal 9"),
        ("echo only on stdout; exit 3", "agent off: exit 3"),
        (r"printf 'a\033[31mb\n' >&2; exit 1", "agent off: exit 1: a[31mb"),
    ],
)
def test_an_agent_that_fails_says_why(stage: Stage, script: str, why: str) -> None:
    with pytest.raises(EffectError) as raised:
        perform(stage.effect(stage.agent(script)))
    assert raised.value.why == f"{stage.here}/{why}"
    assert stage.told == [("fence-agent-failed", {"node": "2", "why": raised.value.why})]
    assert stage.looks == 0, "who failed is not contradicted"


def test_what_an_agent_says_is_told_without_the_options(stage: Stage) -> None:
    script = 'echo "login hunter2 = x at 192.0.2.7 failed, plug 2:two, 7 left" >&2; exit 1'
    with pytest.raises(EffectError) as raised:
        perform(stage.effect(stage.agent(script, options=SECRETS)))
    assert raised.value.why.endswith("exit 1: login *** at *** failed, plug ***, *** left")


def test_a_secret_at_the_edge_of_what_is_kept_is_not_told_in_half(stage: Stage) -> None:
    secret = "s3cr3t-" * 20
    script = f"head -c {programs.STDERR_BYTES - len(secret) // 2} /dev/zero | tr '\\0' x >$HERE/rest\n"
    script += f"printf '{secret}' >&2; cat $HERE/rest >&2; exit 1"
    with pytest.raises(EffectError) as raised:
        perform(stage.effect(stage.agent(script, options=(("passwd", secret),))))
    assert raised.value.why.endswith("xxx")
    assert "s3cr3t" not in raised.value.why


def test_the_first_level_that_succeeds_is_enough(stage: Stage) -> None:
    first, second, third = stage.agent("exit 1", "first"), stage.agent("", "second"), stage.agent("", "third")
    assert perform(stage.effect(first, second, third)).facts == (("agent", second.program),)
    assert stage.calls() == ["first off", "second off"]
    assert [code for code, _ in stage.told] == ["fence-agent-failed"]


def test_when_all_levels_fail_all_say_why(stage: Stage) -> None:
    first, second = stage.agent("echo no >&2; exit 1", "first"), stage.agent("exit 9", "second")
    missing = Agent(str(stage.here / "none"))
    with pytest.raises(EffectError) as raised:
        perform(stage.effect(first, second, missing))
    one, two, three = raised.value.why.split("; ", 2)
    assert (one, two) == (f"{first.program} off: exit 1: no", f"{second.program} off: exit 9")
    assert three.startswith(f"{missing.program} does not exist")
    assert three.endswith("install it, or name another in [[fencing.agent]]")


def test_one_that_hangs_dies_with_all_its_group_at_its_deadline_and_the_next_is_tried(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "GRACE_S", 0.2)

    async def story(timeout_s: int) -> bool:
        """Whether the script had come so far that there was a group to end."""
        hanging = stage.agent(DIES, "hanging", timeout_s=timeout_s)
        effect = stage.effect(hanging, stage.agent("", "second"))
        assert (await effect.perform(act())).result is Result.DONE
        assert stage.calls()[-1] == "second off"
        assert stage.living() == []
        assert stage.told[-1][1]["why"] == f"{hanging.program} off: has not ended after {timeout_s} s"
        await effect.close()
        return len(stage.pids()) == 2

    assert any(asyncio.run(story(timeout_s)) for timeout_s in (1, 5, 25))


def test_one_that_is_given_up_dies_with_all_its_group_and_no_other_is_tried(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "GRACE_S", 0.2)

    async def story() -> None:
        effect = stage.effect(stage.agent(DIES, "hanging"), stage.agent("", "second"))
        task = asyncio.ensure_future(effect.perform(act()))
        await eventually(lambda: len(stage.pids()) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.living() == []
        assert stage.calls() == ["hanging off"]

    asyncio.run(story())


def test_a_node_is_fenced_once_at_a_time_and_others_beside_it(stage: Stage) -> None:
    script = 'grep -q plug=2 <<<"$stdin" || exit 0; mkdir $HERE/busy || exit 1; until [ -e $HERE/go ]; do sleep 0.01; done'
    agent = stage.agent(f"{script}; rmdir $HERE/busy", options=(("plug", "{node}"),))

    async def story() -> None:
        effect = stage.effect(agent)
        both = [asyncio.ensure_future(effect.perform(act())) for _ in range(2)]
        await eventually((stage.here / "busy").exists)
        assert (await effect.perform(act(THREE))).result is Result.DONE
        (stage.here / "go").touch()
        assert [outcome.result for outcome in await asyncio.gather(*both)] == [Result.DONE, Result.DONE]

    asyncio.run(story())


# -- links that contradict


def test_without_a_link_an_agent_is_believed_at_once(stage: Stage) -> None:
    perform(stage.effect(stage.agent("")))
    assert stage.looks == 1


def test_a_link_may_outlive_its_node_for_a_moment(stage: Stage) -> None:
    stage.connected = [True, True, True]
    assert perform(stage.effect(stage.agent(""))).result is Result.DONE
    assert stage.looks == 4


async def connected() -> bool:
    return True


async def hangs() -> bool:
    await asyncio.Event().wait()
    return False


async def unknown() -> bool:
    raise EffectError("links", "nobody can ask corosync")


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (connected, "a link to it is still connected"),
        (hangs, "corosync does not say whether a link to it is still connected"),
        (unknown, "nobody can ask corosync"),
    ],
)
def test_an_agent_that_is_contradicted_is_not_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, link: Callable[[], Awaitable[bool]], words: str
) -> None:
    monkeypatch.setattr(fence, "LINK_S", 0.3)
    stage.connected = link
    agent = stage.agent("", then="on")
    with pytest.raises(EffectError) as raised:
        perform(stage.effect(agent))
    assert raised.value.why == f"{agent.program} says that node 2 is off, but {words}"
    assert stage.told == [("fence-agent-failed", {"node": "2", "why": raised.value.why})]
    assert stage.calls() == ["agent off"], "it is not switched on either"


def test_after_a_contradiction_the_next_level_is_tried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "LINK_S", 0.3)

    async def until_second() -> bool:
        return "second off" not in stage.calls()

    stage.connected = until_second
    assert perform(stage.effect(stage.agent("", "first"), stage.agent("", "second"))).result is Result.DONE


# -- what happens then


def test_a_fenced_node_is_switched_on_again_and_nobody_waits_for_that(stage: Stage) -> None:
    agent = stage.agent("[ $action = off ] || until [ -e $HERE/go ]; do sleep 0.01; done", then="on")

    async def story() -> None:
        effect = stage.effect(agent)
        assert (await effect.perform(act())).result is Result.DONE
        await eventually(lambda: stage.calls() == ["agent off", "agent on"])
        assert stage.told == []
        (stage.here / "go").touch()
        await eventually(lambda: stage.told)
        assert stage.told == [("powered-on", {"node": "2", "agent": agent.program})]
        await effect.close()

    asyncio.run(story())


def test_that_it_cannot_be_switched_on_is_only_told(stage: Stage) -> None:
    agent = stage.agent("[ $action = off ] || { echo no power >&2; exit 1; }", then="on")

    async def story() -> None:
        assert (await stage.effect(agent).perform(act())).result is Result.DONE
        await eventually(lambda: stage.told)

    asyncio.run(story())
    assert stage.told == [("power-on-failed", {"node": "2", "why": f"{agent.program} on: exit 1: no power"})]


def test_then_off_leaves_it_off(stage: Stage) -> None:
    async def story() -> None:
        effect = stage.effect(stage.agent("", then="off"))
        await effect.perform(act())
        await effect.perform(act())
        await effect.close()

    asyncio.run(story())
    assert stage.calls() == ["agent off", "agent off"]


@pytest.mark.parametrize("ending", ["fenced again", "closed"])
def test_switching_on_ends_before_the_node_is_switched_off_again(stage: Stage, ending: str) -> None:
    script = "if [ $action = on ]; then echo $$ >>$HERE/pids; sleep 1000 & echo $! >>$HERE/pids; wait; fi"
    effect = stage.effect(stage.agent(script, then="on"))

    async def story() -> None:
        await effect.perform(act())
        await eventually(lambda: len(stage.pids()) == 2)
        if ending == "closed":
            await effect.close()
        else:
            (stage.here / "agent").write_text("#!/bin/sh\nexit 0\n")
            await effect.perform(act())
        assert stage.living() == []
        assert ("power-on-failed", {"node": "2", "why": "given up"}) in stage.told
        await effect.close()

    asyncio.run(story())


# -- whom, and what only asks


def test_whom_it_can_fence(stage: Stage) -> None:
    everybody = Agent("/nowhere", (1, 2, "three", 4, "five", 6))
    assert stage.effect(everybody).nodes() == (2, 3, 4)
    assert stage.effect(Agent("/nowhere", ("2", "")), Agent("/nowhere", ("one",))).nodes() == ()
    effect = stage.effect()
    assert (effect.nodes(), effect.longest_ms()) == ((), 0)
    effect.configure([Agent("/x", (2,), timeout_s=10), Agent("/y", (2, 3), timeout_s=5)], NAMES)
    assert effect.nodes() == (2, 3)
    assert effect.longest_ms() >= 25_000, "two agents and two looks at the links"


@pytest.mark.parametrize(
    ("agent", "node", "why"),
    [
        (Agent("/x", (1, 2)), ME, "this is the node itself"),
        (Agent("/x", (2,)), THREE, "no fence agent is configured for node 3"),
        (
            Agent("/x", (4,), (("plug", "{name}"),)),
            NodeId(4),
            "/x: its options want the name of node 4, which has none in corosy",
        ),
    ],
)
def test_whom_it_does_not_fence(stage: Stage, agent: Agent, node: NodeId, why: str) -> None:
    with pytest.raises(EffectError) as raised:
        perform(stage.effect(agent), node)
    assert raised.value.why.startswith(why)


def test_a_test_asks_for_the_power_and_nothing_else(stage: Stage) -> None:
    agents = [
        stage.agent("exit 0", "up"),
        stage.agent("exit 2", "down"),
        stage.agent("echo hunter2 is wrong >&2; exit 1", "refused", options=(("passwd", "hunter2"),)),
    ]
    effect = stage.effect(*agents)
    assert asyncio.run(effect.test(TWO)) == [
        Asked(agents[0].program, True, "on"),
        Asked(agents[1].program, True, "off"),
        Asked(agents[2].program, False, f"{agents[2].program} status: exit 1: *** is wrong"),
    ]
    assert stage.calls() == ["up status", "down status", "refused status"]
    with pytest.raises(EffectError, match="no fence agent is configured for node 4"):
        asyncio.run(effect.test(NodeId(4)))


def test_the_words_about_off_are_not_those_about_status(stage: Stage) -> None:
    """Exit 2 is good news from `status` only."""
    with pytest.raises(EffectError, match="exit 2"):
        perform(stage.effect(stage.agent("exit 2")))


def test_a_loop_that_ends_takes_the_agent_with_it(stage: Stage) -> None:
    async def story() -> None:
        asyncio.ensure_future(stage.effect(stage.agent(DIES)).perform(act()))  # noqa: RUF006
        await eventually(lambda: len(stage.pids()) == 2)

    asyncio.run(story())
    try:
        asyncio.run(eventually(lambda: not stage.living()))
    finally:
        for pid in stage.living():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("then", "calls"), [("on", ["agent off", "agent on"]), ("off", ["agent off"])])
def test_a_node_that_is_spared_is_switched_on_if_it_may_just_have_been_switched_off(
    stage: Stage, then: str, calls: list[str]
) -> None:
    effect = stage.effect(stage.agent(f"if [ $action = off ]; then {DIES}; fi", then=then))

    async def story() -> None:
        fencing = asyncio.get_running_loop().create_task(effect.perform(act()))
        await eventually(lambda: len(stage.pids()) == 2)
        fencing.cancel()
        assert await effect.perform(Spare(Ticket(2), TWO)) == Outcome(Result.DONE)
        assert fencing.cancelled()
        await eventually(lambda: stage.calls() == calls)
        await eventually(lambda: stage.living() == [])
        assert await effect.perform(Spare(Ticket(3), TWO)) == Outcome(Result.DONE)
        await effect.close()

    asyncio.run(story())
    assert stage.calls() == calls


def test_a_node_that_nobody_is_switching_off_is_spared_by_doing_nothing(stage: Stage) -> None:
    effect = stage.effect(stage.agent("", then="on"))

    async def story() -> None:
        await effect.perform(act())
        await eventually(lambda: stage.calls() == ["agent off", "agent on"])
        await effect.perform(Spare(Ticket(2), TWO))
        await effect.close()

    asyncio.run(story())
    assert stage.calls() == ["agent off", "agent on"]
