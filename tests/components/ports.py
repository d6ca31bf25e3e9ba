"""Ports to listen on later: nobody else of this machine's tests has them, now or until then."""

from __future__ import annotations

import atexit
import random
import socket
from pathlib import Path

_KERNELS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_DRIVERS = range(20_000, 32_000)
"""From which the process driver takes the ports of gangs."""
_marks: list[socket.socket] = []


def reserve_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Free ports of the address, this process's until it ends.

    They lie below those that the kernel gives to clients and to whoever asks for any port: one of
    these can be taken between its choice and its use, or while a server is down for a moment.
    An abstract socket for each keeps other workers and other runs of the tests from it.
    """
    below = int(_KERNELS.read_text().split()[0]) if _KERNELS.exists() else 32_768
    possible = [port for port in range(_LOWEST, below) if port not in _DRIVERS]
    found: list[int] = []
    for port in random.SystemRandom().sample(possible, len(possible)):
        if _mark(port) and _is_free(host, port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"{count} ports between {_LOWEST} and {below} are not to be had")


def _mark(port: int) -> bool:
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0suanwang-tests-port-{port}")
    except OSError:
        mark.close()
        return False
    _marks.append(mark)
    return True


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # as servers do: what their last connections left behind is in nobody's way
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@atexit.register
def _unmark() -> None:
    for mark in _marks:
        mark.close()
