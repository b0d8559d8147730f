"""Whether one corosync.conf may follow another, and what changes."""

from difflib import unified_diff

from corolistener.coroconf.accept import refusals
from corolistener.coroconf.facts import Facts, read_facts
from corolistener.coroconf.tree import Document, decoded, parse
from corolistener.coroconf.validate import new_errors
from corolistener.errors import ConfigError


def validate_successor(old: bytes | None, new: bytes, own_nodeid: int, path: str = "corosync.conf") -> Facts:
    """The facts of `new`, if it may replace `old` on node `own_nodeid`; `old` is None where there is no file yet.

    Raises ConfigError, against `new`: it must parse, make sense, keep the cluster's name, contain this node, carry a
    higher config_version, and hold no error (see `validate`) that `old` does not hold already.
    """
    document = parse(new, path)
    facts = read_facts(document)
    _check_values(document)
    if facts.node(own_nodeid) is None:
        raise ConfigError(path, 0, f"this node, {own_nodeid}, is not in the nodelist")
    if old is None:
        return facts
    before = read_facts(parse(old, path))
    if facts.cluster_name != before.cluster_name:
        line = getattr(document.entry("totem.cluster_name"), "line", 0)
        raise document.refuse(line, f"another cluster: the name is {facts.cluster_name!r}, not {before.cluster_name!r}")
    if facts.config_version <= before.config_version:
        line = getattr(document.entry("totem.config_version"), "line", 0)
        raise document.refuse(
            line, f"config_version {facts.config_version} is not higher than {before.config_version}, the present one"
        )
    for problem in new_errors(parse(old, path), document):
        raise document.refuse(problem.line, problem.text)
    return facts


def _check_values(document: Document) -> None:
    for refusal in refusals(document):
        raise document.refuse(refusal.line, refusal.why)


def diff(old: bytes, new: bytes, old_name: str = "old", new_name: str = "new") -> str:
    """A unified diff as text, empty where nothing changed; carriage returns and bytes beyond UTF-8 are escaped."""
    return "\n".join(unified_diff(_shown(old), _shown(new), old_name, new_name, lineterm=""))


def _shown(data: bytes) -> list[str]:
    return [decoded(line).encode("utf-8", "backslashreplace").decode().replace("\r", "\\r") for line in data.split(b"\n")]
