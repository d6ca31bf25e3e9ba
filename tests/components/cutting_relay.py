"""A TCP relay that breaks connections after so many bytes, as a bad line does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CuttingRelay:
    """`cuts` says, connection by connection, after how many bytes up or down it is reset."""

    def __init__(self, target: tuple[str, int], cuts: list[int]) -> None:
        self._target = target
        self._cuts = list(cuts)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.made = 0
        self.carried = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.made += 1
                cut = self._cuts.pop(0) if self._cuts else -1
                server = socket.create_connection(self._target)
                self._open += [client, server]
                left = [cut]
                for source, to in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._carry, args=(source, to, left), daemon=True
                    ).start()

    def _carry(self, source: socket.socket, to: socket.socket, left: list[int]) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                with self._lock:
                    limited = left[0] >= 0
                    data = data[: left[0]] if limited else data
                    left[0] -= len(data) if limited else 0
                    self.carried += len(data)
                to.sendall(data)
                if limited and left[0] == 0:
                    _reset(source)
                    _reset(to)
                    return
            to.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()
        for end in self._open:
            end.close()


def _reset(end: socket.socket) -> None:
    """Not an orderly end."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def cutting_relay(url: str, cuts: list[int]) -> Iterator[CuttingRelay]:
    host, _, port = url.removeprefix("http://").partition(":")
    relay = CuttingRelay((host, int(port)), cuts)
    try:
        yield relay
    finally:
        relay.close()
