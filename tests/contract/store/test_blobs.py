"""Every blob store behaves alike: whole or not at all, verified, resumable, nothing left over."""

from __future__ import annotations

import asyncio
import hashlib
import random as stdlib_random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.grid.data import garbage
from suanwang.grid.data.depot import Depot, Sender
from suanwang.grid.data.model import Limits
from suanwang.kernel.errors import InvalidInput, LimitExceeded, NotFound, Unavailable
from suanwang.platform.blob_stores import open_blob_store
from suanwang.platform.blobs import (
    BlobStore,
    DigestMismatch,
    OffsetMismatch,
    digest_of,
)
from suanwang.platform.database import InlineDatabase

LIMIT = 1 << 30
MIB = 1 << 20


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    if request.param == "folder":
        found: Any = open_blob_store(f"folder://{tmp_path}")
        yield found
        found.close()
        return
    found = open_blob_store(request.getfixturevalue("s3_url"))
    yield found
    found.close()


def noise(size: int, seed: int = 1) -> bytes:
    return stdlib_random.Random(seed).randbytes(size)


async def pieces(
    data: bytes, size: int = 64 << 10, cut_at: int | None = None
) -> AsyncIterator[bytes]:
    """The data in pieces; breaks off with ConnectionError once `cut_at` bytes were given."""
    stop = len(data) if cut_at is None else cut_at
    for start in range(0, stop, size):
        yield data[start : min(stop, start + size)]
    if cut_at is not None:
        raise ConnectionError("cut")


async def read(store: BlobStore, digest: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.open_read(digest, start, end)])


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 9 * MIB + 5, 17 * MIB])
async def test_what_was_written_is_read(store: BlobStore, size: int) -> None:
    data = noise(size)
    digest = digest_of(data)
    assert await store.has([digest]) == []
    assert await store.write(digest, pieces(data), LIMIT) == size
    assert await store.has([digest]) == [digest]
    assert await store.size(digest) == size
    assert await read(store, digest) == data
    assert await store.write(digest, pieces(data), LIMIT) == size


async def test_ranges(store: BlobStore) -> None:
    data = noise(3 * MIB)
    digest = digest_of(data)
    await store.write(digest, pieces(data), LIMIT)
    for start, end in ((0, 1), (1, 2), (MIB - 1, 2 * MIB + 1), (3 * MIB - 1, None), (5, None)):
        assert await read(store, digest, start, end) == data[start:end]
    assert await read(store, digest, 7, 7) == b""


async def test_an_absent_blob_is_not_found(store: BlobStore) -> None:
    digest = digest_of(b"nowhere")
    with pytest.raises(NotFound):
        await store.size(digest)
    with pytest.raises(NotFound):
        await read(store, digest)
    await store.delete([digest])


@pytest.mark.parametrize("name", ["", "sha256:", "sha256:" + "A" * 64, "../../etc/passwd"])
async def test_names_that_are_no_digest_are_refused(store: BlobStore, name: str) -> None:
    with pytest.raises(InvalidInput):
        await store.has([name])
    with pytest.raises(InvalidInput):
        await read(store, name)
    with pytest.raises(InvalidInput):
        await store.write(name, pieces(b"x"), LIMIT)


@pytest.mark.parametrize("size", [10, 9 * MIB])
async def test_other_bytes_are_refused_and_nothing_is_left(store: BlobStore, size: int) -> None:
    digest = digest_of(noise(size, seed=1))
    with pytest.raises(DigestMismatch):
        await store.write(digest, pieces(noise(size, seed=2)), LIMIT)
    assert await store.has([digest]) == []
    await store.append("me", digest, 0, pieces(noise(size, seed=2)), LIMIT)
    with pytest.raises(DigestMismatch):
        await store.finish("me", digest)
    assert await store.has([digest]) == []
    assert await store.offset("me", digest) == 0
    assert await store.pending_bytes("me") == 0


async def test_too_much_is_refused(store: BlobStore) -> None:
    data = noise(3 * MIB)
    digest = digest_of(data)
    with pytest.raises(LimitExceeded):
        await store.write(digest, pieces(data), len(data) - 1)
    assert await store.has([digest]) == []
    assert await store.write(digest, pieces(data), len(data)) == len(data)


@pytest.mark.parametrize("cuts", [[0, 1, 5], [MIB, 10 * MIB + 3], [8 * MIB, 8 * MIB, 20 * MIB]])
async def test_an_upload_goes_on_after_each_cut(store: BlobStore, cuts: list[int]) -> None:
    data = noise(21 * MIB)
    digest = digest_of(data)
    for cut in cuts:
        at = await store.offset("me", digest)
        with pytest.raises(ConnectionError):
            await store.append("me", digest, at, pieces(data[at:], cut_at=cut - at), LIMIT)
        assert await store.offset("me", digest) == cut
        assert await store.pending_bytes("me") == cut
        assert await store.has([digest]) == []
    at = await store.offset("me", digest)
    assert await store.append("me", digest, at, pieces(data[at:]), LIMIT) == len(data)
    assert await store.has([digest]) == []
    assert await store.finish("me", digest) == len(data)
    assert await read(store, digest) == data
    assert await store.pending_bytes("me") == 0


async def test_the_wrong_offset_is_refused_with_the_right_one(store: BlobStore) -> None:
    data = noise(MIB)
    digest = digest_of(data)
    await store.append("me", digest, 0, pieces(data[:1_000]), LIMIT)
    for wrong in (0, 999, 1_001):
        with pytest.raises(OffsetMismatch) as refusal:
            await store.append("me", digest, wrong, pieces(data[wrong:]), LIMIT)
        assert refusal.value.offset == 1_000


async def test_uploads_of_others_are_not_touched(store: BlobStore) -> None:
    data = noise(MIB)
    digest = digest_of(data)
    await store.append("they", digest, 0, pieces(noise(1_000, seed=9)), LIMIT)
    assert await store.offset("we", digest) == 0
    await store.append("we", digest, 0, pieces(data), LIMIT)
    assert await store.finish("we", digest) == len(data)
    await store.abandon("they", digest)
    assert await store.offset("they", digest) == 0
    assert await read(store, digest) == data


async def test_two_calls_do_not_add_to_one_upload(store: BlobStore) -> None:
    data = noise(MIB)
    digest = digest_of(data)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield data[:10]
        begun.set()
        await go_on.wait()
        yield data[10:]

    first = asyncio.create_task(store.append("me", digest, 0, slowly(), LIMIT))
    await begun.wait()
    with pytest.raises((Unavailable, OffsetMismatch)):
        await store.append("me", digest, 0, pieces(data), LIMIT)
    go_on.set()
    assert await first == len(data)
    assert await store.finish("me", digest) == len(data)


async def test_the_same_blob_from_many_at_once(store: BlobStore) -> None:
    data = noise(9 * MIB)
    digest = digest_of(data)
    whole = [store.write(digest, pieces(data), LIMIT) for _ in range(4)]
    assert await asyncio.gather(*whole) == [len(data)] * 4
    assert await read(store, digest) == data


async def test_many_small_blobs(store: BlobStore) -> None:
    blobs = [(digest_of(str(n).encode()), str(n).encode()) for n in range(100)]
    await store.write_small(blobs)
    assert await store.has([digest for digest, _ in blobs]) == [digest for digest, _ in blobs]
    assert await store.read_small([blobs[7][0], blobs[3][0]]) == [b"7", b"3"]
    with pytest.raises(NotFound):
        await store.read_small([blobs[7][0], digest_of(b"absent")])
    bad = [(digest_of(b"good"), b"good"), (digest_of(b"bad"), b"other")]
    with pytest.raises(DigestMismatch):
        await store.write_small(bad)
    assert await store.has([digest for digest, _ in bad]) == []


async def test_deleted_blobs_are_gone_and_may_come_again(store: BlobStore) -> None:
    digest = digest_of(b"content")
    await store.write(digest, pieces(b"content"), LIMIT)
    await store.delete([digest, digest_of(b"never")])
    assert await store.has([digest]) == []
    await store.write(digest, pieces(b"content"), LIMIT)
    assert await read(store, digest) == b"content"


async def test_old_uploads_expire(store: BlobStore) -> None:
    digest = digest_of(b"content")
    await store.append("me", digest, 0, pieces(b"cont"), LIMIT)
    assert await store.expire_uploads(0) == 0
    assert await store.offset("me", digest) == 4
    assert await store.expire_uploads(1 << 50) == 1
    assert await store.offset("me", digest) == 0


async def test_an_empty_upload_is_a_blob(store: BlobStore) -> None:
    digest = f"sha256:{hashlib.sha256().hexdigest()}"
    await store.append("me", digest, 0, pieces(b""), 0)
    assert await store.finish("me", digest) == 0
    assert await read(store, digest) == b""


def test_a_url_that_names_no_store_is_refused() -> None:
    for url in ("", "folder:", "ftp://x", "s3:///x"):
        with pytest.raises(Exception, match="names no blob store"):
            open_blob_store(url)


async def test_deleting_tells_the_bytes_that_it_freed(store: BlobStore) -> None:
    datas = [noise(size, seed=size) for size in (1, 1_000, 9 * MIB + 5)]
    digests = [digest_of(data) for data in datas]
    for digest, data in zip(digests, datas, strict=True):
        await store.write(digest, pieces(data), LIMIT)
    absent = digest_of(b"never sent")
    assert await store.delete([*digests[1:], absent]) == 1_000 + 9 * MIB + 5
    assert await store.has(digests) == digests[:1]
    assert await store.delete(digests) == 1


async def test_garbage_goes_from_every_store(
    store: BlobStore, inline_database: InlineDatabase, clock: ManualClock
) -> None:
    sender = Sender("org_1", "org_1")
    depot = Depot(inline_database, store, Limits())
    old, named = noise(70_000, seed=1), noise(60_000, seed=2)
    for data in (old, named):
        await depot.put(sender, digest_of(data), len(data), pieces(data))
    clock.advance(s=40 * 86_400)
    young = noise(50_000, seed=3)
    await depot.put(sender, digest_of(young), len(young), pieces(young))
    found = await garbage.collect(
        depot, clock.now_ms(), lambda conn, organisation_id: [digest_of(named)]
    )
    assert (found.disowned, found.deleted, found.freed_bytes) == (1, 1, 70_000)
    digests = [digest_of(data) for data in (old, named, young)]
    assert await store.has(digests) == digests[1:]
