"""Bilateral deals over HTTP: propose, answer, see how one came to the other."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from fastapi import APIRouter
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_talks as views
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_market import (
    Ctx,
    Identity,
    Project,
    Reader,
    Trader,
    party_of,
    projects_read,
)
from suanwang.kernel.errors import InvalidInput, NotFound
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import deals
from suanwang.trade.market.deals_model import Addressee, Deal, DealState
from suanwang.trade.market.parties import organisation_at

router = APIRouter(prefix="/v1/deals", tags=["market"])


class Box(StrEnum):
    """Of deals: offered to one, begun by one, or either."""

    IN = "in"
    OUT = "out"
    EITHER = "either"


@router.get("")
async def list_deals(
    principal: Reader,
    context: Ctx,
    page: Paging,
    box: Box = Box.EITHER,
    project: Project = None,
    state: DealState | None = None,
) -> Page[views.DealView]:
    """One's own deals, the latest first."""

    def query(conn: Connection) -> Page[views.DealView]:
        mine = projects_read(conn, principal, project)
        rows = deals.page(
            conn,
            begun_by=None if box is Box.IN else mine,
            offered_to=None if box is Box.OUT else (principal.organisation_id, mine),
            state=state,
            before=page.after,
            limit=page.fetch,
        )
        last = deals.last_proposals(conn, rows)
        return page.of(
            rows,
            lambda one: one.id,
            lambda one: views.DealView.of(one, last[one.id], principal.organisation_id),
        )

    return await context.database.read(query)


def deal_for(conn: Connection, principal: Principal, deal_id: str) -> Deal:
    """The deal, if he reads for one of the two. Those of others do not exist for him."""
    found = deals.get(conn, deal_id)
    if principal.is_operator:
        return found
    for organisation_id, project_id in (
        (found.first.organisation_id, found.first.project_id),
        (found.other.organisation_id, found.other.project_id),
    ):
        if organisation_id == principal.organisation_id and (
            project_id is None or may(principal, Action.READ_MARKET, organisation_id, project_id)
        ):
            return found
    raise deals.missing(deal_id)


@router.get("/{deal}")
async def get_deal(deal: Identity, principal: Reader, context: Ctx) -> views.DealDetail:
    """One deal with all its proposals."""
    return await context.database.read(
        lambda conn: detail(conn, principal, deal_for(conn, principal, deal))
    )


def detail(conn: Connection, principal: Principal, found: Deal) -> views.DealDetail:
    history = deals.history(conn, found.id)
    return views.DealDetail.with_history(found, history, principal.organisation_id)


@router.post("", status_code=201)
async def propose(body: views.DealRequest, principal: Trader, context: Ctx) -> views.DealDetail:
    """Propose a deal to a named side; your part of it is set aside until it is answered."""
    given = body.given()

    def use_case(tx: Tx) -> views.DealDetail:
        party = party_of(tx.conn, principal, body.project)
        to = _addressee(tx.conn, body.to, body.to_project)
        made = deals.propose(tx, party, body.side, to, given, key=body.key)
        audit(tx, principal, "deal.propose", "deal", made.id, {"to": to.organisation_id})
        return detail(tx.conn, principal, made)

    return await context.database.write(use_case)


def _addressee(conn: Connection, name: str, project_id: str | None) -> Addressee:
    found = organisation_at(conn, name, "to")
    if project_id is not None and not _has_project(conn, found.id, project_id):
        raise InvalidInput(
            "OtherOrganisation",
            f"{name} has no project {project_id}.",
            hint="Name a project of the addressee, or none.",
            field="to_project",
        )
    return Addressee(found.id, project_id)


def _has_project(conn: Connection, organisation_id: str, project_id: str) -> bool:
    """No for what does not exist as for another's: a proposer learns of neither."""
    try:
        return tenancy.project(conn, project_id).organisation_id == organisation_id
    except NotFound:
        return False


async def _answered(
    context: Ctx,
    principal: Principal,
    deal_id: str,
    project: str | None,
    verb: str,
    answer: Callable[[Tx, Party], Deal],
) -> views.DealDetail:
    def use_case(tx: Tx) -> views.DealDetail:
        found = deal_for(tx.conn, principal, deal_id)
        deals.require_party(found, principal.organisation_id)
        began = found.first.organisation_id == principal.organisation_id
        mine = found.first.project_id if began else found.other.project_id
        ended = answer(tx, party_of(tx.conn, principal, project or mine))
        audit(tx, principal, f"deal.{verb}", "deal", deal_id, {"number": found.number})
        return detail(tx.conn, principal, ended)

    return await context.database.write(use_case)


@router.post("/{deal}/accept")
async def accept_deal(
    deal: Identity, body: views.AcceptRequest, principal: Trader, context: Ctx
) -> views.DealDetail:
    """Agree to the proposal of that number: it becomes a contract."""
    return await _answered(
        context,
        principal,
        deal,
        body.project,
        "accept",
        lambda tx, party: deals.accept(tx, party, deal, body.number, source_id=body.source),
    )


@router.post("/{deal}/reject")
async def reject_deal(
    deal: Identity, body: views.AnswerRequest, principal: Trader, context: Ctx
) -> views.DealDetail:
    """No to the proposal of that number; the deal ends."""
    return await _answered(
        context,
        principal,
        deal,
        body.project,
        "reject",
        lambda tx, party: deals.reject(tx, party, deal, body.number),
    )


@router.post("/{deal}/counter")
async def counter_deal(
    deal: Identity, body: views.CounterRequest, principal: Trader, context: Ctx
) -> views.DealDetail:
    """Answer the proposal of that number by another one; now the other side's turn."""
    given = body.given()
    return await _answered(
        context,
        principal,
        deal,
        body.project,
        "counter",
        lambda tx, party: deals.counter(tx, party, deal, body.number, given),
    )


@router.post("/{deal}/withdraw")
async def withdraw_deal(
    deal: Identity, body: views.WithdrawRequest, principal: Trader, context: Ctx
) -> views.DealDetail:
    """Take one's own last proposal back; the deal ends."""
    return await _answered(
        context,
        principal,
        deal,
        body.project,
        "withdraw",
        lambda tx, party: deals.withdraw(tx, party, deal),
    )
