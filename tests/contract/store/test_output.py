"""Following a task's output, unchanged on SQLite and PostgreSQL: woken, resumed, ended."""

from __future__ import annotations

import asyncio

import pytest

from jobs_world import AnyDatabase, Grid, SiteBook, ended, running, spec, wanted
from manual_clock import ManualClock
from suanwang.edge.api import routes_logs
from suanwang.edge.api.routes_logs import Place
from suanwang.grid.jobs.reading import OutputPart, OutputState
from suanwang.protocol.messages import FailureClass, LeaseOrder, LogChunk, LogRequest

PATIENCE_S = 20.0


@pytest.fixture
async def grid(any_database: AnyDatabase, clock: ManualClock) -> Grid:
    return await Grid(any_database, clock).found()


@pytest.fixture
def woken_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks again by himself: what does not wake the reader, he never sees."""

    async def until_woken(news: asyncio.Future[None], _timeout_s: float) -> bool:
        await news
        return True

    monkeypatch.setattr(routes_logs, "wait_for", until_woken)


async def _read(grid: Grid, job_id: str, attempt: int | None = None, offset: int = 0) -> OutputPart:
    place = Place(job_id, 0, attempt, "stdout", offset)
    reading = routes_logs.part_within(grid.database, grid.signals, place, 30)
    return await asyncio.wait_for(reading, PATIENCE_S)


async def _write(grid: Grid, site: SiteBook, order: LeaseOrder, at: int, text: bytes) -> None:
    chunks = [LogChunk(order.lease_id, "stdout", at, text)]
    await grid.desk.logs(site.site_id, LogRequest(chunks))


async def _started(grid: Grid, site: SiteBook) -> LeaseOrder:
    await grid.dispatcher.round()
    (order,) = wanted(await site.poll())
    await site.poll([running(order)])
    return order


async def _asleep(grid: Grid, *names: str) -> None:
    """Until somebody listens for all of these."""
    for _ in range(2_000):
        if all(name in grid.signals._waiters for name in names):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nobody listens for {names}")


async def test_a_line_wakes_its_reader(grid: Grid, woken_only: None) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec())
    order = await _started(grid, site)
    reader = asyncio.create_task(_read(grid, job_id))
    await _asleep(grid, f"log:{order.lease_id}")
    await _write(grid, site, order, 0, b"one\n")
    part = await reader
    assert (part.data, part.next_offset, part.state) == (b"one\n", 4, OutputState.OPEN)

    reader = asyncio.create_task(_read(grid, job_id, part.attempt, part.next_offset))
    await _asleep(grid, f"log:{order.lease_id}")
    await _write(grid, site, order, 0, b"one\ntwo\n")  # an agent that did not hear our answer
    assert (await reader).data == b"two\n"


async def test_a_reader_is_there_before_the_run_and_leaves_after_it(
    grid: Grid, woken_only: None
) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec())
    reader = asyncio.create_task(_read(grid, job_id))
    await _asleep(grid, f"job:{job_id}")
    order = await _started(grid, site)
    await _asleep(grid, f"log:{order.lease_id}")
    await site.poll([ended(order)])
    part = await reader
    assert (part.data, part.state) == (b"", OutputState.FINAL)


async def test_a_retry_follows_an_attempt_that_is_over(
    grid: Grid, clock: ManualClock, woken_only: None
) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec(retries={"max": 1, "backoff": 0}))
    first = await _started(grid, site)
    await _write(grid, site, first, 0, b"once\n")
    await site.poll([ended(first, exit_code=1, failure=FailureClass.EXIT)])
    assert (await _read(grid, job_id, 1)).data == b"once\n"
    over = await _read(grid, job_id, 1, 5)
    assert (over.state, over.data) == (OutputState.OVER, b"")

    reader = asyncio.create_task(_read(grid, job_id, 2))
    await _asleep(grid, f"job:{job_id}")
    clock.advance(s=1)
    second = await _started(grid, site)
    await _asleep(grid, f"log:{second.lease_id}")
    await _write(grid, site, second, 0, b"again\n")
    assert (await reader).data == b"again\n"
    await site.poll([ended(second, exit_code=1, failure=FailureClass.EXIT)])
    assert (await _read(grid, job_id, 2, 6)).state is OutputState.FINAL
    assert (await _read(grid, job_id, 1, 5)).state is OutputState.OVER
    assert (await _read(grid, job_id, 3)).state is OutputState.FINAL


async def test_nobody_waits_longer_than_he_said(grid: Grid) -> None:
    (job_id,) = await grid.submit(spec())
    place = Place(job_id, 0, None, "stderr", 0)
    part = await asyncio.wait_for(
        routes_logs.part_within(grid.database, grid.signals, place, 0.05), PATIENCE_S
    )
    assert (part.data, part.state, part.attempt) == (b"", OutputState.OPEN, 1)
    assert not grid.signals._waiters
