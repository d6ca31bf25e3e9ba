"""Signing in a program by a browser, after RFC 8628 (OAuth 2.0 device authorisation grant).

    begun ──▶ confirmed ──▶ fetched        the program begins and polls with the device code;
      └─────▶ refused                      its user opens a page, compares the user code, decides

Whoever knows the device code alone (the program) gets the token, once; whoever knows the user code
and is signed in with a browser decides. Neither code is kept in a form that the other could be
found from, and the token is made only when it is fetched, so no secret ever waits in the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, Forbidden, NotFound
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.platform.entropy import code_text, secret_text
from suanwang.tenancy import access, access_store, people, rules
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import (
    LoginRequest,
    LoginState,
    NewToken,
    Principal,
    Scope,
    UserState,
)
from suanwang.tenancy.tokens import hex_digest

LIFETIME_S = 600
INTERVAL_S = 2
SLOWER_S = 5
"""Added to the interval of a program that polls too fast (RFC 8628, section 3.5)."""
CODE_LENGTH = 8
"""Of 20 letters: 34 bits, of which a guesser who may try once in two seconds sees nothing."""
MACHINE_LENGTH = 60
KEPT_MS = MS_PER_DAY


@dataclass(frozen=True, slots=True)
class Begun:
    device_code: str
    user_code: str
    expires_in_s: int
    interval_s: int


@dataclass(frozen=True, slots=True)
class Polled:
    """`made` is there at one poll only; `slower`: it came too early, and the interval grew."""

    interval_s: int
    slower: bool = False
    made: NewToken | None = None


def begin(
    tx: Tx, *, machine: str, scopes: Iterable[Scope] | None, days: int, address: str | None
) -> Begun:
    """`machine` is what the program says of itself; scopes None are all of its user's."""
    access_store.forget_login_requests_before(tx.conn, tx.now_ms - KEPT_MS)
    device_code, user_code = secret_text(), code_text(CODE_LENGTH)
    request = LoginRequest(
        id=hex_digest(device_code),
        user_code=user_code,
        # what turns the direction of writing could make a name look like another
        machine=rules.check_text(
            "".join(c for c in machine if c.isprintable()), "machine", MACHINE_LENGTH
        ),
        address=address,
        scopes=None if scopes is None else frozenset(scopes),
        days=rules.check_range(days, "days", 1, access.TOKEN_MAX_DAYS),
        state=LoginState.BEGUN,
        user_id=None,
        created_at_ms=tx.now_ms,
        expires_at_ms=tx.now_ms + LIFETIME_S * 1_000,
        interval_s=INTERVAL_S,
        polled_at_ms=0,
    )
    access_store.insert_login_request(tx.conn, request)
    return Begun(device_code, spoken(user_code), LIFETIME_S, INTERVAL_S)


def spoken(user_code: str) -> str:
    """'BCDF-GHJK', as people read it."""
    half = len(user_code) // 2
    return f"{user_code[:half]}-{user_code[half:]}"


def asked(conn: Connection, user_code: str, now_ms: int) -> LoginRequest:
    """The open request of this code, however it was typed. Raises NotFound."""
    plain = "".join(letter for letter in user_code.upper() if letter.isalpha())[:CODE_LENGTH]
    found = access_store.login_request_by(conn, "user_code", plain)
    if found is None or found.expires_at_ms <= now_ms or found.state is not LoginState.BEGUN:
        raise NotFound(
            "LoginCodeUnknown",
            "No program waits with this code: it was mistyped, used, or is older than ten minutes.",
            hint="Compare it with the one in the terminal, or run `suan login` again.",
            field="code",
        )
    return found


def decide(tx: Tx, principal: Principal, user_code: str, *, confirmed: bool) -> LoginRequest:
    """By a person before a browser: a token that could confirm would make tokens with more."""
    if principal.token_id is not None:
        raise Forbidden(
            "BrowserNeeded",
            "Only somebody signed in with a browser can let a program in.",
            hint="Open the page and sign in.",
        )
    found = asked(tx.conn, user_code, tx.now_ms)
    state = LoginState.CONFIRMED if confirmed else LoginState.REFUSED
    user_id = principal.user_id
    if not access_store.move_login_request(tx.conn, found.id, LoginState.BEGUN, state, user_id):
        raise Conflict("LoginDecided", "Somebody has decided about this code just now.")
    granted = _granted(found, principal)
    audit(
        tx,
        principal,
        "login.confirm" if confirmed else "login.refuse",
        "user",
        principal.user_id,
        {
            "machine": found.machine,
            "begun_from": found.address,
            "scopes": sorted(granted),
            "days": found.days,
        },
    )
    return found


def _granted(request: LoginRequest, principal: Principal) -> frozenset[Scope]:
    return principal.scopes if request.scopes is None else request.scopes & principal.scopes


def poll(tx: Tx, device_code: str) -> Polled:
    """What the program is told. Raises NotFound (gone or fetched) or Forbidden (refused)."""
    found = access_store.login_request_by(tx.conn, "id", hex_digest(device_code))
    if found is None or found.expires_at_ms <= tx.now_ms or found.state is LoginState.FETCHED:
        raise NotFound(
            "LoginExpired",
            "This sign-in has been used or is older than ten minutes.",
            hint="Run `suan login` again.",
        )
    if found.state is LoginState.REFUSED:
        raise Forbidden("LoginRefusedThere", "The sign-in was refused in the browser.")
    if tx.now_ms - found.polled_at_ms < found.interval_s * 1_000:
        interval_s = found.interval_s + SLOWER_S
        access_store.note_login_poll(tx.conn, found.id, tx.now_ms, interval_s)
        return Polled(interval_s, slower=True)
    access_store.note_login_poll(tx.conn, found.id, tx.now_ms, found.interval_s)
    if found.state is LoginState.BEGUN or found.user_id is None:
        return Polled(found.interval_s)
    return Polled(found.interval_s, made=_fetch(tx, found, found.user_id))


def _fetch(tx: Tx, request: LoginRequest, user_id: str) -> NewToken:
    if not access_store.move_login_request(
        tx.conn, request.id, LoginState.CONFIRMED, LoginState.FETCHED, user_id
    ):
        raise Conflict("LoginDecided", "Another poll has fetched this token just now.")
    user = people.user(tx.conn, user_id)
    if user.state is not UserState.ACTIVE:
        raise Forbidden("UserDisabled", "Whoever confirmed this has been locked out since.")
    principal = access.principal_of(tx.conn, user)
    return access.issue_token(
        tx,
        principal,
        name=f"suan on {request.machine}",
        scopes=_granted(request, principal),
        days=request.days,
    )
