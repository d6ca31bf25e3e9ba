"""Pure decisions: who is eligible and why not, how much a grant is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.money import scale
from suanwang.trade.policy.model import (
    Benefit,
    BenefitKind,
    Card,
    Condition,
    EntityKind,
    Figures,
    Held,
    Per,
    Profile,
    Programme,
    Rate,
    Request,
    micro,
)

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
USCC_LENGTH = 18
EPOCH = date(1970, 1, 1)


class Reason(StrEnum):
    """Why somebody is not eligible, or why a grant cannot be worked out. `wording` has the text."""

    ITEM_NOT_COVERED = "ItemNotCovered"
    WRONG_REGION = "WrongRegion"
    WRONG_KIND = "WrongKind"
    SIZE_UNKNOWN = "SizeUnknown"
    WRONG_SIZE = "WrongSize"
    WRONG_SECTOR = "WrongSector"
    NOT_QUALIFIED = "NotQualified"
    FOUNDED_UNKNOWN = "FoundedUnknown"
    TOO_OLD = "TooOld"
    DISHONEST = "Dishonest"
    DISHONEST_EVER = "DishonestEver"
    PROFILE_NOT_VERIFIED = "ProfileNotVerified"
    PROVIDER_MISSING = "ProviderMissing"
    PROVIDER_NOT_VERIFIED = "ProviderNotVerified"
    PROVIDER_NOT_LISTED = "ProviderNotListed"
    PROVIDER_TOO_SMALL = "ProviderTooSmall"
    PROVIDER_IS_SELF = "ProviderIsSelf"
    PROVIDER_AFFILIATED = "ProviderAffiliated"
    NO_METERING_LOGS = "NoMeteringLogs"
    BELOW_MILESTONE = "BelowMilestone"
    NOT_OPEN_YET = "NotOpenYet"
    CLOSED = "Closed"
    SIGNED_ON_MISSING = "SignedOnMissing"
    OUTSIDE_WINDOW = "OutsideWindow"
    NOT_RETROACTIVE = "NotRetroactive"
    EVIDENCE_MISSING = "EvidenceMissing"
    CONTRACT_MISSING = "ContractMissing"
    PROJECT_REFERENCE_MISSING = "ProjectReferenceMissing"
    CONTRACT_ALREADY_HELPED = "ContractAlreadyHelped"
    EXCLUDED_BY_OTHER = "ExcludedByOther"
    YEARS_USED_UP = "YearsUsedUp"
    CAP_REACHED = "CapReached"
    NO_RATE = "NoRate"
    FIGURE_OUT_OF_BOUNDS = "FigureOutOfBounds"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    BUDGET_NOT_OPEN = "BudgetNotOpen"


@dataclass(frozen=True, slots=True)
class Refusal:
    """`values` fill the text; `field` is the request's or profile's that would have to change."""

    reason: Reason
    values: tuple[tuple[str, str], ...] = ()
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every reason that speaks against it, and which figures only a reviewer can state."""

    refusals: tuple[Refusal, ...]
    open_figures: tuple[str, ...] = ()

    @property
    def is_eligible(self) -> bool:
        return not self.refusals


def _refusal(reason: Reason, field: str | None = None, **values: object) -> Refusal:
    return Refusal(reason, tuple((name, str(value)) for name, value in values.items()), field)


def check_uscc(code: str) -> None:
    """Raise InvalidInput unless it is a 统一社会信用代码 with the right check character.

    GB 32100-2015: 17 characters weighted by powers of 3 modulo 31, the 18th completes to 31.
    """
    total = sum(
        USCC_ALPHABET.find(character) * pow(3, place, 31)
        for place, character in enumerate(code[: USCC_LENGTH - 1])
    )
    known = len(code) == USCC_LENGTH and all(c in USCC_ALPHABET for c in code)
    if not known or USCC_ALPHABET[-total % 31] != code[-1]:
        raise InvalidInput(
            "InvalidCreditCode",
            f"{code!r} is not a unified social credit code.",
            hint="18 characters as on the licence; the last one is a check of the others.",
            field="uscc",
        )


def in_region(region: str, wanted: str) -> bool:
    return region == wanted or region.startswith(wanted + "/")


def eligible(
    programme: Programme,
    applicant: Profile,
    provider: Profile | None,
    request: Request,
    held: Held = Held(),  # noqa: B008
    *,
    today: date,
) -> Verdict:
    """May this applicant have it? All refusals at once, in a fixed order."""
    refusals = [
        *_about_item(programme, request),
        *_about_entity(programme, applicant, today),
        *_about_provider(programme, applicant, provider),
        *_about_window(programme, request, today),
        *_about_papers(programme, request, held),
        *_about_caps(programme, applicant, request, held),
    ]
    return Verdict(tuple(refusals), open_figures(programme, applicant, request))


def _about_item(programme: Programme, request: Request) -> Iterator[Refusal]:
    if programme.benefit_for(request.item) is None:
        yield _refusal(Reason.ITEM_NOT_COVERED, "item", item=request.item.value)


def _about_entity(programme: Programme, applicant: Profile, today: date) -> Iterator[Refusal]:
    need = programme.entity
    if need.regions and not any(in_region(applicant.region, one) for one in need.regions):
        wanted = "、".join(need.regions)
        yield _refusal(Reason.WRONG_REGION, "region", wanted=wanted, found=applicant.region)
    if need.kinds and applicant.kind not in need.kinds:
        yield _refusal(Reason.WRONG_KIND, "kind", found=applicant.kind.value)
    if need.sizes and applicant.kind is EntityKind.ENTERPRISE:
        if applicant.size is None:
            yield _refusal(Reason.SIZE_UNKNOWN, "size")
        elif applicant.size not in need.sizes:
            yield _refusal(Reason.WRONG_SIZE, "size", found=applicant.size.value)
    if need.sectors and applicant.sector not in need.sectors:
        wanted = "、".join(need.sectors)
        yield _refusal(Reason.WRONG_SECTOR, "sector", wanted=wanted, found=applicant.sector or "–")
    if need.qualifications and not set(need.qualifications) & set(applicant.qualifications):
        wanted = "、".join(need.qualifications)
        yield _refusal(Reason.NOT_QUALIFIED, "qualifications", wanted=wanted)
    if need.max_age_years is not None:
        if applicant.founded is None:
            yield _refusal(Reason.FOUNDED_UNKNOWN, "founded")
        elif years_later(applicant.founded, need.max_age_years) < today:
            yield _refusal(Reason.TOO_OLD, "founded", years=need.max_age_years)
    if applicant.dishonest_on is None:
        return
    if need.clean_credit:
        yield _refusal(Reason.DISHONEST_EVER, "dishonest_on")
    elif need.clean_credit_years is not None:
        clean_from = years_later(applicant.dishonest_on, need.clean_credit_years)
        if today < clean_from:
            yield _refusal(
                Reason.DISHONEST,
                "dishonest_on",
                years=need.clean_credit_years,
                clean_from=clean_from.isoformat(),
            )


def years_later(day: date, years: int) -> date:
    """The same day so many years on; of a 29 February the 1 March where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


def _about_provider(
    programme: Programme, applicant: Profile, provider: Profile | None
) -> Iterator[Refusal]:
    need = programme.provider
    asked = need.facilities or need.named or need.non_affiliated or need.metering_logs
    if provider is None:
        if asked or need.on_platform or need.not_self or programme.milestones:
            yield _refusal(Reason.PROVIDER_MISSING, "provider_organisation_id")
        return
    yield from provider_refusals(programme, applicant, provider)


def provider_refusals(
    programme: Programme, applicant: Profile, provider: Profile
) -> Iterator[Refusal]:
    """What speaks against this provider's compute; asked again at every charge."""
    need, facts = programme.provider, provider.facility
    where = "provider_organisation_id"
    is_self = same_entity(applicant, provider)
    if need.not_self and is_self:
        yield _refusal(Reason.PROVIDER_IS_SELF, where)
    elif need.non_affiliated and (is_self or affiliated(applicant, provider)):
        yield _refusal(Reason.PROVIDER_AFFILIATED, where, name=provider.name)
    if need.named and provider.name not in need.named:
        wanted = "、".join(need.named)
        yield _refusal(Reason.PROVIDER_NOT_LISTED, where, name=provider.name, wanted=wanted)
    if need.facilities:
        kinds = [one for one in need.facilities if facts is not None and one.kind is facts.kind]
        if not kinds or facts is None:
            yield _refusal(Reason.PROVIDER_NOT_LISTED, where, name=provider.name, wanted="–")
        elif not any(
            facts.pflops >= (one.min_pflops or 0) and facts.racks >= (one.min_racks or 0)
            for one in kinds
        ):
            yield _refusal(
                Reason.PROVIDER_TOO_SMALL,
                where,
                name=provider.name,
                pflops=facts.pflops,
                racks=facts.racks,
            )
    if need.metering_logs and (facts is None or not facts.metering_logs):
        yield _refusal(Reason.NO_METERING_LOGS, where, name=provider.name)
    for one in programme.milestones:
        reached = facts.pflops if facts is not None and one.metric == "pflops" else 0
        if reached < one.minimum:
            yield _refusal(Reason.BELOW_MILESTONE, "facility", minimum=one.minimum, found=reached)


def same_entity(one: Profile, other: Profile) -> bool:
    """One organisation here, or two that have one credit code."""
    return one.organisation_id == other.organisation_id or (
        one.uscc != "" and one.uscc == other.uscc
    )


def asks_for_facts(programme: Programme) -> bool:
    """Of a provider's machines or name, which only a reviewer can know to be true."""
    need = programme.provider
    return bool(need.facilities or need.named or need.metering_logs or programme.milestones)


def normalised(reference: str) -> str:
    """A contract's or an undertaking's number without what clerks write differently: width, case,
    blanks and signs."""
    folded = unicodedata.normalize("NFKC", reference).casefold()
    return "".join(sign for sign in folded if sign.isalnum())


def unknown_provider(organisation_id: str) -> Profile:
    """Of one that has stated nothing: no facility, no name, only who it is."""
    return Profile(organisation_id, organisation_id, "", "", EntityKind.ENTERPRISE)


def affiliated(one: Profile, other: Profile) -> bool:
    """Either names the other, by id or by credit code; or both name a third."""
    names = ({one.organisation_id, one.uscc}, {other.organisation_id, other.uscc})
    stated = set(one.affiliates), set(other.affiliates)
    return bool(stated[0] & names[1] or stated[1] & names[0] or stated[0] & stated[1])


def _about_window(programme: Programme, request: Request, today: date) -> Iterator[Refusal]:
    window = programme.window
    if window.apply_from is not None and today < window.apply_from:
        yield _refusal(Reason.NOT_OPEN_YET, day=window.apply_from.isoformat())
    if window.apply_until is not None and today > window.apply_until:
        yield _refusal(Reason.CLOSED, day=window.apply_until.isoformat())
    bounded = window.use_from is not None or window.use_until is not None
    if request.signed_on is None:
        if bounded or (window.apply_from is not None and not window.retroactive):
            yield _refusal(Reason.SIGNED_ON_MISSING, "signed_on")
        return
    opened = window.apply_from or date.min
    early = window.use_from is not None and request.signed_on < window.use_from
    late = window.use_until is not None and request.signed_on > window.use_until
    if early or late:
        yield _refusal(
            Reason.OUTSIDE_WINDOW,
            "signed_on",
            day=request.signed_on.isoformat(),
            since=window.use_from or "–",
            until=window.use_until or "–",
        )
    elif not window.retroactive and not bounded and request.signed_on < opened:
        yield _refusal(Reason.NOT_RETROACTIVE, "signed_on", day=opened.isoformat())


def _about_papers(programme: Programme, request: Request, held: Held) -> Iterator[Refusal]:
    given = {kind for kind, where in request.evidence if where.strip()}
    benefit = programme.benefit_for(request.item)
    wanted = (*programme.evidence, *(benefit.evidence if benefit else ()))
    for kind in dict.fromkeys(wanted):
        if kind not in given:
            yield _refusal(Reason.EVIDENCE_MISSING, f"evidence.{kind.value}", kind=kind.value)
    for one in programme.exclusive:
        if one.per is not Per.CONTRACT and one.group in held.entity_groups:
            yield _refusal(Reason.EXCLUDED_BY_OTHER, group=one.group)
        if one.per is Per.CONTRACT and not normalised(request.contract):
            yield _refusal(Reason.CONTRACT_MISSING, "contract")
        elif one.per is Per.CONTRACT and one.group in held.contract_groups:
            yield _refusal(Reason.CONTRACT_ALREADY_HELPED, "contract", contract=request.contract)


def _about_caps(
    programme: Programme, applicant: Profile, request: Request, held: Held
) -> Iterator[Refusal]:
    benefit = programme.benefit_for(request.item)
    if benefit is None:
        return
    caps = benefit.caps
    if caps.entity_years is not None and held.years >= caps.entity_years:
        yield _refusal(Reason.YEARS_USED_UP, years=caps.entity_years)
    if benefit.kind is BenefitKind.SHARE:
        rate = rate_for(benefit, applicant, request)
        if rate is None:
            yield _refusal(Reason.NO_RATE)
        cap = year_cap(benefit, rate, Figures())
        if cap is not None and held.year_micro_yuan >= cap:
            yield _refusal(Reason.CAP_REACHED, cap=scale(cap, 1, micro(1)))
        # a case with a cap of its own needs no undertaking
        by_project = rate is None or rate.entity_year_yuan is None
        named = normalised(request.project_reference)
        if caps.project_yuan is not None and by_project and not named:
            yield _refusal(Reason.PROJECT_REFERENCE_MISSING, "project_reference")
    if caps.project_yuan is not None and held.project_micro_yuan >= micro(caps.project_yuan):
        yield _refusal(Reason.CAP_REACHED, "project_reference", cap=caps.project_yuan)


def rate_for(
    benefit: Benefit, applicant: Profile, request: Request, card: Card | None = None
) -> Rate | None:
    """The first that applies; `card` instead of the request's."""
    for rate in benefit.rates:
        if _holds(rate.when, applicant, request, card or request.card):
            return rate
    return None


def _holds(when: Condition, applicant: Profile, request: Request, card: Card) -> bool:
    return (
        (when.card is None or when.card is card)
        and (when.qualification is None or when.qualification in applicant.qualifications)
        and (not when.sectors or applicant.sector in when.sectors)
        and (when.direction is None or when.direction == request.direction)
        and request.amount_micro_yuan >= micro(when.min_base_yuan or 0)
    )


def year_cap(benefit: Benefit, rate: Rate | None, figures: Figures) -> int | None:
    """Micro-yuan for one entity and year; None: the text knows no cap."""
    if rate is not None and rate.entity_year_yuan is not None:
        return micro(rate.entity_year_yuan)
    if benefit.caps.entity_year_yuan is not None:
        return micro(benefit.caps.entity_year_yuan)
    if figures.entity_year_micro_yuan is not None:
        return figures.entity_year_micro_yuan
    between = benefit.caps.entity_year_between_yuan
    return None if between is None else micro(between[1])


def open_figures(programme: Programme, applicant: Profile, request: Request) -> tuple[str, ...]:
    """Names of the figures that the text leaves open for this case, so that a reviewer must state
    them. Empty: the grant can be worked out from the document alone."""
    benefit = programme.benefit_for(request.item)
    if benefit is None:
        return ()
    missing = []
    if benefit.kind is BenefitKind.SHARE:
        rate = rate_for(benefit, applicant, request)
        if rate is not None and rate.percent is None:
            missing.append("percent")
        if benefit.caps.entity_year_between_yuan is not None:
            missing.append("entity_year_yuan")
    elif benefit.kind is BenefitKind.PER_UNIT and benefit.unit_yuan is None:
        missing.append("unit_yuan")
    elif benefit.kind is BenefitKind.LINE and benefit.line_yuan is None:
        missing.append("line_yuan")
    if programme.expiry.required and programme.expiry.days is None and programme.expiry.on is None:
        missing.append("expires_on")
    return tuple(missing)


def check_figures(rate: Rate | None, benefit: Benefit, given: Figures) -> None:
    """Raise InvalidInput for a figure outside what the text allows."""
    if rate is not None and given.percent is not None:
        exact = rate.percent
        low = rate.at_least or 0 if exact is None else exact
        high = (100 if rate.at_most is None else rate.at_most) if exact is None else exact
        _within("percent", given.percent, low, high)
    between = benefit.caps.entity_year_between_yuan
    if between is not None and given.entity_year_micro_yuan is not None:
        cap = given.entity_year_micro_yuan
        _within("entity_year_yuan", cap, micro(between[0]), micro(between[1]))
    if benefit.unit_yuan is not None and given.unit_micro_yuan is not None:
        _within("unit_yuan", given.unit_micro_yuan, *[micro(benefit.unit_yuan)] * 2)
    if benefit.line_yuan is not None and given.line_micro_yuan is not None:
        _within("line_yuan", given.line_micro_yuan, 0, micro(benefit.line_yuan))


def _within(name: str, found: int, low: int, high: int) -> None:
    if not low <= found <= high:
        raise InvalidInput(
            Reason.FIGURE_OUT_OF_BOUNDS,
            f"{name} must be from {low} to {high}; {found} was stated.",
            hint="State a figure that the published text allows.",
            field=name,
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """What a grant comes to. `bound_by`: the cap that made it less, if one did."""

    amount_micro_yuan: int
    percent_domestic: int = 0
    percent_other: int = 0
    bound_by: str = ""
    year_cap_micro_yuan: int | None = None


def quote(
    programme: Programme, applicant: Profile, request: Request, given: Figures, held: Held
) -> Quote | None:
    """The grant by the document and the reviewer's figures; None while a figure is missing."""
    benefit = programme.benefit_for(request.item)
    if benefit is None:
        return None
    if benefit.kind is BenefitKind.LINE:
        line = micro(benefit.line_yuan) if benefit.line_yuan is not None else None
        line = given.line_micro_yuan if given.line_micro_yuan is not None else line
        return None if line is None else Quote(min(line, request.amount_micro_yuan))
    if benefit.kind is BenefitKind.PER_UNIT:
        unit = micro(benefit.unit_yuan) if benefit.unit_yuan is not None else given.unit_micro_yuan
        if unit is None:
            return None
        return _capped(benefit, None, given, held, Quote(unit * request.units))
    domestic, other = (
        _percent(rate_for(benefit, applicant, request, card), given) for card in Card
    )
    percent = domestic if request.card is Card.DOMESTIC else other
    if percent is None:
        return None
    rate = rate_for(benefit, applicant, request)
    whole = Quote(scale(request.amount_micro_yuan, percent, 100), domestic or 0, other or 0)
    return _capped(benefit, rate, given, held, whole)


def _percent(rate: Rate | None, given: Figures) -> int | None:
    if rate is None:
        return None
    return given.percent if rate.percent is None else rate.percent


def _capped(benefit: Benefit, rate: Rate | None, given: Figures, held: Held, whole: Quote) -> Quote:
    cap = year_cap(benefit, rate, given)
    caps = benefit.caps
    in_project = None if caps.project_yuan is None else micro(caps.project_yuan)
    limits = [
        ("entity_year_yuan", None if cap is None else cap - held.year_micro_yuan),
        ("contract_yuan", None if caps.contract_yuan is None else micro(caps.contract_yuan)),
        ("project_yuan", None if in_project is None else in_project - held.project_micro_yuan),
    ]
    amount, bound_by = whole.amount_micro_yuan, ""
    for name, limit in limits:
        if limit is not None and limit < amount:
            amount, bound_by = max(0, limit), name
    return Quote(amount, whole.percent_domestic, whole.percent_other, bound_by, cap)
