"""Calls of the API: JSON in and out, errors of the tree, safe repetition, pages and streams.

The standard library's client is used on purpose: it loads three times faster than any other,
and every command of `suan` pays for what is loaded. Proxies are not looked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from suanwang.edge.client.transport import HttpTransport, Reply, call, unreachable
from suanwang.kernel.errors import InvalidInput, TransientError, Unavailable

TRIES = 4
FIRST_PAUSE_S = 0.2
PAGE = 500
"""Items of a page; the server gives no more at once."""
STREAM_SILENCE_S = 40.0
"""A stream of events says something every 15 s; silent for longer, it is broken."""

Query = Mapping[str, Any]


class Api:
    """One server as one user. Keeps a connection per thread open."""

    def __init__(
        self, server: str, token: str = "", *, timeout_s: float = 60.0, ca_file: str = ""
    ) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(
                "ServerInvalid",
                f"{server!r} is not the address of a server.",
                hint="Write it as https://host or http://host:port.",
                field="server",
            )
        self.server = server.rstrip("/")
        self.transport = HttpTransport(server, token=token, timeout_s=timeout_s, ca_file=ca_file)
        self._streams = HttpTransport(
            server, token=token, timeout_s=STREAM_SILENCE_S, ca_file=ca_file
        )

    def close(self) -> None:
        self.transport.close()
        self._streams.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        return self._json("GET", _with(path, query), repeat=True)

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        repeat: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """With an idempotency key, or if it is said to be harmless, tried again after trouble."""
        extra = {**(headers or {}), **({"Idempotency-Key": key} if key else {})}
        return self._json("POST", path, body, extra, repeat=repeat or key is not None)

    def put(self, path: str, body: Any = None) -> Any:
        return self._json("PUT", path, body, repeat=True)

    def patch(self, path: str, body: Any) -> Any:
        return self._json("PATCH", path, body, repeat=True)

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path)

    def pages(
        self, path: str, query: Query | None = None, *, most: int | None = None
    ) -> Iterator[Any]:
        """Items of all pages of a list, fetched as they are wanted; `most` so many of them."""
        size = PAGE if most is None else max(1, min(most, PAGE))
        wanted = {"limit": size, **(query or {})}
        left = most
        while left is None or left > 0:
            page = self.get(path, wanted)
            yield from page["items"][:left]
            if left is not None:
                left -= len(page["items"])
            if not page.get("next_cursor"):
                return
            wanted["cursor"] = page["next_cursor"]

    def read(self, path: str, query: Query | None = None) -> tuple[bytes, Mapping[str, str]]:
        """A body that is no JSON, and the headers."""
        reply = self.call("GET", _with(path, query), repeat=True)
        return reply.read(), reply.headers

    def stream(self, path: str, query: Query | None = None) -> Reply:
        """An answer that comes piece by piece; read it with `read_some`."""
        return call(self._streams, "GET", _with(path, query))

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
    ) -> Reply:
        """Raises the server's refusal as an error of the tree; Unavailable if none answers."""
        pause_s = FIRST_PAUSE_S
        for left in range(TRIES - 1 if repeat else 0, -1, -1):
            try:
                return call(self.transport, method, path, headers=headers, body=body)
            except TransientError as error:
                if not left or _refused_to_connect(error):
                    raise self._named(error) from error
                time.sleep(pause_s)
                pause_s *= 2
        raise AssertionError("TRIES is at least 1")

    def _json(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeat: bool = False,
    ) -> Any:
        data = None if body is None else json.dumps(body, default=_plain).encode()
        base = {"Accept": "application/json", "Content-Type": "application/json"}
        reply = self.call(
            method, path, body=data, headers={**base, **(headers or {})}, repeat=repeat
        )
        try:
            text = reply.read()
        except OSError as error:
            raise unreachable(error) from error
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise Unavailable(
                "NotSuanwang",
                f"{self.server} did not answer with JSON.",
                hint="Is this the address of a Suanwang platform?",
            ) from error

    def _named(self, error: TransientError) -> TransientError:
        if error.reason != "ServerUnreachable":
            return error
        cause = error.__cause__
        why = getattr(cause, "strerror", None) or cause or error.message
        return Unavailable(
            "ServerUnreachable",
            f"{self.server} cannot be reached: {why}.",
            hint="Is the server up (`suan up`) and the address right (`suan login --server URL`)?",
        )


def segment(text: str) -> str:
    """A name or id as one segment of a path."""
    return quote(text, safe="")


def _with(path: str, query: Query | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    plain = {n: str(v).lower() if isinstance(v, bool) else v for n, v in given.items()}
    return f"{path}?{urlencode(plain, doseq=True)}" if plain else path


def _refused_to_connect(error: TransientError) -> bool:
    """Nobody listens there: waiting a second would not change it."""
    cause = error.__cause__
    return isinstance(cause, ConnectionRefusedError) or type(cause).__name__ == "gaierror"


def _plain(value: Any) -> Any:
    """Instants as YAML reads them."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a specification")
