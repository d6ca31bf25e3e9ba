"""HTTP as the transfers need it: any object with `open` will do; here is one of the stdlib's.

Imported by every command, so nothing but the standard library and the error tree.
"""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from suanwang.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    LimitExceeded,
    NotFound,
    PermanentError,
    SuanwangError,
    Unauthenticated,
    Unavailable,
)

_KINDS: dict[int, type[SuanwangError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidInput,
    429: LimitExceeded,
}
TROUBLE = (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror, http.client.HTTPException)
"""What a bad line raises; other OSErrors are the local disk's."""
HARMLESS = ("GET", "HEAD", "PUT", "DELETE")
"""Twice is as good as once. What is posted may have been done though no answer came: whether it
may be sent again, only the caller knows."""
_TRANSIENT = (408, 425, 500, 502, 503, 504)


class Reply(Protocol):
    """An answer whose body is still on the line. Read it to its end or close it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""
        ...

    def read(self, amount: int = -1) -> bytes: ...

    def read_some(self, amount: int) -> bytes:
        """What has come already, waiting for the first byte only; empty at the end."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    """May be called from several threads at once."""

    def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """Any status is an answer. Raises one of TROUBLE if there is none.

        With an iterable body the headers state its Content-Length.
        """
        ...


class HttpTransport:
    """One kept-alive connection per thread; `close` ends them all, or the end of a `with`."""

    def __init__(
        self, base_url: str, *, token: str = "", timeout_s: float = 60.0, ca_file: str = ""
    ) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or "localhost"
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._tls = (
            ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
        )
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connections: dict[threading.Thread, http.client.HTTPConnection] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Calls of other threads break off. The next call opens a connection again."""
        with self._lock:
            for thread, connection in self._connections.items():
                if thread is threading.current_thread() or not thread.is_alive():
                    connection.close()
                elif connection.sock is not None:
                    # its reader sees the end and closes the rest, for which we would have to wait
                    with suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
                    connection.sock.close()
            self._connections.clear()

    def _connection(self) -> http.client.HTTPConnection:
        thread = threading.current_thread()
        with self._lock:
            if thread not in self._connections:
                # a transfer's threads leave theirs behind
                for gone in [one for one in self._connections if not one.is_alive()]:
                    self._connections.pop(gone).close()
                self._connections[thread] = (
                    http.client.HTTPSConnection(
                        self._host, self._port, timeout=self._timeout_s, context=self._tls
                    )
                    if self._tls
                    else http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
                )
            return self._connections[thread]

    def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        connection = self._connection()
        if connection.sock is not None and _is_over(connection.sock):
            connection.close()
        reused = connection.sock is not None
        try:
            return self._once(connection, method, path, headers, body)
        except TROUBLE:
            connection.close()
            again = method in HARMLESS and (body is None or isinstance(body, bytes))
            if not reused or not again:
                raise
        # the server may have closed the idle connection at this very moment
        return self._once(connection, method, path, headers, body)

    def _once(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Reply:
        try:
            connection.request(
                method, self._prefix + path, body=body, headers={**self._headers, **headers}
            )
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that refuses may answer before it has read everything
        response = connection.getresponse()
        return _HttpReply(connection, response)


def _is_over(idle: socket.socket) -> bool:
    """The server has ended it meanwhile: nothing else could be there to be read."""
    with selectors.DefaultSelector() as looking:
        looking.register(idle, selectors.EVENT_READ)
        return bool(looking.select(0))


class _HttpReply:
    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # type: ignore[assignment]

    def read(self, amount: int = -1) -> bytes:
        return self._response.read() if amount < 0 else self._response.read(amount)

    def read_some(self, amount: int) -> bytes:
        return self._response.read1(amount)

    def close(self) -> None:
        if not self._response.isclosed():
            self._connection.close()  # what was not read would be taken for the next answer
        self._response.close()


def unreachable(error: Exception) -> Unavailable:
    return Unavailable(
        "ServerUnreachable",
        f"The line to the server broke: {error or type(error).__name__}.",
        hint="Run the same command again: it goes on where it stopped.",
    )


def refusal(reply: Reply) -> SuanwangError:
    """The server's problem+json as an error of the tree."""
    body: Any = None
    try:
        body = json.loads(reply.read(1 << 20))
    except (ValueError, *TROUBLE):
        pass  # a proxy's own page
    reply.close()
    body = body if isinstance(body, dict) else {}
    reason = str(body.get("reason", f"Http{reply.status}"))
    transient = reply.status in _TRANSIENT or reason == "RateLimited"
    kind = Unavailable if transient else _KINDS.get(reply.status, PermanentError)
    message = str(body.get("detail", f"The server answered with status {reply.status}."))
    return kind(reason, message, hint=str(body.get("hint", "")), field=body.get("field"))


def call(
    transport: Transport,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
) -> Reply:
    """An answer below 400; raises the server's refusal, or Unavailable if there is no answer."""
    try:
        reply = transport.open(method, path, headers=headers or {}, body=body)
    except TROUBLE as error:
        raise unreachable(error) from error
    if reply.status >= 400:
        raise refusal(reply)
    return reply


def call_json(transport: Transport, method: str, path: str, body: Any = None) -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    reply = call(transport, method, path, headers=headers, body=data)
    try:
        return json.loads(reply.read())
    except TROUBLE as error:
        raise unreachable(error) from error
