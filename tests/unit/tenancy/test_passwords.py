"""Passwords at the cost that they have in production."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from suanwang.tenancy import passwords
from suanwang.tenancy.passwords import hash_now, hash_password, verify_now, verify_password

PASSWORD = "four unrelated words"


@pytest.fixture(autouse=True)
def quick_passwords() -> None:
    """Not here."""
    passwords._decoy.cache_clear()


def test_a_hash_is_as_dear_as_rfc_9106_says_for_small_memory() -> None:
    """Its second recommended set: argon2id, 64 MiB, 3 passes, 4 lanes."""
    made = extract_parameters(hash_now(PASSWORD))
    assert made.type is Type.ID
    assert made.memory_cost >= 64 * 1024
    assert made.time_cost >= 3
    assert made.parallelism >= 4
    assert made.salt_len >= 16


async def test_the_right_password_and_no_other() -> None:
    stored = await hash_password(PASSWORD)
    right = await verify_password(stored, PASSWORD)
    assert (right.ok, right.new_hash) == (True, None)
    assert not (await verify_password(stored, PASSWORD + " ")).ok
    assert not (await verify_password("not a hash", PASSWORD)).ok


def test_a_cheaper_hash_is_renewed() -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    renewed = verify_now(weak, PASSWORD).new_hash
    assert renewed is not None
    assert verify_now(renewed, PASSWORD).new_hash is None


def test_a_user_without_password_cannot_sign_in_with_any() -> None:
    for password in ("", "nobody has this password", "x"):
        assert not verify_now(None, password).ok
