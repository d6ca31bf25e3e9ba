"""A finished run gives exactly one usage record for each hour, and each record one charge.

Each test is named after a way in which that has gone wrong, here or elsewhere.
"""

from __future__ import annotations

import pytest

from billing_world import (
    HOUR_0,
    HOUR_MS,
    OTHER_PROJECT,
    POOL,
    PRICES,
    PROJECT,
    PROVIDER,
    YUAN,
    Settable,
    World,
    usage_of,
)
from suanwang.engines.scheduling.model import Prices
from suanwang.kernel.errors import InvariantViolated
from suanwang.kernel.resources import Resources
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.platform.outbox import outbox as outbox_table
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import GroupBy, Trouble, UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import project_key, revenue_key


@pytest.fixture
def world(inline_database: InlineDatabase) -> World:
    return World(inline_database)


async def test_duplicate_delivery_of_a_report(world: World) -> None:
    records = usage_of(world.run(), HOUR_0, HOUR_0 + 10_000)
    assert len(world.record(records)) == 1
    assert world.record(records) == []
    assert world.record([*records, *records]) == []
    await world.deliver()
    assert world.balance() == -10_000
    assert world.sound()


async def test_duplicate_within_one_batch(world: World) -> None:
    records = usage_of(world.run(), HOUR_0, HOUR_0 + 10_000)
    assert len(world.record([*records, *records])) == 1
    assert await world.deliver() == 1


async def test_duplicate_delivery_of_a_fact(world: World) -> None:
    records = usage_of(world.run(), HOUR_0, HOUR_0 + 10_000)
    await world.settle(records)
    world.charge(records)
    world.charge([*records, *records])
    assert world.balance() == -10_000
    assert world.sound()


async def test_duplicate_is_not_mistaken_for_lack_of_funds(world: World) -> None:
    world.top_up(10_000)
    records = usage_of(world.run(), HOUR_0, HOUR_0 + 10_000)
    await world.settle(records)
    world.charge(records)
    assert world.database.read_now(lambda c: billing.arrears(c, [PROJECT])) == {}
    assert world.database.read_now(billing.troubles) == []


async def test_cancelling_charges_the_last_interval_once(world: World, clock: Settable) -> None:
    run = world.run()
    confirmed_at_ms = HOUR_0 + HOUR_MS + 60_000
    so_far = rules.usage_so_far(run, started_at_ms=HOUR_0, confirmed_at_ms=confirmed_at_ms)
    await world.settle(so_far)
    await world.settle(usage_of(run, HOUR_0, confirmed_at_ms))
    await world.settle(usage_of(run, HOUR_0, confirmed_at_ms + 5_000))
    assert world.balance() == -(3_600 + 60) * 1_000


async def test_late_report_after_loss_adds_nothing(world: World) -> None:
    run = world.run(held_micro_yuan=5 * YUAN)
    world.hold(PROJECT, 5 * YUAN)
    await world.settle(usage_of(run, HOUR_0, HOUR_0 + 600_000))
    late = usage_of(run, HOUR_0, HOUR_0 + 3 * HOUR_MS + 1_000)
    assert len(late) == 4
    assert world.record(late) == []
    assert world.record(late[-1:]) == []
    assert await world.deliver() == 0
    assert world.balance() == -600_000
    assert world.held() == 0


async def test_retried_attempt_is_a_run_of_its_own(world: World) -> None:
    first = usage_of(world.run(epoch=1), HOUR_0, HOUR_0 + 10_000)
    second = usage_of(world.run(epoch=2), HOUR_0 + 20_000, HOUR_0 + 25_000)
    await world.settle([*first, *second])
    await world.settle([*first, *second])
    assert world.balance() == -15_000


async def test_two_tasks_at_the_same_instant_are_not_taken_for_one(world: World) -> None:
    runs = [world.run(lease_id=f"lea_{i}", task_id=f"tsk_{i}") for i in range(3)]
    records = [usage_of(run, HOUR_0, HOUR_0 + 1_000)[0] for run in runs]
    assert len(world.record(records)) == 3


async def test_two_sites_may_use_the_same_id(world: World) -> None:
    records = [
        usage_of(world.run(site_id=site, lease_id=f"lea_{site}"), HOUR_0, HOUR_0 + 1_000)[0]
        for site in ("ste_1", "ste_2")
    ]
    assert len(world.record(records)) == 2


def test_clock_skew_gives_no_negative_duration(world: World) -> None:
    run = world.run()
    (record,) = usage_of(run, HOUR_0 + 60_000, HOUR_0 + 30_000, known_at_ms=HOUR_0 + 61_000)
    assert (record.start_ms, record.end_ms) == (HOUR_0 + 60_000, HOUR_0 + 60_000)
    assert record.billable_seconds == 0
    assert record.final


def test_clock_skew_gives_no_huge_duration(world: World) -> None:
    run = world.run(max_billable_s=3_600)
    records = usage_of(run, 0, HOUR_0 + 10**12, known_at_ms=HOUR_0 + 20_000)
    assert sum(record.billable_seconds for record in records) == 20
    records = usage_of(run, HOUR_0, HOUR_0 + 10**9)
    assert sum(record.billable_seconds for record in records) == 3_600
    measured = rules.usage_of_run(
        run,
        started_at_ms=HOUR_0,
        ended_at_ms=HOUR_0 + 5_000,
        known_at_ms=HOUR_0 + 6_000,
        measured_ms=10**15,
    )
    assert sum(record.billable_seconds for record in measured) == 6


def test_the_sites_stopwatch_is_believed_before_its_clock(world: World) -> None:
    (record,) = rules.usage_of_run(
        world.run(),
        started_at_ms=HOUR_0 + 1_000,
        ended_at_ms=HOUR_0 + 9_000,
        known_at_ms=HOUR_0 + 20_000,
        measured_ms=4_200,
        cpu_ms=3_900,
    )
    assert record.billable_seconds == 5
    assert record.cpu_ms == 3_900


async def test_restart_between_usage_and_charge(world: World, clock: Settable) -> None:
    world.record(usage_of(world.run(), HOUR_0, HOUR_0 + 10_000))
    # another process comes up on the same database and finds the fact
    restarted = World(world.database)
    await restarted.deliver()
    await world.deliver()
    assert world.balance() == -10_000


async def test_crash_while_charging_leaves_all_or_nothing(world: World) -> None:
    world.record(usage_of(world.run(), HOUR_0, HOUR_0 + 10_000))

    def dies(tx: Tx) -> None:
        billing.charge_records(tx, usage_of(world.run(), HOUR_0, HOUR_0 + 10_000))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        world.write(dies)
    assert world.balance() == 0
    await world.deliver()
    assert world.balance() == -10_000
    assert world.sound()


async def test_lost_fact_is_found_by_looking_at_the_usage(world: World) -> None:
    records = usage_of(world.run(), HOUR_0, HOUR_0 + 10_000)
    world.record(records)
    world.write(lambda tx: tx.conn.execute(outbox_table.delete()))
    assert await world.deliver() == 0
    span = (HOUR_0, HOUR_0 + HOUR_MS)
    assert world.database.read_now(lambda c: billing.uncharged(c, *span)) == records
    world.write(lambda tx: billing.charge_missing(tx, *span))
    world.write(lambda tx: billing.charge_missing(tx, *span))
    assert world.database.read_now(lambda c: billing.uncharged(c, *span)) == []
    assert world.balance() == -10_000


def test_run_within_an_hour_gives_one_record(world: World) -> None:
    (record,) = usage_of(world.run(), HOUR_0 + 500, HOUR_0 + HOUR_MS)
    assert record.id == f"lea_1.1.{HOUR_0 // HOUR_MS}"
    assert record.billable_seconds == 3_600
    assert record.final


def test_run_crossing_an_hour_keeps_its_seconds(world: World) -> None:
    first, second = usage_of(world.run(), HOUR_0 + HOUR_MS - 500, HOUR_0 + HOUR_MS + 200)
    assert (first.billable_seconds, second.billable_seconds) == (1, 0)
    assert (first.final, second.final) == (False, True)


def test_run_ending_on_the_hour_does_not_touch_the_next(world: World) -> None:
    records = usage_of(world.run(), HOUR_0, HOUR_0 + 2 * HOUR_MS)
    assert [record.billable_seconds for record in records] == [3_600, 3_600]


async def test_run_crossing_a_day_and_a_month_in_shanghai(world: World, clock: Settable) -> None:
    # midnight in Shanghai is 16:00 UTC; 2026-02-01 begins there at 2026-01-31T16:00Z
    midnight = HOUR_0 + 30 * 24 * HOUR_MS + 16 * HOUR_MS
    clock.at_ms = midnight + 2 * HOUR_MS
    await world.settle(usage_of(world.run(), midnight - 2 * HOUR_MS, midnight + HOUR_MS))
    january, february = (world.statement(m, GroupBy.DAY) for m in ("2026-01", "2026-02"))
    assert [line.key for line in january.report.lines] == ["2026-01-31"]
    assert [line.key for line in february.report.lines] == ["2026-02-01"]
    assert january.charged_micro_yuan == 2 * 3_600_000
    assert february.charged_micro_yuan == 3_600_000
    assert january.closing_micro_yuan == february.opening_micro_yuan == -7_200_000


async def test_usage_after_the_books_are_closed_counts_in_the_open_month(
    world: World, clock: Settable
) -> None:
    clock.at_ms = rules.month_bounds("2026-02")[0] + rules.BOOKS_OPEN_MS
    await world.settle(usage_of(world.run(), HOUR_0, HOUR_0 + 1_000))
    january, february = (world.statement(m, GroupBy.DAY) for m in ("2026-01", "2026-02"))
    assert january.charged_micro_yuan == 0
    assert february.charged_micro_yuan == 1_000


async def test_never_started_run_ends_its_hold_and_costs_nothing(world: World) -> None:
    world.hold(PROJECT, YUAN)
    (record,) = usage_of(world.run(held_micro_yuan=YUAN), None, HOUR_0 + 5_000)
    assert (record.billable_seconds, record.final) == (0, True)
    await world.settle([record])
    assert (world.balance(), world.held()) == (0, 0)


async def test_preempted_run_pays_for_what_it_ran(world: World) -> None:
    world.hold(PROJECT, 2 * YUAN)
    first = world.run(epoch=1, held_micro_yuan=YUAN)
    again = world.run(epoch=2, held_micro_yuan=YUAN)
    await world.settle(usage_of(first, HOUR_0, HOUR_0 + 7_000))
    assert world.held() == YUAN
    await world.settle(usage_of(again, HOUR_0 + 60_000, HOUR_0 + 63_000))
    assert (world.balance(), world.held()) == (-10_000, 0)


def test_zero_length_run_has_a_record_of_no_seconds(world: World) -> None:
    (record,) = usage_of(world.run(), HOUR_0 + 3, HOUR_0 + 3)
    assert (record.billable_seconds, record.core_milli_seconds) == (0, 0)


def test_run_shorter_than_a_second_is_not_skipped(world: World) -> None:
    (record,) = usage_of(world.run(), HOUR_0 + 3, HOUR_0 + 4)
    assert record.billable_seconds == 1


async def test_price_change_in_mid_run_does_not_touch_it(world: World) -> None:
    run = world.run()
    world.write(lambda tx: billing.publish_prices(tx, POOL, Prices(core_hour=10**9)))
    await world.settle(usage_of(run, HOUR_0, HOUR_0 + 2 * HOUR_MS))
    assert world.balance() == -2 * 3_600_000


async def test_usage_goes_to_the_project_and_user_of_the_lease(world: World) -> None:
    mine = usage_of(world.run(lease_id="lea_1", user_id="usr_1"), HOUR_0, HOUR_0 + 1_000)
    theirs = usage_of(
        world.run(lease_id="lea_2", project_id=OTHER_PROJECT, user_id="usr_2"),
        HOUR_0,
        HOUR_0 + 5_000,
    )
    await world.settle([*mine, *theirs])
    assert (world.balance(), world.balance(OTHER_PROJECT)) == (-1_000, -5_000)
    span = (HOUR_0, HOUR_0 + HOUR_MS)
    by_user = world.database.read_now(
        lambda c: reports.usage_summary(c, [PROJECT, OTHER_PROJECT], *span, by=GroupBy.USER)
    )
    assert [(line.key, line.amount_micro_yuan) for line in by_user.lines] == [
        ("usr_1", 1_000),
        ("usr_2", 5_000),
    ]


async def test_deleted_pool_is_still_billed(world: World) -> None:
    # price lists are never deleted, so that nothing of the pool itself is needed
    await world.settle(usage_of(world.run(pool_id="pol_gone"), HOUR_0, HOUR_0 + 1_000))
    assert world.balance() == -1_000


async def test_one_unpriced_record_does_not_stop_the_batch(world: World) -> None:
    good = usage_of(world.run(), HOUR_0, HOUR_0 + 1_000)
    bad = usage_of(world.run(lease_id="lea_2", price_list_id="prl_unknown"), HOUR_0, HOUR_0 + 1_000)
    await world.settle([*bad, *good])
    assert world.balance() == -1_000
    (trouble,) = world.database.read_now(billing.troubles)
    assert (trouble.usage_id, trouble.reason) == (bad[0].id, Trouble.UNKNOWN_PRICE_LIST)
    left = world.database.read_now(lambda c: billing.uncharged(c, HOUR_0, HOUR_0 + HOUR_MS))
    assert left == bad


async def test_hold_that_is_too_small_does_not_stop_the_batch(world: World) -> None:
    world.hold(PROJECT, 300)
    runs = [world.run(lease_id=f"lea_{i}", held_micro_yuan=200) for i in range(2)]
    await world.settle([usage_of(run, HOUR_0, HOUR_0 + 1_000)[0] for run in runs])
    assert (world.balance(), world.held()) == (-2_000, 0)
    (trouble,) = world.database.read_now(billing.troubles)
    assert trouble.reason is Trouble.HOLD_TOO_SMALL


def test_impossible_record_is_refused(world: World) -> None:
    (record,) = usage_of(world.run(), HOUR_0, HOUR_0 + 1_000)
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    for change in (
        {"billable_seconds": -1},
        {"billable_seconds": 3_601},
        {"end_ms": record.start_ms - 1},
        {"end_ms": record.start_ms + 2 * HOUR_MS},
        {"core_milli_seconds": -1},
        {"hold_release_micro_yuan": -1},
        {"hour": record.hour + 1},
    ):
        with pytest.raises(InvariantViolated):
            world.record([type(record)(**{**fields, **change})])


async def test_gang_is_billed_once_for_each_member(world: World) -> None:
    run = world.run(resources=Resources(2_000, 0), members=3)
    await world.settle(usage_of(run, HOUR_0, HOUR_0 + 10_000))
    assert world.balance() == -2 * 3 * 10 * 1_000


async def test_cards_are_billed_and_not_forgotten(world: World) -> None:
    run = world.run(resources=Resources(0, 0, 0, 1_500))
    await world.settle(usage_of(run, HOUR_0, HOUR_0 + 10_000))
    assert world.balance() == -15 * 10_000


def test_an_hour_costs_the_hourly_price(world: World) -> None:
    prices = Prices(core_hour=60_000, memory_gib_hour=12_345, accelerator_hour=3_500_000)
    run = world.run(resources=Resources(4_000, 8_192, 0, 2_000))
    (record,) = usage_of(run, HOUR_0, HOUR_0 + HOUR_MS)
    assert rules.amount_of(record, prices) == 4 * 60_000 + 8 * 12_345 + 2 * 3_500_000
    assert rules.rate(prices, run.resources) == rules.amount_of(record, prices)


async def test_small_usage_is_not_shown_as_nothing(world: World) -> None:
    cheap = world.write(lambda tx: billing.publish_prices(tx, "pol_2", Prices(core_hour=50_000)))
    await world.settle(usage_of(world.run(price_list_id=cheap), HOUR_0, HOUR_0 + 100))
    assert world.balance() == -14


async def test_account_without_money_is_seen_however_late_one_looks(world: World) -> None:
    world.top_up(5_000)
    await world.settle(usage_of(world.run(), HOUR_0, HOUR_0 + 8_000))
    for _ in range(2):
        (short,) = world.database.read_now(lambda c: billing.arrears(c, [PROJECT])).values()
        assert short.short_micro_yuan == 3_000
    world.top_up(3_000, key="2")
    assert world.database.read_now(lambda c: billing.arrears(c, [PROJECT])) == {}


async def test_platform_fee_is_split_without_remainder(world: World) -> None:
    records = usage_of(world.run(resources=Resources(333)), HOUR_0, HOUR_0 + 1_000)
    world.record(records)
    facts = [UsageRecorded(record) for record in records]
    world.write(lambda tx: billing.charge(tx, facts, fee_percent=7))
    keys = [project_key(PROJECT), revenue_key(PROVIDER)]
    accounts = world.database.read_now(lambda c: ledger.find_accounts(c, keys))
    assert accounts[keys[0]].balance_micro_yuan == -333
    assert accounts[keys[1]].balance_micro_yuan == 310
    revenue = world.database.read_now(lambda c: reports.provider_revenue(c, PROVIDER, "2026-01"))
    assert [line.amount_micro_yuan for line in revenue.lines] == [310]
    assert world.sound()


async def test_free_usage_is_recorded_without_an_entry(world: World) -> None:
    free = world.write(lambda tx: billing.publish_prices(tx, "pol_free", Prices()))
    world.hold(PROJECT, 10)
    run = world.run(price_list_id=free, held_micro_yuan=10)
    await world.settle(usage_of(run, HOUR_0, HOUR_0 + 1_000))
    assert (world.balance(), world.held()) == (0, 0)
    assert world.database.read_now(lambda c: billing.uncharged(c, HOUR_0, HOUR_0 + 1)) == []


def test_published_prices_get_a_version_only_when_they_change(world: World) -> None:
    again = world.write(lambda tx: billing.publish_prices(tx, POOL, PRICES))
    assert again == world.price_list_id
    new = world.write(lambda tx: billing.publish_prices(tx, POOL, Prices(core_hour=1)))
    assert new != again
    current = world.database.read_now(lambda c: billing.current_prices(c, [POOL]))[POOL]
    assert (current.id, current.version) == (new, 2)
    old = world.database.read_now(lambda c: billing.prices(c, [again, new]))
    assert old[again].core_hour == PRICES.core_hour
