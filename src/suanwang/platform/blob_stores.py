"""Which blob store an address names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from suanwang.kernel.errors import PermanentError
from suanwang.platform.blobs import BlobStore
from suanwang.platform.blobs_folder import FolderBlobs
from suanwang.platform.blobs_s3 import S3Blobs


def open_blob_store(url: str) -> BlobStore:
    """By the URL's scheme: folder:///path or s3://bucket/prefix?endpoint=https://…&region=…"""
    parts = urlsplit(url)
    if parts.scheme == "folder" and parts.path:
        return FolderBlobs(Path(parts.path))
    if parts.scheme == "s3" and parts.netloc:
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return S3Blobs(
            parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=options.get("endpoint"),
            region=options.get("region"),
        )
    raise PermanentError(
        "InvalidBlobStore",
        f"{url!r} names no blob store.",
        hint="Use folder:///path or s3://bucket/prefix?endpoint=https://….",
        field="blobs",
    )
