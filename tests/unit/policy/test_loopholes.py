"""What somebody would try who wants more than his due of a programme; each is refused by name."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from billing_world import HOUR_0, PROJECT, YUAN
from manual_clock import ManualClock
from policy_world import USER, PolicyWorld, document, profile_of, provider_of, request_of
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import InlineDatabase
from suanwang.trade.ledger.model import project_key
from suanwang.trade.policy import redemption, service
from suanwang.trade.policy.model import Expiry, Figures, Item, Mode, Profile, Window

TWIN = "org_twin"


@pytest.fixture
def world(inline_database: InlineDatabase, clock: ManualClock) -> PolicyWorld:
    clock.at_ms = HOUR_0
    return PolicyWorld(inline_database)


def reason_of(attempt: Any) -> str:
    with pytest.raises(SuanwangError) as refused:
        attempt()
    return refused.value.reason


def known(world: PolicyWorld, profile: Profile, verified: bool = True) -> None:
    if verified:
        world.known(profile)
    else:
        world.write(lambda tx: service.put_profile(tx, profile))


def test_nothing_is_granted_on_words_that_nobody_verified(world: PolicyWorld) -> None:
    """He may apply; between application and review he says something else of himself."""
    world.publish(document("henan"))
    made = world.write(lambda tx: service.apply(tx, "henan", USER, PROJECT, "u", request_of()))
    known(world, profile_of(region="henan/luoyang"), verified=False)
    grant = lambda: world.write(lambda tx: service.grant(tx, made.id, "usr_o"))  # noqa: E731
    assert reason_of(grant) == "ProfileNotVerified"
    known(world, profile_of(region="henan/luoyang"))
    grant()


def test_a_provider_does_not_talk_itself_into_a_programme(world: PolicyWorld) -> None:
    """It says of itself what a programme asks for; nobody has looked."""
    world.publish(document("henan"))
    world.granted("henan")
    known(world, provider_of("org_boast"), verified=False)
    world.charge(world.usage("lea_1", 1_000, provider_organisation_id="org_boast"))
    assert world.balance(project_key(PROJECT)) == -1_000_000
    wanted = request_of(contract="HT-2", provider_organisation_id="org_boast")
    assert reason_of(lambda: world.granted("henan", wanted)) == "ProviderNotVerified"
    known(world, provider_of("org_boast"))
    world.charge(world.usage("lea_2", 1_000, provider_organisation_id="org_boast"))
    assert world.balance(project_key(PROJECT)) == -1_800_000


def test_two_organisations_of_one_credit_code_have_one_cap(world: PolicyWorld) -> None:
    world.publish(document("henan"), pool_yuan=9_000_000)
    known(world, profile_of(TWIN))
    world.granted("henan", request_of(4_000_000))  # 0.8 million of a million
    second = world.granted(
        "henan", request_of(4_000_000, contract="HT-2"), project_id="prj_t", organisation_id=TWIN
    )
    assert second.amount_micro_yuan == 200_000 * YUAN
    third = lambda: world.granted("henan", request_of(contract="HT-3"))  # noqa: E731
    assert reason_of(third) == "CapReached"


def test_a_provider_of_ones_own_credit_code_is_oneself(world: PolicyWorld) -> None:
    world.publish(document("zhengzhou"))
    known(world, provider_of(TWIN, uscc=profile_of().uscc))
    own = request_of(provider_organisation_id=TWIN)
    figures = Figures(percent=20)
    assert reason_of(lambda: world.granted("zhengzhou", own, figures)) == "ProviderIsSelf"
    world.granted("zhengzhou", figures=figures)
    world.charge(world.usage("lea_1", 1_000, provider_organisation_id=TWIN))
    assert world.balance(project_key(PROJECT)) == -1_000_000


TOKENS = {"item": Item.TOKENS, "project_reference": "P-1"}


def tokens(world: PolicyWorld) -> None:
    world.publish(document("beijing-tokens-2026"), pool_yuan=90_000_000)
    known(world, profile_of(region="beijing"))


def test_a_cap_of_an_undertaking_wants_to_know_which(world: PolicyWorld) -> None:
    tokens(world)
    unnamed = request_of(item=Item.TOKENS)
    figures = Figures(percent=30)
    attempt = lambda: world.granted("beijing-tokens-2026", unnamed, figures)  # noqa: E731
    assert reason_of(attempt) == "ProjectReferenceMissing"


def test_what_an_undertaking_did_not_use_it_may_be_granted_again(
    world: PolicyWorld, clock: ManualClock
) -> None:
    tokens(world)
    expiring = document("beijing-tokens-2026", version=2, expiry=Expiry(days=30))
    world.write(lambda tx: service.publish(tx, expiring, "usr_o"))
    figures, wanted = Figures(percent=30), request_of(40_000_000, **TOKENS)
    whole = world.granted("beijing-tokens-2026", wanted, figures)
    assert whole.amount_micro_yuan == 10_000_000 * YUAN
    clock.at_ms += 40 * MS_PER_DAY
    world.write(redemption.expire)
    again = world.granted("beijing-tokens-2026", wanted, figures)
    assert again.amount_micro_yuan == whole.amount_micro_yuan


@pytest.mark.parametrize(
    "again", ["ht-2026-001", " HT 2026 001 ", "ＨＴ－２０２６－００１", "HT/2026/001"]
)
def test_a_contract_written_otherwise_is_the_same(world: PolicyWorld, again: str) -> None:
    world.publish(document("yangzhou"))
    known(world, profile_of(region="jiangsu/yangzhou"))
    figures = Figures(percent=10)
    world.granted("yangzhou", figures=figures)
    second = lambda: world.granted("yangzhou", request_of(contract=again), figures)  # noqa: E731
    assert reason_of(second) == "ContractAlreadyHelped"


@pytest.mark.parametrize("blank", ["", " – ", "///"])
def test_a_number_of_signs_alone_is_none(world: PolicyWorld, blank: str) -> None:
    world.publish(document("yangzhou"))
    known(world, profile_of(region="jiangsu/yangzhou"))
    attempt = lambda: world.granted(  # noqa: E731
        "yangzhou", request_of(contract=blank), Figures(percent=10)
    )
    assert reason_of(attempt) == "ContractMissing"


def test_who_does_not_say_when_he_signed_does_not_look_back(world: PolicyWorld) -> None:
    window = Window(apply_from=date(2026, 1, 1))
    world.publish(document("zhejiang", mode=Mode.REFUND, window=window))
    known(world, profile_of(region="zhejiang"))
    attempt = lambda: world.granted(  # noqa: E731
        "zhejiang", request_of(signed_on=None), Figures(percent=10)
    )
    assert reason_of(attempt) == "SignedOnMissing"


def test_nothing_is_granted_that_is_over_already(world: PolicyWorld) -> None:
    world.publish(document("henan"))
    past = Figures(expires_on=date(2025, 12, 31))
    assert reason_of(lambda: world.granted("henan", figures=past)) == "FigureOutOfBounds"


def test_a_programme_for_a_span_pays_for_work_within_it(world: PolicyWorld) -> None:
    """Both ends are days in Shanghai; the last one is over at midnight there."""
    window = Window(use_from=date(2026, 1, 1), use_until=date(2026, 1, 1))
    found = document("henan", window=window)
    world.publish(found)
    grant = world.granted("henan", request_of(signed_on=date(2026, 1, 1)))
    assert grant.expires_at_ms == HOUR_0 + 16 * 3_600_000


def beijing(world: PolicyWorld, clock: ManualClock) -> None:
    clock.at_ms = HOUR_0 + 70 * MS_PER_DAY
    world.known(profile_of(region="beijing/haidian"))


def test_an_exclusive_group_is_of_programmes_not_of_ones_own_contracts(
    world: PolicyWorld, clock: ManualClock
) -> None:
    """Beijing 2023: two million a year for a firm, whatever its contracts; none beside it."""
    beijing(world, clock)
    world.publish(document("beijing-2023"), pool_yuan=9_000_000)
    figures = Figures(percent=20)
    signed = {"signed_on": date(2024, 6, 1)}
    world.granted("beijing-2023", request_of(5_000_000, **signed), figures)
    second = world.granted(
        "beijing-2023", request_of(8_000_000, contract="HT-2", **signed), figures
    )
    assert second.amount_micro_yuan == 1_000_000 * YUAN
    group = document("beijing-2023").exclusive
    world.publish(document("zhejiang", exclusive=group, entity=document("beijing-2023").entity))
    other = lambda: world.granted("zhejiang", request_of(contract="HT-3"), figures)  # noqa: E731
    assert reason_of(other) == "ExcludedByOther"


def test_one_direction_may_have_several_contracts(world: PolicyWorld, clock: ManualClock) -> None:
    beijing(world, clock)
    world.publish(document("beijing-2026"), pool_yuan=9_000_000)
    figures = Figures(percent=10, entity_year_micro_yuan=300_000 * YUAN)

    def granted(number: int, direction: str) -> None:
        wanted = request_of(contract=f"HT-{number}", direction=direction)
        world.granted("beijing-2026", wanted, figures)

    granted(1, "embodied")
    granted(2, "Embodied ")
    assert reason_of(lambda: granted(3, "medicine")) == "ExcludedByOther"
    assert reason_of(lambda: granted(4, "")) == "ExcludedByOther"
