"""The shared key's files: made once, read only if secret, taken over from the cluster."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from corolistener.effects.keys import install_keys, keygen, load_key, load_keys
from corolistener.errors import ConfigError, EffectError, RequestRefused
from corolistener.wire.pull import Key

from .conffiles import conf, make_read_only, mount_small, names
from .conftest import in_mounts_of_its_own

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount small and read-only disks")


def written(path: Path, key: bytes, mode: int = 0o400) -> Path:
    path.write_bytes(key)
    path.chmod(mode)
    return path


def test_a_new_key_is_random_and_its_owner_s_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "etc" / "key", tmp_path / "other"
    keygen(one)
    keygen(two)
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert len(load_key([one])) == 32
    assert load_key([one]) != load_key([two])
    assert names(one.parent) == ["key"]


def test_a_key_is_not_replaced_by_mistake(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keygen(path)
    before = load_key([path])
    with pytest.raises(RequestRefused) as refused:
        keygen(path)
    assert refused.value.code == "exists"
    assert load_key([path]) == before
    keygen(path, force=True)
    assert load_key([path]) != before
    assert names(tmp_path) == ["key"]


def test_the_first_key_there_is_is_used_and_all_are_known(tmp_path: Path) -> None:
    own, corosync = tmp_path / "key", tmp_path / "authkey"
    with pytest.raises(ConfigError, match=r"key: there is no shared key, nor .*/authkey: make one with .*config keygen"):
        load_keys([own, corosync])
    written(corosync, b"c" * 128)
    assert load_keys([own, corosync]) == (Key("authkey", b"c" * 128),)
    written(own, b"o" * 32, 0o600)
    assert load_keys([own, corosync]) == (Key("key", b"o" * 32), Key("authkey", b"c" * 128))
    assert load_key([own, corosync]) == b"o" * 32


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: written(path, b"k" * 32, 0o640), r"others may read or write this key \(mode 0640\)"),
        (lambda path: written(path, b"k" * 32, 0o604), r"others may read or write this key \(mode 0604\)"),
        (lambda path: written(path, b"k" * 15), "15 bytes are no key"),
        (lambda path: written(path, b""), "0 bytes are no key"),
        (lambda path: written(path, b"k" * 4097), "longer than 4096 bytes"),
        (lambda path: path.mkdir(), "not a regular file"),
        (lambda path: os.mkfifo(path, 0o600), "not a regular file"),
    ],
)
def test_what_is_no_secret_is_no_key(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    """Not even a good key in the next place hides that this one is not."""
    path = tmp_path / "key"
    make(path)
    good = written(tmp_path / "authkey", b"c" * 128)
    for paths in ([path], [path, good], [good, path]):
        with pytest.raises(ConfigError, match=why) as error:
            load_key(paths)
        assert error.value.path == str(path)


def test_the_cluster_s_keys_go_where_this_node_looks(tmp_path: Path) -> None:
    own, corosync = tmp_path / "corolistener" / "shared.key", tmp_path / "corosync" / "authkey"
    keys = (Key("key", b"o" * 32), Key("authkey", b"c" * 128))
    assert install_keys(keys, [own, corosync]) == (own, corosync)
    assert load_keys([own, corosync]) == keys
    assert (stat.S_IMODE(own.stat().st_mode), stat.S_IMODE(corosync.stat().st_mode)) == (0o600, 0o400)


def test_the_same_keys_again_change_nothing(tmp_path: Path) -> None:
    own = tmp_path / "key"
    assert install_keys((Key("key", b"o" * 32),), [own]) == (own,)
    assert install_keys((Key("key", b"o" * 32),), [own]) == ()
    assert names(tmp_path) == ["key"]


def test_another_key_in_the_place_is_kept_aside(tmp_path: Path) -> None:
    own = written(tmp_path / "key", b"x" * 32, 0o600)
    for letter in (b"o", b"p"):
        install_keys((Key("key", letter * 32),), [own])
    assert own.read_bytes() == b"p" * 32
    assert (tmp_path / "key.old").read_bytes() == b"o" * 32
    assert stat.S_IMODE((tmp_path / "key.old").stat().st_mode) == 0o600


def test_a_key_of_an_unknown_name_goes_nowhere(tmp_path: Path) -> None:
    assert install_keys((Key("../../etc/passwd", b"o" * 32),), [tmp_path / "key"]) == ()
    assert names(tmp_path) == []


@needs_root
@pytest.mark.parametrize("disk", [lambda path: mount_small(path, 4096), make_read_only])
def test_a_disk_that_takes_no_key_leaves_the_present_one(tmp_path: Path, disk: Callable[[Path], None]) -> None:
    def scene() -> None:
        disk(tmp_path)
        if not os.statvfs(tmp_path).f_flag & os.ST_RDONLY:
            (tmp_path / "filler").write_bytes(conf())
        with pytest.raises(EffectError, match=f"keygen: {tmp_path}/"):
            keygen(tmp_path / "key")
        with pytest.raises(EffectError, match=f"key: {tmp_path}/"):
            install_keys((Key("key", b"o" * 32),), [tmp_path / "key"])
        assert [name for name in names(tmp_path) if name != "filler"] == []

    in_mounts_of_its_own(scene)
