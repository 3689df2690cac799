"""Free TCP ports."""

import errno
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
# Linux lets a server listen on a port that is bound here and not listened on, and gives it to nobody who asks
# for any port. Elsewhere a port that is held could not be used by the server it is held for.
CAN_HOLD = sys.platform == "linux"


class HeldPorts:
    """Ports picked for servers yet to start; while the block lasts, nobody who asks for any port gets one.

    Who asks for one by its number can still have it, until its server listens: servers must bind them with
    SO_REUSEADDR, as nearly all do. Outside Linux they are picked but not held.
    """

    def __init__(self) -> None:
        self._sockets = ExitStack()
        self._picked: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sockets.close()

    def pick(self, preferred: Sequence[int], host: str = LOOPBACK) -> list[int]:
        """Each preferred port where it is free and unique, else (and for 0) any free one."""
        held = [self._hold(host, port) for port in preferred]
        if not CAN_HOLD:
            self._sockets.close()
        return held

    def _hold(self, host: str, preferred: int) -> int:
        try:
            holder = _bind(host, 0 if preferred in self._picked else preferred)
        except OSError:
            holder = _bind(host, 0)
        port: int = self._sockets.enter_context(holder).getsockname()[1]
        self._picked.add(port)
        return port


def pick_ports(preferred: Sequence[int], host: str = LOOPBACK) -> list[int]:
    """Ports that are free now, as `HeldPorts.pick` chooses them; nothing keeps them so."""
    with HeldPorts() as ports:
        return ports.pick(preferred, host)


def is_free(host: str, port: int) -> bool:
    """Whether a server could bind this port now. Raises OSError for a host that is none of this machine's."""
    try:
        _bind(host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    server = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are still winding down counts as free, one in use does not.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
    except OSError:
        server.close()
        raise
    return server
