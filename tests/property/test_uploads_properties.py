"""An upload that breaks at any bytes, any number of times, ends as the very blob."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.platform.blobs import OffsetMismatch, digest_of
from suanwang.platform.blobs_folder import FolderBlobs


async def cut_after(data: bytes, count: int, size: int) -> AsyncIterator[bytes]:
    for start in range(0, min(count, len(data)), size):
        yield data[start : min(start + size, count)]
    if count < len(data):
        raise ConnectionError("cut")


async def upload(data: bytes, cuts: list[int], restarts: list[bool], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        digest = digest_of(data)
        store = FolderBlobs(Path(folder), durable=False, threads=2)
        at = 0
        for cut, restart in zip(cuts, restarts, strict=True):
            with pytest.raises(OffsetMismatch):
                await store.append("me", digest, at + 1, cut_after(b"x", 1, 1), len(data))
            try:
                await store.append("me", digest, at, cut_after(data[at:], cut, size), len(data))
            except ConnectionError:
                pass
            at = min(len(data), at + cut)
            if restart:
                store.close()
                store = FolderBlobs(Path(folder), durable=False, threads=2)
            assert await store.offset("me", digest) == at
        rest = data[at:]
        await store.append("me", digest, at, cut_after(rest, len(rest), size), len(data))
        assert await store.finish("me", digest) == len(data)
        assert store.path_of(digest).read_bytes() == data
        left = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert left == [store.path_of(digest)]
        store.close()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.binary(min_size=1, max_size=64),
    times=st.integers(1, 40_000),
    cuts=st.lists(st.tuples(st.integers(0, 1_200_000), st.booleans()), max_size=5),
    size=st.integers(1_000, 300_000),
)
def test_any_cuts(seed: bytes, times: int, cuts: list[tuple[int, bool]], size: int) -> None:
    asyncio.run(upload(seed * times, [cut for cut, _ in cuts], [again for _, again in cuts], size))
