"""Days are closed once, in turn, and stay as they were; what is paid out was there, on both
databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from billing_world import HOUR_0, PROJECT, PROVIDER
from manual_clock import ManualClock
from settlement_world import (
    DAY_0,
    HOURLY,
    REVENUE,
    balance,
    charge_day,
    close_until,
    top_up,
)
from suanwang.kernel.errors import Conflict, InvariantViolated, SuanwangError
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.trade.billing import reports
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    CASH,
    AccountKind,
    EntryDraft,
    EntryKind,
    payable_key,
    project_key,
    revenue_key,
)
from suanwang.trade.ledger.store import postings
from suanwang.trade.settlement import closing, payouts, rules
from suanwang.trade.settlement.model import PayoutState

DIGEST = "d05eb69863053513408dbf77573dc0297b237cfc9f07329b622e5a4f3c4a1981"
"""Of the same books, whatever keeps them: auditors may compute it themselves."""


async def test_a_day_is_counted_alike_whoever_counts(any_database: Any, clock: ManualClock) -> None:
    clock.at_ms = HOUR_0
    await top_up(any_database)
    await charge_day(any_database, DAY_0, fee_percent=5)
    await charge_day(any_database, DAY_0 + 1, hours=2, fee_percent=5)
    await close_until(any_database, clock, DAY_0 + 1)
    first = await any_database.read(lambda conn: closing.find(conn, DAY_0))
    second = await any_database.read(lambda conn: closing.find(conn, DAY_0 + 1))
    assert (first.postings, second.postings) == (2 + 3 * 3, 3 * 2)
    lines = {line.kind: line for line in second.lines}
    prepaid = lines[AccountKind.PREPAID]
    assert prepaid.opening_micro_yuan == 1_000_000_000 - 3 * HOURLY
    assert (prepaid.debit_micro_yuan, prepaid.credit_micro_yuan) == (-2 * HOURLY, 0)
    assert lines[AccountKind.FEES].closing_micro_yuan == 5 * HOURLY // 20
    assert lines[AccountKind.CASH].closing_micro_yuan == -1_000_000_000
    for day in (first, second):
        assert not sum(line.closing_micro_yuan for line in day.lines)
        again = await any_database.read(lambda conn, n=day.day: closing.recount(conn, n))
        assert (again.digest, again.lines) == (day.digest, day.lines)
    assert first.digest != second.digest


async def test_days_are_closed_in_turn_and_after_midnight(
    any_database: Any, clock: ManualClock
) -> None:
    clock.at_ms = HOUR_0

    async def close(day: int) -> None:
        await closing.close_day(any_database, day, clock.at_ms, by="usr_op")

    with pytest.raises(Conflict, match="Nothing has been booked"):
        await close(DAY_0)
    await top_up(any_database)
    for day, reason in ((DAY_0, "DayNotOver"), (DAY_0 + 1, "EarlierDayOpen")):
        with pytest.raises(Conflict) as refused:
            await close(day)
        assert refused.value.reason == reason
    with pytest.raises(Conflict) as refused:
        await close(DAY_0 - 1)
    assert refused.value.reason == "DayBeforeBooks"
    clock.at_ms += 3 * MS_PER_DAY
    assert await closing.close_due(any_database, clock.at_ms, 6, by="system") == 3
    assert await closing.close_due(any_database, clock.at_ms, 6, by="system") == 0
    days = [one.day for one in await any_database.read(closing.closes)]
    assert days == [DAY_0 + 2, DAY_0 + 1, DAY_0]


async def test_what_comes_late_counts_on_the_first_open_day(
    any_database: Any, clock: ManualClock
) -> None:
    clock.at_ms = HOUR_0
    await top_up(any_database)
    await close_until(any_database, clock, DAY_0)
    kept = await any_database.read(lambda conn: closing.find(conn, DAY_0))
    await charge_day(any_database, DAY_0)
    open_from_ms = rules.start_of(DAY_0 + 1)
    statement = await any_database.read(lambda c: reports.statement(c, PROJECT, "2026-01"))
    assert statement.charged_micro_yuan == 3 * HOURLY
    assert sum(line.amount_micro_yuan for line in statement.report.lines) == 3 * HOURLY
    charged = sa.select(postings.c.at_ms).where(postings.c.kind == "charge").distinct()
    assert (await any_database.read(lambda c: c.execute(charged).scalars().all())) == [open_from_ms]
    again = await any_database.read(lambda conn: closing.recount(conn, DAY_0))
    assert again.digest == kept.digest
    assert await any_database.read(reports.verify) == []


async def test_a_day_that_does_not_balance_is_not_closed(
    any_database: Any, clock: ManualClock
) -> None:
    """Nothing of ours can write that; a hand on the database can."""
    clock.at_ms = HOUR_0
    await top_up(any_database)
    spoil = sa.update(postings).where(postings.c.amount > 0).values(amount=postings.c.amount + 1)
    await any_database.write(lambda tx: tx.conn.execute(spoil))
    clock.at_ms += MS_PER_DAY
    with pytest.raises(InvariantViolated, match="off by"):
        await closing.close_day(any_database, DAY_0, clock.at_ms, by="usr_op")
    assert await any_database.read(closing.closes) == []
    mend = sa.update(postings).where(postings.c.amount > 0).values(amount=postings.c.amount - 1)
    await any_database.write(lambda tx: tx.conn.execute(mend))
    await closing.close_day(any_database, DAY_0, clock.at_ms, by="usr_op")


async def test_a_changed_posting_shows(any_database: Any, clock: ManualClock) -> None:
    clock.at_ms = HOUR_0
    await top_up(any_database)
    await close_until(any_database, clock, DAY_0)
    kept = await any_database.read(lambda conn: closing.find(conn, DAY_0))
    move = sa.update(postings).values(entry_id=sa.func.substr(postings.c.entry_id, 1, 20))
    await any_database.write(lambda tx: tx.conn.execute(move))
    again = await any_database.read(lambda conn: closing.recount(conn, DAY_0))
    assert again.lines == kept.lines
    assert again.digest != kept.digest


async def test_both_databases_give_one_digest(any_database: Any) -> None:
    """Ids are the test's own here, so that nothing differs but the database."""

    def fill(tx: Tx) -> None:
        fixed = iter(range(10**6))
        tx.ids.new = lambda prefix: f"{prefix}_{next(fixed):018d}"  # type: ignore[method-assign]
        found = ledger.ensure_accounts(tx, [CASH, project_key(PROJECT), REVENUE])
        one, two, three = sorted(account.id for account in found.values())
        drafts = [
            EntryDraft(f"{n}", EntryKind.TRANSFER, HOUR_0 + n * 1_234_567, amounts)
            for n in range(50)
            for amounts in [((one, -n - 7), (two, n), (three, 7))]
        ]
        ledger.post(tx, drafts)

    await any_database.write(fill)
    made = await any_database.read(lambda c: closing.count(c, DAY_0, None, now_ms=0, by=""))
    assert made.postings == 141
    assert made.digest == DIGEST


async def test_bookings_while_a_day_is_shut_fall_on_one_side(
    any_database: Any, clock: ManualClock
) -> None:
    clock.at_ms = HOUR_0
    await top_up(any_database)
    clock.at_ms += MS_PER_DAY

    async def book(number: int) -> None:
        def use_case(tx: Tx) -> None:
            found = ledger.ensure_accounts(tx, [CASH, project_key(PROJECT)])
            one, two = (found[key].id for key in (CASH, project_key(PROJECT)))
            draft = EntryDraft(f"k{number}", EntryKind.TRANSFER, HOUR_0, ((one, -1), (two, 1)))
            ledger.post(tx, [draft])

        await any_database.write(use_case)

    closes = [closing.close_day(any_database, DAY_0, clock.at_ms, by=f"usr_{n}") for n in range(3)]
    made, *_ = await asyncio.gather(*closes, *(book(number) for number in range(30)))
    again = await any_database.read(lambda conn: closing.recount(conn, DAY_0))
    assert (again.digest, again.postings) == (made.digest, made.postings)
    clock.at_ms += MS_PER_DAY
    second = await closing.close_day(any_database, DAY_0 + 1, clock.at_ms, by="usr_op")
    assert made.postings + second.postings == 2 + 2 * 30


# --- payouts -----------------------------------------------------------------------------------


async def earned(database: Any, clock: ManualClock) -> None:
    """Five hours of two closed days, and one hour of a day that is open."""
    clock.at_ms = HOUR_0
    await top_up(database)
    await charge_day(database, DAY_0)
    await charge_day(database, DAY_0 + 1, hours=2)
    await close_until(database, clock, DAY_0 + 1)
    await charge_day(database, DAY_0 + 2, hours=1)


async def test_closed_days_are_paid_out_once(any_database: Any, clock: ManualClock) -> None:
    await earned(any_database, clock)
    made = await any_database.write(lambda tx: payouts.propose(tx, by="usr_op"))
    again = await any_database.write(lambda tx: payouts.propose(tx, by="usr_op"))
    assert ([one.amount_micro_yuan for one in made], again) == ([5 * HOURLY], [])
    assert await balance(any_database) == HOURLY
    payable = payable_key(PROVIDER)
    assert await balance(any_database, payable) == 5 * HOURLY
    payout = made[0]
    lines = await any_database.read(lambda c: payouts.lines(c, payout.id))
    assert [(one.what, one.amount_micro_yuan) for one in lines] == [("earned", 5 * HOURLY)]
    await any_database.write(lambda tx: payouts.approve(tx, payout.id, by="usr_2"))
    for _ in range(2):
        paid = await any_database.write(
            lambda tx: payouts.confirm(tx, payout.id, bank_reference="TX1", by="usr_3")
        )
    assert (paid.state, paid.bank_reference) == (PayoutState.PAID, "TX1")
    assert await balance(any_database, payable) == 0
    assert await balance(any_database, CASH) == 5 * HOURLY - 1_000_000_000
    await any_database.write(lambda tx: payouts.fail(tx, payout.id, why="account closed"))
    assert await balance(any_database) == 6 * HOURLY
    assert await balance(any_database, CASH) == -1_000_000_000
    assert await any_database.read(reports.verify) == []


async def test_the_second_payout_tells_only_what_is_new(
    any_database: Any, clock: ManualClock
) -> None:
    await earned(any_database, clock)
    first = (await any_database.write(lambda tx: payouts.propose(tx, by="usr_op")))[0]
    clock.at_ms += MS_PER_DAY
    await close_until(any_database, clock, DAY_0 + 3)
    second = (await any_database.write(lambda tx: payouts.propose(tx, by="usr_op")))[0]
    assert (second.from_ms, second.amount_micro_yuan) == (first.until_ms, HOURLY)
    lines = await any_database.read(lambda c: payouts.lines(c, second.id))
    assert [(one.what, one.amount_micro_yuan) for one in lines] == [
        ("earned", HOURLY),
        ("payout", -5 * HOURLY),
        ("brought_forward", 5 * HOURLY),
    ]
    cancelled = await any_database.write(lambda tx: payouts.cancel(tx, second.id, why="wrong"))
    assert cancelled.state is PayoutState.CANCELLED
    assert await balance(any_database) == HOURLY


async def test_runs_at_once_pay_no_more_than_is_there(
    any_database: Any, clock: ManualClock
) -> None:
    await earned(any_database, clock)

    async def attempt() -> int:
        try:
            made = await any_database.write(lambda tx: payouts.propose(tx, by="usr_op"))
        except SuanwangError:
            return 0
        return sum(one.amount_micro_yuan for one in made)

    taken = await asyncio.gather(*(attempt() for _ in range(8)))
    assert sum(taken) == 5 * HOURLY
    assert await balance(any_database) == HOURLY


@pytest.mark.parametrize(
    ("currency", "reason"), [("voucher:henan", "CurrencyNotPayable"), ("CNY", "NothingClosed")]
)
async def test_payouts_that_are_refused(inline_database: Any, currency: str, reason: str) -> None:
    with pytest.raises(SuanwangError) as refused:
        inline_database.write_now(lambda tx: payouts.propose(tx, by="u", currency=currency))
    assert refused.value.reason == reason


async def test_what_is_held_and_what_is_small_stays(
    inline_database: Any, clock: ManualClock
) -> None:
    await earned(inline_database, clock)

    def hold(tx: Tx) -> None:
        ledger.hold(tx, {ledger.ensure_account(tx, revenue_key(PROVIDER)): 4 * HOURLY})

    inline_database.write_now(hold)
    propose = payouts.propose
    assert inline_database.write_now(lambda tx: propose(tx, by="u", minimum=2 * HOURLY)) == []
    made = inline_database.write_now(lambda tx: propose(tx, by="u", minimum=HOURLY))
    assert [one.amount_micro_yuan for one in made] == [HOURLY]


async def test_payouts_move_forward_only(inline_database: Any, clock: ManualClock) -> None:
    await earned(inline_database, clock)
    payout = inline_database.write_now(lambda tx: payouts.propose(tx, by="u"))[0]
    with pytest.raises(Conflict, match="cannot become paid"):
        inline_database.write_now(
            lambda tx: payouts.confirm(tx, payout.id, bank_reference="x", by="v")
        )
    inline_database.write_now(lambda tx: payouts.cancel(tx, payout.id, why="no"))
    with pytest.raises(Conflict, match="cannot become approved"):
        inline_database.write_now(lambda tx: payouts.approve(tx, payout.id, by="u"))
