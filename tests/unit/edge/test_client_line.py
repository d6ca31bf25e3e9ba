"""A line that breaks must not buy twice: real sockets, and a server that hangs up when told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from suanwang.edge.client.http import Api
from suanwang.kernel.errors import Unavailable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Counter:
    """Counts what arrives. `drops` requests from the next one on are read and not answered;
    after an answer it hangs up if `hangs_up`."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.drops = 0
        self.hangs_up = False
        self.hung_up = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, line.makefile("rb") as incoming:
            while first := incoming.readline():
                size = 0
                while (header := incoming.readline()) != b"\r\n":
                    if header.lower().startswith(b"content-length:"):
                        size = int(header.split(b":")[1])
                incoming.read(size)
                self.arrived.append(first.split()[0].decode())
                if self.drops:
                    self.drops -= 1
                    return
                line.sendall(ANSWER)
                if self.hangs_up:
                    break
            line.shutdown(socket.SHUT_RDWR)
        self.hung_up.set()


@pytest.fixture
def server() -> Iterator[Counter]:
    made = Counter()
    yield made
    made.close()


@pytest.fixture
def api(server: Counter) -> Iterator[Api]:
    made = Api(server.url)
    yield made
    made.close()


def test_what_may_have_been_done_is_not_sent_again(server: Counter, api: Api) -> None:
    api.post("/v1/market/listings", {})
    server.drops = 1
    with pytest.raises(Unavailable) as broken:
        api.post("/v1/market/listings", {})
    assert broken.value.reason == "ServerUnreachable"
    assert server.arrived == ["POST", "POST"], "the server has read the second one already"


def test_what_is_said_to_be_harmless_is_sent_again(server: Counter, api: Api) -> None:
    api.post("/v1/jobs", {}, key="once")
    server.drops = 2
    assert api.post("/v1/jobs", {}, key="once") == {}
    server.drops = 1
    assert api.get("/v1/jobs") == {}
    assert server.arrived == ["POST"] * 4 + ["GET"] * 2


def test_a_line_that_the_server_has_ended_is_opened_anew(server: Counter, api: Api) -> None:
    """It was idle for too long: nothing was sent on it, so nothing is sent twice."""
    server.hangs_up = True
    for number in range(1, 4):
        api.post("/v1/market/listings", {})
        assert server.hung_up.wait(10)
        server.hung_up.clear()
        assert server.arrived == ["POST"] * number
