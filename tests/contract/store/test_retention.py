"""What is old goes in batches; charges, the books and what still runs stay."""

from __future__ import annotations

import random as stdlib_random
from typing import Any

import pytest
import sqlalchemy as sa

from jobs_world import Grid, ended, pool, running, spec, wanted
from manual_clock import ManualClock
from suanwang.grid.jobs import leases_store, reading, retention, store
from suanwang.grid.jobs.model import TaskState
from suanwang.grid.jobs.retention import Retention
from suanwang.grid.jobs.tables import jobs, leases, log_chunks, tasks
from suanwang.kernel.errors import NotFound
from suanwang.platform.database import Database, Tx
from suanwang.tenancy import audit
from suanwang.tenancy.access_store import audit_log
from suanwang.tenancy.model import system_principal
from suanwang.trade.billing import reports

DAY_S = 86_400


@pytest.fixture
async def grid(any_database: Any, clock: ManualClock) -> Grid:
    return await Grid(any_database, clock, dice=stdlib_random.Random(3)).found()


async def ran(grid: Grid, site: Any, output: bytes = b"", **fields: Any) -> str:
    """A job that has run and ended, with output."""
    [job] = await grid.submit(spec(**fields))
    await site.reconcile()
    await grid.dispatcher.round()
    orders = wanted(await site.poll())
    await site.poll([running(order) for order in orders])
    for order in orders:
        await log(grid, order.lease_id, output)
    grid_clock: Any = grid.clock
    grid_clock.advance(s=60)
    await site.poll([ended(order) for order in orders])
    await grid.deliver()
    assert (await grid.job(job)).state is TaskState.SUCCEEDED
    return job


async def log(grid: Grid, lease_id: str, output: bytes) -> None:
    def append(tx: Tx) -> None:
        for offset in range(0, len(output), 10):
            piece = output[offset : offset + 10]
            leases_store.append_log(tx, lease_id, "stdout", offset, piece)

    await grid.database.write(append)


async def count(database: Database, table: sa.Table) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return await database.read(lambda conn: int(conn.execute(query).scalar_one()))


async def purge(grid: Grid, kept: Retention) -> int:
    """In how many batches."""
    batches = 1
    while await grid.database.write(lambda tx: retention.purge(tx, kept)):
        batches += 1
    return batches


async def test_output_goes_after_its_days_and_younger_stays(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site()
    old = await ran(grid, site, b"old" * 20)
    clock.advance(s=DAY_S)
    young = await ran(grid, site, b"young" * 20)
    clock.advance(s=90 * DAY_S)
    await purge(grid, Retention())
    ids = {job: (await grid.tasks(job))[0][1][-1].lease_id for job in (old, young)}
    read = {
        job: await grid.database.read(lambda c, i=i: reading.output(c, i, "stdout", 0, 1_000))  # type: ignore[misc]
        for job, i in ids.items()
    }
    assert read[old] == (b"", 0)
    assert read[young] == (b"young" * 20, 100)
    before_ms = clock.now_ms() - 90 * DAY_S * 1_000
    with pytest.raises(NotFound, match="no longer kept"):
        await grid.database.read(lambda c: reading.check_output_kept(c, ids[old], before_ms))
    await grid.database.read(lambda c: reading.check_output_kept(c, ids[young], before_ms))


async def test_details_of_an_ended_job_go_and_its_charges_stay(
    grid: Grid, clock: ManualClock
) -> None:
    site = await grid.site()
    job = await ran(grid, site, b"words", array=3)
    spent = await grid.balance()
    clock.advance(s=401 * DAY_S)
    await purge(grid, Retention())
    shown = await grid.job(job)
    assert (shown.state, shown.succeeded, shown.name) == (TaskState.SUCCEEDED, 3, "job")
    assert shown.purged_at_ms == clock.now_ms()
    assert await grid.tasks(job) == []
    for table in (tasks, leases, log_chunks):
        assert await count(grid.database, table) == 0
    assert await grid.database.read(lambda c: reading.job_spec(c, job)) == {}
    with pytest.raises(NotFound) as caught:
        await grid.database.read(lambda c: reading.output_part(c, job, 0, None, "stdout", 0, 1))
    assert caught.value.reason == "JobDetailsExpired"
    assert await grid.balance() == spent
    assert spent[0] < 0
    assert await grid.database.read(reports.verify) == []
    assert await purge(grid, Retention()) == 1  # once is enough


async def test_what_has_not_ended_stays_however_old(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site()
    [going] = await grid.submit(
        spec(max_runtime=360 * DAY_S, partition={"stop_on_client_after": None})
    )
    await grid.dispatcher.round()
    [order] = wanted(await site.poll())
    await site.poll([running(order)])
    await log(grid, order.lease_id, b"still here")
    [waiting] = await grid.submit(spec(resources={"cpus": 400}, on_impossible="wait"))
    clock.advance(s=350 * DAY_S)
    await purge(grid, Retention(output_days=10, job_days=20))
    assert len(await grid.tasks(going)) == len(await grid.tasks(waiting)) == 1
    assert await count(grid.database, log_chunks) == 1
    await site.reconcile([running(order)])
    await site.poll([ended(order, seconds=350 * DAY_S)])
    assert (await grid.job(going)).state is TaskState.SUCCEEDED


async def test_large_jobs_and_outputs_go_in_portions(
    grid: Grid, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    monkeypatch.setattr(retention, "BYTES_AT_ONCE", 25)
    site = await grid.site(pools=[pool(nodes=4, cpus=8)])
    job = await ran(grid, site, b"0123456789" * 7, array=10)
    clock.advance(s=401 * DAY_S)
    batches = await purge(grid, Retention(output_days=0))
    assert batches > 10 * 7 // 4
    for table in (tasks, leases, log_chunks):
        assert await count(grid.database, table) == 0
    assert (await grid.job(job)).purged_at_ms is not None


async def test_many_small_jobs_go_together(grid: Grid, clock: ManualClock) -> None:
    await grid.site()
    made = await grid.submit(*[spec() for _ in range(30)])
    for job in made:
        await grid.cancel(job)
    clock.advance(s=401 * DAY_S)
    assert await purge(grid, Retention()) == 1
    kept = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.purged_at_ms.is_(None))
    assert await grid.database.read(lambda c: c.execute(kept).scalar_one()) == 0
    assert await count(grid.database, jobs) == 30


async def test_no_days_keep_for_ever(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site()
    job = await ran(grid, site, b"words")
    clock.advance(s=9_000 * DAY_S)
    assert await purge(grid, Retention(0, 0)) == 1
    assert (await grid.job(job)).purged_at_ms is None
    assert await count(grid.database, log_chunks) == 1


async def test_blobs_of_a_purged_job_are_named_no_more(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site()
    await ran(grid, site)
    organisation_id = grid.owner.organisation_id
    assert await grid.database.read(lambda c: reading.referenced(c, organisation_id)) == set()
    clock.advance(s=401 * DAY_S)
    await purge(grid, Retention())
    assert await grid.database.read(lambda c: store.named_digests(c, organisation_id)) == set()


async def test_the_audit_log_goes_by_age(grid: Grid, clock: ManualClock) -> None:
    def write(action: str) -> Any:
        return lambda tx: audit.audit(
            tx, system_principal(), action, "job", "job_1", organisation_id="org_1"
        )

    before = await count(grid.database, audit_log)
    clock.advance(s=DAY_S)
    await grid.database.write(write("job.cancel"))
    at_ms = clock.now_ms()
    assert await grid.database.write(lambda tx: audit.forget_before(tx, at_ms, 100)) is False
    assert before > 0
    assert await count(grid.database, audit_log) == 1
