"""Free ports."""

import socket
from collections.abc import Iterator

import pytest

from cli.ports import LOOPBACK, is_free, pick_ports


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


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
