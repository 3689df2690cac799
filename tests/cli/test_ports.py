"""Free ports."""

import errno
import socket
import sys
from collections.abc import Iterator

import pytest

from cli.ports import LOOPBACK, HeldPorts, is_free, pick_ports

LOCAL_PORT_RANGE = 51  # IP_LOCAL_PORT_RANGE of Linux 6.3, which Python does not name


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def any_port_between(first: int, last: int) -> socket.socket:
    """A socket that asks for any port, of those between."""
    asker = socket.socket()
    try:
        asker.setsockopt(socket.IPPROTO_IP, LOCAL_PORT_RANGE, (last << 16 | first).to_bytes(4, sys.byteorder))
    except OSError as error:
        asker.close()
        if error.errno != errno.ENOPROTOOPT:
            raise
        pytest.skip("Linux before 6.3 does not narrow the ports of one socket")
    return asker


def test_a_port_that_is_listened_on_is_not_free(taken_port: int) -> None:
    assert not is_free(LOOPBACK, taken_port)


def test_a_free_preferred_port_is_kept() -> None:
    [port] = pick_ports([0])
    assert is_free(LOOPBACK, port)
    assert pick_ports([port]) == [port]


def test_a_taken_preferred_port_is_replaced(taken_port: int) -> None:
    [port] = pick_ports([taken_port])
    assert port != taken_port
    assert is_free(LOOPBACK, port)


def test_ports_picked_together_differ() -> None:
    [port] = pick_ports([0])
    assert len(set(pick_ports([port, port, 0, 0]))) == 4


def test_ports_picked_one_after_the_other_differ_while_they_are_held() -> None:
    with HeldPorts() as held:
        [port] = held.pick([0])
        assert held.pick([port]) != [port]


def test_a_server_listens_on_a_held_port_and_again_after_it_died() -> None:
    with HeldPorts() as held:
        [port] = held.pick([0])
        for _ in range(2):
            with socket.create_server((LOOPBACK, port)), socket.create_connection((LOOPBACK, port)):
                assert not is_free(LOOPBACK, port)


@pytest.mark.skipif(sys.platform != "linux", reason="ports are held on Linux alone")
def test_a_held_port_is_given_to_nobody_who_asks_for_any(taken_port: int) -> None:
    with HeldPorts() as held:
        [port] = held.pick([0])
        with any_port_between(port, port) as listener, pytest.raises(OSError, match="already in use"):
            listener.bind((LOOPBACK, 0))
        with any_port_between(port, port) as caller, pytest.raises(OSError, match="Cannot assign"):
            caller.connect((LOOPBACK, taken_port))
    with any_port_between(port, port) as caller:
        caller.connect((LOOPBACK, taken_port))
        assert caller.getsockname()[1] == port
