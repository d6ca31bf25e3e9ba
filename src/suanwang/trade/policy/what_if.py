"""Pure: what a programme would have cost over past charges, and who would have gained.

Charges are summed by day, so a share is taken of a day's sum: it may differ from what redemption
charge by charge would give by half a micro-yuan a charge. Application windows, evidence and
exclusions are left out: the question is about the rule, not about the paperwork.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.kernel.money import scale
from suanwang.trade.billing.model import PastCharge
from suanwang.trade.billing.rules import date_text
from suanwang.trade.policy import rules
from suanwang.trade.policy.model import (
    METERED_ITEMS,
    Benefit,
    Card,
    Evidence,
    Figures,
    Profile,
    Programme,
    Request,
    Window,
    micro,
)
from suanwang.trade.policy.relief import split

PROFILE_MISSING = "ProfileMissing"
_ALL_EVIDENCE = tuple((kind, "–") for kind in Evidence)


@dataclass(frozen=True, slots=True)
class Assumption:
    """A figure that the text leaves open: what was given, else its ceiling."""

    percent: int | None = None
    pool_micro_yuan: int | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    organisation_id: str
    charged_micro_yuan: int
    gained_micro_yuan: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Charges that would not have been helped, by the first reason."""

    reason: str
    organisations: int
    charged_micro_yuan: int


@dataclass(frozen=True, slots=True)
class WhatIf:
    programme: Programme
    charged_micro_yuan: int
    cost_micro_yuan: int
    by_organisation: tuple[Gain, ...]
    """Most gained first."""
    by_funder: tuple[tuple[str, int], ...]
    by_day: tuple[tuple[str, int, int], ...]
    """(date, charged, paid by the programme)."""
    left_out: tuple[LeftOut, ...]
    exhausted_on: str | None
    pool_micro_yuan: int | None
    is_ceiling: bool
    """A rate was only known as an upper bound, and that bound was taken."""


@dataclass(slots=True)
class _Sums:
    charged: dict[str, int] = field(default_factory=dict)
    gained: dict[str, int] = field(default_factory=dict)
    days: dict[int, list[int]] = field(default_factory=dict)
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    in_year: dict[tuple[str, str], int] = field(default_factory=dict)
    pools: dict[str, int] = field(default_factory=dict)
    exhausted_on: str | None = None


def simulate(
    programme: Programme,
    charges: Sequence[PastCharge],
    profiles: Mapping[str, Profile],
    cards: Mapping[str, Card],
    assumed: Assumption,
) -> WhatIf:
    """In order of days, so that pools and caps run out as they would have."""
    benefit = _metered(programme)
    item = next(item for item in benefit.items if item in METERED_ITEMS)
    rule = msgspec.structs.replace(programme, window=Window(), evidence=(), exclusive=())
    pool = assumed.pool_micro_yuan
    if pool is None and programme.pool.year_yuan is not None:
        pool = micro(programme.pool.year_yuan)
    sums = _Sums()
    known: dict[tuple[str, str], str | None] = {}
    is_ceiling = False
    for one in sorted(charges, key=_in_order):
        day = date_text(one.day)
        sums.charged[one.organisation_id] = (
            sums.charged.get(one.organisation_id, 0) + one.amount_micro_yuan
        )
        of_day = sums.days.setdefault(one.day, [0, 0])
        of_day[0] += one.amount_micro_yuan
        card = cards.get(one.pool_id, Card.OTHER)
        request = Request(item, one.amount_micro_yuan, card=card, evidence=_ALL_EVIDENCE)
        pair = one.organisation_id, one.provider_organisation_id
        if pair not in known:
            known[pair] = _reason(rule, pair, profiles, request, one.day)
        reason = known[pair]
        if reason is not None:
            by = sums.left_out.setdefault(reason, {})
            by[one.organisation_id] = by.get(one.organisation_id, 0) + one.amount_micro_yuan
            continue
        share, ceiling = _share(benefit, profiles[one.organisation_id], request, assumed)
        is_ceiling = is_ceiling or ceiling
        wanted = scale(one.amount_micro_yuan, share, 100)
        paid = _within(benefit, profiles[one.organisation_id], request, day, wanted, pool, sums)
        of_day[1] += paid
        sums.gained[one.organisation_id] = sums.gained.get(one.organisation_id, 0) + paid
    return _told(programme, sums, pool, is_ceiling)


def _in_order(one: PastCharge) -> tuple[int, str, str, str, str]:
    return (
        one.day,
        one.organisation_id,
        one.project_id,
        one.provider_organisation_id,
        one.pool_id,
    )


def _metered(programme: Programme) -> Benefit:
    for benefit in programme.benefits:
        if any(item in METERED_ITEMS for item in benefit.items):
            return benefit
    raise Conflict(
        "NotMetered",
        f"{programme.id} is not about compute, which is all that is charged for here.",
        hint="Ask this of a programme for compute or training.",
    )


def _reason(
    rule: Programme,
    pair: tuple[str, str],
    profiles: Mapping[str, Profile],
    request: Request,
    day: int,
) -> str | None:
    applicant = profiles.get(pair[0])
    if applicant is None:
        return PROFILE_MISSING
    provider = profiles.get(pair[1]) or rules.unknown_provider(pair[1])
    today = rules.EPOCH + timedelta(days=day)
    found = rules.eligible(rule, applicant, provider, request, today=today)
    return found.refusals[0].reason.value if found.refusals else None


def _share(
    benefit: Benefit, applicant: Profile, request: Request, assumed: Assumption
) -> tuple[int, bool]:
    """Percent, and whether it is only a ceiling."""
    rate = rules.rate_for(benefit, applicant, request)
    if rate is not None and rate.percent is not None:
        return rate.percent, False
    if assumed.percent is not None:
        return assumed.percent, False
    if rate is not None and rate.at_most is not None:
        return rate.at_most, True
    raise InvalidInput(
        "FigureNeeded",
        "The published text names no rate.",
        hint="Assume one: percent=20.",
        field="percent",
    )


def _within(
    benefit: Benefit,
    applicant: Profile,
    request: Request,
    day: str,
    wanted: int,
    pool: int | None,
    sums: _Sums,
) -> int:
    """What caps and the pool leave of it; both are taken from."""
    rate = rules.rate_for(benefit, applicant, request)
    cap = rules.year_cap(benefit, rate, Figures())
    year = day[:4]
    key = year, applicant.organisation_id
    had, spent = sums.in_year.get(key, 0), sums.pools.get(year, 0)
    paid = wanted if cap is None else max(0, min(wanted, cap - had))
    if pool is not None and paid > pool - spent:
        paid = pool - spent
        sums.exhausted_on = sums.exhausted_on or day
    sums.in_year[key], sums.pools[year] = had + paid, spent + paid
    return paid


def _told(programme: Programme, sums: _Sums, pool: int | None, is_ceiling: bool) -> WhatIf:
    gains = [
        Gain(organisation, charged, sums.gained.get(organisation, 0))
        for organisation, charged in sums.charged.items()
    ]
    gains.sort(key=lambda one: (-one.gained_micro_yuan, one.organisation_id))
    left_out = [
        LeftOut(reason, len(by), sum(by.values())) for reason, by in sorted(sums.left_out.items())
    ]
    cost = sum(sums.gained.values())
    return WhatIf(
        programme,
        sum(sums.charged.values()),
        cost,
        tuple(gains),
        split(programme, cost),
        tuple((date_text(day), sums.days[day][0], sums.days[day][1]) for day in sorted(sums.days)),
        tuple(sorted(left_out, key=lambda one: (-one.charged_micro_yuan, one.reason))),
        sums.exhausted_on,
        pool,
        is_ceiling,
    )
