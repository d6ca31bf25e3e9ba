"""Whatever comes between the start of a long run and its end, the sum of its hours is the whole."""

from __future__ import annotations

import asyncio
import random as stdlib_random

from hypothesis import given, settings
from hypothesis import strategies as st

from grid_world import GridWorld, PlayedSite, ended_report, report_of
from manual_clock import ManualClock
from suanwang.grid.jobs.metering import run_of
from suanwang.grid.jobs.model import Lease, LeaseState
from suanwang.platform.database import InlineDatabase
from suanwang.platform.migrations import load_tables
from suanwang.platform.schema import metadata
from suanwang.protocol.messages import FailureClass, Phase
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing import service as billing

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
LONG_S = 60 * 3_600

# what happens next, and how many milliseconds after the last
PAUSES = st.integers(0, 90 * MINUTE_MS) | st.sampled_from([5 * MINUTE_MS, HOUR_MS, 5 * HOUR_MS])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["listed", "listed", "listed", "tidying", "charge", "sweep", "cut off"]),
        PAUSES,
    ),
    max_size=25,
)


def begin(start_ms: int) -> tuple[GridWorld, PlayedSite, str, Lease]:
    load_tables()
    clock = ManualClock(1_767_225_600_000 + start_ms)
    database = InlineDatabase(clock, stdlib_random.Random(1))
    metadata.create_all(database.engine)
    world = GridWorld(database, clock)
    site = world.site()
    partition = {"stop_on_client_after": None, "replace": False}
    job = world.submit(max_runtime=LONG_S, partition=partition, resources={"cpus": 3})
    world.round()
    site.running(world.lease(job))
    return world, site, job, world.lease(job)


def settle(world: GridWorld) -> None:
    asyncio.run(world.settle())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, HOUR_MS), STEPS, st.integers(0, 2 * HOUR_MS), st.integers(1, 3))
def test_the_sum_of_the_hours_is_the_whole(
    start_ms: int, steps: list[tuple[str, int]], rest_ms: int, told: int
) -> None:
    world, site, job, lease = begin(start_ms)
    began_ms = lease.started_at_ms or 0
    for step, pause_ms in steps:
        world.clock.advance(ms=pause_ms)
        if step == "charge":
            settle(world)
        elif step == "sweep":
            world.sweep()
        elif step == "listed":
            ago = world.clock.now_ms() - began_ms
            site.reconcile(report_of(lease, Phase.RUNNING, started_ago_ms=ago))
    over = world.last_lease(job).state is LeaseState.ENDED
    world.clock.advance(ms=rest_ms)
    ran_ms = world.clock.now_ms() - began_ms
    for _ in range(told):
        site.says(ended_report(lease, ran_ms=ran_ms))
    settle(world)

    rows = world.usage(job)
    assert len({(row.lease_id, row.epoch, row.hour) for row in rows}) == len(rows)
    assert [row.final for row in rows].count(True) == 1
    assert world.held() == 0
    assert world.wrong() == []
    assert world.read(billing.troubles) == []
    if not over:  # else the books had closed: what is billed is what could run at the longest
        whole = min(ran_ms, LONG_S * 1_000)
        assert sum(row.billable_seconds for row in rows) == -(-whole // 1_000)
        prices = world.read(lambda c: billing.prices(c, [lease.price_list_id]))
        at_the_end = rules.usage_of_run(
            run_of(lease),
            started_at_ms=began_ms,
            ended_at_ms=world.clock.now_ms(),
            known_at_ms=world.clock.now_ms(),
        )
        amounts = [rules.amount_of(r, prices[lease.price_list_id]) for r in at_the_end]
        assert world.charged(job) == -world.balance() == sum(amounts)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, HOUR_MS),
    st.lists(PAUSES, max_size=12),
    st.sampled_from([FailureClass.VANISHED, FailureClass.NONE]),
    st.integers(0, 40 * HOUR_MS),
)
def test_a_run_is_never_charged_less_than_its_site_vouched_for_nor_beyond_what_it_says(
    start_ms: int, looks: list[int], failure: FailureClass, claimed_ms: int
) -> None:
    """Also where the site's last word contradicts those before."""
    world, site, job, lease = begin(start_ms)
    for pause_ms in looks:
        world.clock.advance(ms=pause_ms)
        site.reconcile(report_of(lease, Phase.RUNNING, started_ago_ms=0))
    vouched = sum(row.billable_seconds for row in world.usage(job))
    assert vouched * 1_000 <= world.clock.now_ms() - (lease.started_at_ms or 0)
    site.says(ended_report(lease, failure=failure, ran_ms=claimed_ms))
    settle(world)
    billed = sum(row.billable_seconds for row in world.usage(job))
    known_ms = world.clock.now_ms() - (lease.started_at_ms or 0)
    claimed_s = -(-min(claimed_ms, known_ms, LONG_S * 1_000) // 1_000)
    if claimed_ms == 0:  # no stopwatch: the end is when it was told
        claimed_s = -(-min(known_ms, LONG_S * 1_000) // 1_000)
    assert billed == (vouched if failure is FailureClass.VANISHED else max(vouched, claimed_s))
    assert world.held() == 0
    assert world.read(reports.verify) == []
    assert world.left_over() == [] or failure is FailureClass.VANISHED
