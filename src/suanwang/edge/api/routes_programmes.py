"""Policy programmes over HTTP: what there is, who is eligible, documents, budgets, what if."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy.engine import Connection

from suanwang.edge.api import given_programmes as given
from suanwang.edge.api import views_programmes as views
from suanwang.edge.api.routes_billing import Ctx, Identity, Reader, Writer
from suanwang.edge.api.routes_ledger import BookedView, booked_view
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import InvalidInput, NotFound
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, OrganisationKind, Principal
from suanwang.tenancy.rules import not_found, require_may
from suanwang.trade.policy import checking, documents, redemption, service
from suanwang.trade.policy.life import Budget
from suanwang.trade.policy.model import Card, card_of
from suanwang.trade.policy.what_if import Assumption

router = APIRouter(prefix="/v1", tags=["billing"])
LONGEST_DAYS = 400


def cards_of(conn: Connection, pool_ids: Sequence[str]) -> dict[str, Card]:
    """Policy's question about pools, which only sites can answer."""
    return {pool: card_of(vendor) for pool, vendor in sites.vendors_of(conn, pool_ids).items()}


def for_reviewers(principal: Principal) -> None:
    require_may(principal, Action.STEER_PROGRAMMES, principal.organisation_id)


def provider_id(conn: Connection, principal: Principal, named: str | None) -> str | None:
    """Providers are for all to see; of others nobody learns whether they exist."""
    if not named:
        return None
    try:
        found = tenancy.organisation(conn, named)
    except NotFound:
        raise not_found("provider", named) from None
    own = found.id == principal.organisation_id or principal.is_operator
    if not own and OrganisationKind.PROVIDER not in found.kinds:
        raise not_found("provider", named)
    return found.id


@router.get("/programmes")
async def list_programmes(principal: Reader, context: Ctx) -> list[views.ProgrammeView]:
    """The newest version of each."""

    def query(conn: Connection) -> list[views.ProgrammeView]:
        of: dict[str, list[Budget]] = {}
        for one in service.budgets(conn):
            of.setdefault(one.programme_id, []).append(one)
        return [views.programme(one, of.get(one.id, [])) for one in service.programmes(conn)]

    return await context.database.read(query)


@router.get("/programmes/{programme}")
async def get_programme(
    programme: Identity, principal: Reader, context: Ctx, version: int | None = None
) -> views.ProgrammeWhole:
    """The document, and the same in words."""

    def query(conn: Connection) -> views.ProgrammeWhole:
        found = checking.programme(conn, programme, version)
        owed = redemption.owed(conn, found) if principal.is_operator else None
        return views.whole_programme(found, service.budgets(conn, programme), owed)

    return await context.database.read(query)


@router.post("/programmes", status_code=201)
async def publish_programme(
    body: given.DocumentGiven, principal: Writer, context: Ctx
) -> views.ProgrammeView:
    """Publish a document. What has been published stays as it is; a change is a new version."""
    for_reviewers(principal)
    document = documents.read(body.document)

    def use_case(tx: Tx) -> views.ProgrammeView:
        if service.publish(tx, document, principal.user_id):
            detail = {"version": document.version}
            audit(tx, principal, "programme.publish", "programme", document.id, detail)
        return views.programme(document, service.budgets(tx.conn, document.id))

    return await context.database.write(use_case)


@router.put("/programmes/{programme}/budget")
async def open_budget(
    programme: Identity, body: given.BudgetGiven, principal: Writer, context: Ctx
) -> views.BudgetView:
    """Open or change a year's budget; never below what is committed."""
    for_reviewers(principal)
    year = body.year
    pool = None if body.amount is None else body.amount.amount("amount")

    def use_case(tx: Tx) -> views.BudgetView:
        sum_ = service.open_budget(tx, programme, year, pool)
        detail = {"year": year, "pool_micro_yuan": sum_}
        audit(tx, principal, "programme.budget", "programme", programme, detail)
        (found,) = (one for one in service.budgets(tx.conn, programme) if one.year == year)
        return views.budget(found)

    return await context.database.write(use_case)


@router.post("/programmes/{programme}/funding")
async def book_funding(
    programme: Identity, body: given.FundingGiven, principal: Writer, context: Ctx
) -> BookedView:
    """Book what a funder paid. One reference, booked once."""
    for_reviewers(principal)
    amount = body.amount.amount("amount")

    def use_case(tx: Tx) -> BookedView:
        found = redemption.book_funding(tx, programme, body.funder, amount, body.reference)
        if found.posted:
            detail = {
                "funder": body.funder,
                "amount_micro_yuan": amount,
                "reference": body.reference,
            }
            audit(tx, principal, "programme.funding", "programme", programme, detail)
        return booked_view(found)

    return await context.database.write(use_case)


@router.post("/programmes/{programme}/check")
async def check_programme(
    programme: Identity, body: given.CheckGiven, principal: Reader, context: Ctx
) -> views.CheckView:
    """Would it be granted, how much, and what speaks against it? Changes nothing."""

    def query(conn: Connection) -> views.CheckView:
        whose = tenancy.organisation_of(
            conn, principal, body.organisation or principal.organisation_id
        )
        found = checking.check(
            conn,
            programme,
            whose.id,
            body.request(provider_id(conn, principal, body.provider)),
            now_ms=context.clock.now_ms(),
            figures=body.figures.figures(),
        )
        return views.checked(found, body.card)

    return await context.database.read(query)


@router.post("/programmes/{programme}/what-if")
async def ask_what_if(
    programme: Identity, body: given.WhatIfGiven, principal: Reader, context: Ctx
) -> views.WhatIfView:
    """What it would have cost over the charges of a span, and who would have gained."""
    for_reviewers(principal)
    if not 0 < (body.until_day - body.from_day).days <= LONGEST_DAYS:
        raise InvalidInput(
            "InvalidSpan",
            f"A span has 1 to {LONGEST_DAYS} days.",
            hint="until_day is the day after the last one.",
            field="until_day",
        )
    pool = None if body.budget is None else body.budget.amount("budget")
    from_ms, until_ms = (checking.start_of(day) for day in (body.from_day, body.until_day))
    return await context.database.read(
        lambda conn: views.what_if(
            service.what_if(
                conn, programme, from_ms, until_ms, Assumption(body.percent, pool), cards_of
            )
        )
    )


@router.get("/organisations/{organisation}/profile")
async def get_profile(
    organisation: Identity, principal: Reader, context: Ctx
) -> views.ProfileView | None:
    """What programmes are told of an organisation; null while it has said nothing."""

    def query(conn: Connection) -> views.ProfileView | None:
        whose = tenancy.organisation_of(conn, principal, organisation)
        found = service.profile(conn, whose.id)
        return None if found is None else views.profile(*found)

    return await context.database.read(query)


@router.put("/organisations/{organisation}/profile")
async def put_profile(
    organisation: Identity, body: given.ProfileGiven, principal: Writer, context: Ctx
) -> views.ProfileView:
    """State the profile; an operator's word verifies it, any other change ends that."""

    def use_case(tx: Tx) -> views.ProfileView:
        whose = tenancy.organisation_of(tx.conn, principal, organisation)
        require_may(principal, Action.WRITE_ORGANISATION, whose.id, identity=organisation)
        profile = body.profile(whose.id)
        verifier = principal.user_id if principal.is_operator else None
        service.put_profile(tx, profile, verified_by=verifier)
        detail = {"region": profile.region, "kind": profile.kind.value, "uscc": profile.uscc}
        audit(
            tx,
            principal,
            "organisation.profile",
            "organisation",
            whose.id,
            detail,
            organisation_id=whose.id,
        )
        return views.profile(profile, tx.now_ms if verifier else None)

    return await context.database.write(use_case)
