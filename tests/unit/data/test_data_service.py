"""Ownership, trees, copies at sites, links: on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from suanwang.grid.data import service
from suanwang.grid.data.model import GIB, BlobKind, Limits
from suanwang.kernel import trees
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound, Unavailable
from suanwang.platform.blobs import digest_of
from suanwang.platform.database import Database, Tx

LIMITS = Limits(organisation_bytes=1_000)
A, B, C = (digest_of(text) for text in (b"a", b"b", b"c"))


@dataclass(frozen=True)
class At:
    site_id: str
    latitude: float = 0.0
    longitude: float = 0.0


ZHENGZHOU = At("site_z", 34.75, 113.62)
BEIJING = At("site_b", 39.90, 116.40)
NOWHERE = At("site_n")


async def claim(database: Database, organisation_id: str, sizes: dict[str, int]) -> None:
    def use_case(tx: Tx) -> None:
        service.reserve(tx, sizes)
        service.claim(tx, organisation_id, sizes, LIMITS)

    await database.write(use_case)


async def test_a_blob_is_seen_by_its_owners_only(any_database: Database) -> None:
    await claim(any_database, "org_1", {A: 5, B: 6})
    await claim(any_database, "org_2", {B: 6})
    ones = await any_database.read(lambda conn: service.facts(conn, "org_1", [A, B, C]))
    twos = await any_database.read(lambda conn: service.facts(conn, "org_2", [A, B, C]))
    assert sorted(ones) == sorted([A, B])
    assert sorted(twos) == [B]
    assert ones[A].total_bytes == 5
    missing = await any_database.read(lambda conn: service.missing(conn, "org_2", [C, A, B, C]))
    assert missing == [C, A]
    with pytest.raises(NotFound):
        await any_database.read(lambda conn: service.require_owned(conn, "org_2", A))


async def test_claiming_again_counts_once(any_database: Database) -> None:
    for _ in range(3):
        await claim(any_database, "org_1", {A: 400, B: 100})
    kept, quota = await any_database.read(lambda conn: service.usage(conn, "org_1", LIMITS))
    assert (kept.blobs, kept.size_bytes, quota) == (2, 500, 1_000)


async def test_the_quota_holds_and_may_be_its_own(any_database: Database) -> None:
    await claim(any_database, "org_1", {A: 900})
    with pytest.raises(LimitExceeded):
        await claim(any_database, "org_1", {A: 900, B: 101})
    assert B not in await any_database.read(lambda conn: service.facts(conn, "org_1", [B]))
    await any_database.write(lambda tx: service.set_quota(tx, "org_1", 2_000))
    await claim(any_database, "org_1", {B: 101})
    await claim(any_database, "org_2", {B: 101})


async def test_a_tree_needs_all_of_its_files_from_its_own_organisation(
    any_database: Database,
) -> None:
    tree = trees.make([trees.TreeFile("x", 0o644, A, 5), trees.TreeFile("y", 0o644, B, 6)])
    digest = trees.digest_of(trees.encode(tree))
    await claim(any_database, "org_2", {A: 5, B: 6})
    with pytest.raises(NotFound):
        await any_database.write(lambda tx: service.register_tree(tx, "org_1", digest, tree))
    await claim(any_database, "org_1", {digest: 300, A: 5})
    with pytest.raises(Conflict) as refusal:
        await any_database.write(lambda tx: service.register_tree(tx, "org_1", digest, tree))
    assert refusal.value.reason == "TreeIncomplete"
    await claim(any_database, "org_1", {B: 6})
    fact = await any_database.write(lambda tx: service.register_tree(tx, "org_1", digest, tree))
    assert (fact.kind, fact.size_bytes, fact.total_bytes) == (BlobKind.TREE, 300, 11)


async def test_a_tree_that_lies_about_sizes_is_refused(any_database: Database) -> None:
    tree = trees.make([trees.TreeFile("x", 0o644, A, 4)])
    digest = trees.digest_of(trees.encode(tree))
    await claim(any_database, "org_1", {digest: 300, A: 5})
    with pytest.raises(InvalidInput):
        await any_database.write(lambda tx: service.register_tree(tx, "org_1", digest, tree))


async def test_copies_at_sites_are_told_with_the_facts(any_database: Database) -> None:
    await claim(any_database, "org_1", {A: 5})
    for site in ("site_2", "site_1", "site_2"):
        await any_database.write(lambda tx, site=site: service.note_at_site(tx, site, [A, B]))  # type: ignore[misc]
    found = await any_database.read(lambda conn: service.facts(conn, "org_1", [A, B]))
    assert found[A].at_sites == ("site_1", "site_2")
    assert B not in found
    await any_database.write(lambda tx: service.drop_at_site(tx, "site_1", [A]))
    await any_database.write(lambda tx: service.drop_at_site(tx, "site_2"))
    found = await any_database.read(lambda conn: service.facts(conn, "org_1", [A]))
    assert found[A].at_sites == ()


async def test_links_are_stated_measured_or_by_distance(any_database: Database) -> None:
    places = [ZHENGZHOU, BEIJING, NOWHERE]

    async def links() -> dict[tuple[str, str], tuple[int, int, str]]:
        found = await any_database.read(lambda conn: service.links(conn, places))
        return {
            (link.from_site, link.to_site): (link.micro_yuan_per_gib, link.ms_per_gib, link.source)
            for link in found
        }

    assert await links() == {}
    await any_database.write(lambda tx: service.note_at_site(tx, "site_z", [A]))
    by_distance = await links()
    assert list(by_distance) == [("site_z", "site_b")]
    assert by_distance[("site_z", "site_b")][2] == "distance"
    await any_database.write(lambda tx: service.note_transfer(tx, "site_b", GIB, 99_000))
    assert (await links())[("site_z", "site_b")][1:] == (99_000, "measured")
    await any_database.write(lambda tx: service.set_link(tx, "site_z", "site_b", 7, 8))
    await any_database.write(lambda tx: service.set_link(tx, "site_b", "site_n", 9, 10))
    stated = await links()
    assert stated[("site_z", "site_b")] == (7, 8, "operator")
    assert stated[("site_b", "site_n")] == (9, 10, "operator")
    await any_database.write(lambda tx: service.clear_link(tx, "site_z", "site_b"))
    assert (await links())[("site_z", "site_b")][2] == "measured"
    assert len(await any_database.read(service.stated_links)) == 2


async def test_a_blob_that_is_being_deleted_is_not_taken(any_database: Database) -> None:
    from suanwang.grid.data import store

    await any_database.write(lambda tx: service.reserve(tx, [A]))
    now = 1 << 50
    marked = await any_database.write(lambda tx: store.condemn(tx.conn, now, tx.now_ms, 10))
    assert marked == [A]
    with pytest.raises(Unavailable) as refusal:
        await any_database.write(lambda tx: service.reserve(tx, [B, A]))
    assert refusal.value.reason == "BlobBeingDeleted"
    await any_database.write(lambda tx: store.forget_blobs(tx.conn, [A]))
    await any_database.write(lambda tx: service.reserve(tx, [A]))
