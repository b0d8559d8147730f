"""What a node says of its settings to the others."""

from pathlib import Path

import pytest

from corolistener import __version__
from corolistener.daemon.relied_on import relied_on
from corolistener.daemon.settings import load


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", {}),
        ("[fencing]\ngrace_ms = 2000\n", {}),
        ("[fencing]\ngrace_ms = 3000\n", {"fencing.grace_ms": "3000"}),
        ('[fencing]\nproofs = ["watchdog", "farewell"]\n', {"fencing.proofs": "farewell watchdog"}),
        ("[service]\ntimeout_s = 90\n", {"service.timeout_s": "90.0"}),
        ('[vms]\nuri = "test:///default"\nmanage = "tagged"\n', {"vms.uri": "test:///default", "vms.manage": "tagged"}),
        (
            '[vms]\nuri = "test:///default"\nshared_storage = ["/b", "/a"]\n',
            {"vms.uri": "test:///default", "vms.shared_storage": "/a /b"},
        ),
        ('[cloud]\nip = "192.0.2.1"\n', {}),
    ],
)
def test_what_differs_from_the_defaults_is_said_and_the_version_always(tmp_path: Path, text: str, said: dict[str, str]) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    settings = load(str(path))
    assert dict(relied_on(settings, settings.vms)) == {"version": __version__, **said}
