"""Hours of long runs are charged while they go on: each once, and in the end the same sum."""

from __future__ import annotations

from itertools import pairwise

import pytest

from grid_world import GridWorld, PlayedSite, ended_report, report_of
from manual_clock import ManualClock
from suanwang.grid.jobs import metering
from suanwang.grid.jobs.arrears import owing_since, sweep_arrears
from suanwang.grid.jobs.model import Lease, LeaseState, Outcome
from suanwang.platform.database import Tx
from suanwang.protocol.messages import FailureClass, Phase, RunReport
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Trouble
from suanwang.trade.ledger import service as ledger

HOUR_S = 3_600
HOUR_MS = HOUR_S * 1_000
LONG = 40 * HOUR_S
RATE = 100_000 + 10_000 // 2
"""Of a core and half a GiB, micro-yuan per hour."""


def start(world: GridWorld, site: PlayedSite, **fields: object) -> tuple[str, Lease]:
    """A job of a core and 512 MiB that has just begun to run."""
    need = {"cpus": 1, "memory": "512MiB"}
    job = world.submit(max_runtime=LONG, resources=need, **fields)
    world.round()
    site.running(world.lease(job))
    return job, world.lease(job)


def listed(world: GridWorld, lease: Lease, *, over_ms: int | None = None) -> RunReport:
    """As the agent lists it at a reconciliation: it runs, or ended and is being tidied up."""
    ago = world.clock.now_ms() - (lease.started_at_ms or 0)
    return report_of(lease, Phase.RUNNING, started_ago_ms=ago, ended_ago_ms=over_ms)


async def pass_hours(
    world: GridWorld, site: PlayedSite, lease: Lease, hours: int, *besides: RunReport
) -> None:
    """The site reconciles every five minutes, as agents do."""
    for _ in range(12 * hours):
        world.clock.advance(s=300)
        site.reconcile(listed(world, lease), *besides)
    await world.settle()


def release_all(world: GridWorld) -> None:
    held, project_id = world.held(), world.owner.project_id

    def use_case(tx: Tx) -> None:
        ledger.release(tx, {ledger.project_accounts(tx, [project_id])[project_id]: held})

    world.write(use_case)


async def test_a_long_run_is_charged_some_minutes_after_each_full_hour(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    clock.advance(s=1_800)  # half an hour into the first
    site.heard()
    job, lease = start(world, site)
    charged = []
    for minute in range(5, 190, 5):
        clock.advance(s=300)
        site.reconcile(listed(world, lease))
        await world.settle()
        charged.append((30 + minute, -world.balance()))
    first = RATE // 2
    steps = [charged[0], *(b for a, b in pairwise(charged) if b[1] != a[1])]
    assert steps == [(35, 0), (65, first), (125, first + RATE), (185, first + 2 * RATE)]
    assert [row.billable_seconds for row in world.usage(job)] == [1_800, 3_600, 3_600]
    assert not any(row.final for row in world.usage(job))
    assert world.wrong() == []


async def test_what_is_charged_on_the_way_is_what_would_be_charged_at_the_end(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    clock.advance(s=1_234)
    site.heard()
    watched, lease = start(world, site)
    unwatched, other = start(world, site)
    never_said_to_run_on = report_of(other, Phase.ACCEPTED)
    for _ in range(30):
        await pass_hours(world, site, lease, 1, never_said_to_run_on)
        site.says(listed(world, lease))
        site.says(listed(world, lease))  # a report that comes twice
    clock.advance(ms=77_777)
    ran_ms = clock.now_ms() - (lease.started_at_ms or 0)
    site.says(ended_report(lease, ran_ms=ran_ms), ended_report(other, ran_ms=ran_ms))
    await world.settle()
    on_the_way, at_the_end = world.usage(watched), world.usage(unwatched)
    assert [(r.hour, r.start_ms, r.end_ms, r.billable_seconds) for r in on_the_way] == [
        (r.hour, r.start_ms, r.end_ms, r.billable_seconds) for r in at_the_end
    ]
    assert [row.final for row in on_the_way] == [False] * 30 + [True]
    assert world.charged(watched) == world.charged(unwatched) > 30 * RATE
    assert world.left_over() == []


async def test_money_set_aside_gives_way_to_the_charges(world: GridWorld, site: PlayedSite) -> None:
    """Held for the whole run and charged for its hours besides, a project was told that it owes."""
    project_id = world.owner.project_id
    world.write(lambda tx: ledger.set_credit_limit(tx, project_id, 0))
    world.write(lambda tx: ledger.top_up(tx, project_id, 40 * RATE, key="exactly"))
    _, lease = start(world, site)
    assert world.held() == 40 * RATE
    await pass_hours(world, site, lease, 25)
    assert (world.balance(), world.held()) == (16 * RATE, 16 * RATE)
    world.write(sweep_arrears)
    assert world.read(owing_since) == {}
    assert world.wrong() == []


async def test_arrears_see_the_hours_of_what_still_runs(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    """Where nothing is held for it, only its charges can tell."""
    project_id = world.owner.project_id
    world.write(lambda tx: ledger.set_credit_limit(tx, project_id, 2 * RATE))
    need = {"cpus": 1, "memory": "512MiB"}
    job = world.submit(max_runtime=2 * HOUR_S, resources=need)
    world.round()
    lease = world.lease(job)
    site.running(lease)
    lease = world.lease(job)
    release_all(world)
    world.write(lambda tx: ledger.set_credit_limit(tx, project_id, RATE // 2))
    world.write(sweep_arrears)
    assert world.read(owing_since) == {}
    await pass_hours(world, site, lease, 1)
    clock.advance(s=300)
    site.reconcile(listed(world, lease))
    await world.settle()
    world.write(sweep_arrears)
    assert list(world.read(owing_since)) == [project_id]
    again = world.submit(max_runtime=600, resources=need)
    world.round()
    assert world.job(again).queued == 1


def test_an_hour_is_left_open_while_the_sites_word_is_fresh(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job, lease = start(world, site)
    slack_ms = metering.LATE_MS + (HOUR_MS + metering.LATE_MS) // metering.DRIFT_PER_MS
    clock.advance(ms=HOUR_MS + slack_ms - 1)
    site.says(listed(world, lease))
    assert world.usage(job) == []
    clock.advance(ms=5)
    site.says(listed(world, lease))
    assert len(world.usage(job)) == 1


def test_a_contact_alone_fills_no_hour(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job, _ = start(world, site)
    clock.advance(s=2 * HOUR_S)
    site.says()
    assert world.usage(job) == []


def test_time_spent_on_outputs_is_not_metered(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job, lease = start(world, site)
    clock.advance(s=2 * HOUR_S)
    site.reconcile(listed(world, lease, over_ms=HOUR_MS + 1_000))
    assert world.usage(job) == []
    site.reconcile(listed(world, lease, over_ms=1_000))
    assert [row.billable_seconds for row in world.usage(job)] == [3_600]


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_lost_run_keeps_the_hours_that_its_site_vouched_for(
    world: GridWorld, site: PlayedSite, clock: ManualClock, fenced: bool
) -> None:
    partition = {} if fenced else {"stop_on_client_after": None, "replace": False}
    job, lease = start(world, site, partition=partition)
    await pass_hours(world, site, lease, 5)
    clock.advance(s=100 * HOUR_S)
    world.sweep()
    world.sweep()
    await world.settle()
    assert world.last_lease(job).outcome is Outcome.LOST
    assert -world.balance() == 4 * RATE
    assert world.held() == 0
    # the site comes back with the end: what is left is charged, once
    late = ended_report(lease, code=None, failure=FailureClass.LEASE_EXPIRED, ran_ms=5 * HOUR_MS)
    for _ in range(3):
        site.says(late)
    await world.settle()
    assert -world.balance() == 5 * RATE
    assert [row.final for row in world.usage(job)] == [False] * 4 + [True]
    assert world.wrong() == []


async def test_a_vanished_run_pays_for_nothing_beyond_its_vouched_hours(
    world: GridWorld, site: PlayedSite
) -> None:
    job, lease = start(world, site)
    await pass_hours(world, site, lease, 3)
    site.reconcile()  # the agent was installed anew: it lists nothing
    await world.settle()
    assert world.last_lease(job).failure is FailureClass.VANISHED
    assert -world.balance() == 2 * RATE
    assert [row.billable_seconds for row in world.usage(job)] == [3_600, 3_600, 0]
    assert world.held() == 0
    assert world.wrong() == []


async def test_an_end_on_the_last_metered_instant_still_ends_the_hold(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    """The hour's id was taken, so that the final record and its release were dropped."""
    job, lease = start(world, site)
    clock.advance(s=HOUR_S + 300)
    site.reconcile(listed(world, lease))
    site.ended(lease, ran_ms=HOUR_MS)
    await world.settle()
    assert [(row.billable_seconds, row.final) for row in world.usage(job)] == [
        (3_600, False),
        (0, True),
    ]
    assert (world.balance(), world.held()) == (-RATE, 0)
    assert world.read(billing.troubles) == []


async def test_a_site_that_takes_back_its_word_is_noted(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job, lease = start(world, site)
    clock.advance(s=2 * HOUR_S + 300)
    site.reconcile(listed(world, lease))
    for _ in range(2):
        site.ended(lease, ran_ms=HOUR_MS // 2)
    await world.settle()
    assert -world.balance() == 2 * RATE
    [trouble] = world.read(billing.troubles)
    assert trouble.reason is Trouble.ENDED_BEFORE_METERED
    assert trouble.usage_id == world.usage(job)[-1].id
    assert world.left_over() == []


def test_hours_of_a_run_past_its_longest_time_are_the_providers(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job, lease = start(world, site)
    clock.advance(s=LONG + 10 * HOUR_S)
    site.reconcile(listed(world, lease))
    assert sum(row.billable_seconds for row in world.usage(job)) <= LONG
    site.ended(lease, ran_ms=(LONG + 10 * HOUR_S) * 1_000)
    assert sum(row.billable_seconds for row in world.usage(job)) == LONG


def test_many_hours_at_once_come_in_portions(
    world: GridWorld, site: PlayedSite, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "HOURS_AT_ONCE", 3)
    runs = [start(world, site) for _ in range(3)]
    clock.advance(s=2 * HOUR_S + 300)
    reports = [listed(world, lease) for _, lease in runs]
    counts = []
    for _ in range(3):
        site.reconcile(*reports)
        counts.append(sum(len(world.usage(job)) for job, _ in runs))
    assert counts == [4, 6, 6]


def test_a_run_told_to_stop_is_metered_until_it_does(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job, lease = start(world, site)
    world.cancel(job)
    clock.advance(s=HOUR_S + 300)
    site.reconcile(listed(world, lease))
    assert len(world.usage(job)) == 1
    assert world.lease(job).state is LeaseState.RUNNING
