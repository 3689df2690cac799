"""Free TCP ports."""

import socket
from collections.abc import Sequence

LOOPBACK = "127.0.0.1"


def is_free(host: str, port: int) -> bool:
    """Whether a server could bind this port now."""
    try:
        _bind(host, port).close()
    except OSError:
        return False
    return True


def pick_ports(preferred: Sequence[int], host: str = LOOPBACK) -> list[int]:
    """Each preferred port where it is free and unique, else (and for 0) any free one."""
    held: list[socket.socket] = []
    try:
        for port in preferred:
            try:
                held.append(_bind(host, port))
            except OSError:
                held.append(_bind(host, 0))
        return [held_socket.getsockname()[1] for held_socket in held]
    finally:
        for held_socket in held:
            held_socket.close()


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    server = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are still winding down counts as free, one in use does not.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(1)
    except OSError:
        server.close()
        raise
    return server
