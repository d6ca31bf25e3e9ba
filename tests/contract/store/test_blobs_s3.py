"""What only an object store can get wrong: connections."""

from __future__ import annotations

import logging

import pytest

from suanwang.platform.blob_stores import open_blob_store
from suanwang.platform.blobs import digest_of


async def test_many_small_blobs_are_read_over_few_connections(
    s3_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 says so when it has to open more than its pool holds."""
    store = open_blob_store(s3_url)
    blobs = [(digest_of(data), data) for data in (b"%d" % n for n in range(60))]
    with caplog.at_level(logging.WARNING, "urllib3"):
        await store.write_small(blobs)
        assert await store.read_small([digest for digest, _ in blobs]) == [d for _, d in blobs]
    store.close()
    assert "pool is full" not in caplog.text
