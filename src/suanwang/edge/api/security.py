"""Around every request: its id, the size of its body, cross-site calls, and response headers.

Plain ASGI, outside the routes and their error handlers, so it answers its own refusals.
Who calls, and the CSRF token of browser sessions, is `auth`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from suanwang.kernel.errors import Forbidden, InvalidInput, LimitExceeded, SuanwangError
from suanwang.platform.entropy import nonce_text
from suanwang.tenancy.access import SessionPolicy
from suanwang.tenancy.audit import Origin, origin

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")
_LOOKED_AT = frozenset(
    {
        b"authorization",
        b"content-length",
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"transfer-encoding",
        b"x-request-id",
    }
)


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Limits and switches of the edge; the defaults suit a platform that faces a network."""

    session: SessionPolicy = field(default_factory=SessionPolicy)
    body_limit_bytes: int = 10_000_000
    large_body_paths: tuple[str, ...] = ("/v1/blobs", "/agent/v1")
    """Below these the handlers set limits of their own: blobs are streamed to their store."""
    calls_per_second: float = 300
    calls_burst: int = 600
    """Per token or signed-in user. A rate of 0 sets no limit."""
    logins_per_second: float = 0.5
    logins_burst: int = 20
    """Per address, whether they succeed or not."""
    refusals_per_second: float = 10
    refusals_burst: int = 50
    """Per address: calls with credentials that are not ours."""
    always_https: bool = False
    """Say so when TLS ends before us and the proxy does not tell (X-Forwarded-Proto)."""
    public_origins: tuple[str, ...] = ()
    """`https://host` under which browsers see us, when a proxy rewrites the Host header."""
    content_security_policy: str = (
        "default-src 'self'; script-src 'self'; "
        "style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    """Of pages: no inline script. Style attributes are allowed, since bars are made of them."""


_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
]
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_DATA_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")


def is_https(scope: Scope, settings: SecuritySettings) -> bool:
    return settings.always_https or scope.get("scheme") == "https"


class SecurityMiddleware:
    """`app.add_middleware(SecurityMiddleware, settings=…)`, outermost."""

    def __init__(self, app: App, settings: SecuritySettings | None = None) -> None:
        self._app = app
        self._settings = settings or SecuritySettings()
        self._public = {urlsplit(one).netloc.encode() for one in self._settings.public_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in _LOOKED_AT}
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else nonce_text()
        client = scope.get("client")
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        came_from = origin.set(Origin(request_id, client[0] if client else None))
        answer = _Answer(send, scope, self._settings, request_id)
        try:
            error = self._refusal(scope, headers)
            if error is not None:
                await refuse(answer.send, error, request_id)
            else:
                await self._limited(scope, headers, receive, answer)
        finally:
            origin.reset(came_from)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> SuanwangError | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or (
            int(length) > self._settings.body_limit_bytes and self._is_limited(scope)
        ):
            return _too_large(self._settings.body_limit_bytes)
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            return InvalidInput(
                "NulCharacter", "No name or id of ours contains a NUL character.", hint="Mend it."
            )
        if scope["method"] in SAFE_METHODS or b"authorization" in headers:
            return None  # a browser adds no Authorization header across sites by itself
        source = headers.get(b"origin")
        if headers.get(b"sec-fetch-site") == b"cross-site" or (
            source is not None and not self._is_ours(source, headers.get(b"host", b""))
        ):
            return Forbidden(
                "CrossSite",
                "This call comes from a page of another site.",
                hint="Sign in on our own pages, or use a token in the Authorization header.",
            )
        return None

    def _is_ours(self, source: bytes, host: bytes) -> bool:
        netloc = source.partition(b"://")[2]
        return netloc == host or netloc in self._public

    def _is_limited(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return not any(
            path == prefix or path.startswith(f"{prefix.rstrip('/')}/")
            for prefix in self._settings.large_body_paths
        )

    async def _limited(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer
    ) -> None:
        """Run the app; a body without a declared length is counted as it comes."""
        declared = b"content-length" in headers or scope["method"] in SAFE_METHODS
        if (declared and b"transfer-encoding" not in headers) or not self._is_limited(scope):
            await self._app(scope, receive, answer.send)
            return
        counted = _Counted(receive, self._settings.body_limit_bytes)

        async def send_unless_cut(message: Message) -> None:
            if not counted.cut or answer.started:
                await answer.send(message)

        try:
            await self._app(scope, counted.receive, send_unless_cut)
        except Exception:
            if not counted.cut or answer.started:
                raise
        if counted.cut and not answer.started:
            error = _too_large(self._settings.body_limit_bytes)
            await refuse(answer.send, error, answer.request_id)


class _Counted:
    """Passes a body on up to a limit, then tells the app that the client has gone."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.cut = False

    async def receive(self) -> Message:
        if self.cut:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.cut = True
                return {"type": "http.disconnect"}
        return message


class _Answer:
    """Adds the headers when the response starts."""

    __slots__ = ("_scope", "_send", "_settings", "request_id", "started")

    def __init__(
        self, send: Send, scope: Scope, settings: SecuritySettings, request_id: str
    ) -> None:
        self._send = send
        self._scope = scope
        self._settings = settings
        self.request_id = request_id
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": self._with_ours(list(message.get("headers", ())))}
        await self._send(message)

    def _with_ours(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kind, has_policy, has_cache = b"", False, False
        for name, value in headers:
            if name == b"content-type":
                kind = value
            elif name == b"content-security-policy":
                has_policy = True
            elif name == b"cache-control":
                has_cache = True
        headers += _ALWAYS
        headers.append((b"x-request-id", self.request_id.encode()))
        if is_https(self._scope, self._settings):
            headers.append(_HSTS)
        if not has_policy:
            if kind.startswith(b"text/html"):
                policy = self._settings.content_security_policy.encode()
                headers.append((b"content-security-policy", policy))
            else:
                headers.append(_DATA_POLICY)
        if not has_cache and kind.startswith((b"application/json", b"text/html")):
            headers.append(_NO_STORE)
        return headers


class BodyTooLarge(LimitExceeded):
    status = 413


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        "BodyTooLarge",
        f"A request's body may have {limit:,} bytes.",
        hint="Upload data as blobs and refer to them.",
    )


async def refuse(send: Send, error: SuanwangError, request_id: str) -> None:
    """Problem details (RFC 9457) for refusals made before any route is reached."""
    body = msgspec.json.encode(
        {
            "type": "about:blank",
            "title": error.reason,
            "status": error.status,
            "detail": error.message,
            "reason": error.reason,
            "hint": error.hint,
            "request_id": request_id,
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        # what is left of a refused body is not read, so the connection cannot be used again
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
