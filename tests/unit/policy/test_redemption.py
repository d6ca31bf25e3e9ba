"""The life of a grant against the books: issued, redeemed, paid, audited, reclaimed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import msgspec
import pytest

from billing_world import HOUR_0, OTHER_PROJECT, PROJECT, PROVIDER, YUAN
from manual_clock import ManualClock
from policy_world import (
    DOMESTIC_POOL,
    USER,
    PolicyWorld,
    document,
    profile_of,
    provider_of,
    request_of,
)
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import InlineDatabase
from suanwang.trade.billing import reports
from suanwang.trade.ledger.model import (
    CASH,
    issued_key,
    project_key,
    revenue_key,
    subsidy_key,
    vouchers_key,
)
from suanwang.trade.policy import redemption, service
from suanwang.trade.policy.life import ApplicationState, Finding, GrantState
from suanwang.trade.policy.model import Expiry, Figures, Ground, Item, Mode, Payee

HENAN = "voucher:henan"


@pytest.fixture
def world(inline_database: InlineDatabase, clock: ManualClock) -> PolicyWorld:
    clock.at_ms = HOUR_0
    return PolicyWorld(inline_database)


def test_a_voucher_lowers_what_the_project_pays_in_the_same_entry(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    grant = world.granted("henan")
    assert grant.amount_micro_yuan == 20_000 * YUAN  # 20 % of 100,000
    assert world.balance(vouchers_key(PROJECT, HENAN)) == 20_000 * YUAN
    world.charge(world.usage("lea_1", 1_000))  # one yuan
    assert world.balance(project_key(PROJECT)) == -800_000
    assert world.balance(revenue_key(PROVIDER)) == 1_000_000
    assert world.balance(subsidy_key("henan", "province")) == -100_000
    assert world.balance(subsidy_key("henan", "city")) == -100_000
    assert world.balance(vouchers_key(PROJECT, HENAN)) == 20_000 * YUAN - 200_000
    assert world.balance(issued_key("henan", HENAN)) == 200_000 - 20_000 * YUAN
    assert world.grant_now(grant.id).redeemed_micro_yuan == 200_000
    assert world.budget("henan") == (20_000 * YUAN, 200_000)
    assert world.sound()


def test_the_statement_tells_list_price_relief_and_what_was_paid(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    world.granted("henan")
    world.charge(world.usage("lea_1", 1_000))
    found = world.database.read_now(lambda conn: reports.statement(conn, PROJECT, "2026-01"))
    assert found.listed_micro_yuan == sum(one.amount_micro_yuan for one in found.report.lines)
    assert (found.listed_micro_yuan, found.charged_micro_yuan) == (1_000_000, 800_000)
    assert [(one.programme_id, one.amount_micro_yuan) for one in found.reliefs] == [
        ("henan", 200_000)
    ]


def test_a_charge_that_comes_twice_is_relieved_once(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    grant = world.granted("henan")
    records = world.usage("lea_1", 1_000)
    world.charge([*records, *records])
    world.charge(records)
    assert world.grant_now(grant.id).redeemed_micro_yuan == 200_000
    assert world.sound()


def test_nobody_elses_project_is_relieved(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    world.granted("henan")
    world.charge(world.usage("lea_1", 1_000, project_id=OTHER_PROJECT))
    assert world.balance(project_key(OTHER_PROJECT)) == -1_000_000


def test_a_provider_that_does_not_count_is_paid_in_full_by_the_project(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    world.granted("henan")
    small = msgspec.structs.replace(provider_of().facility, kind="ai", pflops=99)
    other = provider_of("org_small", facility=small)
    world.known(other)
    world.charge(world.usage("lea_1", 1_000, provider_organisation_id="org_small"))
    world.charge(world.usage("lea_2", 1_000, provider_organisation_id="org_unknown"))
    assert world.balance(project_key(PROJECT)) == -2_000_000


def test_a_spent_voucher_pays_its_rest_and_no_more(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    grant = world.granted("henan", request_of(1))  # worth 0.2 yuan
    world.charge(world.usage("lea_1", 3_000))
    assert world.balance(project_key(PROJECT)) == -2_800_000
    assert world.grant_now(grant.id).state is GrantState.SPENT
    world.charge(world.usage("lea_2", 1_000))
    assert world.balance(project_key(PROJECT)) == -3_800_000
    assert world.sound()


def test_province_and_city_stack_up_to_the_charge(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    world.publish(document("zhengzhou"))
    world.granted("henan")
    world.granted("zhengzhou", figures=Figures(percent=20))
    world.charge(world.usage("lea_1", 1_000))
    assert world.balance(project_key(PROJECT)) == -600_000
    assert world.sound()


def test_programmes_that_do_not_stack_leave_the_charge_to_the_first(world: PolicyWorld) -> None:
    alone = replace_stacking("zhengzhou", with_others=False)
    world.publish(document("henan"))
    world.publish(alone)
    world.granted("henan")
    world.granted("zhengzhou", figures=Figures(percent=20))
    world.charge(world.usage("lea_1", 1_000))
    assert world.balance(project_key(PROJECT)) == -800_000


def replace_stacking(programme_id: str, **changes: object) -> object:
    found = document(programme_id)
    stacking = msgspec.structs.replace(found.stacking, **changes)
    return msgspec.structs.replace(found, stacking=stacking)


def test_domestic_cards_have_their_own_rate(world: PolicyWorld) -> None:
    found = document("hangzhou")
    domestic = msgspec.structs.replace(found.benefits[0].rates[0], percent=45, at_most=None)
    other = msgspec.structs.replace(found.benefits[0].rates[1], percent=25, at_most=None)
    benefit = msgspec.structs.replace(found.benefits[0], rates=(domestic, other))
    world.publish(msgspec.structs.replace(found, version=2, benefits=(benefit,)))
    world.known(profile_of(region="zhejiang/hangzhou"))
    world.granted("hangzhou")
    world.charge(world.usage("lea_1", 1_000))
    assert world.balance(project_key(PROJECT)) == -750_000
    world.charge(world.usage("lea_2", 1_000, pool_id=DOMESTIC_POOL))
    assert world.balance(project_key(PROJECT)) == -750_000 - 550_000


def test_an_instant_deduction_is_taken_from_the_budget_and_ends_with_it(
    world: PolicyWorld,
) -> None:
    world.publish(document("beijing-etown"), pool_yuan=1)
    world.known(profile_of(region="beijing/etown"))
    grant = world.granted("beijing-etown", figures=Figures(percent=65))
    assert world.budget("beijing-etown") == (0, 0)
    world.charge(world.usage("lea_1", 1_000))
    assert world.budget("beijing-etown") == (650_000, 650_000)
    world.charge(world.usage("lea_2", 1_000))
    assert world.budget("beijing-etown") == (1_000_000, 1_000_000)
    assert world.balance(project_key(PROJECT)) == -350_000 - 650_000
    assert world.grant_now(grant.id).state is GrantState.ACTIVE
    assert world.sound()


def test_what_expires_goes_back_to_the_budget(world: PolicyWorld, clock: ManualClock) -> None:
    world.publish(document("henan", expiry=Expiry(days=30)))
    grant = world.granted("henan")
    world.charge(world.usage("lea_1", 1_000))
    clock.at_ms = HOUR_0 + 30 * MS_PER_DAY + redemption.GRACE_MS - 1
    world.write(redemption.expire)
    assert world.grant_now(grant.id).state is GrantState.ACTIVE
    clock.at_ms += 1
    world.write(redemption.expire)
    assert world.grant_now(grant.id).state is GrantState.EXPIRED
    assert world.budget("henan") == (200_000, 200_000)
    assert world.balance(vouchers_key(PROJECT, HENAN)) == 0
    assert world.granted("henan", request_of(5_000_000)).amount_micro_yuan == (
        1_000_000 * YUAN - 200_000  # the year's cap less what was redeemed of it
    )
    assert world.sound()


def test_work_from_before_the_end_is_paid_when_it_is_reported_after(
    world: PolicyWorld, clock: ManualClock
) -> None:
    """The usage of an hour comes when the hour is over; by then the voucher's day may be."""
    world.publish(document("henan", expiry=Expiry(on=date(2026, 1, 1))))
    grant = world.granted("henan")
    assert grant.expires_at_ms is not None
    hour = grant.expires_at_ms - HOUR_0 - MS_PER_HOUR
    clock.at_ms = grant.expires_at_ms + MS_PER_HOUR // 6
    world.write(redemption.expire)
    late = world.usage_at("lea_1", HOUR_0 + hour, 1_000)
    world.charge([*late, *world.usage_at("lea_2", grant.expires_at_ms, 1_000)])
    assert world.balance(project_key(PROJECT)) == -800_000 - 1_000_000
    clock.at_ms = grant.expires_at_ms + redemption.GRACE_MS
    world.write(redemption.expire)
    assert world.grant_now(grant.id).state is GrantState.EXPIRED
    assert world.sound()


def test_nothing_is_paid_out_of_a_grant_that_is_over(
    world: PolicyWorld, clock: ManualClock
) -> None:
    world.publish(document("zhangzhou", expiry=Expiry(days=30)))
    world.known(profile_of(region="fujian/zhangzhou"))
    grant = world.granted("zhangzhou", request_of(100, item=Item.MODEL_USE), Figures(percent=50))
    clock.at_ms += 30 * MS_PER_DAY
    with pytest.raises(Conflict) as refusal:
        world.write(lambda tx: redemption.pay_out(tx, grant.id, None, "pay-1"))
    assert refusal.value.reason == "GrantEnded"


def test_a_refund_is_paid_out_once_for_a_reference(world: PolicyWorld) -> None:
    world.publish(document("zhangzhou"))
    world.known(profile_of(region="fujian/zhangzhou"))
    wanted = request_of(100, item=Item.MODEL_USE)
    grant = world.granted("zhangzhou", wanted, Figures(percent=50))
    for _ in range(2):
        world.write(lambda tx: redemption.pay_out(tx, grant.id, None, "pay-1"))
    assert world.balance(project_key(PROJECT)) == 50 * YUAN
    assert world.grant_now(grant.id).state is GrantState.SPENT
    with pytest.raises(Conflict, match="spent"):
        world.write(lambda tx: redemption.pay_out(tx, grant.id, None, "pay-2"))
    assert world.sound()


def test_no_more_is_paid_out_than_was_granted(world: PolicyWorld) -> None:
    world.publish(document("zhangzhou"))
    world.known(profile_of(region="fujian/zhangzhou"))
    grant = world.granted("zhangzhou", request_of(100, item=Item.MODEL_USE), Figures(percent=50))
    world.write(lambda tx: redemption.pay_out(tx, grant.id, 30 * YUAN, "pay-1"))
    with pytest.raises(LimitExceeded) as refusal:
        world.write(lambda tx: redemption.pay_out(tx, grant.id, 21 * YUAN, "pay-2"))
    assert refusal.value.field == "amount"


def test_a_provider_claims_what_its_buyers_voucher_is_worth(world: PolicyWorld) -> None:
    world.publish(document("beijing-sme-tokens"))
    world.known(profile_of(region="beijing"))
    wanted = request_of(100, item=Item.LISTED_PRODUCTS)
    grant = world.granted("beijing-sme-tokens", wanted, Figures(percent=30))
    assert (grant.mode, document("beijing-sme-tokens").payee) == (Mode.VOUCHER, Payee.PROVIDER)
    world.charge(world.usage("lea_1", 1_000))
    assert world.balance(project_key(PROJECT)) == -1_000_000
    world.write(lambda tx: redemption.pay_out(tx, grant.id, None, "pay-1"))
    assert world.balance(revenue_key(PROVIDER)) == 31 * YUAN
    assert world.balance(vouchers_key(PROJECT, "voucher:beijing-sme-tokens")) == 0
    assert world.sound()


def test_funders_pay_what_they_owe(world: PolicyWorld) -> None:
    found = world.publish(document("henan"))
    world.granted("henan")
    world.charge(world.usage("lea_1", 1_000))
    owed = world.database.read_now(lambda conn: redemption.owed(conn, found))
    assert owed == {"province": 100_000, "city": 100_000}
    world.write(lambda tx: redemption.book_funding(tx, "henan", "city", 100_000, "F-1"))
    owed = world.database.read_now(lambda conn: redemption.owed(conn, found))
    assert owed == {"province": 100_000, "city": 0}
    assert world.balance(CASH) == -100_000
    with pytest.raises(InvalidInput) as refusal:
        world.write(lambda tx: redemption.book_funding(tx, "henan", "nation", 1, "F-2"))
    assert refusal.value.field == "funder"


def test_a_breach_is_clawed_back_to_the_funders(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    grant = world.granted("henan")
    world.charge(world.usage("lea_1", 1_000))
    reclaim = lambda tx: redemption.claw_back(  # noqa: E731
        tx, grant.id, Ground.FALSE_EVIDENCE, None, "invoice was forged"
    )
    with pytest.raises(Conflict) as refusal:
        world.write(reclaim)
    assert refusal.value.reason == "NoBreachFound"
    world.write(lambda tx: redemption.audit_grant(tx, grant.id, Finding.BREACH, "invoice"))
    world.write(reclaim)
    assert world.balance(project_key(PROJECT)) == -1_000_000
    assert world.balance(subsidy_key("henan", "province")) == 0
    assert world.balance(vouchers_key(PROJECT, HENAN)) == 0
    assert world.budget("henan") == (200_000, 200_000)
    assert world.grant_now(grant.id).state is GrantState.RECLAIMED
    world.charge(world.usage("lea_2", 1_000))
    assert world.balance(project_key(PROJECT)) == -2_000_000
    with pytest.raises(Conflict):
        world.write(reclaim)
    assert world.sound()


def test_the_budget_is_not_granted_beyond(world: PolicyWorld) -> None:
    world.publish(document("henan"), pool_yuan=30_000)
    world.granted("henan")
    with pytest.raises(Conflict) as refusal:
        world.granted("henan", request_of(contract="HT-2"))
    assert refusal.value.reason == "BudgetExhausted"
    assert world.granted("henan", request_of(50_000)).amount_micro_yuan == 10_000 * YUAN


def test_a_budget_that_nobody_opened_grants_nothing(world: PolicyWorld) -> None:
    world.publish(document("henan"), pool_yuan=None)
    with pytest.raises(Conflict) as refusal:
        world.granted("henan")
    assert refusal.value.reason == "BudgetNotOpen"
    world.write(lambda tx: service.open_budget(tx, "henan", 2026, None))  # as the text says
    assert world.granted("henan").state is GrantState.ACTIVE
    world.publish(document("zhengzhou"), pool_yuan=None)
    with pytest.raises(InvalidInput) as unknown:
        world.write(lambda tx: service.open_budget(tx, "zhengzhou", 2026, None))
    assert unknown.value.field == "amount"
    with pytest.raises(Conflict) as below:
        world.write(lambda tx: service.open_budget(tx, "henan", 2026, 1))
    assert below.value.reason == "PoolBelowCommitted"


def test_the_same_contract_is_helped_once_whichever_side_asks(world: PolicyWorld) -> None:
    world.publish(document("yangzhou"))
    world.known(profile_of(region="jiangsu/yangzhou"))
    distant = provider_of(uscc="91410100MA40ABCD5Y")
    assert distant.organisation_id == PROVIDER
    world.granted("yangzhou", figures=Figures(percent=10))
    with pytest.raises(Conflict) as refusal:
        world.granted("yangzhou", figures=Figures(percent=10))
    assert (refusal.value.reason, refusal.value.field) == ("ContractAlreadyHelped", "contract")


def test_one_direction_for_a_unit(world: PolicyWorld, clock: ManualClock) -> None:
    clock.at_ms = HOUR_0 + 70 * MS_PER_DAY
    world.publish(document("beijing-2026"))
    world.known(profile_of(region="beijing/haidian"))
    figures = Figures(percent=10, entity_year_micro_yuan=300_000 * YUAN)
    world.granted("beijing-2026", figures=figures)
    with pytest.raises(Conflict) as refusal:
        world.granted("beijing-2026", request_of(contract="HT-2"), figures)
    assert refusal.value.reason == "ExcludedByOther"


def test_a_decided_application_stays_decided(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    made = world.write(lambda tx: service.apply(tx, "henan", USER, PROJECT, "usr_1", request_of()))
    found = world.write(lambda tx: service.refuse(tx, made.id, "usr_o", "no contract attached"))
    assert (found.state, found.remark) == (ApplicationState.REFUSED, "no contract attached")
    for again in (
        lambda tx: service.grant(tx, made.id, "usr_o"),
        lambda tx: service.withdraw(tx, made.id, "usr_1"),
    ):
        with pytest.raises(Conflict) as refusal:
            world.write(again)
        assert refusal.value.reason == "ApplicationDecided"


def test_a_published_version_is_never_changed(world: PolicyWorld) -> None:
    found = world.publish(document("henan"))
    assert world.write(lambda tx: service.publish(tx, found, "usr_o")) is False
    changed = msgspec.structs.replace(found, jurisdiction="henan/luoyang")
    with pytest.raises(Conflict) as refusal:
        world.write(lambda tx: service.publish(tx, changed, "usr_o"))
    assert (refusal.value.reason, refusal.value.field) == ("ProgrammePublished", "version")
    grant = world.granted("henan")
    assert world.write(
        lambda tx: service.publish(tx, msgspec.structs.replace(changed, version=2), "usr_o")
    )
    assert world.grant_now(grant.id).programme_version == 1
    assert replace(grant, redeemed_micro_yuan=1).left_micro_yuan == grant.amount_micro_yuan - 1


def test_usage_before_the_grant_is_not_relieved(world: PolicyWorld, clock: ManualClock) -> None:
    world.publish(document("henan"))
    clock.at_ms = HOUR_0 + MS_PER_HOUR
    world.granted("henan")
    world.charge(world.usage("lea_1", 1_000))
    assert world.balance(project_key(PROJECT)) == -1_000_000


def test_a_loan_line_is_not_paid_and_takes_no_budget(world: PolicyWorld) -> None:
    world.publish(document("zhengzhou-exporters"))
    world.known(profile_of(qualifications=("exporter",)))
    figures = Figures(line_micro_yuan=3_000_000 * YUAN)
    line = world.granted("zhengzhou-exporters", request_of(5_000_000, item=Item.LOAN), figures)
    assert line.amount_micro_yuan == 3_000_000 * YUAN
    assert world.budget("zhengzhou-exporters") == (0, 0)
    with pytest.raises(Conflict) as refusal:
        world.write(lambda tx: redemption.pay_out(tx, line.id, None, "x"))
    assert refusal.value.reason == "NotPaidOut"


def test_dates_are_days_in_shanghai() -> None:
    from suanwang.trade.policy import checking

    assert checking.day(HOUR_0 - 8 * MS_PER_HOUR - 1) == date(2025, 12, 31)
    assert checking.day(HOUR_0 - 8 * MS_PER_HOUR) == date(2026, 1, 1)
    assert checking.end_of(date(2025, 12, 31)) == HOUR_0 - 8 * MS_PER_HOUR
