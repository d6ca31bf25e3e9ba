"""What nobody named for long goes, and nothing that anybody still needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.grid.data import garbage, service
from suanwang.grid.data.depot import Depot, Sender
from suanwang.grid.data.model import Limits
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import StaleWrite, Unavailable
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.blobs import digest_of
from suanwang.platform.blobs_folder import FolderBlobs
from suanwang.platform.database import Database, Tx

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
    """Seen without a word: asking `depot.missing` would make them used."""
    organisation_id = sender.organisation_id
    missing = await depot.database.read(lambda c: service.missing(c, organisation_id, digests))
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


class Interrupted:
    """The depot's database; between the collector's transactions somebody else has his turn."""

    def __init__(self, database: Database, *turns: Callable[[Database], Awaitable[object]]) -> None:
        self._database = database
        self._turns = list(turns)

    async def read(self, query: Any) -> Any:
        return await self._database.read(query)

    async def write(self, use_case: Any) -> Any:
        if self._turns:
            await self._turns.pop(0)(self._database)
        return await self._database.write(use_case)


async def collect_interrupted(
    depot: Depot, clock: ManualClock, *turns: Callable[[Database], Awaitable[object]]
) -> garbage.Collected:
    database: Any = Interrupted(depot.database, *turns)
    collector = Depot(database, depot.blobs, LIMITS)
    return await garbage.collect(collector, clock.now_ms(), lambda conn, organisation_id: [])


async def nothing(_database: Database) -> None:
    """A turn that somebody lets pass."""


def submits(*digests: str) -> Callable[[Database], Awaitable[object]]:
    """A job that names these, as `submission` does it."""

    async def turn(database: Database) -> None:
        def use_case(tx: Tx) -> list[str]:
            service.note_used(tx, "org_1", digests)
            return sorted(service.facts(tx.conn, "org_1", digests))

        assert await database.write(use_case) == sorted(digests)

    return turn


async def test_a_tree_named_while_garbage_is_collected_keeps_its_files(
    depot: Depot, clock: ManualClock
) -> None:
    tree = await put_tree(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)
    found = await collect_interrupted(depot, clock, submits(tree))
    assert found.disowned == 0
    assert await owned(depot, ONE, X, tree) == [True, True]


async def test_files_of_a_tree_wait_until_all_old_trees_are_gone(
    depot: Depot, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files went first, a batch at a time: a tree named meanwhile lay there without them."""
    monkeypatch.setattr(garbage, "BATCH", 1)
    made = [await put_tree(depot, ONE, b"x"), await put_tree(depot, ONE, b"y")]
    first, second = sorted(made)
    clock.advance(s=40 * 86_400)
    found = await collect_interrupted(depot, clock, nothing, submits(second))
    assert found.disowned == 1
    assert await owned(depot, ONE, first, second, X, Y) == [False, True, True, True]


async def test_a_blob_named_while_garbage_is_collected_stays(
    depot: Depot, clock: ManualClock
) -> None:
    await put(depot, ONE, b"x", b"y")
    clock.advance(s=40 * 86_400)
    found = await collect_interrupted(depot, clock, submits(X))
    assert found.disowned == 1
    assert await owned(depot, ONE, X, Y) == [True, False]
    assert await depot.blobs.has([X, Y]) == [X]


async def test_an_upload_that_relies_on_what_is_there_does_not_lose_it(
    depot: Depot, clock: ManualClock
) -> None:
    """The client asks what is missing, sends only that (for hours), then registers the folder."""
    await put(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)
    assert await depot.missing("org_1", [X, Y]) == [Y]
    await collect(depot, clock)
    clock.advance(s=86_400)
    await collect(depot, clock)
    await put_tree(depot, ONE, b"y")
    assert await owned(depot, ONE, X, Y) == [True, True]


async def test_what_is_sent_while_it_is_deleted_is_sent_again(
    depot: Depot, clock: ManualClock
) -> None:
    await put(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)
    refused = []

    async def sends(_database: Database) -> None:
        with pytest.raises(Unavailable) as caught:
            await put(depot, ONE, b"x")
        refused.append(caught.value.reason)

    # disown, condemn, (delete), forget: he comes before the last
    found = await collect_interrupted(depot, clock, nothing, nothing, sends)
    assert refused == ["BlobBeingDeleted"]
    assert (found.deleted, found.freed_bytes) == (1, 1)
    await put(depot, ONE, b"x")
    assert await depot.blobs.has([X]) == [X]


async def test_two_collectors_never_delete_the_same_blob(depot: Depot, clock: ManualClock) -> None:
    """What one had marked another deleted as well: the first then hit a blob sent again since."""
    await put(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)
    others = []

    async def also_collects(_database: Database) -> None:
        others.append(await collect(depot, clock))

    found = await collect_interrupted(depot, clock, nothing, nothing, also_collects)
    assert (found.deleted, others) == (1, [garbage.Collected()])


async def test_a_mark_that_a_dead_collector_left_is_taken_over(
    depot: Depot, clock: ManualClock
) -> None:
    await put(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)

    async def dies(_database: Database) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await collect_interrupted(depot, clock, nothing, nothing, dies)
    assert await collect(depot, clock) == garbage.Collected()
    clock.advance(s=601)
    assert (await collect(depot, clock)).deleted == 1


async def test_who_no_longer_leads_collects_nothing(depot: Depot, clock: ManualClock) -> None:
    await put(depot, ONE, b"x")
    clock.advance(s=40 * 86_400)

    def guard(_tx: Tx) -> None:
        raise StaleWrite("LeadershipLost", "another leads")

    with pytest.raises(StaleWrite):
        await garbage.collect(depot, clock.now_ms(), lambda conn, organisation_id: [], guard=guard)
    assert await owned(depot, ONE, X) == [True]
