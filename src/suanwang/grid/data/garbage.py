"""What nobody named for long goes: first from organisations, then, owned by nobody, from disk.

A blob is live if it was used lately, if something still refers to it (`referenced`), or if it is
in a live tree. Run by one process at a time; stopping anywhere is safe, the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.grid.data import store
from suanwang.grid.data.depot import Depot
from suanwang.kernel.errors import NotFound
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx

UNOWNED_MS = 7 * MS_PER_DAY
"""Longer than any upload takes between `reserve` and `claim`."""
BATCH = 2_000

Referenced = Callable[[Connection, str], Collection[str]]
"""Digests (blobs, trees) that things of an organisation still refer to, whatever their age."""


@dataclass(frozen=True, slots=True)
class Collected:
    """How many blobs organisations lost, how many were deleted, how many uploads were dropped."""

    disowned: int = 0
    deleted: int = 0
    uploads: int = 0


async def collect(depot: Depot, now_ms: int, referenced: Referenced) -> Collected:
    """One run over everything."""
    cutoff_ms = now_ms - max(depot.limits.retention_ms, 2 * MS_PER_DAY)
    organisations = await depot.database.read(
        lambda conn: store.organisations_with_unused(conn, cutoff_ms)
    )
    disowned = 0
    for organisation_id in organisations:
        disowned += await _disown(depot, organisation_id, cutoff_ms, referenced)
    deleted = await _delete(depot, now_ms - UNOWNED_MS)
    uploads = await depot.blobs.expire_uploads(now_ms - depot.limits.upload_lifetime_ms)
    return Collected(disowned, deleted, uploads)


def _live_trees(
    conn: Connection, organisation_id: str, cutoff_ms: int, referenced: Referenced
) -> tuple[set[str], set[str]]:
    """Trees in use, and everything that is referred to."""
    named = set(referenced(conn, organisation_id))
    trees = store.trees_of(conn, organisation_id)
    live = {digest for digest, used_ms in trees.items() if used_ms >= cutoff_ms or digest in named}
    return live, named


async def _disown(
    depot: Depot, organisation_id: str, cutoff_ms: int, referenced: Referenced
) -> int:
    trees, live = await depot.database.read(
        lambda conn: _live_trees(conn, organisation_id, cutoff_ms, referenced)
    )
    live |= trees
    for tree in sorted(trees):
        try:
            live |= await depot.files_of(tree)
        except NotFound:
            continue  # lost from the store; nothing of it can be told
    candidates = await depot.database.read(
        lambda conn: store.unused(conn, organisation_id, cutoff_ms)
    )
    doomed = [digest for digest in candidates if digest not in live]
    count = 0
    for start in range(0, len(doomed), BATCH):
        part = doomed[start : start + BATCH]

        def drop(tx: Tx, part: list[str] = part) -> int:
            now_live, named = _live_trees(tx.conn, organisation_id, cutoff_ms, referenced)
            if not now_live <= trees:
                return 0  # a tree came back to life meanwhile; its files are not known here
            return store.disown(
                tx.conn, organisation_id, [d for d in part if d not in named], cutoff_ms
            )

        count += await depot.database.write(drop)
    return count


async def _delete(depot: Depot, before_ms: int) -> int:
    """Mark, delete, forget: an upload of a marked blob waits until it is forgotten."""
    deleted = 0
    while True:
        marked = await depot.database.write(
            lambda tx: store.condemn(tx.conn, before_ms, tx.now_ms, BATCH)
        )
        if not marked:
            return deleted
        await depot.blobs.delete(marked)
        await depot.database.write(lambda tx, gone=marked: store.forget_blobs(tx.conn, gone))  # type: ignore[misc]
        deleted += len(marked)
