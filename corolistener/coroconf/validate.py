"""What corosync 3 would refuse or ignore in a corosync.conf that parses, and what corolistener cannot work with.

An error keeps corosync from starting, from ever being quorate, or corolistener from understanding the file. A warning
is something ignored, or not what its author will have meant. An info is worth knowing. The rules are those of corosync
3.1.7: exec/totemconfig.c and logconfig.c, which `corosync -t` runs, and exec/votequorum.c, which it does not.
"""

from collections import Counter
from collections.abc import Iterator

from corolistener.coroconf.accept import misplaced, refusals
from corolistener.coroconf.facts import read_facts
from corolistener.coroconf.problems import Problem, Severity, error, info, line_of, number, warning
from corolistener.coroconf.tree import Document, Section
from corolistener.coroconf.validate_claims import claim_problems
from corolistener.coroconf.validate_logging import logging_problems
from corolistener.coroconf.validate_nodes import node_problems
from corolistener.coroconf.validate_totem import totem_problems
from corolistener.errors import ConfigError

KNOWN = frozenset(("totem", "quorum", "nodelist", "logging", "uidgid", "system", "resources", "nozzle"))
"""Top-level sections of corosync 3."""
OURS = frozenset(("ihttpd",))
"""Top-level sections of the seed's sample that corosync passes on to cmap unread."""
PROVIDER = "corosync_votequorum"


def problems(document: Document) -> list[Problem]:
    """Everything there is to say about the file, by line and then code; a problem of the whole file has line 0."""
    found = [
        *(error(refusal.line, "refused-value", refusal.why) for refusal in refusals(document)),
        *totem_problems(document),
        *node_problems(document),
        *_quorum(document),
        *logging_problems(document),
        *_general(document),
    ]
    found += _unread(document, found)
    return sorted(set(found), key=lambda problem: (problem.line, problem.code, problem.text))


def new_errors(old: Document, new: Document) -> list[Problem]:
    """Errors of a kind that `old` has fewer of: a change may not break what worked, but may leave broken what was."""
    before = Counter(problem.code for problem in problems(old) if problem.severity is Severity.ERROR)
    now = [problem for problem in problems(new) if problem.severity is Severity.ERROR]
    counts = Counter(problem.code for problem in now)
    return [problem for problem in now if counts[problem.code] > before[problem.code]]


def _unread(document: Document, found: list[Problem]) -> Iterator[Problem]:
    """What keeps corolistener from its facts, unless an error already names that line."""
    try:
        read_facts(document)
    except ConfigError as refused:
        if not any(problem.line == refused.line and problem.severity is Severity.ERROR for problem in found):
            yield error(refused.line, "not-understood", refused.why)


def _quorum(document: Document) -> Iterator[Problem]:
    provider = document.entry("quorum.provider")
    if provider is None:
        sections = document.sections("quorum")
        line = sections[-1].line if sections else 0
        yield error(line, "quorum-provider", f"quorum.provider is missing: without {PROVIDER} there is no quorum")
    elif provider.value != PROVIDER:
        yield error(provider.line, "quorum-provider", f"corosync knows no quorum.provider but {PROVIDER}")
    yield from claim_problems(document)
    if document.get("quorum.device.model"):
        yield from _device(document)
    elif number(document, "quorum.two_node") and number(document, "quorum.auto_tie_breaker"):
        line = line_of(document, "quorum.two_node")
        yield warning(line, "two-node", "corosync ignores two_node beside auto_tie_breaker")


def _device(document: Document) -> Iterator[Problem]:
    """A quorum device shuts out other ways to decide, and must say its votes where the others' are said."""
    for key in ("two_node", "last_man_standing", "auto_tie_breaker", "allow_downscale"):
        if number(document, f"quorum.{key}"):
            line = line_of(document, f"quorum.{key}")
            yield error(line, "quorum-device", f"corosync does not start with {key} and a quorum device")
    expected, votes = number(document, "quorum.expected_votes"), number(document, "quorum.device.votes")
    if expected and document.get("quorum.device.votes") is None:
        line = line_of(document, "quorum.device.model")
        yield error(line, "quorum-device", "expected_votes is set, so the quorum device must say its votes, too")
    elif votes and 0 < expected < votes + 2:
        why = f"expected_votes of {expected} leaves less than two votes beside the quorum device's {votes}"
        yield error(line_of(document, "quorum.device.votes"), "quorum-device", why)


def _general(document: Document) -> Iterator[Problem]:
    for section in document.root.subsections:
        name = section.name.split(".")[0]
        if name not in KNOWN | OURS:
            yield info(section.line, "unknown-section", f"corosync does not know the section {section.name!r}")
    for entry in misplaced(document):
        yield warning(entry.line, "misplaced-key", f"corosync heeds {entry.path} only inside its own section")
    for item in (document.root, *document.root.walk()):
        if isinstance(item, Section):
            yield from _repeated(item)


def _repeated(section: Section) -> Iterator[Problem]:
    if _may_repeat(section):
        return
    last = {entry.key: entry for entry in section.entries}
    for entry in section.entries:
        if entry is not last[entry.key]:
            yield warning(entry.line, "repeated-key", f"{entry.key} is given again in line {last[entry.key].line}")


def _may_repeat(section: Section) -> bool:
    return section.path in ("uidgid", "totem.interface.member")
