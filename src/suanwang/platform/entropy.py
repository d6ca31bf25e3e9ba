"""Unguessable values for passwords, tokens and keys; never for decisions."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz"


def secret_text(length: int = 40) -> str:
    """Letters and digits without look-alikes, 5.7 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def code_text(length: int) -> str:
    """Consonants without look-alikes (RFC 8628, section 6.1), 4.3 bits each: to be typed by hand
    in whatever case, and to spell no word."""
    return "".join(secrets.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(length))


def secret_bytes(count: int) -> bytes:
    return secrets.token_bytes(count)


def nonce_text() -> str:
    """128 bits, safe in a header."""
    return secrets.token_hex(16)
