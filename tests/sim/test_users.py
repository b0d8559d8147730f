"""What users did with their VMs excuses the cluster only as long as it explains something."""

from corolistener.ids import NodeId, VmName
from corolistener.sim.users import TOLD_MS, Users

A, ONE, TWO = VmName("a"), NodeId(1), NodeId(2)


def test_nobody_shut_it_down() -> None:
    assert Users().contradicts(A, (ONE,), 0) == "a is taken to be shut down, and no user did that"


def test_a_shutdown_excuses_until_its_user_has_started_the_vm_again() -> None:
    users = Users(shut_down={A})
    assert users.contradicts(A, (ONE,), 10**9) is None
    users.began[A] = ONE, 1000
    assert users.contradicts(A, (ONE,), 1000 + TOLD_MS) is None, "the news may be late"
    assert "started it on node 1" in str(users.contradicts(A, (ONE,), 1001 + TOLD_MS))
    assert users.contradicts(A, (TWO,), 10**9) is None, "that is a second instance"


def test_an_order_to_stop_it_may_be_carried_out_late() -> None:
    users = Users(shut_down={A}, ordered_down={A}, began={A: (ONE, 1000)})
    assert users.contradicts(A, (ONE,), 10**9) is None
