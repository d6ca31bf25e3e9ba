"""Who calls: a token in the Authorization header or a browser's session cookie.

Routes take `principal: Caller`, or `Annotated[Principal, Depends(require_scope(…))]`. Services
decide what the principal may do; a scope named at the route only refuses earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request, Response

from suanwang.edge.api.limits import TokenBuckets
from suanwang.edge.api.security import SAFE_METHODS, SecuritySettings, is_https
from suanwang.kernel.errors import Forbidden, SuanwangError, Unauthenticated
from suanwang.kernel.time import Clock
from suanwang.platform.database import Database
from suanwang.tenancy import access, login
from suanwang.tenancy.access import Known, NewSession
from suanwang.tenancy.model import Principal, RateLimited, Scope
from suanwang.tenancy.principal_cache import PrincipalCache
from suanwang.tenancy.tokens import digest

COOKIE = "suan_session"
SECURE_COOKIE = "__Host-suan_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Context(Protocol):
    """What this layer needs of the application's context."""

    @property
    def database(self) -> Database: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def security(self) -> SecuritySettings: ...


class Gate:
    """Answers `who is this?` in one dictionary look-up when it was asked seconds ago."""

    def __init__(self, database: Database, clock: Clock, settings: SecuritySettings) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self._known: PrincipalCache[Known] = PrincipalCache()
        self._calls = TokenBuckets(settings.calls_per_second, settings.calls_burst)
        self._logins = TokenBuckets(settings.logins_per_second, settings.logins_burst)
        self._refusals = TokenBuckets(settings.refusals_per_second, settings.refusals_burst)
        self._notes: set[asyncio.Task[None]] = set()

    async def known(self, request: Request) -> Known:
        """Raises Unauthenticated, RateLimited, or Forbidden for a missing CSRF token."""
        header: bytes | None = None
        for name, value in request.scope["headers"]:
            if name == b"authorization":
                header = value
                break
        if header is not None:
            if header[:7].lower() != b"bearer ":
                raise _not_signed_in("Only bearer tokens are understood here.")
            return await self._of_credential(request, header[7:].decode("latin-1").strip(), False)
        cookie = session_cookie(request, self.settings)
        if not cookie:
            raise _not_signed_in("This call needs a token or a signed-in browser.")
        known = await self._of_credential(request, cookie, True)
        if request.method not in SAFE_METHODS:
            await _check_csrf(request, known.csrf_token or "")
        return known

    async def _of_credential(self, request: Request, secret: str, is_cookie: bool) -> Known:
        now_ms = self.clock.now_ms()
        key = (is_cookie, digest(secret))
        known = self._known.get(key, now_ms)
        if known is None:
            known = await self._look_up(request, secret, is_cookie, now_ms)
        principal = known.principal
        wait_ms = self._calls.take(principal.token_id or principal.user_id, now_ms)
        if wait_ms:
            raise _too_fast("Too many calls.", wait_ms)
        return known

    async def _look_up(self, request: Request, secret: str, is_cookie: bool, now_ms: int) -> Known:
        address = address_of(request)
        wait_ms = self._refusals.wait_ms(address, now_ms)
        if wait_ms:
            raise _too_fast("Too many calls with unknown credentials.", wait_ms)
        generation = self._known.generation
        policy = self.settings.session
        try:
            known = await self.database.read(
                lambda conn: (
                    access.know_session(conn, secret, now_ms, policy)
                    if is_cookie
                    else access.know_token(conn, secret, now_ms)
                )
            )
        except Unauthenticated:
            self._refusals.take(address, now_ms)
            raise
        key = (is_cookie, digest(secret))
        self._known.put(key, known, now_ms, known.until_ms, generation)
        if known.note_use:
            note = asyncio.create_task(self._note_use(known, secret))
            self._notes.add(note)
            note.add_done_callback(self._notes.discard)
        return known

    async def _note_use(self, known: Known, secret: str) -> None:
        token_id = known.principal.token_id
        policy = self.settings.session
        try:
            await self.database.write(
                lambda tx: (
                    access.note_session_use(tx, secret, policy)
                    if token_id is None
                    else access.note_token_use(tx, token_id)
                )
            )
        except SuanwangError:
            pass  # the next look-up tries again; the call itself is none the worse

    async def sign_in(self, request: Request, name: str, password: str) -> NewSession:
        """By password. Give its cookie to the browser with `set_session_cookie`."""
        address = address_of(request)
        self.count_login(address)
        return await login.log_in(
            self.database,
            self.clock.now_ms(),
            login=name,
            password=password,
            address=address,
            policy=self.settings.session,
            replaces=session_cookie(request, self.settings),
        )

    def count_login(self, address: str) -> None:
        """Every way of signing in counts against the address's limit."""
        wait_ms = self._logins.take(address, self.clock.now_ms())
        if wait_ms:
            raise _too_fast("Too many logins from your address.", wait_ms)

    def count_guess(self, user_id: str) -> None:
        """Codes that are typed by hand are short: who tries one counts as who signs in."""
        wait_ms = self._logins.take(("code", user_id), self.clock.now_ms())
        if wait_ms:
            raise _too_fast("Too many codes tried.", wait_ms)

    def count_poll(self, address: str) -> None:
        """Polls carry no credential yet, so the address is all there is to count by."""
        wait_ms = self._calls.take(("poll", address), self.clock.now_ms())
        if wait_ms:
            raise _too_fast("Too many calls.", wait_ms)

    async def sign_out(self, request: Request, principal: Principal) -> None:
        """Ends the browser's session, if it is one that calls."""
        cookie = session_cookie(request, self.settings)
        if cookie is not None and principal.token_id is None:
            await self.database.write(lambda tx: access.end_session(tx, principal, cookie))


def gate_of(request: Request) -> Gate:
    """The application's gate, made at its first call from `app.state.context`."""
    state = request.app.state
    gate: Gate | None = getattr(state, "gate", None)
    if gate is None:
        context = cast(Context, state.context)
        gate = state.gate = Gate(context.database, context.clock, context.security)
    return gate


async def authenticate(request: Request) -> Principal:
    known = await gate_of(request).known(request)
    return known.principal


async def current_principal(request: Request) -> Principal:
    """FastAPI dependency: the caller, or 401."""
    return await authenticate(request)


async def current_session(request: Request) -> Known | None:
    """FastAPI dependency for pages: the caller with his CSRF token, or None to sign in first."""
    try:
        known = await gate_of(request).known(request)
    except Unauthenticated:
        return None
    return known


Caller = Annotated[Principal, Depends(current_principal)]
"""Parameter type of a route that needs to know who calls."""


def require_scope(*scopes: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """FastAPI dependency: the caller, if his token has all of these scopes."""
    wanted = frozenset(scopes)

    async def with_scope(request: Request) -> Principal:
        principal = await authenticate(request)
        missing = wanted - principal.scopes
        if missing:
            raise Forbidden(
                "ScopeMissing",
                f"This token lacks the scope {', '.join(sorted(missing))}.",
                hint="Make a token that has it.",
            )
        return principal

    return with_scope


def address_of(request: Request) -> str:
    """The peer's; behind a proxy the server must be told to trust its X-Forwarded-For."""
    return request.client.host if request.client is not None else "unknown"


def cookie_name(request: Request, settings: SecuritySettings) -> str:
    return SECURE_COOKIE if is_https(request.scope, settings) else COOKIE


def session_cookie(request: Request, settings: SecuritySettings) -> str | None:
    return request.cookies.get(cookie_name(request, settings)) or None


def set_session_cookie(request: Request, response: Response, made: NewSession) -> None:
    settings = gate_of(request).settings
    response.set_cookie(
        cookie_name(request, settings),
        made.cookie,
        max_age=settings.session.absolute_s,
        path="/",
        secure=is_https(request.scope, settings),
        httponly=True,
        samesite="lax",
    )


def clear_session_cookie(request: Request, response: Response) -> None:
    settings = gate_of(request).settings
    response.delete_cookie(
        cookie_name(request, settings),
        path="/",
        secure=is_https(request.scope, settings),
        httponly=True,
        samesite="lax",
    )


async def _check_csrf(request: Request, expected: str) -> None:
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(CSRF_FIELD)
        given = field if isinstance(field, str) else None
    if not expected or given is None or not compare_digest(given.encode(), expected.encode()):
        raise Forbidden(
            "CsrfTokenMissing",
            "A call with a browser's session must bring its CSRF token.",
            hint="Send X-CSRF-Token or the form field csrf_token; GET /session tells it.",
        )


def _not_signed_in(message: str) -> Unauthenticated:
    return Unauthenticated("NotSignedIn", message, hint="Authorization: Bearer suan_…, or sign in.")


def _too_fast(message: str, wait_ms: int) -> RateLimited:
    return RateLimited(message, retry_after_s=max(1, -(-wait_ms // 1_000)))
