"""What the routes of policy programmes give, as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel, Field

from suanwang.edge.api.money import Money
from suanwang.edge.api.views_billing import instant
from suanwang.trade.policy import describing, wording
from suanwang.trade.policy.checking import Checked
from suanwang.trade.policy.life import Application, Budget, Grant
from suanwang.trade.policy.model import Card, Profile, Programme
from suanwang.trade.policy.rules import Refusal
from suanwang.trade.policy.what_if import WhatIf


class Text(BaseModel):
    """In both languages."""

    zh: str
    en: str


class ProfileView(BaseModel):
    organisation_id: str
    profile: dict[str, Any]
    verified_at: str | None


class BudgetView(BaseModel):
    year: int
    pool: Money
    committed: Money
    redeemed: Money
    left: Money


class ProgrammeView(BaseModel):
    id: str
    version: int
    title: Text
    jurisdiction: str
    issuer: Text
    mode: str
    payee: str
    items: list[str]
    headline: Text
    source: str
    standing: str
    budgets: list[BudgetView]


class SectionView(BaseModel):
    key: str
    heading: Text
    sentences: list[Text]


class ProgrammeWhole(ProgrammeView):
    """With the document, and the same in words."""

    document: dict[str, Any]
    words: list[SectionView]
    notes: Text | None
    owed: dict[str, Money] | None = Field(description="By funder; for operators.")


class RefusalView(BaseModel):
    reason: str
    message: Text
    hint: Text
    field: str | None


class CheckView(BaseModel):
    eligible: bool
    refusals: list[RefusalView]
    open_figures: list[str] = Field(description="Only a reviewer can state these.")
    amount: Money | None = Field(description="What would be granted; null while a figure is open.")
    percent: int | None
    bound_by: str


class ApplicationView(BaseModel):
    id: str
    programme_id: str
    programme_version: int
    organisation_id: str
    project_id: str
    user_id: str
    state: str
    request: dict[str, Any]
    submitted_at: str
    decided_at: str | None
    decided_by: str | None
    remark: str
    grant_id: str | None


class VoucherView(BaseModel):
    """A grant, of whatever mode."""

    id: str
    application_id: str
    programme_id: str
    programme_version: int
    organisation_id: str
    project_id: str
    mode: str
    item: str
    year: int
    amount: Money
    redeemed: Money
    left: Money
    reclaimed: Money
    percent_domestic: int
    percent_other: int
    state: str
    granted_at: str
    expires_at: str | None
    audited_at: str | None
    finding: str | None
    remark: str


class RedemptionView(BaseModel):
    at: str
    usage_id: str
    amount: Money


class VoucherWhole(VoucherView):
    redemptions: list[RedemptionView] = Field(description="At charges, the latest first.")


class GainView(BaseModel):
    organisation_id: str
    charged: Money
    gained: Money


class LeftOutView(BaseModel):
    reason: str
    organisations: int
    charged: Money


class DayView(BaseModel):
    day: str
    charged: Money
    relieved: Money


class WhatIfView(BaseModel):
    programme_id: str
    version: int
    charged: Money
    cost: Money
    pool: Money | None
    exhausted_on: str | None
    is_ceiling: bool = Field(description="A rate was known as an upper bound, which was taken.")
    organisations: list[GainView]
    funders: dict[str, Money]
    days: list[DayView]
    left_out: list[LeftOutView]


def profile(one: Profile, verified_at_ms: int | None) -> ProfileView:
    return ProfileView(
        organisation_id=one.organisation_id,
        profile=msgspec.to_builtins(one),
        verified_at=None if verified_at_ms is None else instant(verified_at_ms),
    )


def refusal(one: Refusal) -> RefusalView:
    chinese, english = wording.refusal(one, "zh"), wording.refusal(one, "en")
    return RefusalView(
        reason=one.reason.value,
        message=Text(zh=chinese.message, en=english.message),
        hint=Text(zh=chinese.hint, en=english.hint),
        field=one.field,
    )


def checked(found: Checked, card: Card) -> CheckView:
    quote = found.quote
    percent = None
    if quote is not None:
        domestic = card is Card.DOMESTIC
        percent = quote.percent_domestic if domestic else quote.percent_other
    return CheckView(
        eligible=found.verdict.is_eligible,
        refusals=[refusal(one) for one in found.verdict.refusals],
        open_figures=list(found.verdict.open_figures),
        amount=None if quote is None else Money.of(quote.amount_micro_yuan),
        percent=percent or None,
        bound_by=quote.bound_by if quote is not None else "",
    )


def budget(one: Budget) -> BudgetView:
    return BudgetView(
        year=one.year,
        pool=Money.of(one.pool_micro_yuan),
        committed=Money.of(one.committed_micro_yuan),
        redeemed=Money.of(one.redeemed_micro_yuan),
        left=Money.of(one.left_micro_yuan),
    )


def _both(zh: str, en: str) -> Text:
    return Text(zh=zh, en=en)


def programme(one: Programme, budgets: list[Budget]) -> ProgrammeView:
    return ProgrammeView(
        id=one.id,
        version=one.version,
        title=_both(one.title.zh, one.title.en),
        jurisdiction=one.jurisdiction,
        issuer=_both(one.issuer.zh, one.issuer.en),
        mode=one.mode.value,
        payee=one.payee.value,
        items=[item.value for benefit in one.benefits for item in benefit.items],
        headline=_both(describing.headline(one, "zh"), describing.headline(one, "en")),
        source=one.source.citation,
        standing=one.source.standing.value,
        budgets=[budget(each) for each in budgets],
    )


def whole_programme(
    one: Programme, budgets: list[Budget], owed: dict[str, int] | None
) -> ProgrammeWhole:
    chinese, english = describing.describe(one, "zh"), describing.describe(one, "en")
    return ProgrammeWhole(
        **programme(one, budgets).model_dump(),
        document=msgspec.to_builtins(one),
        words=[
            SectionView(
                key=zh.key,
                heading=_both(zh.heading, en.heading),
                sentences=[_both(*pair) for pair in zip(zh.sentences, en.sentences, strict=True)],
            )
            for zh, en in zip(chinese, english, strict=True)
        ],
        notes=None if one.notes is None else _both(one.notes.zh, one.notes.en),
        owed=None if owed is None else {key: Money.of(sum_) for key, sum_ in owed.items()},
    )


def application(one: Application) -> ApplicationView:
    request = msgspec.to_builtins(one.request)
    request["evidence"] = dict(request["evidence"])
    return ApplicationView(
        id=one.id,
        programme_id=one.programme_id,
        programme_version=one.programme_version,
        organisation_id=one.organisation_id,
        project_id=one.project_id,
        user_id=one.user_id,
        state=one.state.value,
        request=request,
        submitted_at=instant(one.submitted_at_ms),
        decided_at=None if one.decided_at_ms is None else instant(one.decided_at_ms),
        decided_by=one.decided_by,
        remark=one.remark,
        grant_id=one.grant_id,
    )


def voucher(one: Grant) -> VoucherView:
    return VoucherView(
        id=one.id,
        application_id=one.application_id,
        programme_id=one.programme_id,
        programme_version=one.programme_version,
        organisation_id=one.organisation_id,
        project_id=one.project_id,
        mode=one.mode.value,
        item=one.item.value,
        year=one.year,
        amount=Money.of(one.amount_micro_yuan),
        redeemed=Money.of(one.redeemed_micro_yuan),
        left=Money.of(one.left_micro_yuan),
        reclaimed=Money.of(one.reclaimed_micro_yuan),
        percent_domestic=one.percent_domestic,
        percent_other=one.percent_other,
        state=one.state.value,
        granted_at=instant(one.granted_at_ms),
        expires_at=None if one.expires_at_ms is None else instant(one.expires_at_ms),
        audited_at=None if one.audited_at_ms is None else instant(one.audited_at_ms),
        finding=None if one.finding is None else one.finding.value,
        remark=one.remark,
    )


def what_if(found: WhatIf) -> WhatIfView:
    return WhatIfView(
        programme_id=found.programme.id,
        version=found.programme.version,
        charged=Money.of(found.charged_micro_yuan),
        cost=Money.of(found.cost_micro_yuan),
        pool=None if found.pool_micro_yuan is None else Money.of(found.pool_micro_yuan),
        exhausted_on=found.exhausted_on,
        is_ceiling=found.is_ceiling,
        organisations=[
            GainView(
                organisation_id=one.organisation_id,
                charged=Money.of(one.charged_micro_yuan),
                gained=Money.of(one.gained_micro_yuan),
            )
            for one in found.by_organisation
        ],
        funders={funder: Money.of(amount) for funder, amount in found.by_funder},
        days=[
            DayView(day=day, charged=Money.of(charged), relieved=Money.of(paid))
            for day, charged, paid in found.by_day
        ],
        left_out=[
            LeftOutView(
                reason=one.reason,
                organisations=one.organisations,
                charged=Money.of(one.charged_micro_yuan),
            )
            for one in found.left_out
        ],
    )
