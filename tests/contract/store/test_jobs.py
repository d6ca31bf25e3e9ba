"""The life of jobs, unchanged on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from jobs_world import AnyDatabase, Grid, ended, pool, running, spec, wanted
from manual_clock import ManualClock
from suanwang.grid.jobs import figures, housekeeping, reading, store
from suanwang.grid.jobs.model import TaskState
from suanwang.grid.jobs.tables import idempotency_keys, rounds
from suanwang.kernel.errors import Conflict, Unavailable
from suanwang.kernel.resources import Resources
from suanwang.platform.database import Tx
from suanwang.platform.telemetry import Sample
from suanwang.protocol.messages import Desired, FailureClass, LogChunk, LogRequest
from suanwang.trade.ledger import service as ledger

YUAN = 1_000_000


@pytest.fixture
async def grid(any_database: AnyDatabase, clock: ManualClock) -> Grid:
    return await Grid(any_database, clock).found()


async def test_from_submission_to_charge(grid: Grid) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec(resources={"cpus": 2}))
    assert (await grid.job(job_id)).state is TaskState.QUEUED

    applied = await grid.dispatcher.round()
    assert (applied.placed, applied.stale) == (1, 0)
    assert (await grid.balance())[1] == 2 * 3_600_000  # two core hours at most
    (order,) = await site.poll()
    assert order.run is not None
    assert order.run.job_id == job_id

    await site.poll([running(order)])
    assert (await grid.job(job_id)).state is TaskState.RUNNING
    await site.poll([ended(order, seconds=0)])
    assert (await grid.job(job_id)).state is TaskState.SUCCEEDED
    await grid.deliver()
    assert await grid.violations(at_rest=True) == []


async def test_a_run_is_charged_for_its_seconds(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site()
    await grid.submit(spec(resources={"cpus": 1}))
    await grid.dispatcher.round()
    orders = wanted(await site.poll())
    await site.poll([running(order) for order in orders])
    clock.advance(s=120)
    await site.poll([ended(order, seconds=120) for order in orders])
    await grid.deliver()
    assert await grid.balance() == (-120 * 1_000, 0)  # 3.6 yuan an hour for one core
    assert await grid.violations(at_rest=True) == []


async def test_a_batch_of_a_thousand(grid: Grid) -> None:
    site = await grid.site(pools=[pool(nodes=4, cpus=64)])
    ids = await grid.submit(*(spec(name=f"job-{i}") for i in range(1_000)))
    assert len(set(ids)) == 1_000
    while (await grid.dispatcher.round()).placed:
        orders = wanted(await site.poll())
        assert len(orders) <= 256
        await site.finish(orders, seconds=0)
    page = await grid.database.read(
        lambda conn: reading.job_page(
            conn,
            organisation_id=grid.owner.organisation_id,
            project_ids=None,
            states=["succeeded"],
            before_id=None,
            limit=2_000,
        )
    )
    assert [job.job_id for job in page] == sorted(ids, reverse=True)
    await grid.deliver()
    assert await grid.violations(at_rest=True) == []


async def test_an_array_of_ten_thousand(grid: Grid) -> None:
    site = await grid.site(pools=[pool(nodes=4, cpus=64)])
    (job_id,) = await grid.submit(spec(array=10_000))
    assert (await grid.job(job_id)).queued == 10_000
    assert (await grid.dispatcher.round()).placed == 256
    await site.finish(wanted(await site.poll()), seconds=0)
    assert (await grid.job(job_id)).succeeded == 256
    await grid.dispatcher.round()
    running_now = wanted(await site.poll())
    assert await grid.cancel(job_id) == [site.site_id]
    job = await grid.job(job_id)
    assert (job.cancelled, job.leased, job.succeeded) == (10_000 - 512, 256, 256)
    stops = await site.poll()
    assert {order.lease_id for order in stops} == {order.lease_id for order in running_now}
    assert {order.desired for order in stops} == {Desired.STOP}
    await site.poll([ended(order, failure=FailureClass.STOPPED) for order in running_now])
    assert (await grid.job(job_id)).state is TaskState.CANCELLED
    await grid.deliver()
    assert await grid.violations(at_rest=True) == []


async def test_a_failed_task_is_tried_again(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec(retries={"max": 1, "backoff": 1}))
    await grid.dispatcher.round()
    for _attempt in range(2):
        (order,) = wanted(await site.poll())
        await site.poll([running(order), ended(order, exit_code=3, failure=FailureClass.EXIT)])
        clock.advance(s=5)
        await site.poll()
        await grid.dispatcher.round()
    ((task, leases),) = await grid.tasks(job_id)
    assert (task.state, task.exit_code, len(leases)) == (TaskState.FAILED, 3, 2)
    assert [lease.epoch for lease in leases] == [1, 2]
    await grid.deliver()
    assert await grid.violations(at_rest=True) == []


async def test_dependants_wait_and_go_or_fall_with_what_they_need(grid: Grid) -> None:
    site = await grid.site()
    (good,) = await grid.submit(spec(name="good"))
    (bad,) = await grid.submit(spec(name="bad"))
    (after_good,) = await grid.submit(spec(depends_on=[good]))
    (after_both,) = await grid.submit(spec(depends_on=[good, bad]))
    (after_that,) = await grid.submit(spec(depends_on=[after_both]))
    assert (await grid.job(after_good)).state is TaskState.WAITING
    await grid.dispatcher.round()
    for order in wanted(await site.poll()):
        assert order.run is not None
        bad_end = order.run.job_name == "bad"
        failure = FailureClass.EXIT if bad_end else FailureClass.NONE
        await site.poll([ended(order, exit_code=int(bad_end), failure=failure)])
    states = [(await grid.job(one)).state for one in (after_good, after_both, after_that)]
    assert states == [TaskState.QUEUED, TaskState.CANCELLED, TaskState.CANCELLED]
    with pytest.raises(Conflict) as refusal:
        await grid.submit(spec(depends_on=[bad]))
    assert refusal.value.reason == "DependencyFailed"


async def test_the_hopeless_is_refused_and_the_waiting_is_told_why(grid: Grid) -> None:
    await grid.site()
    (hopeless,) = await grid.submit(spec(resources={"cpus": 64}))
    ids = await grid.submit(*(spec(resources={"cpus": 4}) for _ in range(3)))
    await grid.dispatcher.round()
    job = await grid.job(hopeless)
    assert job.state is TaskState.REFUSED
    ((task, _),) = await grid.tasks(hopeless)
    assert task.detail
    states = [(await grid.job(job_id)).state for job_id in ids]
    assert states == [TaskState.LEASED, TaskState.LEASED, TaskState.QUEUED]
    ((waiting, _),) = await grid.tasks(ids[2])
    said = await grid.database.read(lambda conn: store.refusal_of(conn, waiting))
    assert said is not None
    assert (said.reason, said.count) == ("NoFreeCapacityNow", 1)
    for job_id in ids:
        await grid.cancel(job_id)
    await grid.dispatcher.round()
    assert await grid.database.read(lambda conn: store.refusal_keys(conn)) == {}


async def test_runs_of_a_silent_site_are_lost_and_planned_elsewhere(
    grid: Grid, clock: ManualClock
) -> None:
    silent = await grid.site("silent")
    (job_id,) = await grid.submit(spec())
    await grid.dispatcher.round()
    (order,) = wanted(await silent.poll())
    await silent.poll([running(order)])
    clock.advance(s=30)
    assert (await grid.dispatcher.sweep()).lost == 0
    clock.advance(s=40)
    other = await grid.site("other")
    assert (await grid.dispatcher.sweep()).lost == 1
    clock.advance(s=10)  # it is not tried again at once
    await other.poll([], wait_ms=0)
    await other.reconcile()
    assert (await grid.dispatcher.round()).placed == 1
    (again,) = wanted(await other.poll())
    assert again.epoch == order.epoch + 1
    # the silent one comes back with news of an attempt that is over
    late = await silent.reconcile([running(order)])
    assert [(one.lease_id, one.desired) for one in late] == [(order.lease_id, Desired.STOP)]
    await other.poll([ended(again, seconds=0)])
    assert (await grid.job(job_id)).state is TaskState.SUCCEEDED
    await grid.deliver()
    assert await grid.violations(at_rest=True) == []


async def test_what_a_site_forgot_has_vanished(grid: Grid) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec())
    await grid.dispatcher.round()
    (order,) = wanted(await site.poll())
    await site.poll([running(order)])
    assert wanted(await site.reconcile([])) == []
    ((task, leases),) = await grid.tasks(job_id)
    assert (task.state, task.attempt) == (TaskState.QUEUED, 1)
    assert leases[0].failure is FailureClass.VANISHED
    await grid.deliver()
    assert (await grid.balance()) == (0, 0)


async def test_output_arrives_once_in_pieces_late_and_twice(grid: Grid) -> None:
    site = await grid.site()
    (job_id,) = await grid.submit(spec())
    await grid.dispatcher.round()
    (order,) = wanted(await site.poll())
    text = bytes(range(256)) * 40

    async def send(*pieces: tuple[int, bytes]) -> int:
        chunks = [LogChunk(order.lease_id, "stdout", at, data) for at, data in pieces]
        reply = await grid.desk.logs(site.site_id, LogRequest(chunks))
        return reply.stored[0][2]

    assert await send((0, text[:100])) == 100
    assert await send((0, text[:100])) == 100
    assert await send((200, text[200:300])) == 100  # a gap: from here, please
    assert await send((50, text[50:5_000]), (5_000, text[5_000:])) == len(text)
    read = await grid.database.read(
        lambda conn: reading.output(conn, order.lease_id, "stdout", 0, 1 << 20)
    )
    assert read == (text, len(text))
    part = await grid.database.read(
        lambda conn: reading.output(conn, order.lease_id, "stdout", 99, 2)
    )
    assert part[0][:2] == text[99:101]
    found = await grid.database.read(
        lambda conn: reading.output_part(conn, job_id, 0, None, "stdout", 99, 2)
    )
    assert (found.lease_id, found.attempt, found.data[:2]) == (order.lease_id, 1, text[99:101])
    assert await send((len(text), b"x" * (1 << 20))) == -1  # more than is kept


async def test_a_repeated_key_gives_the_first_answer(grid: Grid) -> None:
    first = await grid.submit(spec(), spec(), key="k")
    assert await grid.submit(spec(), spec(), key="k") == first
    with pytest.raises(Conflict) as refusal:
        await grid.submit(spec("false"), key="k")
    assert refusal.value.reason == "IdempotencyKeyReused"


async def test_jobs_are_found_by_the_end_of_their_id(grid: Grid) -> None:
    (job_id,) = await grid.submit(spec())

    async def find(text: str) -> str:
        found = await grid.database.read(lambda conn: reading.find_job(conn, text, None))
        return found.job_id

    assert await find(job_id[-6:]) == job_id
    for wild in (f"%{job_id[-4:]}", "____", "%%%%", "\\\\\\\\"):
        with pytest.raises(Exception, match="There is no job"):
            await find(wild)


async def test_big_numbers_and_truths_survive(grid: Grid) -> None:
    """Money beyond 32 and 53 bits, flags as flags."""
    big = 10**15
    await grid.database.write(lambda tx: ledger.set_credit_limit(tx, grid.owner.project_id, big))
    account = await grid.database.read(
        lambda conn: ledger.project_account(conn, grid.owner.project_id)
    )
    assert account is not None
    assert account.credit_limit_micro_yuan == big
    (job_id,) = await grid.submit(spec(array=1))
    job = await grid.job(job_id)
    assert job.is_array is True
    assert job.cancel_requested is False


async def test_totals_are_known_before_the_first_round(grid: Grid) -> None:
    """A process that plans nothing still takes reports, and shares are parts of the whole grid."""
    site = await grid.site(pools=[pool(nodes=2, cpus=4)])
    await grid.submit(spec(resources={"cpus": 1}))
    await grid.dispatcher.round()
    (order,) = wanted(await site.poll())
    await site.poll([running(order)])
    other = grid.beside()
    assert await other.dispatcher.totals_now() == Resources(8_000, 32_768, 200_000, 0)


async def test_ids_are_compared_byte_by_byte_whatever_the_cluster_speaks(
    any_database: AnyDatabase,
) -> None:
    def collation(conn: sa.Connection) -> list[str]:
        if conn.dialect.name != "postgresql":
            return ["C"]
        query = sa.text(
            "SELECT DISTINCT collation_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND character_maximum_length = 40"
            " AND (column_name = 'job_id' OR column_name = 'lease_id')"
        )
        return list(conn.execute(query).scalars())

    assert await any_database.read(collation) == ["C"]


async def test_old_keys_and_rounds_go_in_batches_new_ones_stay(
    grid: Grid, clock: ManualClock
) -> None:
    await grid.site()
    await grid.submit(spec(), key="old")
    await grid.dispatcher.round()
    clock.advance(s=86_400)
    await grid.submit(spec(), key="new")
    clock.advance(s=1)
    assert await grid.database.write(housekeeping.tidy) is False
    kept = sa.select(idempotency_keys.c.key)
    assert await grid.database.read(lambda conn: conn.execute(kept).scalars().all()) == ["new"]
    count = sa.select(sa.func.count()).select_from(rounds)
    assert await grid.database.read(lambda conn: conn.execute(count).scalar_one()) == 0


async def test_housekeeping_takes_a_batch_at_a_time(
    grid: Grid, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    for number in range(7):
        await grid.submit(spec(), key=f"key-{number}")
    clock.advance(s=90_000)
    more = [await grid.database.write(housekeeping.tidy) for _ in range(3)]
    assert more == [True, True, False]


async def test_the_grid_in_figures(grid: Grid, clock: ManualClock) -> None:
    site = await grid.site(pools=[pool(nodes=2, cpus=4)])
    await grid.submit(spec(resources={"cpus": 2}, array=5))
    await grid.dispatcher.round()
    await site.poll([running(wanted(await site.poll())[0])])

    async def seen() -> Sample:
        now_ms = clock.now_ms()
        return await grid.database.read(lambda conn: figures.sample(conn, now_ms, leads=True))

    sample = await seen()
    assert sample.queued == 1
    assert sample.refused == {"NoFreeCapacityNow": 1}
    assert sample.open_leases == {"granted": 3, "running": 1}
    assert (sample.capacity[0], sample.used[0]) == (8_000, 8_000)
    assert (sample.sites_reachable, sample.sites_silent) == (1, 0)
    clock.advance(s=3_600)
    assert (await seen()).sites_silent == 1


async def test_silence_while_the_database_was_away_is_not_the_sites(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    away = False

    def guard(_tx: Tx) -> None:
        if away:
            raise Unavailable("DatabaseUnavailable", "The database does not answer.")

    grid = await Grid(any_database, clock, guard=guard).found()
    site = await grid.site()
    (job_id,) = await grid.submit(spec())
    await grid.dispatcher.round()
    (order,) = wanted(await site.poll())
    await site.poll([running(order)])
    away = True
    clock.advance(s=600)
    with pytest.raises(Unavailable):
        await grid.dispatcher.sweep()
    away = False
    clock.advance(s=1)
    assert (await grid.dispatcher.sweep()).lost == 0
    await site.poll([ended(order, seconds=0)])
    assert (await grid.job(job_id)).state is TaskState.SUCCEEDED
