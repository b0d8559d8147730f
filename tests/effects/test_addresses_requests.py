"""The two requests: their bytes as pyroute2 reads them, and what a real kernel answers."""

import errno
import os
from ipaddress import ip_address

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from corolistener.core.config import CloudAddress
from corolistener.effects.addresses.requests import ANSWER_BYTES, Requests, Verb, request

from .conftest import BOTH, FOUR, Segment, hold, opened

PLENTY = 2000


def index(segment: Segment) -> int:
    return int(segment.node.show("link", "show", "dev", "vmbr0")[0]["ifindex"])


@BOTH
@pytest.mark.parametrize(("verb", "kind", "flags"), [(Verb.ADD, 20, 0x605), (Verb.REMOVE, 21, 0x5)])
def test_the_bytes(cloud: CloudAddress, verb: Verb, kind: int, flags: int) -> None:
    raw = request(verb, 7, ip_address(cloud.ip), cloud.prefix, 0xFFFFFFFF)
    message = ifaddrmsg(raw)
    message.decode()
    header = message["header"]
    assert (header["length"], header["type"], header["flags"], header["sequence_number"]) == (len(raw), kind, flags, 0xFFFFFFFF)
    assert (message["index"], message["prefixlen"], message["scope"]) == (7, cloud.prefix, 0)
    assert message.get("IFA_LOCAL") == message.get("IFA_ADDRESS") == cloud.ip
    if cloud is FOUR:
        assert (message["flags"], message.get("IFA_CACHEINFO")) == (0, None)
    else:
        lives = message.get("IFA_CACHEINFO")
        assert (message["flags"], lives["ifa_preferred"], lives["ifa_valid"]) == (2, 0, 0xFFFFFFFF)


@BOTH
def test_the_kernel_does_it_and_refuses_it_with_its_reason(segment: Segment, cloud: CloudAddress) -> None:
    ip, device = ip_address(cloud.ip), index(segment)

    def story() -> None:
        requests = Requests()
        requests.open()
        with pytest.raises(OSError, match=r"(?i)prefix length") as caught:
            requests.ask(Verb.ADD, device, ip, 129)
        assert caught.value.errno == errno.EINVAL, "the kernel's own words, and not the general ones"
        requests.ask(Verb.ADD, device, ip, cloud.prefix)
        assert segment.node.addresses("vmbr0") == [(cloud.ip, cloud.prefix)]
        refused = [
            (errno.EEXIST, Verb.ADD, device, cloud.prefix),
            (errno.ENODEV, Verb.ADD, 9999, cloud.prefix),
            (errno.EADDRNOTAVAIL, Verb.REMOVE, device, cloud.prefix - 1),
        ]
        for code, verb, where, prefix in refused:
            with pytest.raises(OSError) as caught:
                requests.ask(verb, where, ip, prefix)
            assert caught.value.errno == code
            assert caught.value.strerror
        requests.ask(Verb.REMOVE, device, ip, cloud.prefix)
        assert segment.node.addresses("vmbr0") == []
        requests.close()

    segment.node.call(story)


def test_an_answer_to_an_earlier_request_is_not_ours(segment: Segment) -> None:
    ip, device = ip_address(FOUR.ip), index(segment)

    def story() -> None:
        requests = Requests()
        requests.open()
        requests._number = 0xFFFFFFFF
        requests._socket.send(request(Verb.REMOVE, device, ip, 32, 0xFFFFFFFF))
        requests.ask(Verb.ADD, device, ip, 32)
        with pytest.raises(BlockingIOError):
            requests._socket.recv(ANSWER_BYTES)
        requests.close()

    segment.node.call(story)


def test_an_answer_that_is_lost_is_a_failure_and_the_next_request_is_answered(segment: Segment) -> None:
    ip, device = ip_address(FOUR.ip), index(segment)

    def story() -> None:
        requests = Requests()
        requests.open()
        for _ in range(PLENTY):
            requests._socket.send(request(Verb.REMOVE, device, ip, 32, 0))
        with pytest.raises(OSError, match="No buffer space"):
            requests.ask(Verb.ADD, device, ip, 32)
        with pytest.raises(FileExistsError):
            requests.ask(Verb.ADD, device, ip, 32)
        requests.close()

    segment.node.call(story)


def test_a_broken_socket_fails_one_request(segment: Segment) -> None:
    async def story() -> None:
        async with opened(FOUR) as (effect, _):
            os.close(effect._links._requests._socket.detach())
            with pytest.raises(Exception, match="Bad file descriptor"):
                await effect.perform(hold(FOUR))
            await effect.perform(hold(FOUR))
            assert segment.node.addresses("vmbr0") == [(FOUR.ip, FOUR.prefix)]

    segment.node.run(story())
