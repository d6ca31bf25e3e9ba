"""Requests for quotation over HTTP: ask, quote under seal, see the award."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from fastapi import APIRouter
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_talks as views
from suanwang.edge.api.money import Money
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
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may, require_may
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import quotations
from suanwang.trade.market.quotations_model import (
    Enquiry,
    EnquiryState,
    Quote,
    QuoteState,
)

router = APIRouter(prefix="/v1/quotations", tags=["market"])


class Which(StrEnum):
    """Of enquiries."""

    ASKED = "asked"
    """By one's own projects."""
    OPEN_TO_ME = "open_to_me"
    """Those that one's organisation may answer."""


@router.get("")
async def list_enquiries(
    principal: Reader,
    context: Ctx,
    page: Paging,
    which: Which = Which.OPEN_TO_ME,
    project: Project = None,
    state: EnquiryState | None = None,
) -> Page[views.EnquiryView]:
    """Enquiries, the latest first: those asked by one's projects, or open to one's organisation."""

    def query(conn: Connection) -> Page[views.EnquiryView]:
        asked = which is Which.ASKED
        rows = quotations.page(
            conn,
            project_ids=projects_read(conn, principal, project) if asked else None,
            open_to=None if asked else principal.organisation_id,
            state=state,
            before=page.after,
            limit=page.fetch,
        )
        counts = quotations.sealed_counts(conn, [one.id for one in rows])
        return page.of(
            rows, lambda one: one.id, lambda one: _view(principal, one, counts.get(one.id, 0))
        )

    return await context.database.read(query)


def _reads(principal: Principal, party: Party) -> bool:
    """Whether he reads for that party: the operator, who may look into everything, does not."""
    return principal.organisation_id == party.organisation_id and bool(
        may(principal, Action.READ_MARKET, party.organisation_id, party.project_id)
    )


def _view(principal: Principal, one: Enquiry, sealed: int) -> views.EnquiryView:
    return views.EnquiryView.of(one, sealed=sealed if _reads(principal, one.buyer) else None)


def enquiry_for(conn: Connection, principal: Principal, enquiry_id: str) -> Enquiry:
    """The enquiry, if it is open to his organisation. The others do not exist for him."""
    found = quotations.get(conn, enquiry_id)
    if not principal.is_operator and not quotations.may_see(found, principal.organisation_id):
        raise quotations.missing(enquiry_id)
    return found


@router.get("/{enquiry}")
async def get_enquiry(enquiry: Identity, principal: Reader, context: Ctx) -> views.EnquiryDetail:
    """One enquiry, one's own quotes, and once they are opened what came of them."""

    def query(conn: Connection) -> views.EnquiryDetail:
        return detail(conn, principal, enquiry_for(conn, principal, enquiry))

    return await context.database.read(query)


def detail(conn: Connection, principal: Principal, found: Enquiry) -> views.EnquiryDetail:
    quotes = quotations.quotes_of(conn, found.id)
    sealed = sum(one.state is QuoteState.SEALED for one in quotes)
    mine = [one for one in quotes if _reads(principal, one.seller)]
    return views.EnquiryDetail(
        **_view(principal, found, sealed).model_dump(),
        mine=[views.QuoteView.of(one, own=True) for one in mine],
        opened=_opened(principal, found, quotes, bool(mine)),
    )


def _opened(
    principal: Principal, found: Enquiry, quotes: Sequence[Quote], has_quoted: bool
) -> list[views.QuoteView]:
    if found.state not in (EnquiryState.AWARDED, EnquiryState.FAILED):
        return []
    competed = [one for one in quotes if one.state in (QuoteState.WON, QuoteState.LOST)]
    if principal.is_operator or _reads(principal, found.buyer):
        return [views.QuoteView.of(one) for one in competed]
    if not has_quoted:
        return []
    won = [one for one in competed if one.state is QuoteState.WON]
    return [views.QuoteView.of(one, named=_reads(principal, one.seller)) for one in won]


@router.post("", status_code=201)
async def ask(body: views.EnquiryRequest, principal: Trader, context: Ctx) -> views.EnquiryDetail:
    """Ask for quotes. What it may cost is set aside until the deadline; then the best wins."""
    given = body.given()

    def use_case(tx: Tx) -> views.EnquiryDetail:
        buyer = party_of(tx.conn, principal, body.project)
        made = quotations.ask(tx, buyer, given, figures=context.figures, key=body.key)
        audit(tx, principal, "enquiry.ask", "enquiry", made.id, {"lots": made.lots})
        return detail(tx.conn, principal, made)

    return await context.database.write(use_case)


@router.post("/{enquiry}/quotes", status_code=201)
async def quote(
    enquiry: Identity, body: views.QuoteRequest, principal: Trader, context: Ctx
) -> views.QuoteView:
    """Quote under seal; capacity and bond are set aside. Again from the same source: replaced."""
    given = body.given()

    def use_case(tx: Tx) -> views.QuoteView:
        seller = party_of(tx.conn, principal, body.project)
        made = quotations.quote(tx, context.secrets, seller, enquiry, given)
        # never the price: the log would break the seal
        audit(tx, principal, "quote.give", "enquiry", enquiry, {"quote": made.id})
        return views.QuoteView.of(made, own=True)

    return await context.database.write(use_case)


@router.post("/{enquiry}/quotes/{quote}/withdraw")
async def withdraw_quote(
    enquiry: Identity, quote: Identity, principal: Trader, context: Ctx
) -> views.QuoteView:
    """Take a quote back before the deadline; what was set aside for it is free at once."""

    def use_case(tx: Tx) -> views.QuoteView:
        found = quotations.quote_of(tx.conn, enquiry, quote)
        _require(principal, found.seller, "quote", quote)
        ended = quotations.withdraw(tx, enquiry, quote)
        audit(tx, principal, "quote.withdraw", "enquiry", enquiry, {"quote": quote})
        return views.QuoteView.of(ended, own=True)

    return await context.database.write(use_case)


@router.post("/{enquiry}/cancel")
async def cancel_enquiry(enquiry: Identity, principal: Trader, context: Ctx) -> views.CancelledView:
    """Step back before the deadline; a small fee goes to those who have quoted already."""

    def use_case(tx: Tx) -> views.CancelledView:
        found = enquiry_for(tx.conn, principal, enquiry)
        _require(principal, found.buyer, "enquiry", enquiry)
        paid = quotations.cancel(tx, enquiry)
        audit(tx, principal, "enquiry.cancel", "enquiry", enquiry, {"micro_yuan": paid})
        ended = _view(principal, quotations.get(tx.conn, enquiry), 0)
        return views.CancelledView(enquiry=ended, paid=Money.of(paid))

    return await context.database.write(use_case)


def _require(principal: Principal, party: Party, kind: str, identity: str) -> None:
    require_may(
        principal,
        Action.TRADE,
        party.organisation_id,
        party.project_id,
        kind=kind,
        identity=identity,
    )
