"""`check`: what others than root can change of what root reads and runs."""

import os
from pathlib import Path

import pytest

from corolistener.cli import check_safety
from corolistener.coroconf.tree import parse
from corolistener.daemon.settings import Agent, Cluster, Locks, Paths, Service, Settings, Vms

from .conftest import Type


def said(settings: Settings) -> list[str]:
    return [f"{level} {topic}: {path}: {text}" for level, topic, text, path in check_safety._programs(settings)]


def test_programs_and_corosync_conf_that_others_can_write(tmp_path: Path) -> None:
    hook, agent, conf = (tmp_path / name for name in ("hook", "agent", "corosync.conf"))
    for path in (hook, agent, conf):
        path.touch(0o755)
    given = Settings(
        cluster=Cluster(corosync_conf=str(conf)), service=Service(hook=str(hook)), agents=(Agent((1,), str(agent)),)
    )
    assert said(given) == ["ok programs: : only root can change what the daemon reads and runs"]
    for path in (hook, agent, conf):
        path.chmod(0o777)
    assert said(given) == [
        f"error programs: {path}: every user can write {path} (mode 0777): chmod go-w {path}" for path in (hook, agent, conf)
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to another user")
def test_settings_of_another_are_listed_and_the_exit_status_is_1(typed: Type, root: Path) -> None:
    os.chown(root / "corolistener.toml", 12345, 0)
    got = typed("check")
    assert got.status == 1
    assert "belongs to uid 12345, who can change it: chown root " in got.out.splitlines()[0]


TOTEM = "totem {\n\tversion: 2\n%s}\n"
WITH_VMS = Settings(vms=Vms(uri="qemu:///system"))


def ring(totem: str, settings: Settings = WITH_VMS) -> list[tuple[str, str]]:
    document = parse((TOTEM % "".join(f"\t{line}\n" for line in totem.splitlines())).encode())
    return [(level, text) for level, topic, text, _ in check_safety.look(settings, document) if topic == "ring"]


@pytest.mark.parametrize(
    "totem",
    [
        "crypto_cipher: aes256\ncrypto_hash: sha256",
        "secauth: on",
        "crypto_cipher: aes128\ncrypto_hash: sha1\nsecauth: off",
        "transport: knet\nsecauth: on",
    ],
)
def test_an_encrypted_ring(totem: str) -> None:
    assert [level for level, _ in ring(totem)] == ["ok"]


@pytest.mark.parametrize(
    ("totem", "write"),
    [
        ("", "crypto_cipher: aes256 and crypto_hash: sha256 in totem"),
        ("secauth: off", "crypto_cipher: aes256 and crypto_hash: sha256 in totem"),
        ("crypto_cipher: none\ncrypto_hash: none", "crypto_cipher: aes256 and crypto_hash: sha256 in totem"),
        ("secauth: on\ncrypto_cipher: none", "write crypto_cipher: aes256 in totem"),
        ("crypto_hash: sha256", "write crypto_cipher: aes256 in totem"),
        ("secauth: on\ncrypto_cipher: aes256\ncrypto_cipher: none", "write crypto_cipher: aes256 in totem"),
        ("transport: udpu\nsecauth: on", "write transport: knet"),
        ("transport: udp", "write transport: knet"),
    ],
)
def test_a_ring_in_clear_is_an_error_where_vms_are_managed(totem: str, write: str) -> None:
    [(level, text)] = ring(totem)
    assert level == "error"
    assert write in text
    assert "console passwords" in text
    assert ring(totem, Settings()) == []


def migration(settings: Settings) -> list[tuple[str, str]]:
    return [(level, text) for level, topic, text, _ in check_safety.look(settings, None) if topic == "migration"]


def test_certificates_for_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki, conf = tmp_path / "pki", tmp_path / "qemu.conf"
    monkeypatch.setattr(check_safety, "PKI", str(pki))
    monkeypatch.setattr(check_safety, "PKI_MIGRATE", str(tmp_path / "migrate"))
    monkeypatch.setattr(check_safety, "QEMU_CONF", str(conf))
    [(level, text)] = migration(WITH_VMS)
    assert level == "warning"
    assert text.startswith("ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem, client-key.pem missing")
    assert "migrate_tls = false in [vms]" in text
    pki.mkdir()
    for name in check_safety.CERTIFICATES:
        (pki / name).touch()
    assert migration(WITH_VMS) == [("ok", f"the certificates of QEMU are in {pki}")]
    (pki / "client-key.pem").unlink()
    assert migration(WITH_VMS)[0][1].startswith("client-key.pem missing")
    assert migration(Settings(vms=Vms(uri="qemu:///system", migrate_tls=False)))[0][0] == "warning"
    assert migration(Settings(vms=Vms(uri="xen:///"))) == []
    assert migration(Settings()) == []
    (tmp_path / "migrate").mkdir()
    assert check_safety.certificates(str(conf)) == str(tmp_path / "migrate")
    conf.write_text('#migrate_tls_x509_cert_dir = "/a"\ndefault_tls_x509_cert_dir = "/b"\n')
    assert check_safety.certificates(str(conf)) == "/b"
    conf.write_text('default_tls_x509_cert_dir = "/b"\n migrate_tls_x509_cert_dir="/c"\n')
    assert check_safety.certificates(str(conf)) == "/c"


def places(settings: Settings) -> list[str]:
    return [f"{level} {path}: {text}" for level, topic, text, path in check_safety.look(settings, None) if topic == "places"]


def test_places_that_others_can_write(tmp_path: Path) -> None:
    state, run, locks, log = (tmp_path / name for name in ("state", "run", "locks", "log"))
    given = Settings(locks=Locks(str(locks)), paths=Paths(str(state), str(run), str(log)))
    assert places(given) == ["ok : nobody else has put anything where the daemon writes"]
    for path in (state, run, locks):
        path.mkdir(mode=0o700)
    assert places(given) == ["ok : nobody else has put anything where the daemon writes"]
    state.chmod(0o755)
    [said] = places(given)
    assert said.startswith(f"warning {state}: others can look in (mode 0755)")
    state.chmod(0o777)
    run.chmod(0o777)
    log.symlink_to("/etc/passwd")
    os.mkfifo(locks / ".lock.vmmgr.service")
    told = places(given)
    assert [line.split(": ")[0] for line in told] == [
        f"error {path}" for path in (state, run, log, locks / ".lock.vmmgr.service")
    ]
    state.chmod(0o1777)
    assert places(given)[0].startswith(f"error {state}: others can write here (mode 1777)")
