"""Passwords: argon2id, off the event loop, with one answer for wrong and for unknown."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from suanwang.kernel.errors import InvalidInput

MIN_LENGTH = 10
MAX_LENGTH = 256

_hasher = PasswordHasher()
# each verification takes 64 MiB and some 30 ms of a core; two at once bound what logins cost
_workers = ThreadPoolExecutor(2, thread_name_prefix="argon2")


@dataclass(frozen=True, slots=True)
class Verified:
    ok: bool
    new_hash: str | None = None
    """Set when the stored hash has weaker parameters than today's."""


@cache
def _decoy() -> str:
    """The hash that an unknown user's password is checked against, so that it takes as long."""
    return _hasher.hash("nobody has this password")


def check_password(password: str, login: str) -> str:
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(
            "WeakPassword",
            f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.",
            hint="Four unrelated words make a good one.",
            field="password",
        )
    if login and login in password.lower():
        raise InvalidInput(
            "WeakPassword",
            "The password contains the login name.",
            hint="Four unrelated words make a good one.",
            field="password",
        )
    return password


def hash_now(password: str) -> str:
    return _hasher.hash(password)


def verify_now(stored: str | None, password: str) -> Verified:
    try:
        _hasher.verify(stored or _decoy(), password)
    except (VerificationError, InvalidHashError):
        return Verified(False)
    if stored is None:
        return Verified(False)
    return Verified(True, _hasher.hash(password) if _hasher.check_needs_rehash(stored) else None)


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_workers, hash_now, password)


async def verify_password(stored: str | None, password: str) -> Verified:
    """`stored` None (no such user, or one without a password) costs the same and is refused."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_workers, verify_now, stored, password)
