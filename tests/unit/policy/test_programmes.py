"""Every programme that ships: somebody gets the figure worked out by hand, somebody is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec
import pytest

from billing_world import PROVIDER, YUAN
from policy_world import USER, profile_of, provider_of, request_of
from suanwang.kernel.errors import InvalidInput
from suanwang.trade.policy import rules
from suanwang.trade.policy.documents import shipped
from suanwang.trade.policy.model import (
    Card,
    EntityKind,
    Facility,
    FacilityFacts,
    Figures,
    Held,
    Item,
    Programme,
    Request,
    Size,
)
from suanwang.trade.policy.rules import Reason

BY_ID = {one.id: one for one in shipped()}
TODAY = date(2026, 3, 20)
SMALL_AI = FacilityFacts(Facility.AI, 99, 0)
Changes = dict[str, Any]
NOTHING_HELD = Held()
NO_FIGURES = Figures()


@dataclass(frozen=True)
class Case:
    """`gets` whole yuan for what is asked; refused for `reason` once something is changed."""

    programme: str
    gets: int
    reason: Reason
    refused: Changes = field(default_factory=dict)
    """Changes of the applicant."""
    refused_request: Changes = field(default_factory=dict)
    refused_provider: Changes = field(default_factory=dict)
    refused_held: Held = NOTHING_HELD
    applicant: Changes = field(default_factory=dict)
    request: Changes = field(default_factory=dict)
    yuan: int = 100_000
    figures: Figures = NO_FIGURES
    held: Held = NOTHING_HELD
    on: date = TODAY


CASES = (
    # 20 % of 4 million is 0.8 million, under the cap of one
    Case("henan", 800_000, Reason.PROVIDER_TOO_SMALL, yuan=4_000_000,
         refused_provider={"facility": SMALL_AI}),
    # the reviewer states 15 % of 6 million = 0.9 million; 0.2 million of the cap are used
    Case("zhengzhou", 800_000, Reason.PROVIDER_IS_SELF, yuan=6_000_000,
         figures=Figures(percent=15), held=Held(year_micro_yuan=200_000 * YUAN),
         refused_provider={"organisation_id": USER}),
    # supply side, 8 % by the target contract; under 2,500 PFLOPS there is nothing
    Case("qingyang", 8_000, Reason.BELOW_MILESTONE, figures=Figures(percent=8),
         applicant={"region": "gansu/qingyang",
                    "facility": FacilityFacts(Facility.AI, 5_000, 0)},
         request={"item": Item.SUPPLY},
         refused={"facility": FacilityFacts(Facility.AI, 2_499, 0)}),
    # 20 % of 15 million = 3 million, capped at two
    Case("beijing-2023", 2_000_000, Reason.DISHONEST, yuan=15_000_000,
         figures=Figures(percent=20), applicant={"region": "beijing/haidian"},
         request={"signed_on": date(2023, 9, 1)}, on=date(2024, 6, 1),
         refused={"dishonest_on": date(2021, 6, 2)}),
    # 50 % of a million, the case's own cap is 0.3 million
    Case("beijing-2026", 300_000, Reason.EXCLUDED_BY_OTHER, yuan=1_000_000,
         figures=Figures(percent=50, entity_year_micro_yuan=300_000 * YUAN),
         applicant={"region": "beijing"},
         refused_held=Held(entity_groups=("beijing-2026-direction",))),
    # 25 % of 4 million = a million; incubated firms are capped at half of that
    Case("beijing-innovation-2026", 500_000, Reason.NO_METERING_LOGS, yuan=4_000_000,
         figures=Figures(percent=25, expires_on=date(2026, 12, 31)),
         applicant={"region": "beijing", "qualifications": ("incubated", "tech_sme")},
         refused_provider={"facility": FacilityFacts(Facility.AI, 100, 0, metering_logs=False)}),
    # 30 % of 100,000
    Case("beijing-sme-tokens", 30_000, Reason.WRONG_SIZE, figures=Figures(percent=30),
         applicant={"region": "beijing"}, request={"item": Item.LISTED_PRODUCTS},
         refused={"size": Size.LARGE}),
    # all of it for a one-person company, 0.1 million at most
    Case("beijing-tokens-2026", 100_000, Reason.PROVIDER_AFFILIATED, yuan=150_000,
         applicant={"region": "beijing", "qualifications": ("one_person_company",)},
         request={"item": Item.TOKENS}, refused={"affiliates": (PROVIDER,)}),
    # 65 % of 200,000
    Case("beijing-etown", 130_000, Reason.DISHONEST_EVER, yuan=200_000,
         figures=Figures(percent=65), applicant={"region": "beijing/etown"},
         refused={"dishonest_on": date(2001, 1, 1)}),
    # everything together with the national voucher
    Case("shanghai", 100_000, Reason.WRONG_REGION, figures=Figures(percent=100),
         applicant={"region": "shanghai", "qualifications": ("national_voucher",)},
         refused={"region": "jiangsu/suzhou"}),
    # 50 % of 12 million = 6 million, capped at five
    Case("shanghai-model", 5_000_000, Reason.ITEM_NOT_COVERED, yuan=12_000_000,
         applicant={"region": "shanghai"}, request={"item": Item.MODEL_USE},
         refused_request={"item": Item.COMPUTE}),
    # 30 % of 100,000
    Case("shanghai-corpus", 30_000, Reason.CAP_REACHED, applicant={"region": "shanghai"},
         request={"item": Item.CORPUS},
         refused_held=Held(year_micro_yuan=5_000_000 * YUAN)),
    # 60 % for a start-up
    Case("shenzhen-training", 60_000, Reason.WRONG_REGION,
         applicant={"region": "guangdong/shenzhen/nanshan", "qualifications": ("start_up",)},
         request={"item": Item.TRAINING}, refused={"region": "guangdong"}),
    # 30 % of 100,000 in the third year; there is no fourth
    Case("shenzhen-guangming", 30_000, Reason.YEARS_USED_UP, held=Held(years=2),
         applicant={"region": "guangdong/shenzhen/guangming"}, refused_held=Held(years=3)),
    # domestic cards, 30 %
    Case("hangzhou", 30_000, Reason.PROVIDER_MISSING, figures=Figures(percent=30),
         applicant={"region": "zhejiang/hangzhou"}, request={"card": Card.DOMESTIC},
         refused_request={"provider_organisation_id": None}),
    # 30 % at most; the reviewer says 12
    Case("zhejiang", 12_000, Reason.ITEM_NOT_COVERED, figures=Figures(percent=12),
         applicant={"region": "zhejiang/ningbo"}, refused_request={"item": Item.TOKENS}),
    # 30 % of 10 million = 3 million, but a provincial lead has 1.5 million at most
    Case("chengdu", 1_500_000, Reason.PROVIDER_NOT_LISTED, yuan=10_000_000,
         applicant={"region": "sichuan/chengdu", "qualifications": ("provincial_lead",)},
         refused_provider={"name": "Somebody else"}),
    # buyers of other provinces may apply; the share is the reviewer's
    Case("guizhou", 35_000, Reason.WRONG_KIND, figures=Figures(percent=35),
         refused={"kind": EntityKind.UNIVERSITY}),
    # 10 % of what was paid
    Case("yangzhou", 10_000, Reason.CONTRACT_ALREADY_HELPED, figures=Figures(percent=10),
         applicant={"region": "jiangsu/yangzhou"},
         refused_held=Held(contract_groups=("same-contract-once",))),
    # 50 % of 5 million = 2.5 million, capped at two
    Case("zhangzhou", 2_000_000, Reason.CAP_REACHED, yuan=5_000_000,
         figures=Figures(percent=50), applicant={"region": "fujian/zhangzhou"},
         request={"item": Item.MODEL_USE},
         refused_held=Held(year_micro_yuan=2_000_000 * YUAN)),
    # looks back to 2024; the last day counts
    Case("anhui", 20_000, Reason.OUTSIDE_WINDOW, figures=Figures(percent=20),
         applicant={"region": "anhui/hefei"}, request={"signed_on": date(2025, 4, 30)},
         refused_request={"signed_on": date(2025, 5, 1)}),
    # an institute has no size class
    Case("chongqing", 5_000, Reason.SIZE_UNKNOWN, figures=Figures(percent=5),
         applicant={"region": "chongqing", "kind": EntityKind.INSTITUTE, "size": None},
         refused={"kind": EntityKind.ENTERPRISE}),
    # 40 % of a premium of 50,000
    Case("zhengzhou-exporters", 20_000, Reason.NOT_QUALIFIED, yuan=50_000,
         figures=Figures(percent=40), applicant={"qualifications": ("exporter",)},
         request={"item": Item.PREMIUM}, refused={"qualifications": ()}),
    # six months at 3,000
    Case("zhengzhou-researchers", 18_000, Reason.EVIDENCE_MISSING,
         figures=Figures(unit_micro_yuan=3_000 * YUAN),
         applicant={"kind": EntityKind.UNIVERSITY},
         request={"item": Item.SECONDMENT, "units": 6}, refused_request={"evidence": ()}),
)  # fmt: skip
assert {one.programme for one in CASES} == set(BY_ID)


def asked(case: Case, changed: bool) -> tuple[rules.Verdict, rules.Quote | None]:
    document = BY_ID[case.programme]
    applicant = profile_of(**{**case.applicant, **(case.refused if changed else {})})
    more = case.refused_request if changed else {}
    request = request_of(case.yuan, **{**case.request, **more})
    provider = provider_of(
        **({"name": document.provider.named[0]} if document.provider.named else {})
    )
    if changed:
        provider = msgspec.structs.replace(provider, **case.refused_provider)
    held = case.refused_held if changed and case.refused_held != Held() else case.held
    meant = None if request.provider_organisation_id is None else provider
    if request.item is Item.SUPPLY:
        meant = applicant
    found = rules.eligible(document, applicant, meant, request, held, today=case.on)
    return found, rules.quote(document, applicant, request, case.figures, held)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.programme)
def test_who_qualifies_gets_what_was_worked_out_by_hand(case: Case) -> None:
    verdict, quote = asked(case, changed=False)
    assert verdict.refusals == ()
    assert quote is not None
    assert quote.amount_micro_yuan == case.gets * YUAN


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.programme)
def test_who_does_not_is_refused_by_name(case: Case) -> None:
    verdict, _ = asked(case, changed=True)
    assert case.reason in [one.reason for one in verdict.refusals]
    before, _ = asked(case, changed=False)
    assert case.reason not in [one.reason for one in before.refusals]


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.programme)
def test_what_the_text_leaves_open_only_a_reviewer_fills(case: Case) -> None:
    """Exact figures grant by themselves; no other programme does, and none takes a wrong one."""
    document = BY_ID[case.programme]
    applicant, request = profile_of(**case.applicant), request_of(case.yuan, **case.request)
    missing = rules.open_figures(document, applicant, request)
    alone = rules.quote(document, applicant, request, Figures(), case.held)
    needs_amount = [one for one in missing if one not in ("expires_on", "entity_year_yuan")]
    assert (alone is None) is bool(needs_amount)
    benefit = document.benefit_for(request.item)
    assert benefit is not None
    rate = rules.rate_for(benefit, applicant, request)
    rules.check_figures(rate, benefit, case.figures)
    if rate is not None and (rate.percent is not None or rate.at_most not in (None, 100)):
        with pytest.raises(InvalidInput) as refusal:
            rules.check_figures(
                rate, benefit, Figures(percent=(rate.at_most or rate.percent or 0) + 1)
            )
        assert (refusal.value.reason, refusal.value.field) == ("FigureOutOfBounds", "percent")


def test_a_line_of_credit_is_as_much_as_is_wanted_up_to_what_the_bank_opens() -> None:
    document = BY_ID["zhengzhou-exporters"]
    applicant = profile_of(qualifications=("exporter",))
    request = request_of(2_000_000, item=Item.LOAN)
    assert rules.open_figures(document, applicant, request) == ("line_yuan",)
    figures = Figures(line_micro_yuan=3_000_000 * YUAN)
    quote = rules.quote(document, applicant, request, figures, Held())
    assert quote is not None
    assert quote.amount_micro_yuan == 2_000_000 * YUAN


def verdict_of(document: Programme, request: Request | None = None, **changes: Any) -> list[Reason]:
    found = rules.eligible(
        document, profile_of(**changes), provider_of(), request or request_of(), today=TODAY
    )
    return [one.reason for one in found.refusals]


def test_a_window_opens_and_closes_with_its_days() -> None:
    document = BY_ID["beijing-2026"]
    for day, reasons in (
        (date(2026, 3, 3), [Reason.NOT_OPEN_YET]),
        (date(2026, 3, 4), []),
        (date(2026, 4, 15), []),
        (date(2026, 4, 16), [Reason.CLOSED]),
    ):
        found = rules.eligible(
            document, profile_of(region="beijing"), provider_of(), request_of(), today=day
        )
        assert [one.reason for one in found.refusals] == reasons


def test_what_is_not_retroactive_wants_a_contract_from_after_its_opening() -> None:
    window = msgspec.structs.replace(BY_ID["henan"].window, apply_from=date(2026, 2, 1))
    document = msgspec.structs.replace(BY_ID["henan"], window=window)
    assert verdict_of(document) == [Reason.NOT_RETROACTIVE]
    later = request_of(signed_on=date(2026, 2, 1))
    assert verdict_of(document, later) == []
    back = msgspec.structs.replace(window, retroactive=True)
    assert verdict_of(msgspec.structs.replace(document, window=back)) == []


def test_age_is_counted_in_calendar_years() -> None:
    entity = msgspec.structs.replace(BY_ID["henan"].entity, max_age_years=3)
    document = msgspec.structs.replace(BY_ID["henan"], entity=entity)
    assert verdict_of(document, founded=date(2023, 3, 20)) == []
    assert verdict_of(document, founded=date(2023, 3, 19)) == [Reason.TOO_OLD]
    assert verdict_of(document, founded=None) == [Reason.FOUNDED_UNKNOWN]
    assert rules.years_later(date(2024, 2, 29), 1) == date(2025, 3, 1)


def test_the_end_of_dishonesty_is_told() -> None:
    found = rules.eligible(
        BY_ID["beijing-2023"],
        profile_of(region="beijing", dishonest_on=date(2022, 5, 1)),
        provider_of(),
        request_of(signed_on=date(2024, 1, 1)),
        today=date(2025, 4, 30),
    )
    (one,) = found.refusals
    assert dict(one.values)["clean_from"] == "2025-05-01"


def test_affiliation_is_seen_from_both_sides_and_over_a_third() -> None:
    plain, other = profile_of("org_a"), provider_of("org_b", uscc="B")
    assert not rules.affiliated(plain, other)
    for one, two in (
        (profile_of("org_a", affiliates=("org_b",)), other),
        (profile_of("org_a", affiliates=("B",)), other),
        (plain, provider_of("org_b", affiliates=("org_a",))),
        (profile_of("org_a", affiliates=("org_c",)), provider_of("org_b", affiliates=("org_c",))),
    ):
        assert rules.affiliated(one, two)


def test_a_place_within_the_region_is_in_it_and_a_namesake_is_not() -> None:
    assert rules.in_region("henan/zhengzhou", "henan")
    assert not rules.in_region("henanese", "henan")
    assert not rules.in_region("henan", "henan/zhengzhou")


@pytest.mark.parametrize(
    "code",
    [
        "91350100M000100Y43",
        "9144030071526726XG",
    ],  # published example of the standard; a listed firm
)
def test_credit_codes_of_real_organisations_are_right(code: str) -> None:
    rules.check_uscc(code)


@pytest.mark.parametrize(
    "code", ["", "91350100M000100Y44", "91350100M000100Y4", "91350100M000100YI3", "郑" * 18]
)
def test_a_credit_code_with_a_slip_is_refused(code: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        rules.check_uscc(code)
    assert (refusal.value.reason, refusal.value.field) == ("InvalidCreditCode", "uscc")
