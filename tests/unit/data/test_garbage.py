"""What nobody named for long goes, and nothing that anybody still needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from manual_clock import ManualClock
from suanwang.grid.data import garbage, service
from suanwang.grid.data.depot import Depot, Sender
from suanwang.grid.data.model import Limits
from suanwang.kernel import frames, trees
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.blobs import digest_of
from suanwang.platform.blobs_folder import FolderBlobs
from suanwang.platform.database import Database

LIMITS = Limits(retention_ms=30 * MS_PER_DAY)
ONE, TWO = Sender("org_1", "org_1"), Sender("org_2", "org_2")
X, Y, Z = (digest_of(text) for text in (b"x", b"y", b"z"))


@pytest.fixture
async def depot(any_database: Database, tmp_path: Path) -> AsyncIterator[Depot]:
    blobs = FolderBlobs(tmp_path / "blobs", durable=False)
    yield Depot(any_database, blobs, LIMITS)
    blobs.close()


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put(depot: Depot, sender: Sender, *contents: bytes) -> None:
    packed = frames.pack((digest_of(data), data) for data in contents)
    await depot.put_batch(sender, body(packed))


async def put_tree(depot: Depot, sender: Sender, *contents: bytes) -> str:
    tree = trees.make(
        trees.TreeFile(f"f{n}", 0o644, digest_of(data), len(data))
        for n, data in enumerate(contents)
    )
    manifest = trees.encode(tree)
    await put(depot, sender, *contents, manifest)
    await depot.register_tree(sender, digest_of(manifest))
    return digest_of(manifest)


async def collect(depot: Depot, clock: ManualClock, *named: str) -> garbage.Collected:
    return await garbage.collect(depot, clock.now_ms(), lambda conn, organisation_id: named)


async def owned(depot: Depot, sender: Sender, *digests: str) -> list[bool]:
    missing = await depot.missing(sender.organisation_id, digests)
    return [digest not in missing for digest in digests]


async def test_young_blobs_stay_and_old_ones_go(depot: Depot, clock: ManualClock) -> None:
    await put(depot, ONE, b"x")
    clock.advance(s=20 * 86_400)
    await put(depot, ONE, b"y")
    assert await collect(depot, clock) == garbage.Collected()
    clock.advance(s=11 * 86_400)
    assert (await collect(depot, clock)).disowned == 1
    assert await owned(depot, ONE, X, Y) == [False, True]
    assert await depot.blobs.has([X, Y]) == [Y]
    kept, _ = await depot.database.read(lambda conn: service.usage(conn, "org_1", LIMITS))
    assert (kept.blobs, kept.size_bytes) == (1, 1)


async def test_what_something_refers_to_stays(depot: Depot, clock: ManualClock) -> None:
    tree = await put_tree(depot, ONE, b"x", b"y")
    await put(depot, ONE, b"z")
    clock.advance(s=100 * 86_400)
    assert await collect(depot, clock, tree, Z) == garbage.Collected()
    assert await owned(depot, ONE, X, Y, Z, tree) == [True] * 4
    gone = await collect(depot, clock)
    assert (gone.disowned, gone.deleted) == (4, 4)


async def test_files_of_a_tree_in_use_stay(depot: Depot, clock: ManualClock) -> None:
    await put(depot, ONE, b"x", b"z")
    clock.advance(s=29 * 86_400)
    tree = await put_tree(depot, ONE, b"x", b"y")
    clock.advance(s=20 * 86_400)
    await collect(depot, clock)
    assert await owned(depot, ONE, X, Y, Z) == [True, True, False]
    await depot.database.write(lambda tx: service.note_used(tx, "org_1", [tree]))
    clock.advance(s=29 * 86_400)
    await collect(depot, clock)
    assert await owned(depot, ONE, X, Y, tree) == [True] * 3


async def test_a_blob_of_two_organisations_stays_for_the_other(
    depot: Depot, clock: ManualClock
) -> None:
    await put(depot, ONE, b"x")
    clock.advance(s=20 * 86_400)
    await put(depot, TWO, b"x")
    clock.advance(s=11 * 86_400)
    await collect(depot, clock)
    assert await owned(depot, ONE, X) == [False]
    assert await owned(depot, TWO, X) == [True]
    assert await depot.blobs.has([X]) == [X]


async def test_an_expired_blob_can_be_sent_again(depot: Depot, clock: ManualClock) -> None:
    await put(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)
    assert (await collect(depot, clock)).deleted == 1
    await put(depot, ONE, b"x")
    assert await owned(depot, ONE, X) == [True]
    assert await depot.blobs.has([X]) == [X]


async def test_bytes_that_nobody_claimed_go_after_a_week(depot: Depot, clock: ManualClock) -> None:
    await depot.database.write(lambda tx: service.reserve(tx, [X]))
    await depot.blobs.write(X, body(b"x"), 1)
    clock.advance(s=6 * 86_400)
    assert (await collect(depot, clock)).deleted == 0
    clock.advance(s=2 * 86_400)
    assert (await collect(depot, clock)).deleted == 1
    assert await depot.blobs.has([X]) == []


async def test_a_tree_used_while_garbage_is_collected_keeps_its_files(
    depot: Depot, clock: ManualClock
) -> None:
    tree = await put_tree(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)
    named: list[str] = []
    looks = 0

    def referenced(conn: object, organisation_id: str) -> list[str]:
        nonlocal looks
        looks += 1
        return named if looks == 1 else [tree]  # a job names it after the first look

    found = await garbage.collect(depot, clock.now_ms(), referenced)
    assert found.disowned == 0
    assert await owned(depot, ONE, X, tree) == [True, True]
