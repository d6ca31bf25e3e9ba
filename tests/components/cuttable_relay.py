"""A TCP relay in the test's hand: it can be cut, so that nothing arrives in either direction and
nobody is told, and it can be slow. Joined again, old connections are dead and new ones work."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress


class CuttableRelay:
    """Listens on loopback and carries to `target`; `delay_s` is drawn for each piece."""

    def __init__(self, target: tuple[str, int], delay_s: tuple[float, float] = (0.0, 0.0)) -> None:
        self._target = target
        self._delay_s = delay_s
        self._dice = random.Random(17)
        self._joined = threading.Event()
        self._joined.set()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.carried = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._joined.clear()

    def join(self) -> None:
        """What was on its way is lost with its connection."""
        gone, self._open = self._open, []
        for end in gone:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._joined.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._joined.wait()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._open.append(server)
        for source, to in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(source, to), daemon=True).start()

    def _carry(self, source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                time.sleep(self._dice.uniform(*self._delay_s))
                self._joined.wait()
                to.sendall(data)
                self.carried += len(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            # the death of one end is felt at the other
            for end in (source, to):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self._joined.set()
        for end in self._open:
            end.close()
