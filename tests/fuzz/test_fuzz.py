"""Broken requests on every socket and with every verb: one clear answer each, and the decision goes on."""

import os
from pathlib import Path

import pytest

from corolistener.wire.control import LENGTH, VERBS

from .model import VALID, Model, Sent, written
from .run import virtual

REQUESTS, SEED = 4000, 20261130


def test_the_model_knows_every_verb() -> None:
    assert VALID.keys() == VERBS.keys()


def test_the_same_seed_draws_the_same_requests() -> None:
    one, other = Model(7), Model(7)
    drawn = [one.request(number) for number in range(200)]
    assert drawn == [other.request(number) for number in range(200)]
    assert len(set(drawn)) > 190


def test_the_model_leaves_its_own_requests_as_they_are() -> None:
    before = written(VALID)
    model = Model(8)
    for number in range(2000):
        model.request(number)
    assert written(VALID) == before


def test_most_requests_are_whole_frames() -> None:
    model = Model(9)
    sent = [model.request(number) for number in range(2000)]
    assert sum(LENGTH.unpack_from(each.data)[0] + LENGTH.size == len(each.data) for each in sent if len(each.data) > 3) > 1900
    assert any(each.ends for each in sent)
    assert all(isinstance(each, Sent) for each in sent)


@pytest.mark.skipif(os.geteuid() != 0, reason="a reader is another user, and only root can start a process of one")
def test_every_broken_request_has_one_clear_answer() -> None:
    found = virtual(REQUESTS, SEED)
    assert found.codes["ok"] > 100
    assert found.codes["bad-frame"] > 100
    assert found.codes["bad-request"] > 100
    assert Path("/proc/self").exists()
