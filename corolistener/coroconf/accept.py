"""Values that the parser of corosync 3.1.7 refuses: the file is well formed, and corosync would still not start.

corosync types a key by its name and by the section it stands in (exec/coroparse.c): a section it knows brings its
own rules for itself and what is inside, unless a known section inside brings others. The same key written with dots
outside its section is text to corosync, whatever it holds, and therefore means nothing: see `misplaced`.

Some of these values do worse than be refused: on a config_version that is no number corosync 3.1.7 fails an assertion
and aborts, running or starting. Such a file must never be distributed.

Left out because they need the machine: whether the user of `uidgid.uid` and the group of `uidgid.gid` exist.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from corolistener.coroconf.tree import KEY_CHARACTERS, Document, Entry, Section, encoded

Check = Callable[[str], str]
"""Takes a value, gives what is expected instead of it, or nothing where it is right."""

WHOLE = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)", re.ASCII)
"""What strtoll and strtoull take for a number, if nothing follows."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One value corosync would not start with. `line` is the one corosync names, too."""

    line: int
    why: str


def number(least: int, most: int) -> Check:
    """Accepts an integer in that range, as strtoll reads it."""

    def check(value: str) -> str:
        match = WHOLE.fullmatch(value)
        return "" if match and least <= int(match[1]) <= most else f"a number from {least} to {most}"

    return check


def unsigned64(value: str) -> str:
    """Accepts what strtoull does: a minus sign is no error to it."""
    match = WHOLE.fullmatch(value)
    return "" if match and abs(int(match[1])) < 2**64 else "a number from 0 to 18446744073709551615"


def one_of(*words: str) -> Check:
    """Accepts these words, in lower case as they are."""
    return lambda value: "" if value in words else "one of " + ", ".join(words)


U8, U16, U32, I32 = number(0, 2**8 - 1), number(0, 2**16 - 1), number(0, 2**32 - 1), number(-(2**31), 2**31 - 1)
YES_NO = one_of("yes", "no")


def _keys(check: Check, names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


RULES: dict[str, dict[str, Check]] = {
    "totem": {
        **_keys(
            U32,
            "version nodeid threads token token_coefficient token_retransmit token_retransmits_before_loss_const"
            " token_warning hold join send_join consensus merge downcheck fail_recv_const seqno_unchanged_const"
            " rrp_token_expired_timeout rrp_problem_count_timeout rrp_problem_count_threshold window_size netmtu"
            " rrp_problem_count_mcast_threshold rrp_autorecovery_check_timeout heartbeat_failures_allowed"
            " max_messages max_network_delay miss_count_const knet_pmtud_interval knet_mtu knet_compression_threshold",
        ),
        "knet_compression_level": I32,
        "config_version": unsigned64,
        "ip_version": one_of("ipv4", "ipv6", "ipv6-4", "ipv4-6"),
        "crypto_model": one_of("nss", "openssl"),
        "crypto_cipher": one_of("none", "aes256", "aes192", "aes128"),
        "crypto_hash": one_of("none", "md5", "sha1", "sha256", "sha384", "sha512"),
        "knet_compression_model": one_of("zlib", "lz4", "lz4hc", "lzo2", "lzma", "bzip2", "zstd"),
    },
    "totem.interface": {
        **_keys(U8, "linknumber ttl knet_link_priority"),
        **_keys(U16, "mcastport"),
        **_keys(U32, "knet_ping_interval knet_ping_timeout knet_ping_precision knet_pong_count"),
    },
    "totem.interface.member": {},
    "quorum": {
        **_keys(U32, "expected_votes votes last_man_standing_window leaving_timeout"),
        **_keys(U8, "two_node expected_votes_tracking allow_downscale wait_for_all auto_tie_breaker last_man_standing"),
    },
    "quorum.device": {**_keys(U32, "timeout sync_timeout votes"), "master_wins": U8},
    "nodelist": {},
    "nodelist.node": {},
    "uidgid": {},
    "system": {
        "qb_ipc_type": one_of("native", "shm", "socket"),
        "sched_rr": YES_NO,
        "move_to_root_cgroup": one_of("yes", "no", "auto"),
        "allow_knet_handle_fallback": YES_NO,
    },
    "logging.logger_subsys": {},
    "logging.logging_daemon": {},
    "resources": {},
    "resources.system": {},
    "resources.system.memory_used": {},
    "resources.process": {},
    "resources.process.memory_used": {},
}
"""Sections that bring rules, and the checks of their keys."""

ANYWHERE_INSIDE: dict[str, dict[str, Check]] = {
    "nodelist.node": _keys(U32, "nodeid quorum_votes"),
    "resources": {"watchdog_timeout": U32},
    **{name: {"poll_period": unsigned64} for name in RULES if name.startswith("resources.")},
}
"""Keys checked by their own name, in sections within as well."""

ONLY = {"uidgid": ("uid", "gid"), "totem.interface.member": ("memberaddr",)}
"""Sections that take these keys and no others."""

NAMED_BY = {"logging.logger_subsys": "subsys", "logging.logging_daemon": "name"}
"""Sections whose contents corosync files under the value of that key; a section inside makes it free memory twice."""


def refusals(document: Document) -> list[Refusal]:
    """What corosync's parser would refuse, in the order in which it would come upon it."""
    return list(_inside(document.root, ""))


def misplaced(document: Document) -> list[Entry]:
    """Entries that have a known key's full name but not its section, so that corosync takes no notice of them."""
    return [entry for section, rules in _sections(document.root, "") for entry in section.entries if _stray(entry, rules)]


def _stray(entry: Entry, rules: str) -> bool:
    section, _, key = entry.path.rpartition(".")
    return section != rules and key in {**RULES.get(section, {}), **ANYWHERE_INSIDE.get(section, {})}


def _sections(section: Section, rules: str) -> Iterator[tuple[Section, str]]:
    """Every section with the name of the one whose rules apply to it."""
    yield section, rules
    for inner in section.subsections:
        yield from _sections(inner, inner.path if inner.path in RULES else rules)


def _inside(section: Section, rules: str) -> Iterator[Refusal]:
    for item in section.items:
        if isinstance(item, Entry):
            yield from _entry(item, rules)
        else:
            yield from _section(item, rules)
    if section.path in NAMED_BY:
        yield from _named(section)


def _section(section: Section, outer: str) -> Iterator[Refusal]:
    rules = section.path if section.path in RULES else outer
    if rules in NAMED_BY and section.path != rules:
        yield Refusal(section.line, f"corosync does not survive a section inside {rules}")
    yield from _inside(section, rules)


def _entry(entry: Entry, rules: str) -> Iterator[Refusal]:
    if rules in ONLY and entry.key not in ONLY[rules]:
        yield Refusal(entry.line, f"only {' and '.join(ONLY[rules])} are allowed in {rules}")
    section, _, key = entry.path.rpartition(".")
    check = RULES[rules].get(key) if section == rules and rules else None
    check = ANYWHERE_INSIDE.get(rules, {}).get(entry.key, check)
    expected = check(entry.value) if check else ""
    if expected:
        yield Refusal(entry.line, f"{entry.path} must be {expected}")


def _named(section: Section) -> Iterator[Refusal]:
    wanted = NAMED_BY[section.path]
    if section.get(wanted) is None:
        yield Refusal(section.end, f"{section.path} without {wanted}")
    for key in ("subsys", "name"):
        value = section.get(key)
        if value is not None and not KEY_CHARACTERS.issuperset(encoded(value)) and (key == wanted or key == "subsys"):
            yield Refusal(section.end, f"{section.path}: {key} may be made of letters, digits and . _ - / : only")
