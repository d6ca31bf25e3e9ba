"""Many small blobs in one body: for each 32 bytes of SHA-256, 8 of length (big-endian), content.

Ten thousand files of ten kilobytes would otherwise be ten thousand round trips. Pure.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from suanwang.kernel.errors import InvalidInput

HEAD = struct.Struct(">32sQ")
MAX_BODY_BYTES = 8 << 20
SMALL_BYTES = 256 << 10
"""Files up to this size travel in frames."""


def head(digest: str, size: int) -> bytes:
    """What goes before a blob's content."""
    return HEAD.pack(bytes.fromhex(digest[7:]), size)


def pack(blobs: Iterable[tuple[str, bytes]]) -> bytes:
    return b"".join(part for digest, data in blobs for part in (head(digest, len(data)), data))


class FrameReader:
    """Takes a body in pieces, gives blobs whose digest was verified."""

    def __init__(self, limit: int = MAX_BODY_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[str, bytes]]:
        """Raises InvalidInput: FrameTooLarge, DigestMismatch."""
        self._buffer += piece
        at = 0
        while len(self._buffer) - at >= HEAD.size:
            raw, size = HEAD.unpack_from(self._buffer, at)
            if size > self._limit:
                raise InvalidInput(
                    "FrameTooLarge",
                    f"A blob of {size:,} bytes does not travel in a batch.",
                    hint="Send it by itself: PUT /v1/blobs/{digest}.",
                )
            if len(self._buffer) - at - HEAD.size < size:
                break
            data = bytes(self._buffer[at + HEAD.size : at + HEAD.size + size])
            if hashlib.sha256(data).digest() != raw:
                raise InvalidInput(
                    "DigestMismatch",
                    f"A blob of the batch is not what sha256:{raw.hex()} says.",
                    hint="The content changed or was damaged on its way; send it again.",
                    field="digest",
                )
            at += HEAD.size + size
            yield f"sha256:{raw.hex()}", data
        del self._buffer[:at]

    def close(self) -> None:
        """Raises InvalidInput (BatchTruncated) if a blob broke off."""
        if self._buffer:
            raise InvalidInput(
                "BatchTruncated", "The batch ends within a blob.", hint="Send it again."
            )


def unpack(body: bytes) -> list[tuple[str, bytes]]:
    reader = FrameReader()
    found = list(reader.feed(body))
    reader.close()
    return found
