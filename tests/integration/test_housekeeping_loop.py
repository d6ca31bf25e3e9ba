"""The loops of a real process do collect and purge: what is old goes without anybody asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import sqlalchemy as sa

from suanwang.bootstrap import Loops, first_start, make_context
from suanwang.edge.api.routes_blobs import limits_of
from suanwang.grid.data.depot import Depot, Sender
from suanwang.grid.data.store import blob_owners, blobs
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.blobs import digest_of
from suanwang.platform.database import Tx
from suanwang.platform.settings import load_settings
from suanwang.tenancy.access_store import audit_log


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_old_blobs_and_entries_go_by_themselves(tmp_path: Path) -> None:
    settings = load_settings(
        environ={}, state=str(tmp_path), garbage_every_s=1, audit_retention_days=100
    )
    context = make_context(settings)
    await first_start(context)
    depot = Depot(context.database, context.blobs, limits_of(context))
    old, young = digest_of(b"old"), digest_of(b"young")
    for data, digest in ((b"old", old), (b"young", young)):
        await depot.put(Sender("org_1", "org_1"), digest, len(data), _pieces(data))

    def backdate(tx: Tx) -> None:
        then_ms = tx.now_ms - 200 * MS_PER_DAY
        mine = blob_owners.c.digest == old
        tx.conn.execute(sa.update(blob_owners).where(mine).values(used_at_ms=then_ms))
        tx.conn.execute(sa.update(blobs).where(blobs.c.digest == old).values(touched_at_ms=then_ms))
        entry = tx.conn.execute(sa.select(audit_log).limit(1)).one()._asdict()
        ancient = {"id": "aud_000000000000000000", "at_ms": 0}
        tx.conn.execute(sa.insert(audit_log), [entry | ancient])

    await context.database.write(backdate)
    ancient = sa.select(sa.func.count()).select_from(audit_log).where(audit_log.c.at_ms == 0)
    loops = Loops(context)
    loops.start()
    try:
        async with asyncio.timeout(60):
            while True:
                left = await context.database.read(lambda conn: conn.execute(ancient).scalar_one())
                told = context.telemetry.render().decode()
                if not left and "suanwang_collected_bytes_total 3.0" in told:
                    break
                await asyncio.sleep(0.05)
    finally:
        await loops.stop()
        await context.database.close()
    assert await context.blobs.has([old, young]) == [young]
