"""The effect of lanes `fence:NODE`: programs that switch a lost node off from outside (safety.md, "Proofs", agent).

They follow the convention of fence-agents: options as lines `key=value` on stdin, one of them `action`; exit status 0 is
success (`status`: 0 the node is on, 2 it is off, anything else nobody knows). Options are literal but for {node} and {name},
the node's id and name. They may be passwords: they are on stdin and nowhere else, and are blotted out of what a program says.

An agent that says "off" is believed unless a link of knet's contradicts it: a node that is off has none. Links are pinged,
so one may outlive its node for a moment; hence the second look, and the third.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from corolistener.core.actions import Fence, Spare
from corolistener.core.events import Outcome, Result
from corolistener.effects.programs import Programs, how, remedy
from corolistener.errors import EffectError
from corolistener.ids import NodeId

LINK_S, LOOK_S = 5.0, 0.1
"""How long a link may outlive its node before it contradicts the agent, and how often it is looked at."""
END_S = 4.0
"""More than a program takes to end that has outstayed its time (effects/programs)."""
ON, OFF = 0, 2
SHOWN = 300
"""Characters of an agent's last words that are told."""
SECRET = re.compile("pass|secret|token|key|community|auth|cred", re.IGNORECASE)
TELLTALE = 4
"""An option whose name sounds harmless is blotted out from this length on: a port or a flag is no secret, but half of every
sentence."""

Tell = Callable[[str, Mapping[str, str]], None]


class Agent(Protocol):
    """A program, whom it can switch off (ids, names), with what options, in what time, and what happens `then`."""

    @property
    def nodes(self) -> tuple[int | str, ...]: ...
    @property
    def program(self) -> str: ...
    @property
    def options(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def then(self) -> str: ...


class Asked(NamedTuple):
    """What an agent said of a node's power. `ok`: it can be asked, and knows; `words`: "on", "off", or why not."""

    program: str
    ok: bool
    words: str


class FenceAgents:
    """The agents of this node for the others. `names` are the nodelist's ids and names; `linked` says whether a link of
    corosync's to a node is connected, and raises EffectError where that cannot be known; `tell` is for the log."""

    def __init__(
        self,
        agents: Sequence[Agent],
        names: Mapping[NodeId, str],
        me: NodeId,
        linked: Callable[[NodeId], Awaitable[bool]],
        tell: Tell,
    ) -> None:
        self._agents, self._names, self._me = tuple(agents), dict(names), me
        self._linked, self._tell = linked, tell
        self._programs = Programs()
        self._turns: dict[NodeId, asyncio.Lock] = {}
        self._rising: dict[NodeId, asyncio.Task[None]] = {}
        self._at_work: dict[NodeId, Agent] = {}

    def configure(self, agents: Sequence[Agent], names: Mapping[NodeId, str]) -> None:
        """Use these from the next action on."""
        self._agents, self._names = tuple(agents), dict(names)

    async def close(self) -> None:
        """Give up on nodes that are being switched on: they stay off, and that is told."""
        for node in list(self._rising):
            await self._stay_down(node)
        self._programs.close()

    def nodes(self) -> tuple[NodeId, ...]:
        """Those that can be fenced from here, sorted; never this node."""
        return tuple(sorted(node for node in self._names if node != self._me and self._levels(node)))

    def longest_ms(self) -> int:
        """How long one action may take at most: every level hangs, or is contradicted."""
        sums = [sum(each.timeout_s + END_S + LINK_S for each in self._levels(node)) for node in self.nodes()]
        return int(1000 * max(sums, default=0))

    def _levels(self, node: NodeId) -> list[Agent]:
        """The agents for a node, in the order in which they are tried."""
        name = self._names.get(node, "")
        return [each for each in self._agents if any(wanted == node or (name and wanted == name) for wanted in each.nodes)]

    async def perform(self, action: Fence | Spare) -> Outcome:
        """Switch a node off: DONE when an agent says so and no link contradicts it. Then it is switched on again where that is
        wanted, for which nobody waits. Cancelling it ends the agent; Spare, which follows then, switches on again what may have
        been switched off meanwhile. Raises EffectError with what each agent said.
        """
        node = action.node
        if isinstance(action, Spare):
            async with self._turns.setdefault(node, asyncio.Lock()):
                interrupted = self._at_work.pop(node, None)
                if interrupted is not None and interrupted.then == "on":
                    self._raise(interrupted, node)
            return Outcome(Result.DONE)
        if node == self._me:
            raise EffectError("Fence", "this is the node itself")
        if not (levels := self._levels(node)):
            raise EffectError("Fence", f"no fence agent is configured for node {node}")
        async with self._turns.setdefault(node, asyncio.Lock()):
            await self._stay_down(node)
            failures = []
            for agent in levels:
                self._at_work[node] = agent
                try:
                    await self._switch(agent, node, "off")
                    await self._contradicted(agent, node)
                except EffectError as error:
                    failures.append(error.why)
                    self._tell("fence-agent-failed", {"node": str(node), "why": error.why})
                else:
                    del self._at_work[node]
                    if agent.then == "on":
                        self._raise(agent, node)
                    return Outcome(Result.DONE, facts=(("agent", agent.program),))
            del self._at_work[node]
        raise EffectError("Fence", "; ".join(failures))

    async def test(self, node: NodeId) -> list[Asked]:
        """Ask each agent for the node's power, one after the other; nothing is changed. Raises EffectError without agents."""
        if not (levels := self._levels(node)):
            raise EffectError("Fence", f"no fence agent is configured for node {node}")
        found = []
        for agent in levels:
            try:
                off = await self._switch(agent, node, "status") == OFF
                found.append(Asked(agent.program, True, "off" if off else "on"))
            except EffectError as error:
                found.append(Asked(agent.program, False, error.why))
        return found

    async def _switch(self, agent: Agent, node: NodeId, wanted: str) -> int:
        """Run an agent; returns the exit status. Raises EffectError, with its own last words, unless it is one of success."""
        options = self._filled(agent, node)
        stdin = "".join(f"{key}={value}\n" for key, value in (("action", wanted), *options))
        try:
            async with asyncio.timeout(agent.timeout_s):
                program = await self._programs.run((agent.program,), {}, stdin.encode())
        except TimeoutError:
            raise EffectError("Fence", f"{agent.program} {wanted}: has not ended after {agent.timeout_s:g} s") from None
        except OSError as error:
            raise EffectError("Fence", f"{agent.program} {remedy(error, '[[fencing.agent]]')}") from error
        if program.code == ON or (wanted == "status" and program.code == OFF):
            return program.code
        last = _blotted(program.last_line(), options)[-SHOWN:]
        raise EffectError("Fence", f"{agent.program} {wanted}: {how(program.code)}" + (f": {last}" if last else ""))

    def _filled(self, agent: Agent, node: NodeId) -> tuple[tuple[str, str], ...]:
        """The options for this node."""
        name = self._names.get(node, "")
        if not name and any("{name}" in value for _, value in agent.options):
            raise EffectError(
                "Fence", f"{agent.program}: its options want the name of node {node}, which has none in corosync.conf"
            )
        return tuple((key, value.replace("{node}", str(node)).replace("{name}", name)) for key, value in agent.options)

    async def _contradicted(self, agent: Agent, node: NodeId) -> None:
        """Returns when no link to the node is connected. Raises EffectError where one is after LINK_S, or nobody knows."""
        loop = asyncio.get_running_loop()
        end, why = loop.time() + LINK_S, "corosync does not say whether a link to it is still connected"
        try:
            async with asyncio.timeout(LINK_S + LOOK_S):
                while await self._linked(node):
                    why = "a link to it is still connected"
                    if loop.time() >= end:
                        break
                    await asyncio.sleep(LOOK_S)
                else:
                    return
        except TimeoutError:
            pass
        except EffectError as error:
            why = error.why
        raise EffectError("Fence", f"{agent.program} says that node {node} is off, but {why}")

    def _raise(self, agent: Agent, node: NodeId) -> None:
        """Begin to switch a node on again that has been switched off. It has been fenced whether or not this works."""

        async def rise() -> None:
            try:
                await self._switch(agent, node, "on")
            except EffectError as error:
                self._tell("power-on-failed", {"node": str(node), "why": error.why})
            else:
                self._tell("powered-on", {"node": str(node), "agent": agent.program})

        self._rising[node] = asyncio.get_running_loop().create_task(rise())
        self._rising[node].add_done_callback(lambda _: self._rising.pop(node))

    async def _stay_down(self, node: NodeId) -> None:
        """End what is still switching the node on, before it is switched off: in the other order it would be on."""
        if (task := self._rising.get(node)) is not None and task.cancel():
            self._tell("power-on-failed", {"node": str(node), "why": "given up"})
            await asyncio.wait((task,))


def _blotted(text: str, options: Sequence[tuple[str, str]]) -> str:
    """The text without the values of options."""
    secrets = {value for key, value in options if value and (len(value) >= TELLTALE or SECRET.search(key))}
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, "***")
    return text
