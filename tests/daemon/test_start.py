"""The daemon does not start with what others can change; one line says what to type."""

from pathlib import Path

import pytest

from corolistener.daemon import main
from corolistener.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a machine whose corosync.conf is not looked at; whoever gets as far as the log has gone too far."""
    (tmp_path / "vmmgr.conf").touch()
    (tmp_path / "hook").touch(0o755)
    for name in ("state", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    words = [f'[service]\nhook = "{tmp_path}/hook"', f'[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"']
    path = tmp_path / "corolistener.toml"
    path.write_text("\n".join([*words, f'[vmmgr]\nconf = "{tmp_path}/vmmgr.conf"\n']))

    def log(where: str) -> None:
        raise LookupError("it starts")

    monkeypatch.setattr(main, "whoami", lambda settings: (1, None))
    monkeypatch.setattr(main, "Log", log)
    return path


@pytest.mark.parametrize("name", ["corolistener.toml", "vmmgr.conf", "hook", "state", "run", "."])
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_what_others_can_write(path: Path, name: str, mode: int) -> None:
    with pytest.raises(LookupError, match="it starts"):
        main.run(str(path))
    place = (path.parent / name).resolve()
    place.chmod(mode)
    with pytest.raises(ConfigError) as refused:
        main.run(str(path))
    assert f"chmod go-w {place}" in str(refused.value)
    assert "\n" not in str(refused.value)
