"""What nobody named for long goes: first from organisations, then, owned by nobody, from disk.

A blob is live if it was used lately, if something still refers to it (`referenced`), or if it is
in a live tree. Who is about to name a blob makes it used before (`service.note_used`, `claim`,
`register_tree`), in a transaction that finds it gone or keeps it: so the first look at what is
referred to is enough, and after it only the instants of use are compared. Trees go before their
files: a tree that comes back to life meanwhile finds them all.

Run by one process at a time; stopping anywhere is safe, the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.grid.data import store
from suanwang.grid.data.depot import Depot
from suanwang.kernel.errors import NotFound
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx

UNOWNED_MS = 7 * MS_PER_DAY
"""Longer than any upload takes between `reserve` and `claim`."""
LEAST_RETENTION_MS = 2 * MS_PER_DAY
"""Instants of use are kept to the day: less would drop what was used yesterday."""
BATCH = 2_000

Referenced = Callable[[Connection, str], Collection[str]]
"""Digests (blobs, trees) that things of an organisation still refer to, whatever their age."""


Guard = Callable[[Tx], None]
"""Raises where another process has come to lead."""


@dataclass(frozen=True, slots=True)
class Collected:
    """Blobs that organisations lost, that were deleted, their bytes, uploads that were dropped."""

    disowned: int = 0
    deleted: int = 0
    freed_bytes: int = 0
    uploads: int = 0


async def collect(
    depot: Depot, now_ms: int, referenced: Referenced, *, guard: Guard = lambda _tx: None
) -> Collected:
    """One run over everything."""
    cutoff_ms = now_ms - max(depot.limits.retention_ms, LEAST_RETENTION_MS)
    organisations = await depot.database.read(
        lambda conn: store.organisations_with_unused(conn, cutoff_ms)
    )
    disowned = 0
    for organisation_id in organisations:
        disowned += await _Unused(depot, organisation_id, cutoff_ms, guard).disown(referenced)
    deleted, freed = await _delete(depot, now_ms - UNOWNED_MS, guard)
    uploads = await depot.blobs.expire_uploads(now_ms - depot.limits.upload_lifetime_ms)
    return Collected(disowned, deleted, freed, uploads)


class _Unused:
    """What one organisation has not used since the cut-off."""

    def __init__(self, depot: Depot, organisation_id: str, cutoff_ms: int, guard: Guard) -> None:
        self._depot = depot
        self._organisation_id = organisation_id
        self._cutoff_ms = cutoff_ms
        self._guard = guard

    async def disown(self, referenced: Referenced) -> int:
        """How many the organisation lost."""
        candidates, trees, named = await self._depot.database.read(
            lambda conn: (
                store.unused(conn, self._organisation_id, self._cutoff_ms),
                store.trees_of(conn, self._organisation_id),
                set(referenced(conn, self._organisation_id)),
            )
        )
        live_trees = {d for d, used in trees.items() if used >= self._cutoff_ms or d in named}
        live = named | live_trees
        for tree in sorted(live_trees):
            try:
                live |= await self._depot.files_of(tree)
            except NotFound:
                continue  # lost from the store; nothing of it can be told
        doomed = [digest for digest in candidates if digest not in live]
        doomed_trees = [digest for digest in doomed if digest in trees]
        count = await self._drop(doomed_trees)
        if count < len(doomed_trees):
            return count  # one came back to life meanwhile; its files are not known here
        return count + await self._drop([digest for digest in doomed if digest not in trees])

    async def _drop(self, doomed: Sequence[str]) -> int:
        """Those that are still unused, a batch for each transaction."""
        count = 0
        for start in range(0, len(doomed), BATCH):
            part = doomed[start : start + BATCH]

            def drop(tx: Tx, part: Sequence[str] = part) -> int:
                self._guard(tx)
                return store.disown(tx.conn, self._organisation_id, part, self._cutoff_ms)

            count += await self._depot.database.write(drop)
        return count


async def _delete(depot: Depot, before_ms: int, guard: Guard) -> tuple[int, int]:
    """Mark, delete, forget: an upload of a marked blob waits until it is forgotten.

    How many went, and their bytes.
    """
    deleted = freed = 0

    def condemn(tx: Tx) -> list[str]:
        guard(tx)
        return store.condemn(tx.conn, before_ms, tx.now_ms, BATCH)

    while True:
        marked = await depot.database.write(condemn)
        if not marked:
            return deleted, freed
        freed += await depot.blobs.delete(marked)
        await depot.database.write(lambda tx, gone=marked: store.forget_blobs(tx.conn, gone))  # type: ignore[misc]
        deleted += len(marked)
