"""The text of a token: `suan_<id part>_<random>`. Only the SHA-256 of all of it is kept.

The random part has 228 bits, so a fast hash suffices: there is nothing to guess. The id part
makes the look-up one select by primary key, and the prefix lets secret scanners find leaks.
"""

from __future__ import annotations

from hashlib import sha256

from suanwang.platform.entropy import secret_text

PREFIX = "suan_"
_ID_LENGTH = 18
_SECRET_LENGTH = 40
TOKEN_LENGTH = len(PREFIX) + _ID_LENGTH + 1 + _SECRET_LENGTH


def make_secret(token_id: str) -> str:
    """The secret text of a token `tok_…`."""
    return f"{PREFIX}{token_id.removeprefix('tok_')}_{secret_text(_SECRET_LENGTH)}"


def token_id_of(secret: str) -> str | None:
    """The id that the secret claims, None when it has not the form of a token."""
    if len(secret) != TOKEN_LENGTH or not secret.startswith(PREFIX) or not secret.isascii():
        return None
    part = secret[len(PREFIX) : len(PREFIX) + _ID_LENGTH]
    if secret[len(PREFIX) + _ID_LENGTH] != "_" or not part.isalnum():
        return None
    return f"tok_{part}"


def digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def hex_digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
