"""Many at once over one database: nothing is lost, done twice or counted wrong."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
import sqlalchemy as sa

from jobs_world import (
    AnyDatabase,
    Grid,
    SiteBook,
    ended,
    pool,
    running,
    spec,
    together,
    wanted,
)
from manual_clock import ManualClock
from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs import grants, reading
from suanwang.grid.jobs.model import FINAL, TaskState
from suanwang.grid.jobs.tables import idempotency_keys, leases, share_usage
from suanwang.kernel.errors import Conflict
from suanwang.protocol.messages import Desired, FailureClass, LeaseOrder, LogChunk, LogRequest


@pytest.fixture
async def grid(any_database: AnyDatabase, clock: ManualClock) -> Grid:
    return await Grid(any_database, clock).found()


async def test_one_key_used_by_eight_at_once_is_one_submission(grid: Grid) -> None:
    grids = [grid] + [grid.beside() for _ in range(7)]
    answers = await together(*(one.submit(spec(), spec(), key="k") for one in grids))
    assert len({tuple(ids) for ids in answers}) == 1
    page = await grid.database.read(
        lambda conn: reading.job_page(
            conn, organisation_id=None, project_ids=None, states=[], before_id=None, limit=100
        )
    )
    assert len(page) == 2
    kept = sa.select(sa.func.count()).select_from(idempotency_keys)
    assert await grid.database.read(lambda conn: conn.execute(kept).scalar_one()) == 1


async def test_two_planners_of_one_moment_do_not_fill_a_node_twice(grid: Grid) -> None:
    """What an old leader applies late is found stale, whatever it believed."""
    await grid.site(pools=[pool(nodes=2, cpus=4)])
    await grid.submit(*(spec(resources={"cpus": 1}) for _ in range(40)))
    grids = [grid, grid.beside(), grid.beside()]
    gathered = [await one.dispatcher.gather() for one in grids]
    plans = [plan(one.snapshot, grid.clock.now_ms(), 1) for one in gathered]
    applied = await together(
        *(
            one.database.write(
                lambda tx, g=seen, p=made: grants.apply_plan(
                    tx, g, p, took_ms=0, snapshot_digest=""
                )
            )
            for one, seen, made in zip(grids, gathered, plans, strict=True)
        )
    )
    assert sum(one.placed for one in applied) == 8
    assert sum(one.stale for one in applied) == 16
    assert await grid.violations() == []


async def test_shares_add_up_when_sites_report_at_once(grid: Grid, clock: ManualClock) -> None:
    books = [await grid.site(f"site-{i}", [pool(nodes=1, cpus=8)]) for i in range(6)]
    await grid.submit(*(spec(resources={"cpus": 1}) for _ in range(48)))
    await grid.dispatcher.round()
    orders = [wanted(await book.poll()) for book in books]
    assert sum(map(len, orders)) == 48
    await together(
        *(b.poll([running(o) for o in some]) for b, some in zip(books, orders, strict=True))
    )
    clock.advance(s=100)
    for one in range(8):
        await together(
            *(
                book.poll([ended(some[one], seconds=100)])
                for book, some in zip(books, orders, strict=True)
            )
        )
    query = sa.select(share_usage.c.value).where(
        share_usage.c.share_id == grid.owner.organisation_id
    )
    value = await grid.database.read(lambda conn: conn.execute(query).scalar_one())
    # each: one of 48 cores for 100 s, in thousandths
    assert value == 48 * (1_000 * 100 * 1_000 // 48_000)


async def test_output_sent_twice_at_once_has_no_gap(grid: Grid) -> None:
    site = await grid.site()
    await grid.submit(spec())
    await grid.dispatcher.round()
    (order,) = wanted(await site.poll())
    text = bytes(range(256)) * 8
    for start in range(0, len(text), 256):
        # a request that timed out is still on its way when the next, longer one comes
        replies = await together(
            *(
                grid.desk.logs(
                    site.site_id,
                    LogRequest([LogChunk(order.lease_id, "stdout", start, text[start:end])]),
                )
                for end in (start + 64, start + 256, start + 128)
            )
        )
        stored = max(reply.stored[0][2] for reply in replies)
        if stored < start + 256:
            chunk = LogChunk(order.lease_id, "stdout", stored, text[stored : start + 256])
            await grid.desk.logs(site.site_id, LogRequest([chunk]))
    read = await grid.database.read(
        lambda conn: reading.output(conn, order.lease_id, "stdout", 0, 1 << 20)
    )
    assert read == (text, len(text))


async def test_a_dependant_submitted_as_its_need_ends_does_not_wait_for_ever(grid: Grid) -> None:
    site = await grid.site(pools=[pool(nodes=4, cpus=16)])
    for _ in range(10):
        (needed,) = await grid.submit(spec())
        await grid.dispatcher.round()
        orders = wanted(await site.poll())
        _, *rest = await asyncio.gather(
            site.poll([ended(order, seconds=0) for order in orders]),
            *(grid.submit(spec(depends_on=[needed])) for _ in range(3)),
        )
        for ids in rest:
            assert (await grid.job(ids[0])).state is not TaskState.WAITING
            await grid.cancel(ids[0])
    assert await grid.violations() == []


class Storm:
    """Users, sites, rounds, sweeps, deliveries of several processes, all at the same time."""

    def __init__(self, grid: Grid, books: list[SiteBook], seed: int) -> None:
        self.grids = [grid, grid.beside(), grid.beside()]
        self.books = books
        self.dice = random.Random(seed)
        self.jobs: list[str] = []
        self.over = False

    def any_grid(self) -> Grid:
        return self.dice.choice(self.grids)

    async def submit(self, batches: int) -> None:
        for number in range(batches):
            needs = [self.jobs[-1]] if self.jobs and number % 4 == 3 else []
            one = spec(
                array=self.dice.choice([1, 5, 9]),
                depends_on=needs,
                retries={"max": 2, "backoff": 0},
                partition={"lost_after": 60, "stop_on_client_after": 40},
            )
            with contextlib.suppress(Conflict):  # what it needs has failed already
                self.jobs += await self.any_grid().submit(one, key=f"key-{number}")

    async def cancel(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0.02)
            if self.jobs:
                await self.any_grid().cancel(self.dice.choice(self.jobs))

    async def tick(self, clock: ManualClock) -> None:
        while not self.over:
            await asyncio.sleep(0.02)
            clock.advance(ms=20)

    async def plan(self, grid: Grid) -> None:
        while not self.over:
            await grid.dispatcher.round()
            await grid.dispatcher.sweep()
            await asyncio.sleep(0.005)

    async def deliver(self, grid: Grid) -> None:
        while not self.over:
            await grid.deliver()
            await asyncio.sleep(0.01)

    async def work(self, book: SiteBook) -> None:
        """Run what is ordered, in two reports each; some fail, some are reported twice."""
        started: dict[str, LeaseOrder] = {}
        orders: list[LeaseOrder] = []
        while not self.over:
            book.grid = self.any_grid()
            orders += await book.poll()
            mine = wanted(orders)
            reports = [running(order) for order in mine]
            for order in orders:
                if order.desired is Desired.STOP:
                    started.pop(order.lease_id, None)
                    reports.append(ended(order, failure=FailureClass.STOPPED, seconds=0))
            for order in list(started.values())[: self.dice.randrange(6)]:
                broken = self.dice.random() < 0.1
                reports.append(
                    ended(
                        order,
                        exit_code=int(broken),
                        failure=FailureClass.EXIT if broken else FailureClass.NONE,
                        seconds=0,
                    )
                )
                del started[order.lease_id]
            started.update((order.lease_id, order) for order in mine)
            chunks = [LogChunk(order.lease_id, "stdout", 0, b"hello\n") for order in mine]
            logs = self.any_grid().desk.logs(book.site_id, LogRequest(chunks))
            orders, _ = await asyncio.gather(book.poll(reports), logs)
            if reports and self.dice.random() < 0.2:
                orders += await book.poll(reports[:2])
            await asyncio.sleep(0.002)

    async def until_calm(self) -> None:
        def still_open(conn: sa.Connection) -> list[str]:
            found = [reading.require_job(conn, job_id) for job_id in self.jobs]
            return [f"{job.job_id} {job.counts()}" for job in found if job.state not in FINAL]

        for _ in range(1_000):
            left = await self.grids[0].database.read(still_open)
            if not left:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"never ended: {left}")


async def test_a_storm_leaves_true_books(grid: Grid, clock: ManualClock) -> None:
    books = [await grid.site(f"site-{i}", [pool(nodes=2, cpus=8)]) for i in range(3)]
    storm = Storm(grid, books, seed=5)
    background = [
        asyncio.create_task(storm.tick(clock)),
        *(asyncio.create_task(storm.plan(one)) for one in storm.grids),
        *(asyncio.create_task(storm.deliver(one)) for one in storm.grids),
        *(asyncio.create_task(storm.work(book)) for book in books),
    ]
    users = asyncio.gather(storm.submit(30), storm.cancel(10))
    await users
    calm = asyncio.create_task(storm.until_calm())
    done, _ = await asyncio.wait({calm, *background}, return_when=asyncio.FIRST_COMPLETED)
    storm.over = True
    for one in done:
        one.result()
    await asyncio.gather(*background)
    await grid.deliver()
    assert await grid.violations(at_rest=True) == []
    doubles = (
        sa.select(leases.c.task_id)
        .where(leases.c.outcome == "succeeded")
        .group_by(leases.c.task_id)
        .having(sa.func.count() > 1)
    )
    assert await grid.database.read(lambda conn: conn.execute(doubles).all()) == []
