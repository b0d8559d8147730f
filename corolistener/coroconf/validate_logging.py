"""What is wrong with the logging section: corosync does not start over a word it does not know there."""

from collections.abc import Iterator

from corolistener.coroconf.problems import Problem, error
from corolistener.coroconf.tree import Document, Section

YES_NO = ("yes", "on", "no", "off")
ON_OFF = ("on", "off")
PRIORITIES = ("emerg", "alert", "crit", "err", "error", "warning", "notice", "info", "debug")
FACILITIES = (
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
EVERYWHERE = {
    **dict.fromkeys(("to_stderr", "to_syslog", "to_logfile", "to_file"), YES_NO),
    **dict.fromkeys(("syslog_priority", "syslog_level", "logfile_priority"), PRIORITIES),
    "syslog_facility": FACILITIES,
    "debug": ("on", "off", "trace"),
}
"""Keys of logging and of each logger_subsys, with what corosync takes for them."""
AT_THE_TOP = {
    **EVERYWHERE,
    **dict.fromkeys(("fileline", "function_name", "blackbox"), ON_OFF),
    "timestamp": ("on", "off", "hires"),
}
"""Keys of logging itself."""


def logging_problems(document: Document) -> Iterator[Problem]:
    """Values of logging that corosync would not start with."""
    for section in document.sections("logging"):
        yield from _words(section, AT_THE_TOP)
    for section in document.sections("logging.logger_subsys"):
        if "." not in (section.get("subsys") or ""):  # corosync never finds a subsystem with a dot in its name
            yield from _words(section, EVERYWHERE)
    for section in document.sections("logging.logging_daemon"):
        if section.get("name") == "corosync":  # another daemon's words are its own
            yield from _words(section, AT_THE_TOP if section.get("subsys") is None else EVERYWHERE)


def _words(section: Section, keys: dict[str, tuple[str, ...]]) -> Iterator[Problem]:
    for entry in section.entries:
        words = keys.get(entry.key)
        value = entry.value.lower() if words is PRIORITIES else entry.value
        if words and value not in words and entry is section.entry(entry.key):
            yield error(entry.line, "logging-value", f"{entry.key} must be one of {', '.join(words)}")
