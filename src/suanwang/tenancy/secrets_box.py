"""Secrets at rest: AES-256-GCM under a key from a file, with the key's id in front.

A sealed value is `version(1) | key id(4) | nonce(12) | ciphertext and tag`. New values use the
file's last key; older keys stay in the file until everything has been sealed again.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from suanwang.kernel.errors import InvariantViolated, PermanentError, Unavailable
from suanwang.platform.entropy import secret_bytes

_VERSION = b"\x01"
_KEY_ID = 4
_NONCE = 12


class SecretsBox:
    """`context` binds a value to its place (a job's id, say): elsewhere it does not open."""

    def __init__(self, keys: dict[bytes, bytes], current: bytes) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = current

    @classmethod
    def from_file(cls, path: Path) -> SecretsBox:
        """Read the key file; make it, readable by its owner only, when there is none."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        if path.stat().st_mode & 0o077:
            raise Unavailable(
                "KeyFileOpen",
                f"The key file {path} can be read by others.",
                hint=f"chmod 600 {path}",
            )
        keys: dict[bytes, bytes] = {}
        for line in path.read_text("ascii").splitlines():
            if line.strip():
                name, _, key = line.partition(":")
                keys[bytes.fromhex(name)] = base64.b64decode(key)
        if not keys:
            raise Unavailable(
                "KeyFileEmpty", f"The key file {path} has no key.", hint="Restore it."
            )
        return cls(keys, list(keys)[-1])

    @classmethod
    def in_memory(cls) -> SecretsBox:
        """For tests and the simulation: what it seals dies with it."""
        return cls({b"mem0": secret_bytes(32)}, b"mem0")

    def seal(self, secrets: dict[str, str], context: str = "") -> bytes:
        nonce = secret_bytes(_NONCE)
        head = _VERSION + self._current
        plain = msgspec.msgpack.encode(secrets)
        cipher = self._ciphers[self._current]
        return head + nonce + cipher.encrypt(nonce, plain, head + context.encode())

    def open(self, sealed: bytes, context: str = "") -> dict[str, str]:
        head, rest = sealed[: 1 + _KEY_ID], sealed[1 + _KEY_ID :]
        cipher = self._ciphers.get(head[1:])
        if head[:1] != _VERSION or cipher is None:
            raise Unavailable(
                "KeyMissing",
                f"The key {head[1:].hex()!r} that sealed this secret is not in the key file.",
                hint="Restore the key file from the backup that belongs to this database.",
            )
        try:
            plain = cipher.decrypt(rest[:_NONCE], rest[_NONCE:], head + context.encode())
        except (InvalidTag, ValueError) as error:
            raise SecretDamaged() from error
        return msgspec.msgpack.decode(plain, type=dict[str, str])

    def is_current(self, sealed: bytes) -> bool:
        """False when the value should be sealed again under the newest key."""
        return sealed[1 : 1 + _KEY_ID] == self._current


class SecretDamaged(PermanentError):
    """The value was altered, cut, or moved from where it was sealed for."""

    def __init__(self) -> None:
        super().__init__(
            "SecretDamaged",
            "A sealed secret does not open: it was altered or belongs elsewhere.",
            hint="Set the secret again.",
        )


def rotate(path: Path) -> SecretsBox:
    """Add a new current key to the file; values sealed under the old ones still open."""
    if not path.exists():
        raise InvariantViolated("KeyFileMissing", f"There is no key file {path}.")
    _append_key(path, 0)
    return SecretsBox.from_file(path)


def _make(path: Path) -> None:
    """A new file, whole or not there; of several processes that start together one makes it."""
    draft = path.with_name(f"{path.name}.{secret_bytes(8).hex()}")
    _append_key(draft, os.O_CREAT | os.O_EXCL)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _append_key(path: Path, flags: int) -> None:
    line = f"{secret_bytes(_KEY_ID).hex()}:{base64.b64encode(secret_bytes(32)).decode()}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | flags, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(line)
        handle.flush()
        os.fsync(handle.fileno())
