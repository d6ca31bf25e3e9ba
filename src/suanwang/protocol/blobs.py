"""What agents say of blobs. The bytes themselves go as plain HTTP bodies.

A call names its lease in the header `Suanwang-Lease`: what it may read and whose outputs it
writes follow from that.
"""

from __future__ import annotations

import msgspec

LEASE_HEADER = "suanwang-lease"


class FetchRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Ask for many small blobs in one body (see kernel.frames)."""

    digests: list[str]
    tree: str | None = None
    """The tree that has them, if they are files of one."""


class StoredReply(msgspec.Struct, frozen=True):
    """How many blobs a batch stored, or the bytes of the one that was sent."""

    stored: int


class MissingRequest(msgspec.Struct, frozen=True):
    digests: list[str]


class MissingReply(msgspec.Struct, frozen=True):
    missing: list[str]


class CopiesReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed in a site's cache; saying it twice is harmless."""

    kept: list[str] = []
    """Inputs (blobs, whole trees) that are in the cache now."""
    dropped: list[str] = []
    forget_others: bool = False
    """`kept` is the whole cache: the first report after a start."""
    transfers: list[tuple[int, int]] = []
    """(bytes, milliseconds) of what was fetched from the platform's store."""
