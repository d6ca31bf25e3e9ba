"""A front before several servers: each connection goes to one that takes it, by chance."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress


class Front:
    """Ends of connections that carry bytes both ways until either closes."""

    def __init__(self, targets: Sequence[tuple[str, int]], seed: int) -> None:
        self._targets = list(targets)
        self._dice = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        order = self._dice.sample(self._targets, len(self._targets))
        for target in order:
            with suppress(OSError):
                server = socket.create_connection(target, timeout=5)
                server.settimeout(None)
                other = threading.Thread(target=self._carry, args=(server, client), daemon=True)
                with client, server:
                    other.start()
                    self._carry(client, server)
                    other.join()
                return
        client.close()

    @staticmethod
    def _carry(source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                to.sendall(data)
        except OSError:
            pass
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
