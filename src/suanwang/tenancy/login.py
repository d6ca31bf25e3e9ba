"""Login by password: look up, verify off the loop, then open a session or count the failure.

An unknown login costs as much and backs off as a known one, so that neither time nor refusal
tells which logins exist. Counters are per login and per address and survive a restart.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Forbidden, Unauthenticated
from suanwang.platform.database import Database, Tx
from suanwang.tenancy import access, access_store, rules, store
from suanwang.tenancy.access import NewSession, SessionPolicy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import RateLimited, User, UserState
from suanwang.tenancy.passwords import verify_password
from suanwang.tenancy.tokens import hex_digest


def _subjects(login: str, address: str | None) -> list[tuple[str, int]]:
    """(what is counted, how many failures are free)."""
    subjects = [(f"login:{hex_digest(login)}", rules.LOGIN_FREE_FAILURES)]
    if address is not None:
        subjects.append((f"address:{hex_digest(address)}", rules.ADDRESS_FREE_FAILURES))
    return subjects


def _look_up(
    conn: Connection, login: str, address: str | None, now_ms: int
) -> tuple[User, str | None] | None:
    """User and hash; raises RateLimited while login or address must wait."""
    for subject, _free in _subjects(login, address):
        blocked_until_ms = access_store.blocked_until_ms(conn, subject)
        if blocked_until_ms > now_ms:
            wait_s = -(-(blocked_until_ms - now_ms) // 1_000)
            raise RateLimited("Too many failed logins.", retry_after_s=wait_s)
    # PostgreSQL has no text with a NUL, so nobody's login has one
    return None if "\x00" in login else store.password_of(conn, login)


def _count_failure(tx: Tx, login: str, address: str | None, user: User | None) -> None:
    forgotten_ms = tx.now_ms - rules.FAILURES_FORGOTTEN_AFTER_MS
    for subject, free in _subjects(login, address):
        failures = access_store.count_failure(tx.conn, subject, tx.now_ms, forgotten_ms)
        wait_ms = rules.lockout_ms(failures, free)
        if wait_ms:
            access_store.block_until(tx.conn, subject, tx.now_ms + wait_ms)
    access_store.forget_failures_before(tx.conn, forgotten_ms - rules.LOCKOUT_MAX_MS)
    if user is not None:
        principal = access.principal_of(tx.conn, user)
        audit(tx, principal, "session.refuse", "user", user.id, {"how": "password"})


async def log_in(
    database: Database,
    now_ms: int,
    *,
    login: str,
    password: str,
    address: str | None,
    policy: SessionPolicy,
    replaces: str | None = None,
) -> NewSession:
    """`replaces` is the cookie that the browser brought: signing in always changes it."""
    login = login.strip().lower()[:254]
    found = await database.read(lambda conn: _look_up(conn, login, address, now_ms))
    user, stored = (None, None) if found is None else found
    verified = await verify_password(stored, password[:1_024])
    if user is None or not verified.ok or user.state is not UserState.ACTIVE:
        await database.write(lambda tx: _count_failure(tx, login, address, user))
        raise Unauthenticated(
            "LoginRefused",
            "Login name or password is wrong.",
            hint="After some failures in a row each further try has to wait.",
        )
    known = user

    def sign_in(tx: Tx) -> NewSession:
        if verified.new_hash is not None:
            store.set_password_hash(tx.conn, known.id, verified.new_hash)
        subject, _free = _subjects(login, None)[0]
        access_store.forget_failures(tx.conn, subject)
        return access.open_session(tx, known.id, policy, how="password", replaces=replaces)

    return await database.write(sign_in)


async def check_own_password(
    database: Database, now_ms: int, *, user: User, password: str, address: str | None
) -> None:
    """Before somebody changes his password he shows that he knows it; failures count."""
    found = await database.read(lambda conn: _look_up(conn, user.login, address, now_ms))
    stored = None if found is None else found[1]
    verified = await verify_password(stored, password[:1_024])
    if not verified.ok:
        await database.write(lambda tx: _count_failure(tx, user.login, address, user))
        raise Forbidden(
            "WrongPassword", "The current password is wrong.", hint="An admin can set a new one."
        )
