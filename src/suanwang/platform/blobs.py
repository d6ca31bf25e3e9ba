"""The port of the blob store: content under the digest of its bytes, in a folder or in S3.

A blob appears whole or not at all. Bytes are hashed as they arrive and never read back for it;
what has arrived of an upload is kept under the uploader's own scope, so that nobody can put bytes
into somebody else's upload, and is resumed at the offset that the store names.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import Protocol

from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound

CHUNK_BYTES = 1 << 20
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class DigestMismatch(InvalidInput):
    """The bytes are not what the digest says; nothing of them was kept."""


class OffsetMismatch(Conflict):
    """The store has another number of bytes of this upload; `offset` says how many."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            "OffsetMismatch",
            f"The store has {offset} bytes of this upload.",
            hint="Go on from the Upload-Offset of this answer.",
        )
        self.offset = offset


class BlobStore(Protocol):
    """Where the bytes are. Every method may raise Unavailable (DiskFull, BlobStoreUnavailable)."""

    async def has(self, digests: Sequence[str]) -> list[str]:
        """Those of the digests that are present, in the order given."""
        ...

    async def size(self, digest: str) -> int:
        """Bytes; NotFound if absent."""
        ...

    def open_read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes [start, end) in pieces; NotFound, at the first piece, if absent."""
        ...

    async def read_small(self, digests: Sequence[str]) -> list[bytes]:
        """Small blobs, whole, in the order given; NotFound if one is absent."""
        ...

    async def write(self, digest: str, pieces: AsyncIterator[bytes], limit: int) -> int:
        """Take a whole blob; returns its size. LimitExceeded past `limit`, DigestMismatch."""
        ...

    async def write_small(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        """Take many small blobs, all verified before the first is kept."""
        ...

    async def offset(self, scope: str, digest: str) -> int:
        """How many bytes of the scope's upload are kept; 0 if there is none."""
        ...

    async def append(
        self, scope: str, digest: str, offset: int, pieces: AsyncIterator[bytes], limit: int
    ) -> int:
        """Add bytes at `offset`; returns the new offset, kept even if `pieces` breaks off.

        OffsetMismatch if the store stands elsewhere; Unavailable (UploadBusy) while another
        call adds to the same upload.
        """
        ...

    async def finish(self, scope: str, digest: str) -> int:
        """Verify and publish an upload; returns its size. DigestMismatch ends the upload."""
        ...

    async def abandon(self, scope: str, digest: str) -> None:
        """Drop what is kept of an upload, if anything."""
        ...

    async def pending_bytes(self, scope: str) -> int:
        """Bytes kept in the scope's unfinished uploads."""
        ...

    async def delete(self, digests: Sequence[str]) -> int:
        """Remove blobs; absent ones are no error. The bytes that this freed."""
        ...

    async def expire_uploads(self, before_ms: int) -> int:
        """Drop uploads that got nothing since then; returns how many."""
        ...

    def close(self) -> None:
        """End what it holds; what was stored stays."""
        ...


async def all_ended(works: Iterable[Awaitable[object]]) -> None:
    """Run them all to their end, then raise the first failure: nothing goes on unseen."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(digest: str) -> str:
    """The hexadecimal part."""
    if not DIGEST.fullmatch(digest):
        raise InvalidInput(
            "InvalidDigest",
            f"{digest[:80]!r} is not a blob digest.",
            hint="A digest is sha256: and 64 hexadecimal digits in lower case.",
            field="digest",
        )
    return digest[7:]


def mismatch(digest: str, got_hex: str) -> DigestMismatch:
    return DigestMismatch(
        "DigestMismatch",
        f"The bytes have the digest sha256:{got_hex}, not {digest}.",
        hint="The content changed or was damaged on its way; nothing was kept. Send it again.",
        field="digest",
    )


def too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(
        "BlobTooLarge",
        f"A blob may have at most {limit:,} bytes here.",
        hint="Split the file, or ask the operator to raise the limit.",
    )


def absent(digest: str) -> NotFound:
    return NotFound("BlobNotFound", f"There is no blob {digest}.", hint="Upload it first.")
