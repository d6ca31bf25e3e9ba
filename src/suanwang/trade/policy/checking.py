"""Would it be granted? Reads alone; the review takes what this finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, NotFound
from suanwang.kernel.time import MS_PER_DAY
from suanwang.trade.billing.rules import SHANGHAI_MS, date_text, day_of
from suanwang.trade.policy import grant_store, rules, store
from suanwang.trade.policy.life import Budget
from suanwang.trade.policy.model import (
    BenefitKind,
    Figures,
    Held,
    Item,
    Mode,
    Profile,
    Programme,
    Request,
)
from suanwang.trade.policy.rules import Quote, Reason, Refusal, Verdict


def day(at_ms: int) -> date:
    """The calendar day in Asia/Shanghai."""
    return rules.EPOCH + timedelta(days=day_of(at_ms))


def start_of(first: date) -> int:
    """The instant at which a day in Asia/Shanghai begins."""
    return (first - rules.EPOCH).days * MS_PER_DAY - SHANGHAI_MS


def end_of(last: date) -> int:
    """The instant after a day in Asia/Shanghai."""
    return start_of(last) + MS_PER_DAY


def year_of(at_ms: int) -> int:
    return int(date_text(day_of(at_ms))[:4])


def programme(conn: Connection, programme_id: str, version: int | None = None) -> Programme:
    if version is not None:
        found = store.find_programmes(conn, [(programme_id, version)]).get((programme_id, version))
    else:
        found = next(iter(store.newest_programmes(conn, programme_id)), None)
    if found is None:
        raise NotFound(
            "NoSuchProgramme",
            f"There is no programme {programme_id!r}.",
            hint="`suan programme ls` lists them.",
        )
    return found


def profile_of(conn: Connection, organisation_id: str) -> Profile:
    found = store.profile(conn, organisation_id)
    if found is None:
        raise Conflict(
            "ProfileMissing",
            "This organisation has no profile yet.",
            hint="Fill in region, kind, size and credit code: `suan org profile`.",
            field="profile",
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class Checked:
    """An eligibility check. `quote` is None while a figure is open that only a reviewer states."""

    programme: Programme
    verdict: Verdict
    quote: Quote | None
    budget: Budget | None


def check(
    conn: Connection,
    programme_id: str,
    organisation_id: str,
    request: Request,
    *,
    now_ms: int,
    figures: Figures = Figures(),  # noqa: B008
    version: int | None = None,
    on: date | None = None,
) -> Checked:
    """Would it be granted, how much, and what speaks against it? Changes nothing."""
    document = programme(conn, programme_id, version)
    applicant = profile_of(conn, organisation_id)
    year = year_of(now_ms)
    held = _held(conn, document, organisation_id, request, year)
    found = rules.eligible(
        document,
        applicant,
        _provider(conn, applicant, request),
        request,
        held,
        today=on or day(now_ms),
    )
    quote = rules.quote(document, applicant, request, figures, held)
    opened = grant_store.find_budgets(conn, programme_id)
    budget = next((one for one in opened if one.year == year), None)
    return Checked(document, _with_budget(found, document, request, quote, budget), quote, budget)


def _with_budget(
    found: Verdict,
    document: Programme,
    request: Request,
    quote: Quote | None,
    budget: Budget | None,
) -> Verdict:
    benefit = document.benefit_for(request.item)
    if benefit is None or benefit.kind is BenefitKind.LINE:
        return found
    if budget is None:
        return replace(found, refusals=(*found.refusals, Refusal(Reason.BUDGET_NOT_OPEN)))
    wanted = quote.amount_micro_yuan if quote is not None else 1
    if document.mode is Mode.INSTANT:
        wanted = min(wanted, 1)
    if wanted > budget.left_micro_yuan:
        return replace(found, refusals=(*found.refusals, Refusal(Reason.BUDGET_EXHAUSTED)))
    return found


def _provider(conn: Connection, applicant: Profile, request: Request) -> Profile | None:
    """On the supply side the applicant's own machines are meant."""
    if request.item is Item.SUPPLY:
        return applicant
    if request.provider_organisation_id is None:
        return None
    found = store.profile(conn, request.provider_organisation_id)
    return (
        found[0] if found is not None else rules.unknown_provider(request.provider_organisation_id)
    )


def contract_subject(request: Request) -> str:
    return f"contract:{request.provider_organisation_id or '-'}:{request.contract.strip().lower()}"


def project_subject(request: Request) -> str:
    return f"project:{request.project_reference.strip().lower()[:30]}"


def _held(
    conn: Connection, document: Programme, organisation_id: str, request: Request, year: int
) -> Held:
    by_year = grant_store.granted_by_year(conn, document.id, organisation_id)
    in_project = (
        grant_store.granted_by_year(conn, document.id, project_subject(request)).get(0, 0)
        if request.project_reference
        else 0
    )
    return Held(
        entity_groups=grant_store.groups_of(conn, f"entity:{organisation_id}"),
        contract_groups=grant_store.groups_of(conn, contract_subject(request))
        if request.contract
        else (),
        year_micro_yuan=by_year.get(year, 0),
        project_micro_yuan=in_project,
        years=sum(one != year for one in by_year),
    )
