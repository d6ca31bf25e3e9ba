"""Many who grant and redeem at once, on both databases: budgets and caps hold, nothing is lost."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from billing_world import HOUR_0, POOL, PRICES, YUAN, run_of, usage_of
from manual_clock import ManualClock
from policy_world import USER, YEAR, document, profile_of, provider_of, request_of, with_check
from suanwang.kernel.errors import SuanwangError
from suanwang.platform.database import PostgresDatabase, SqliteDatabase, Tx
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import issued_key, subsidy_key
from suanwang.trade.policy import redemption, service
from suanwang.trade.policy.model import Figures, Programme

AnyDatabase = SqliteDatabase | PostgresDatabase


async def prepared(database: AnyDatabase, programme: Programme, pool: int, *regions: str) -> str:
    """Id of a price list."""

    def use_case(tx: Tx) -> str:
        service.publish(tx, programme, "usr_operator")
        service.open_budget(tx, programme.id, YEAR, pool)
        service.put_profile(tx, provider_of(), verified_by="usr_operator")
        for number, region in enumerate(regions or ("henan",)):
            code = with_check(f"91410100MA40A{number:04d}")
            stated = profile_of(f"{USER}_{number}", region=region, uscc=code)
            service.put_profile(tx, stated, verified_by="usr_operator")
        return billing.publish_prices(tx, POOL, PRICES)

    return await database.write(use_case)


def granted(tx: Tx, programme_id: str, number: int, yuan: int, figures: Figures, who: int) -> str:
    wanted = request_of(yuan, contract=f"HT-{number}")
    project = f"prj_{number}"
    made = service.apply(tx, programme_id, f"{USER}_{who}", project, "usr_1", wanted)
    return service.grant(tx, made.id, "usr_o", figures).id


async def tried(database: AnyDatabase, use_case: Any) -> str:
    try:
        await database.write(use_case)
    except SuanwangError as error:
        return error.reason
    return "Granted"


async def sound(database: AnyDatabase) -> bool:
    lines = await database.read(ledger.trial_balance)
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.currency] = sums.get(line.currency, 0) + line.balance_micro_yuan
    return not any(sums.values()) and not await database.read(reports.verify)


async def test_many_grants_never_exceed_the_budget(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    """Twenty ask for 20 yuan of 100 at once: five get it, by different organisations."""
    clock.at_ms = HOUR_0
    await prepared(any_database, document("henan"), 100 * YUAN, *(["henan"] * 20))
    found = await asyncio.gather(
        *(
            tried(
                any_database,
                partial(
                    granted, programme_id="henan", number=n, yuan=100, figures=Figures(), who=n
                ),
            )
            for n in range(20)
        )
    )
    assert sorted(found) == ["BudgetExhausted"] * 15 + ["Granted"] * 5
    (budget,) = await any_database.read(lambda conn: service.budgets(conn, "henan"))
    assert budget.committed_micro_yuan == budget.pool_micro_yuan == 100 * YUAN
    assert await sound(any_database)


async def test_many_grants_to_one_never_exceed_its_cap(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    """The year's cap is a million; each of eight asks for 0.3 million. What the check saw is
    stale by then, so the guard refuses; those who come later get the rest."""
    clock.at_ms = HOUR_0
    await prepared(any_database, document("henan"), 9_000_000 * YUAN)
    found = await asyncio.gather(
        *(
            tried(
                any_database,
                partial(
                    granted,
                    programme_id="henan",
                    number=n,
                    yuan=1_500_000,
                    figures=Figures(),
                    who=0,
                ),
            )
            for n in range(8)
        )
    )
    assert set(found) == {"Granted", "CapReached"}
    rows = await any_database.read(lambda conn: service.grants(conn))
    assert 900_000 * YUAN <= sum(one.amount_micro_yuan for one in rows) <= 1_000_000 * YUAN
    assert await sound(any_database)


async def test_two_organisations_of_one_code_have_one_cap_at_once(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    """Each asks for 0.6 million of a million, eight times: no more than a million is granted."""
    clock.at_ms = HOUR_0
    await prepared(any_database, document("henan"), 9_000_000 * YUAN, "henan", "henan")
    twin = profile_of(f"{USER}_1", uscc=with_check("91410100MA40A0000"))
    await any_database.write(lambda tx: service.put_profile(tx, twin, verified_by="usr_operator"))
    await asyncio.gather(
        *(
            tried(
                any_database,
                partial(
                    granted,
                    programme_id="henan",
                    number=n,
                    yuan=3_000_000,
                    figures=Figures(),
                    who=n % 2,
                ),
            )
            for n in range(8)
        )
    )
    rows = await any_database.read(lambda conn: service.grants(conn))
    assert sum(one.amount_micro_yuan for one in rows) == 1_000_000 * YUAN
    assert await sound(any_database)


async def test_one_contract_is_helped_once_however_many_ask_at_once(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    clock.at_ms = HOUR_0
    programme = document("yangzhou")
    await prepared(any_database, programme, 9_000_000 * YUAN, *(["jiangsu/yangzhou"] * 6))

    def use_case(tx: Tx, who: int) -> None:
        made = service.apply(tx, programme.id, f"{USER}_{who}", "prj_a", "usr_1", request_of(100))
        service.grant(tx, made.id, "usr_o", Figures(percent=10))

    found = await asyncio.gather(*(tried(any_database, partial(use_case, who=n)) for n in range(6)))
    assert sorted(found) == ["ContractAlreadyHelped"] * 5 + ["Granted"]


async def redeemed_together(
    database: AnyDatabase, programme: Programme, pool: int, figures: Figures
) -> list[Any]:
    """Forty charges of one yuan each, of eight projects, by ten workers who bring facts twice."""
    prices = await prepared(database, programme, pool, *(["beijing/etown"] * 8))
    for number in range(8):
        await database.write(
            partial(
                granted,
                programme_id=programme.id,
                number=number,
                yuan=1_000,
                figures=figures,
                who=number,
            )
        )
    records = [
        usage_of(
            run_of(prices, lease_id=f"lea_{i}", project_id=f"prj_{i % 8}"),
            HOUR_0,
            HOUR_0 + 1_000_000,
        )[0]
        for i in range(40)
    ]
    from suanwang.platform.outbox import Outbox

    await database.write(lambda tx: billing.record_usage(tx, Outbox(), records))
    facts = [UsageRecorded(one) for one in records]

    async def work(worker: int) -> None:
        for start in range(0, 40, 4):
            at = (start + worker * 8) % 40
            part = facts[at : at + 4]
            await database.write(
                lambda tx, part=part: billing.charge(  # type: ignore[misc]
                    tx, part, relieve=redemption.relieve
                )
            )

    await asyncio.gather(*(work(worker) for worker in range(10)))
    return await database.read(lambda conn: service.grants(conn))


async def test_instant_deductions_end_with_the_budget_to_the_micro_yuan(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    clock.at_ms = HOUR_0
    programme = document("beijing-etown")
    grants = await redeemed_together(any_database, programme, 13 * YUAN, Figures(percent=65))
    (budget,) = await any_database.read(lambda conn: service.budgets(conn, programme.id))
    assert budget.committed_micro_yuan == budget.redeemed_micro_yuan == 13 * YUAN
    assert sum(one.redeemed_micro_yuan for one in grants) == 13 * YUAN
    owed = await any_database.read(lambda conn: redemption.owed(conn, programme))
    assert owed == {"zone": 13 * YUAN}
    assert await sound(any_database)


async def test_vouchers_redeemed_at_once_lose_nothing(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    clock.at_ms = HOUR_0
    entity = msgspec.structs.replace(document("henan").entity, regions=("beijing",))
    programme = document("henan", entity=entity)
    grants = await redeemed_together(any_database, programme, 9_000_000 * YUAN, Figures())
    assert [one.redeemed_micro_yuan for one in grants] == [5 * 200_000] * 8
    keys = [
        subsidy_key("henan", "province"),
        subsidy_key("henan", "city"),
        issued_key("henan", "voucher:henan"),
    ]
    found = await any_database.read(lambda conn: ledger.find_accounts(conn, keys))
    assert [found[key].balance_micro_yuan for key in keys] == [
        -4 * YUAN,
        -4 * YUAN,
        8 * YUAN - 8 * 200 * YUAN,
    ]
    assert await sound(any_database)
