"""What is wrong with the totem section: version, transport, links, encryption, timers."""

from collections.abc import Iterator

from corolistener.coroconf.facts import TOKEN_COEFFICIENT_MS, TOKEN_MS
from corolistener.coroconf.problems import Problem, error, info, line_of, number, warning
from corolistener.coroconf.tree import Document
from corolistener.coroconf.validate_links import link_problems

TRANSPORTS = ("knet", "udp", "udpu")
LINK_MODES = ("active", "passive", "rr")
LEAST_MS = 30
"""corosync's lower limit for most of its timeouts."""
LEAST = {
    **dict.fromkeys(("token_retransmit", "join", "consensus", "merge", "downcheck", "max_network_delay"), LEAST_MS),
    "hold": 14,
}
RETRANSMITS = 4
"""corosync's default for token_retransmits_before_loss_const."""
KNET_STEADY_MS = 1000
"""Tokens below this, with ping timers knet derives from them, gave dozens of changes a minute without any fault."""
PING_STEADY_MS = 500


def totem_problems(document: Document) -> list[Problem]:
    """Problems of totem and of its interface sections."""
    transport = document.get("totem.transport") or "knet"
    found = [*_version(document), *_transport(document, transport), *_crypto(document, transport)]
    return [*found, *_timers(document, transport), *link_problems(document, transport)]


def _version(document: Document) -> Iterator[Problem]:
    version = document.entry("totem.version")
    if version is None:
        yield error(line_of(document, "totem.version"), "totem-version", "totem.version is missing: it must be 2")
    elif number(document, "totem.version", -1) != 2:
        yield error(version.line, "totem-version", "totem.version must be 2")
    if number(document, "totem.config_version") == 0:
        why = "without config_version a node with an old file cannot be told from the others"
        yield warning(line_of(document, "totem.config_version"), "config-version", why)
    if not document.get("totem.cluster_name"):
        why = "without cluster_name any other nameless cluster's file would be taken for this one's"
        yield warning(line_of(document, "totem.cluster_name"), "cluster-name", why)
    if document.entry("totem.nodeid") is not None:
        yield warning(line_of(document, "totem.nodeid"), "totem-nodeid", "ignored: the nodeid is the nodelist's")


def _transport(document: Document, transport: str) -> Iterator[Problem]:
    line = line_of(document, "totem.transport")
    if transport not in TRANSPORTS:
        yield error(line, "transport", f"transport must be one of {', '.join(TRANSPORTS)}")
    elif transport != "knet":
        yield info(line, "transport", f"{transport} has one link and no encryption; knet is corosync 3's own transport")
    mode = document.get("totem.link_mode")
    if mode is not None and mode not in LINK_MODES:
        yield error(line_of(document, "totem.link_mode"), "link-mode", f"link_mode must be one of {', '.join(LINK_MODES)}")


def crypto(document: Document) -> tuple[str, str]:
    """(cipher, hash), each "none" if off. corosync's order: secauth sets both, crypto_cipher and crypto_hash override it."""
    on = document.get("totem.secauth") == "on"
    cipher = document.get("totem.crypto_cipher") or ("aes256" if on else "none")
    return cipher, document.get("totem.crypto_hash") or ("sha256" if on else "none")


def _crypto(document: Document, transport: str) -> Iterator[Problem]:
    cipher, digest = crypto(document)
    if cipher != "none" and digest == "none":
        yield error(line_of(document, "totem.crypto_cipher"), "crypto", "crypto_cipher needs a crypto_hash")
    elif (cipher, digest) == ("none", "none"):
        yield info(line_of(document, "totem.crypto_cipher"), "crypto", "nothing is encrypted or authenticated")
    elif transport in ("udp", "udpu"):
        yield error(line_of(document, "totem.transport"), "crypto", "only knet encrypts and authenticates")
    if document.entry("totem.secauth") is not None:
        why = "secauth is the old word for crypto_cipher: aes256 and crypto_hash: sha256"
        yield info(line_of(document, "totem.secauth"), "secauth", why)


def _timers(document: Document, transport: str) -> Iterator[Problem]:
    nodes = len(document.sections("nodelist.node"))
    coefficient = number(document, "totem.token_coefficient", TOKEN_COEFFICIENT_MS)
    token = (number(document, "totem.token") or TOKEN_MS) + max(0, nodes - 2) * coefficient
    retransmits = number(document, "totem.token_retransmits_before_loss_const") or RETRANSMITS
    line = line_of(document, "totem.token")
    if token < LEAST_MS or (not number(document, "totem.token_retransmit") and token / (retransmits + 0.2) < LEAST_MS):
        yield error(line, "token", f"a token of {token} ms is too short for {retransmits} retransmits of {LEAST_MS} ms")
    elif transport == "knet" and token < KNET_STEADY_MS and _ping_timeout(document, token) < PING_STEADY_MS:
        why = f"a token of {token} ms is unsteady with knet's own ping timers: set knet_ping_timeout to 1000 and"
        yield warning(line, "token", f"{why} knet_ping_interval to 200 in totem.interface")
    join = number(document, "totem.join")
    consensus = number(document, "totem.consensus") or token * 6 // 5
    if consensus < join:
        why = f"join of {join} ms is longer than the consensus of {consensus} ms"
        yield error(line_of(document, "totem.join"), "join", why)
    for key, least in LEAST.items():
        if 0 < number(document, f"totem.{key}") < least:
            yield error(line_of(document, f"totem.{key}"), "timeout", f"{key} may not be less than {least} ms")
    if number(document, "totem.token_warning") > 100:
        yield error(line_of(document, "totem.token_warning"), "timeout", "token_warning is a percentage: 0 to 100")


def _ping_timeout(document: Document, token: int) -> int:
    """The shortest that any link is given, else what knet takes: half the token."""
    named = [section.get("knet_ping_timeout") for section in document.sections("totem.interface")]
    given = [int(value) for value in named if value is not None and value.isascii() and value.isdigit()]
    return min(given) if given else token // 2
