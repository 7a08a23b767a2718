"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

from kinemesh.errors import ResourceExhausted

# Below the range that Linux takes ports for outgoing connections from, so that none of those grabs one first.
_LOWEST, _HIGHEST = 20_000, 32_700


def free_ports(count: int, host: str = "127.0.0.1") -> tuple[int, ...]:
    """``count`` different ports that nothing listens on.

    A server has to be told its port before it can listen on it, so a port cannot be handed over without a gap. What
    can be avoided is that two of *our* processes pick the same one: each port is reserved, for as long as this process
    lives, by a socket in Linux's abstract namespace, which leaves no file behind.
    """
    found: list[int] = []
    candidates = random.SystemRandom().sample(range(_LOWEST, _HIGHEST), 2000)
    for port in candidates:
        if len(found) == count:
            break
        if _reserve(port) and is_free(port, host):
            found.append(port)
    if len(found) < count:
        raise ResourceExhausted("NO_FREE_PORT", "There are not enough free ports on this machine.")
    return tuple(found)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nothing listens on the port."""
    with socket.socket() as probe:
        # Otherwise connections of a server that has just ended would keep its port for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def _reserve(port: int) -> bool:
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0kinemesh-port-{port}")
    except OSError:
        reservation.close()
        return False
    reservation.detach()  # stays open until this process ends
    return True
