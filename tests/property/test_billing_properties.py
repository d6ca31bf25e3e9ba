"""Properties of usage and charge: nothing lost, nothing twice, nothing rounded away."""

from __future__ import annotations

import asyncio
import random as stdlib_random
from fractions import Fraction
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_world import HOUR_0, HOUR_MS, PROJECT, Settable, World, run_of
from suanwang.engines.scheduling.filters import gang_rate
from suanwang.engines.scheduling.model import Prices
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources
from suanwang.platform.database import InlineDatabase
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import GroupBy, Run, UsageRecord, UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import FEES, project_key, revenue_key
from tables import fill

PRICES = st.builds(Prices, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**10))
RESOURCES = st.builds(
    Resources,
    st.integers(0, 512_000),
    st.integers(0, 4 << 20),
    st.just(0),
    st.integers(0, 16_000),
)
STARTS = st.integers(HOUR_0, HOUR_0 + 3 * HOUR_MS)
LENGTHS = st.integers(0, 50 * HOUR_MS) | st.sampled_from([0, 1, 999, 1_000, HOUR_MS, 2 * HOUR_MS])


class Steered(Settable):
    def __init__(self) -> None:
        self.at_ms = HOUR_0

    def now_ms(self) -> int:
        return self.at_ms


def fresh() -> tuple[World, Steered]:
    clock = Steered()
    database = InlineDatabase(clock, stdlib_random.Random(1))
    fill(database.engine)
    return World(database), clock


def records_of(run: Run, start_ms: int, length_ms: int) -> list[UsageRecord]:
    end_ms = start_ms + length_ms
    return rules.usage_of_run(run, started_at_ms=start_ms, ended_at_ms=end_ms, known_at_ms=end_ms)


def cost(prices: Prices, resources: Resources, members: int, seconds: int) -> Fraction:
    """The price without any rounding."""
    return (
        Fraction(prices.core_hour * resources.cpu_milli, 1_000)
        + Fraction(prices.memory_gib_hour * resources.memory_mib, 1_024)
        + Fraction(prices.accelerator_hour * resources.accelerator_milli, 1_000)
    ) * Fraction(members * seconds, 3_600)


@given(STARTS, LENGTHS)
def test_buckets_sum_to_the_run_rounded_up_to_a_second(start_ms: int, length_ms: int) -> None:
    records = records_of(run_of("prl"), start_ms, length_ms)
    assert sum(record.billable_seconds for record in records) == -(-length_ms // 1_000)
    assert all(0 <= record.billable_seconds <= 3_600 for record in records)
    touched = max(1, -(-(start_ms + length_ms) // HOUR_MS) - start_ms // HOUR_MS)
    assert [record.hour for record in records] == list(
        range(start_ms // HOUR_MS, start_ms // HOUR_MS + touched)
    )
    assert [record.final for record in records] == [False] * (touched - 1) + [True]
    for record in records:
        rules.check_record(record)


@given(STARTS, LENGTHS, st.lists(LENGTHS, max_size=4))
def test_hours_recorded_on_the_way_are_those_of_the_end(
    start_ms: int, length_ms: int, looks: list[int]
) -> None:
    run = run_of("prl")
    at_end = {record.id: record for record in records_of(run, start_ms, length_ms)}
    for look in looks:
        confirmed_at_ms = start_ms + min(look, length_ms)
        for record in rules.usage_so_far(
            run, started_at_ms=start_ms, confirmed_at_ms=confirmed_at_ms
        ):
            assert at_end[record.id] == record
            assert not record.final


@given(STARTS, LENGTHS, st.lists(LENGTHS, max_size=6))
def test_metered_in_portions_it_is_the_same_run(
    start_ms: int, length_ms: int, looks: list[int]
) -> None:
    """Each look goes on where the last one ended, the end covers what is left; nothing twice."""
    run = run_of("prl")
    records: list[UsageRecord] = []
    metered_until_ms = 0
    for look in sorted(looks):
        hours = rules.usage_so_far(
            run,
            started_at_ms=start_ms,
            confirmed_at_ms=start_ms + min(look, length_ms),
            metered_until_ms=metered_until_ms,
        )
        records += hours
        metered_until_ms = hours[-1].end_ms if hours else metered_until_ms
    records += rules.usage_of_run(
        run,
        started_at_ms=start_ms,
        ended_at_ms=start_ms + length_ms,
        known_at_ms=start_ms + length_ms,
        metered_until_ms=metered_until_ms,
    )
    assert records == records_of(run, start_ms, length_ms)


@given(STARTS, LENGTHS, LENGTHS)
def test_an_end_before_what_is_metered_adds_nothing_and_still_is_final(
    start_ms: int, length_ms: int, metered_ms: int
) -> None:
    run = run_of("prl", held_micro_yuan=7)
    hours = rules.usage_so_far(
        run, started_at_ms=start_ms, confirmed_at_ms=start_ms + length_ms + metered_ms
    )
    metered_until_ms = hours[-1].end_ms if hours else 0
    rest = rules.usage_of_run(
        run,
        started_at_ms=start_ms,
        ended_at_ms=start_ms + length_ms,
        known_at_ms=start_ms + length_ms + metered_ms,
        metered_until_ms=metered_until_ms,
    )
    ids = [record.id for record in [*hours, *rest]]
    assert len(set(ids)) == len(ids)
    assert (rest[-1].final, rest[-1].hold_release_micro_yuan) == (True, 7)
    billed = sum(record.billable_seconds for record in [*hours, *rest])
    longest = max(start_ms + length_ms, metered_until_ms) - start_ms
    assert billed == -(-longest // 1_000)
    for record in rest:
        rules.check_record(record)


@given(
    STARTS,
    st.none() | st.integers(-(10**14), 10**14),
    st.integers(-(10**14), 10**14),
    st.none() | st.integers(-(10**14), 10**14),
    st.integers(0, 100 * HOUR_MS),
    st.integers(1, 200_000),
)
def test_no_clock_makes_a_bill_longer_than_the_lease_can_have_run(
    granted_at_ms: int,
    started: int | None,
    ended: int,
    measured: int | None,
    heard_after_ms: int,
    max_billable_s: int,
) -> None:
    run = run_of("prl", granted_at_ms=granted_at_ms, max_billable_s=max_billable_s)
    records = rules.usage_of_run(
        run,
        started_at_ms=None if started is None else granted_at_ms + started,
        ended_at_ms=granted_at_ms + ended,
        known_at_ms=granted_at_ms + heard_after_ms,
        measured_ms=measured,
    )
    for record in records:
        rules.check_record(record)
        assert granted_at_ms <= record.start_ms <= record.end_ms
        assert record.end_ms <= granted_at_ms + heard_after_ms
    total = sum(record.billable_seconds for record in records)
    assert total <= min(max_billable_s, -(-heard_after_ms // 1_000))
    assert [record.final for record in records].count(True) == 1


@given(PRICES, RESOURCES, st.integers(1, 64))
def test_rate_is_the_exact_price_rounded_once(
    prices: Prices, resources: Resources, members: int
) -> None:
    exact = cost(prices, resources, members, 3_600)
    assert rules.rate(prices, resources, members) == scale(exact.numerator, 1, exact.denominator)


@given(PRICES, RESOURCES, st.integers(1, 64), STARTS, LENGTHS)
def test_charges_stay_within_half_a_micro_yuan_each(
    prices: Prices, resources: Resources, members: int, start_ms: int, length_ms: int
) -> None:
    run = run_of("prl", resources=resources, members=members)
    records = records_of(run, start_ms, length_ms)
    seconds = -(-length_ms // 1_000)
    exact = cost(prices, resources, members, seconds)
    charged = sum(rules.amount_of(record, prices) for record in records)
    assert abs(charged - exact) <= Fraction(len(records), 2)
    hold = rules.hold_for(prices, resources, members, seconds)
    assert charged <= hold <= exact + seconds * 1_000 // HOUR_MS + 3


@given(PRICES, RESOURCES, STARTS, LENGTHS, LENGTHS, RESOURCES)
def test_money_is_monotone_in_time_and_quantity(
    prices: Prices,
    resources: Resources,
    start_ms: int,
    length_ms: int,
    longer_ms: int,
    more: Resources,
) -> None:
    def total(length_ms: int, resources: Resources) -> int:
        records = records_of(run_of("prl", resources=resources), start_ms, length_ms)
        return sum(rules.amount_of(record, prices) for record in records)

    base = total(length_ms, resources)
    assert 0 <= base <= total(length_ms + longer_ms, resources)
    assert base <= total(length_ms, resources + more)


RUNS = st.lists(
    st.tuples(
        st.integers(0, 2),  # project
        st.integers(0, 2),  # job
        STARTS,
        st.integers(0, 3 * HOUR_MS),
        st.integers(0, 10**7),  # hold
        st.booleans(),  # started
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(RUNS, st.integers(0, 100), st.data())
def test_settling_conserves_money_whatever_comes_twice_and_in_any_order(
    runs: list[tuple[int, int, int, int, int, bool]], fee_percent: int, data: st.DataObject
) -> None:
    world, clock = fresh()
    projects = [PROJECT, "prj_1", "prj_2"]
    records: list[UsageRecord] = []
    for number, (project, job, start_ms, length_ms, hold, started) in enumerate(runs):
        run = world.run(
            lease_id=f"lea_{number}",
            project_id=projects[project],
            job_id=f"job_{job}",
            held_micro_yuan=hold,
            resources=Resources(1_001, 777, 0, 13),
        )
        world.hold(projects[project], hold)
        end_ms = start_ms + length_ms
        records += rules.usage_of_run(
            run,
            started_at_ms=start_ms if started else None,
            ended_at_ms=end_ms,
            known_at_ms=end_ms,
        )
    clock.at_ms = HOUR_0 + data.draw(st.integers(0, 60)) * 24 * HOUR_MS
    expected = dict.fromkeys(projects, 0)
    for record in records:
        expected[record.project_id] += rules.amount_of(record, Prices(3_600_000, 0, 36_000_000))

    # a run's records come together, batches of runs in any order and more than once
    by_lease: dict[str, list[UsageRecord]] = {}
    for record in records:
        by_lease.setdefault(record.lease_id, []).append(record)
    leases = sorted(by_lease)
    for lease in [*data.draw(st.lists(st.sampled_from(leases), max_size=20)), *leases]:
        new = world.record(by_lease[lease])
        assert new in ([], by_lease[lease])
        facts = [UsageRecorded(record) for record in data.draw(st.permutations(new))]
        for _ in range(data.draw(st.integers(0, 2))):
            world.write(partial(billing.charge, facts=facts, fee_percent=fee_percent))
    while asyncio.run(world.deliver()):
        pass

    assert {project: -world.balance(project) for project in projects} == expected
    assert [world.held(project) for project in projects] == [0, 0, 0]
    assert world.sound()
    assert world.database.read_now(billing.troubles) == []
    keys = [*map(project_key, projects), revenue_key("org_provider"), FEES]
    found = world.database.read_now(lambda c: ledger.find_accounts(c, keys))
    assert sum(account.balance_micro_yuan for account in found.values()) == 0

    for by in (GroupBy.JOB, GroupBy.POOL, GroupBy.DAY):
        spent = 0
        for month in ("2026-01", "2026-02", "2026-03"):
            found_month = world.statement(month, by)
            lines = found_month.report.lines
            assert sum(line.amount_micro_yuan for line in lines) == found_month.charged_micro_yuan
            assert found_month.opening_micro_yuan == -spent
            spent += found_month.charged_micro_yuan
            assert found_month.closing_micro_yuan == -spent
        assert spent == -world.balance(PROJECT)


def test_no_drift_over_many_small_charges() -> None:
    """Each cheap run is rounded by itself; what is booked is exactly the sum of what was shown."""
    world, clock = fresh()
    clock.at_ms = HOUR_0 + HOUR_MS
    cheap = world.write(
        lambda tx: billing.publish_prices(tx, "pol_cheap", Prices(core_hour=49_999))
    )
    runs = 4_000
    for start in range(0, runs, 1_000):
        world.record(
            [
                records_of(
                    run_of(cheap, lease_id=f"lea_{i}", job_id=f"job_{i % 7}"), HOUR_0 + i, 900
                )[0]
                for i in range(start, start + 1_000)
            ]
        )
    while asyncio.run(world.deliver()):
        pass
    assert world.balance(PROJECT) == -14 * runs == -scale(49_999, 1, 3_600) * runs
    found = world.statement("2026-01")
    assert sum(line.amount_micro_yuan for line in found.report.lines) == 14 * runs
    assert world.sound()
    used = world.database.read_now(
        lambda c: reports.usage_summary(c, [PROJECT], HOUR_0, HOUR_0 + HOUR_MS, by=GroupBy.USER)
    )
    assert used.lines[0].quantities.records == runs


@given(PRICES, RESOURCES, st.integers(1, 64))
def test_the_planner_and_billing_name_the_same_rate(
    prices: Prices, resources: Resources, members: int
) -> None:
    assert rules.rate(prices, resources, members) == gang_rate(resources, members, prices)
