"""Disputes: who was charged wrongly gets it back, from those who got it, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from billing_world import HOUR_0, PROJECT, PROVIDER, SITE
from manual_clock import ManualClock
from settlement_world import DAY_0, HOURLY, balance, charge_day, found_buyer, top_up
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.trade.billing import reports
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import FEES, project_key
from suanwang.trade.settlement import disputes, invoicing, rules
from suanwang.trade.settlement.model import (
    Dispute,
    DisputeReason,
    DisputeState,
    Subject,
    SubjectKind,
)

FINDERS = {SubjectKind.ENTRY: disputes.entry_subject}


async def charged(database: Any, clock: ManualClock) -> str:
    """The entry of one of three hours, five percent of it the platform's."""
    clock.at_ms = HOUR_0
    await found_buyer(database)
    await top_up(database)
    await charge_day(database, DAY_0, fee_percent=5)
    account = await database.read(lambda c: ledger.project_account(c, PROJECT))
    lines = await database.read(
        lambda c: ledger.account_lines(c, account.id, HOUR_0, clock.at_ms + MS_PER_DAY)
    )
    return str(next(one.entry_id for one in lines if one.amount_micro_yuan < 0))


async def opened(
    database: Any, entry_id: str, amount: int | None = None, by: str = "usr_1"
) -> Dispute:
    def use_case(tx: Tx) -> Dispute:
        subject = disputes.subject_of(tx.conn, SubjectKind.ENTRY, entry_id, FINDERS)
        return disputes.open_dispute(
            tx,
            subject,
            reason=DisputeReason.NOT_DELIVERED,
            claimed=amount,
            text="the card was lost",
            by=by,
        )

    made: Dispute = await database.write(use_case)
    return made


async def decided(database: Any, dispute: Dispute, amount: int | None = None) -> Dispute:
    moved: Dispute = await database.write(
        lambda tx: disputes.uphold(tx, dispute.id, amount=amount, text="right", by="usr_op")
    )
    return moved


async def reason_of(attempt: Any) -> str:
    with pytest.raises(SuanwangError) as refused:
        await attempt
    return refused.value.reason


async def test_an_upheld_charge_is_reversed_whole(any_database: Any, clock: ManualClock) -> None:
    entry = await charged(any_database, clock)
    dispute = await opened(any_database, entry)
    assert (dispute.provider_organisation_id, dispute.claimed_micro_yuan) == (PROVIDER, HOURLY)
    await any_database.write(
        lambda tx: disputes.answer(tx, dispute.id, text="it was there", by="usr_p")
    )
    moved = await decided(any_database, dispute)
    assert (moved.state, moved.awarded_micro_yuan, moved.credited_micro_yuan) == (
        DisputeState.UPHELD,
        HOURLY,
        0,
    )
    assert await balance(any_database, project_key(PROJECT)) == 1_000_000_000 - 2 * HOURLY
    assert await balance(any_database, FEES) == 2 * HOURLY // 20
    history = await any_database.read(lambda c: disputes.history(c, dispute.id))
    assert [(one.number, one.state.value, one.actor_user_id) for one in history] == [
        (1, "opened", "usr_1"),
        (2, "answered", "usr_p"),
        (3, "upheld", "usr_op"),
    ]
    assert await any_database.read(ledger.verify) == []


async def test_part_of_it_comes_from_those_who_got_it(
    any_database: Any, clock: ManualClock
) -> None:
    entry = await charged(any_database, clock)
    dispute = await opened(any_database, entry, 2_000_000)
    clock.at_ms = dispute.answer_by_ms
    moved = await decided(any_database, dispute, 1_000_001)
    assert moved.credited_micro_yuan == 1_000_001
    paid_back = 1_000_000_000 - 3 * HOURLY + 1_000_001
    assert await balance(any_database, project_key(PROJECT)) == paid_back
    assert await balance(any_database) == 3 * HOURLY * 19 // 20 - 950_001
    assert await balance(any_database, FEES) == 3 * HOURLY // 20 - 50_000
    money = await any_database.read(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert money.charged == 3 * HOURLY - 1_000_001
    assert await any_database.read(reports.verify) == []


async def test_a_thing_is_disputed_once(any_database: Any, clock: ManualClock) -> None:
    entry = await charged(any_database, clock)
    found = await asyncio.gather(
        *(opened(any_database, entry) for _ in range(6)), return_exceptions=True
    )
    made = [one for one in found if isinstance(one, Dispute)]
    assert len(made) == 1
    assert await reason_of(opened(any_database, entry)) == "AlreadyDisputed"
    await any_database.write(
        lambda tx: disputes.withdraw(tx, made[0].id, text="my mistake", by="usr_1")
    )
    again = await opened(any_database, entry)
    clock.at_ms = again.answer_by_ms
    await any_database.write(
        lambda tx: disputes.reject(tx, again.id, text="it was there", by="usr_op")
    )
    assert await reason_of(opened(any_database, entry)) == "AlreadyDisputed"


async def test_two_decisions_at_once_give_it_back_once(
    any_database: Any, clock: ManualClock
) -> None:
    dispute = await opened(any_database, await charged(any_database, clock), 1_000_000)
    clock.at_ms = dispute.answer_by_ms
    found = await asyncio.gather(
        *(decided(any_database, dispute) for _ in range(4)), return_exceptions=True
    )
    assert len([one for one in found if isinstance(one, Dispute)]) == 1
    paid_back = 1_000_000_000 - 3 * HOURLY + 1_000_000
    assert await balance(any_database, project_key(PROJECT)) == paid_back


async def test_the_provider_is_heard_first(inline_database: Any, clock: ManualClock) -> None:
    dispute = await opened(inline_database, await charged(inline_database, clock))
    assert await reason_of(decided(inline_database, dispute)) == "NotYetAnswered"
    clock.at_ms = dispute.answer_by_ms
    assert (await decided(inline_database, dispute)).state is DisputeState.UPHELD
    late = inline_database.write(lambda tx: disputes.answer(tx, dispute.id, text="x", by="u"))
    assert await reason_of(late) == "WrongState"


async def test_what_cannot_be_disputed(inline_database: Any, clock: ManualClock) -> None:
    entry = await charged(inline_database, clock)
    assert await reason_of(opened(inline_database, entry, HOURLY + 1)) == "InvalidClaim"
    assert await reason_of(opened(inline_database, entry, 0)) == "InvalidClaim"
    assert await reason_of(opened(inline_database, "ent_none")) == "NoSuchEntry"
    paid = inline_database.read_now(lambda c: ledger.entry_of_key(c, f"top_up:{PROJECT}:first"))
    assert await reason_of(opened(inline_database, paid)) == "NotDisputable"
    clock.at_ms += rules.OPEN_WITHIN_MS + 4 * MS_PER_DAY
    assert await reason_of(opened(inline_database, entry)) == "TooLateToDispute"
    clock.at_ms = HOUR_0 + MS_PER_DAY
    dispute = await opened(inline_database, entry)
    clock.at_ms = dispute.answer_by_ms
    assert await reason_of(decided(inline_database, dispute, HOURLY + 1)) == "InvalidAward"
    inline_database.write_now(lambda tx: ledger.reverse(tx, entry, reason="by hand"))
    assert await reason_of(decided(inline_database, dispute)) == "EntryReversed"


KEYS = [f"charge:{SITE}/lea_{DAY_0}.1.{HOUR_0 // 3_600_000 + n}" for n in range(3)]


def contract(conn: Any, identity: str) -> Subject:
    """Three hours of one buyer and seller."""
    return disputes.subject_of_entries(
        conn, SubjectKind.CONTRACT, identity, PROJECT, PROVIDER, KEYS
    )


BOTH = {**FINDERS, SubjectKind.CONTRACT: contract}


async def of_contract(database: Any, amount: int | None = None) -> Dispute:
    def use_case(tx: Tx) -> Dispute:
        return disputes.open_dispute(
            tx,
            contract(tx.conn, "con_1"),
            reason=DisputeReason.FAULTY,
            claimed=amount,
            text="slow",
            by="usr_1",
        )

    made: Dispute = await database.write(use_case)
    await database.write(lambda tx: disputes.answer(tx, made.id, text="yes", by="usr_p"))
    return made


async def upheld(database: Any, dispute: Dispute, amount: int | None = None) -> Dispute:
    moved: Dispute = await database.write(
        lambda tx: disputes.uphold(
            tx, dispute.id, amount=amount, text="right", by="usr_op", finders=BOTH
        )
    )
    return moved


async def test_a_contracts_hours_are_given_back_by_those_who_got_their_price(
    any_database: Any, clock: ManualClock
) -> None:
    """Three hours, five percent of each the platform's."""
    await charged(any_database, clock)
    dispute = await of_contract(any_database)
    assert dispute.claimed_micro_yuan == 3 * HOURLY
    moved = await upheld(any_database, dispute, HOURLY)
    assert moved.credited_micro_yuan == HOURLY
    assert await balance(any_database, project_key(PROJECT)) == 1_000_000_000 - 2 * HOURLY
    assert await balance(any_database) == 2 * HOURLY * 19 // 20
    assert await balance(any_database, FEES) == 2 * HOURLY // 20
    money = await any_database.read(lambda c: invoicing.invoiceable(c, PROJECT, "2026-01"))
    assert money.charged == 2 * HOURLY
    assert await any_database.read(reports.verify) == []


async def test_an_hour_is_not_given_back_as_itself_and_as_a_contracts(
    any_database: Any, clock: ManualClock
) -> None:
    entry = await charged(any_database, clock)
    whole, hour = await of_contract(any_database), await opened(any_database, entry)
    await any_database.write(lambda tx: disputes.answer(tx, hour.id, text="yes", by="usr_p"))
    await upheld(any_database, hour)
    assert await reason_of(upheld(any_database, whole)) == "GivenBackMeanwhile"
    await upheld(any_database, whole, 2 * HOURLY)
    assert await balance(any_database, project_key(PROJECT)) == 1_000_000_000
    assert await balance(any_database) == await balance(any_database, FEES) == 0
    assert await any_database.read(reports.verify) == []


async def test_both_decided_at_once_give_back_no_more_than_was_paid(
    any_database: Any, clock: ManualClock
) -> None:
    entry = await charged(any_database, clock)
    whole, hour = await of_contract(any_database), await opened(any_database, entry)
    await any_database.write(lambda tx: disputes.answer(tx, hour.id, text="yes", by="usr_p"))
    await asyncio.gather(
        upheld(any_database, hour), upheld(any_database, whole), return_exceptions=True
    )
    assert await balance(any_database, project_key(PROJECT)) <= 1_000_000_000
    assert await any_database.read(reports.verify) == []
