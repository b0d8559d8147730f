"""Where the daemon's sockets are, without reading all of the settings: for `-l`, where a TOML parser costs a third."""

from __future__ import annotations

from corolistener.errors import ConfigError

PATH = "/etc/corolistener/corolistener.toml"
RUN_DIRECTORY = "/run/corolistener"
"""Both are said elsewhere too (daemon/settings, wire/control), where importing them would cost; a test compares them."""


def run_directory(config: str | None) -> str:
    """`[paths] run` of the settings file, None being the default one. Raises ConfigError as the settings do."""
    path = config or PATH
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if config is None:
            return RUN_DIRECTORY
        raise ConfigError(path, 0, "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, 0, getattr(error, "strerror", None) or str(error)) from None
    return _plain(text) or _parsed(path, text)


def _plain(text: str) -> str:
    """The value where it is left out or written as nearly everybody writes it; empty where a parser must look."""
    table = ""
    for line in text.split("\n"):
        bare = line.partition("#")[0].strip()
        if bare.startswith("["):
            table = bare
        elif '"""' in bare or "'''" in bare:
            return ""
        elif "run" in bare:
            key, _, value = bare.partition("=")
            value = value.strip()
            plain = value[:1] == value[-1:] == '"' and value.count('"') == 2 and "\\" not in value
            return value[1:-1] if plain and table == "[paths]" and key.strip() == "run" else ""
    return RUN_DIRECTORY


def _parsed(path: str, text: str) -> str:
    import tomllib

    try:
        paths = tomllib.loads(text).get("paths", {})
    except (ValueError, RecursionError) as error:  # a number of very many digits is no TOMLDecodeError
        raise ConfigError(path, 0, f"not TOML: {error}") from None
    run = paths.get("run", RUN_DIRECTORY) if isinstance(paths, dict) else RUN_DIRECTORY
    return run if isinstance(run, str) else RUN_DIRECTORY
