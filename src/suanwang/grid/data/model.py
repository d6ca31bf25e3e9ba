"""The words of data: who may see which blob, where copies lie, what a link costs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suanwang.kernel.time import MS_PER_DAY

GIB = 1 << 30
STORE = ""
"""The platform's own blob store, as the end of a link."""


class BlobKind(StrEnum):
    BLOB = "blob"
    TREE = "tree"
    """A manifest that was registered: all of its files are the organisation's too."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What planning must know of a blob. `total_bytes` of a tree counts its files."""

    kind: BlobKind
    size_bytes: int
    total_bytes: int
    at_sites: tuple[str, ...]
    """Sites that keep a copy, sorted."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an organisation keeps. Every blob counts once, however many trees name it."""

    blobs: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """Cost of moving data from one site to another."""

    from_site: str
    to_site: str
    micro_yuan_per_gib: int
    ms_per_gib: int
    source: str = "distance"
    """operator, measured or distance."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Set by the operator."""

    blob_bytes: int = 64 * GIB
    organisation_bytes: int = 1024 * GIB
    """Kept blobs and unfinished uploads together; an organisation may have its own figure."""
    retention_ms: int = 30 * MS_PER_DAY
    """A blob that nothing named for so long is dropped."""
    upload_lifetime_ms: int = 2 * MS_PER_DAY
    """An unfinished upload that got nothing for so long is dropped."""
