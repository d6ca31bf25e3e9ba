"""Invoices over HTTP: whom they are made out to, what may be invoiced, the application data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import views_billing as views
from suanwang.edge.api.context import Context
from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_billing import Identity, Month, Reader, Writer, organisation_read
from suanwang.edge.api.routes_jobs import context_of
from suanwang.edge.api.views import json_response
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.database import Tx
from suanwang.platform.settings import Seller
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may, not_found, require_may
from suanwang.trade.billing import rules as billing_rules
from suanwang.trade.settlement import invoice_rules, invoicing
from suanwang.trade.settlement.model import Invoice, InvoiceState, RedReason, TaxParty
from suanwang.trade.settlement.red_letters import Part

router = APIRouter(prefix="/v1", tags=["settlement"])
Ctx = Annotated[Context, Depends(context_of)]
Short = Annotated[str, Field(max_length=100)]


class PartyView(BaseModel):
    """Name and unified social credit code; the rest may be empty."""

    name: Short
    code: Annotated[str, Field(max_length=40, description="统一社会信用代码.")]
    address: Short = ""
    phone: Short = ""
    bank: Short = ""
    bank_account: Short = ""
    email: Short = ""

    @classmethod
    def of(cls, party: TaxParty) -> PartyView:
        return cls(**{name: getattr(party, name) for name in TaxParty.__struct_fields__})

    def party(self) -> TaxParty:
        return TaxParty(**self.model_dump())


class InvoiceLineView(BaseModel):
    item: str
    specification: str
    unit: str
    quantity: str
    net: str = Field(description="Yuan without tax.")
    tax: str
    gross: str


class InvoiceView(BaseModel):
    """Amounts in yuan to the fen; gross = net + tax, for each line and the whole."""

    id: str
    organisation_id: str
    project_id: str
    month: str
    state: str
    buyer: PartyView
    seller: PartyView
    tax_percent: int
    net: str
    tax: str
    gross: str
    gross_fen: int
    capitals: str
    number: str
    issued_on: str
    issued_by: str
    requested_at: str
    requested_by: str
    remark: str
    refusal: str
    reverses: str | None
    red_reason: str | None
    lines: list[InvoiceLineView]
    red_letters: list[str] = Field(
        default=[], description="Of an invoice: its red letters that are asked for or issued."
    )
    undone: str = Field(default="0.00", description="What issued red letters undo of it, in yuan.")
    undone_fen: int = 0


class InvoiceableView(BaseModel):
    """left = charged − relieved − unpaid − invoiced."""

    project_id: str
    month: str
    charged: Money
    relieved: Money
    unpaid: Money
    invoiced: Money
    left: Money


class InvoiceRequest(BaseModel):
    project: Annotated[str, Field(min_length=1, max_length=128)]
    month: Annotated[str, Field(max_length=7, examples=["2026-10"])]
    remark: Annotated[str, Field(max_length=180)] = ""
    tax_percent: int | None = Field(default=None, description="The operator's to state.")


class Issued(BaseModel):
    number: Annotated[str, Field(max_length=40)]
    issued_on: Annotated[str | None, Field(max_length=10)] = None


class Refusal(BaseModel):
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class RedLine(BaseModel):
    line: Annotated[int, Field(ge=1, le=10_000, description="Its number on the invoice, from 1.")]
    amount: MoneyGiven | None = Field(default=None, description="All that is left of it if absent.")

    def fen(self) -> int | None:
        return None if self.amount is None else fen_given(self.amount, f"lines[{self.line}]")


class RedRequest(BaseModel):
    """Of all that is left of the invoice, of an amount spread over its lines, or of some lines;
    amounts in whole fen, tax included."""

    reason: RedReason
    amount: MoneyGiven | None = None
    lines: Annotated[list[RedLine], Field(max_length=1_000)] = []

    def part(self) -> Part:
        amount = None if self.amount is None else fen_given(self.amount, "amount")
        lines = tuple((one.line - 1, one.fen()) for one in self.lines)
        return Part(amount, lines)


def fen_given(given: MoneyGiven, field: str) -> int:
    fen, rest = divmod(given.amount(field), invoice_rules.MICRO_PER_FEN)
    if rest:
        raise InvalidInput(
            "NotWholeFen",
            "An invoice knows nothing smaller than a fen.",
            hint="Give yuan with two decimals.",
            field=field,
        )
    return fen


def invoice_view(found: Invoice, letters: Sequence[Invoice] = ()) -> InvoiceView:
    text = invoice_rules.fen_text
    undone = -sum(one.gross_fen for one in letters if one.state is InvoiceState.ISSUED)
    return InvoiceView(
        id=found.id,
        organisation_id=found.organisation_id,
        project_id=found.project_id,
        month=found.month,
        state=found.state.value,
        buyer=PartyView.of(found.buyer),
        seller=PartyView.of(found.seller),
        tax_percent=found.tax_percent,
        net=text(found.net_fen),
        tax=text(found.tax_fen),
        gross=text(found.gross_fen),
        gross_fen=found.gross_fen,
        capitals=invoice_rules.capitals(found.gross_fen),
        number=found.number,
        issued_on=found.issued_on,
        issued_by=found.issued_by,
        requested_at=views.instant(found.requested_at_ms),
        requested_by=found.requested_by,
        remark=found.remark,
        refusal=found.refusal,
        reverses=found.reverses,
        red_reason=found.red_reason.value if found.red_reason else None,
        lines=[
            InvoiceLineView(
                item=line.item,
                specification=line.specification,
                unit=line.unit,
                quantity=f"{line.quantity_milli / 1000:.3f}",
                net=text(line.net_fen),
                tax=text(line.tax_fen),
                gross=text(line.gross_fen),
            )
            for line in found.lines
        ],
        red_letters=[one.id for one in letters],
        undone=text(undone),
        undone_fen=undone,
    )


def told(conn: Connection, found: Invoice) -> InvoiceView:
    """With its red letters."""
    return invoice_view(found, invoicing.red_letters_of(conn, found.id))


def readable(conn: Connection, principal: Principal, invoice_id: str) -> Invoice:
    """Raises NotFound for what is another's."""
    found = invoicing.find(conn, invoice_id)
    if not may(principal, Action.READ_BILLING, found.organisation_id):
        raise not_found("invoice", invoice_id)
    return found


def seller_of(settings: Seller) -> TaxParty:
    if not settings.name or not settings.code:
        raise InvalidInput(
            "SellerUnknown",
            "The platform has not stated who it is to the tax office.",
            hint="The operator sets `seller` with name and code in suanwang.yaml.",
        )
    known = {name: getattr(settings, name) for name in Seller.__struct_fields__}
    known.pop("tax_percent")
    return invoice_rules.check_party(TaxParty(**known))


@router.get("/organisations/{organisation}/invoice-buyer")
async def get_buyer(organisation: Identity, principal: Reader, context: Ctx) -> PartyView | None:
    """Whom its invoices are made out to; null while nobody has said."""

    def query(conn: Connection) -> PartyView | None:
        found = tenancy.organisation(conn, organisation)
        require_may(principal, Action.READ_BILLING, found.id, identity=organisation)
        profile = invoicing.profile(conn, found.id)
        return None if profile is None else PartyView.of(profile)

    return await context.database.read(query)


@router.put("/organisations/{organisation}/invoice-buyer")
async def put_buyer(
    organisation: Identity, body: PartyView, principal: Writer, context: Ctx
) -> PartyView:
    def use_case(tx: Tx) -> PartyView:
        found = tenancy.organisation(tx.conn, organisation)
        require_may(principal, Action.WRITE_BILLING, found.id, identity=organisation)
        kept = invoicing.keep_profile(tx, found.id, body.party())
        detail = {"name": kept.name, "code": kept.code}
        kind = "organisation"
        audit(tx, principal, "invoice.buyer", kind, found.id, detail, organisation_id=found.id)
        return PartyView.of(kept)

    return await context.database.write(use_case)


@router.get("/projects/{project}/invoiceable")
async def get_invoiceable(
    project: Identity, principal: Reader, context: Ctx, month: Month = None
) -> InvoiceableView:
    """What of the month may be invoiced now."""
    wanted = month or billing_rules.month_of(context.clock.now_ms())

    def query(conn: Connection) -> InvoiceableView:
        found = tenancy.project_of(conn, principal, project, Action.READ_BILLING)
        money = invoicing.invoiceable(conn, found.id, wanted)
        names = ("charged", "relieved", "unpaid", "invoiced", "left")
        amounts = {name: Money.of(getattr(money, name)) for name in names}
        return InvoiceableView(project_id=found.id, month=wanted, **amounts)

    return await context.database.read(query)


@router.get("/invoices")
async def list_invoices(
    principal: Reader,
    context: Ctx,
    page: Paging,
    organisation: Annotated[str | None, Query(max_length=128)] = None,
    state: InvoiceState | None = None,
) -> Page[InvoiceView]:
    """The latest first: of one's own organisation; the operator's are everybody's."""

    def query(conn: Connection) -> Page[InvoiceView]:
        whose = organisation_read(conn, principal, organisation)
        found = invoicing.invoices(
            conn, organisation_id=whose, state=state, before=page.after, limit=page.fetch
        )
        return page.of(found, lambda one: one.id, invoice_view)

    return await context.database.read(query)


@router.post("/invoices")
async def request_invoice(body: InvoiceRequest, principal: Writer, context: Ctx) -> InvoiceView:
    """Ask for an invoice over what is left of a closed month."""
    seller = seller_of(context.settings.seller)
    given = body.tax_percent if principal.is_operator else None
    percent = context.settings.seller.tax_percent if given is None else given

    def use_case(tx: Tx) -> InvoiceView:
        found = tenancy.project_of(tx.conn, principal, body.project, Action.WRITE_BILLING)
        made = invoicing.request(
            tx,
            organisation_id=found.organisation_id,
            project_id=found.id,
            month=body.month,
            seller=seller,
            tax_percent=percent,
            pool_names=pool_names(tx.conn),
            by=principal.user_id,
            remark=body.remark,
        )
        _audit(tx, principal, "invoice.request", made)
        return invoice_view(made)

    return await context.database.write(use_case)


def pool_names(conn: Connection) -> dict[str, str]:
    """'site/pool' by the pool's id."""
    names = sites.names(conn)
    return {
        pool.pool_id: "/".join(filter(None, (names.get(pool.site_id), names.get(pool.pool_id))))
        for pool in sites.pools(conn)
    }


def _audit(tx: Tx, principal: Principal, action: str, invoice: Invoice) -> None:
    detail = {"month": invoice.month, "gross_fen": invoice.gross_fen, "number": invoice.number}
    owner = invoice.organisation_id
    audit(tx, principal, action, "invoice", invoice.id, detail, organisation_id=owner)


@router.get("/invoices/{invoice}")
async def get_invoice(invoice: Identity, principal: Reader, context: Ctx) -> InvoiceView:
    return await context.database.read(lambda conn: told(conn, readable(conn, principal, invoice)))


async def _data(context: Context, principal: Principal, invoice: str) -> dict[str, Any]:
    data: dict[str, Any] = await context.database.read(
        lambda conn: invoicing.data_of(conn, readable(conn, principal, invoice))
    )
    return data


@router.get("/invoices/{invoice}/data.json", response_class=Response)
async def invoice_json(invoice: Identity, principal: Reader, context: Ctx) -> Response:
    """The file for a tax channel, under the names of an electronic invoice's fields."""
    return json_response(await _data(context, principal, invoice))


@router.get("/invoices/{invoice}/data.xml", response_class=Response)
async def invoice_xml(invoice: Identity, principal: Reader, context: Ctx) -> Response:
    data = await _data(context, principal, invoice)
    return Response(invoice_rules.xml_of(data), media_type="application/xml")


@router.post("/invoices/{invoice}/issue")
async def issue_invoice(
    invoice: Identity, body: Issued, principal: Writer, context: Ctx
) -> InvoiceView:
    """The tax channel has given it a number. The same number again changes nothing."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)
    today = billing_rules.date_text(billing_rules.day_of(context.clock.now_ms()))

    def use_case(tx: Tx) -> InvoiceView:
        issued_on = body.issued_on or today
        moved = invoicing.issue(
            tx, invoice, number=body.number.strip(), issued_on=issued_on, by=principal.user_id
        )
        _audit(tx, principal, "invoice.issue", moved)
        return invoice_view(moved)

    return await context.database.write(use_case)


@router.post("/invoices/{invoice}/reject")
async def reject_invoice(
    invoice: Identity, body: Refusal, principal: Writer, context: Ctx
) -> InvoiceView:
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> InvoiceView:
        moved = invoicing.reject(tx, invoice, why=body.reason, by=principal.user_id)
        _audit(tx, principal, "invoice.reject", moved)
        return invoice_view(moved)

    return await context.database.write(use_case)


@router.post("/invoices/{invoice}/reverse")
async def reverse_invoice(
    invoice: Identity, body: RedRequest, principal: Writer, context: Ctx
) -> InvoiceView:
    """Ask for a red letter of it, or of a part; once that is issued, the money may be invoiced
    anew. Asked for again while it waits, the same one is told."""
    part = body.part()

    def use_case(tx: Tx) -> InvoiceView:
        owner = readable(tx.conn, principal, invoice).organisation_id
        require_may(principal, Action.WRITE_BILLING, owner, kind="invoice", identity=invoice)
        made = invoicing.reverse(tx, invoice, reason=body.reason, by=principal.user_id, part=part)
        _audit(tx, principal, "invoice.reverse", made)
        return invoice_view(made)

    return await context.database.write(use_case)
