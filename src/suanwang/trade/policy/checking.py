"""Would it be granted? Reads alone; the review takes what this finds."""

from __future__ import annotations

import hashlib
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
    Per,
    Profile,
    Programme,
    Request,
)
from suanwang.trade.policy.rules import Quote, Reason, Refusal, Verdict

REFERENCE = 30


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
    held = _held(conn, document, applicant, request, year)
    provider, is_verified = _provider(conn, applicant, request)
    found = rules.eligible(document, applicant, provider, request, held, today=on or day(now_ms))
    if provider is not None and not is_verified and rules.asks_for_facts(document):
        unknown = Refusal(
            Reason.PROVIDER_NOT_VERIFIED, (("name", provider.name),), "provider_organisation_id"
        )
        found = replace(found, refusals=(*found.refusals, unknown))
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


def _provider(
    conn: Connection, applicant: Profile, request: Request
) -> tuple[Profile | None, bool]:
    """And whether what it says was verified. On the supply side the applicant's own machines are
    meant, and he is verified before anything is granted."""
    if request.item is Item.SUPPLY:
        return applicant, True
    if request.provider_organisation_id is None:
        return None, False
    found = store.profile(conn, request.provider_organisation_id)
    if found is None:
        return rules.unknown_provider(request.provider_organisation_id), True
    return found[0], found[1] is not None


def contract_subject(request: Request) -> str:
    reference = rules.normalised(request.contract)
    return f"contract:{request.provider_organisation_id or '-'}:{reference}"


def project_subject(request: Request) -> str:
    """In 40 characters; a longer reference by its digest."""
    reference = rules.normalised(request.project_reference)
    if len(reference) > REFERENCE:
        reference = hashlib.sha256(reference.encode()).hexdigest()[:REFERENCE]
    return f"project:{reference}"


def twins(conn: Connection, applicant: Profile) -> list[str]:
    """Organisations that are one entity, the applicant's among them: those of its credit code."""
    return sorted({applicant.organisation_id, *store.organisations_of_code(conn, applicant.uscc)})


def granted_to_twins(conn: Connection, programme_id: str, applicant: Profile, year: int) -> int:
    """What the entity's other organisations were granted in a year."""
    return sum(
        grant_store.granted_by_year(conn, programme_id, one).get(year, 0)
        for one in twins(conn, applicant)
        if one != applicant.organisation_id
    )


def own_groups(
    conn: Connection, document: Programme, organisation_id: str, request: Request
) -> set[str]:
    """Exclusive groups that an organisation holds by this very programme, so that they do not speak
    against more of it; by direction, if it is the same one."""
    per = {one.group: one.per for one in document.exclusive}
    wanted = rules.normalised(request.direction)
    found = set()
    for group, (programme_id, application_id) in grant_store.holders(
        conn, f"entity:{organisation_id}"
    ).items():
        if programme_id != document.id or group not in per:
            continue
        if per[group] is Per.DIRECTION:
            before = store.application(conn, application_id)
            same = before is not None and rules.normalised(before.request.direction) == wanted
            if not (same and wanted):
                continue
        found.add(group)
    return found


def _held(
    conn: Connection, document: Programme, applicant: Profile, request: Request, year: int
) -> Held:
    entity = twins(conn, applicant)
    by_year: dict[int, int] = {}
    for one in entity:
        for of_year, amount in grant_store.granted_by_year(conn, document.id, one).items():
            by_year[of_year] = by_year.get(of_year, 0) + amount
    in_project = (
        grant_store.granted_by_year(conn, document.id, project_subject(request)).get(0, 0)
        if rules.normalised(request.project_reference)
        else 0
    )
    mine = {group for one in entity for group in own_groups(conn, document, one, request)}
    groups = {group for one in entity for group in grant_store.groups_of(conn, f"entity:{one}")}
    groups -= mine
    return Held(
        entity_groups=tuple(sorted(groups)),
        contract_groups=grant_store.groups_of(conn, contract_subject(request))
        if rules.normalised(request.contract)
        else (),
        year_micro_yuan=by_year.get(year, 0),
        project_micro_yuan=in_project,
        years=sum(one != year for one in by_year),
    )
