"""Every status of corotypes.h becomes its exception."""

import pickle
import re
from pathlib import Path

import pytest

from corolistener.corosync import errors
from corolistener.corosync.errors import BY_STATUS, OK, BadHandle, CsError, TryAgain, check

HEADER = Path("/usr/include/corosync/corotypes.h").read_text()
STATUSES = {name: int(number) for name, number in re.findall(r"^\s*(CS_(?:OK|ERR_\w+)) = (\d+)", HEADER, re.MULTILINE)}


def test_the_table_is_the_headers():
    assert len(STATUSES) > 25
    assert STATUSES.pop("CS_OK") == OK
    assert {kind.name: status for status, kind in BY_STATUS.items()} == STATUSES


@pytest.mark.parametrize("status", sorted(BY_STATUS))
def test_check_raises_the_exception_of_its_status(status):
    with pytest.raises(CsError) as raised:
        check("cpg_join", status)
    error = raised.value
    assert type(error) is BY_STATUS[status]
    assert (error.call, error.status) == ("cpg_join", status)
    assert str(error) == f"cpg_join: {error.meaning} ({error.name}, {status})"
    assert "\n" not in str(error)


def test_ok_is_no_error():
    check("cpg_join", OK)


@pytest.mark.parametrize("status", [0, 29, 31, 12345, -1])
def test_an_unknown_status_is_still_an_error(status):
    with pytest.raises(CsError) as raised:
        check("cpg_join", status)
    assert type(raised.value) is CsError
    assert raised.value.status == status
    assert str(status) in str(raised.value)


def test_an_error_raised_here_has_its_status():
    assert BadHandle("fileno").status == 9
    assert str(BadHandle("fileno")) == "fileno: the handle is closed or was never open (CS_ERR_BAD_HANDLE, 9)"


def test_an_error_survives_a_pipe():
    twin = pickle.loads(pickle.dumps(TryAgain("cpg_mcast_joined")))
    assert (type(twin), twin.call, twin.status) == (TryAgain, "cpg_mcast_joined", 6)


def test_every_class_says_what_it_means():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CsError)]
    assert len({kind.meaning for kind in kinds}) == len(kinds) == len(BY_STATUS) + 1
