"""Shapes of policy programmes, applications and vouchers."""

from __future__ import annotations

from typing import Any, TypedDict

from suanwang.edge.client.views import Money


class Text(TypedDict):
    """In both languages."""

    zh: str
    en: str


class Budget(TypedDict):
    year: int
    pool: Money
    committed: Money
    redeemed: Money
    left: Money


class Programme(TypedDict):
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
    budgets: list[Budget]


class Section(TypedDict):
    key: str
    heading: Text
    sentences: list[Text]


class ProgrammeDetail(Programme):
    """With the document, and the same in words."""

    document: dict[str, Any]
    words: list[Section]
    notes: Text | None
    owed: dict[str, Money] | None
    """By funder; for operators."""


class Refusal(TypedDict):
    reason: str
    message: Text
    hint: Text
    field: str | None


class Eligibility(TypedDict):
    eligible: bool
    refusals: list[Refusal]
    open_figures: list[str]
    """Only a reviewer can state these."""
    amount: Money | None
    """What would be granted; null while a figure is open."""
    percent: int | None
    bound_by: str


class Gain(TypedDict):
    organisation_id: str
    charged: Money
    gained: Money


class WhatIfDay(TypedDict):
    day: str
    charged: Money
    relieved: Money


class LeftOut(TypedDict):
    reason: str
    organisations: int
    charged: Money


class WhatIf(TypedDict):
    programme_id: str
    version: int
    charged: Money
    cost: Money
    pool: Money | None
    exhausted_on: str | None
    is_ceiling: bool
    """A rate was known as an upper bound, which was taken."""
    organisations: list[Gain]
    funders: dict[str, Money]
    days: list[WhatIfDay]
    left_out: list[LeftOut]


class Profile(TypedDict):
    organisation_id: str
    profile: dict[str, Any]
    verified_at: str | None


class Application(TypedDict):
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


class Voucher(TypedDict):
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


class Redemption(TypedDict):
    at: str
    usage_id: str
    amount: Money


class VoucherDetail(Voucher):
    redemptions: list[Redemption]
    """At charges, the latest first."""
