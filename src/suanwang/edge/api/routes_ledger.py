"""The books over HTTP: a project's entries, corrections of what was booked, the trial balance."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_billing as views
from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_billing import Ctx, Identity, Month, Reader, Writer
from suanwang.kernel.errors import Forbidden, InvalidInput
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import require_may
from suanwang.trade.billing import reports, rules
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import CNY, AccountLine, OwnerKind, PostResult, project_key
from suanwang.trade.settlement import corrections

router = APIRouter(prefix="/v1", tags=["billing"])
Reason = Annotated[str, Field(min_length=1, max_length=500, description="For the statement.")]


class EntryView(BaseModel):
    """A posting of the project's account."""

    entry_id: str
    kind: str
    at: str
    amount: Money
    description: str
    reference: str = Field(description="What was booked: of a charge, its run.")
    reversed_by: str | None


class ReversalRequest(BaseModel):
    reason: Reason


class AdjustmentRequest(BaseModel):
    """The platform bears what a project is given, and keeps what is taken from it."""

    amount: MoneyGiven
    reference: str = Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")
    reason: Reason


class BookedView(BaseModel):
    entry_id: str
    repeated: bool = Field(description="It had been booked before; nothing changed.")


class TrialLineView(BaseModel):
    currency: str
    kind: str
    accounts: int
    balance: Money = Field(description="Positive: the platform owes; negative: it is owed.")


class DiscrepancyView(BaseModel):
    what: str
    subject_id: str
    expected: int
    found: int


class TrialView(BaseModel):
    lines: list[TrialLineView]
    sums: dict[str, Money] = Field(description="By currency; anything but zero is a fault.")
    discrepancies: list[DiscrepancyView] | None = Field(
        description="With verify: what does not agree with the postings. Empty: all is well."
    )


def entry_view(line: AccountLine) -> EntryView:
    return EntryView(
        entry_id=line.entry_id,
        kind=line.kind.value,
        at=views.instant(line.at_ms),
        amount=Money.of(line.amount_micro_yuan),
        description=line.description,
        reference=line.key,
        reversed_by=line.reversed_by,
    )


@router.get("/projects/{project}/entries")
async def list_entries(
    project: Identity,
    principal: Reader,
    context: Ctx,
    page: Paging,
    month: Month = None,
    currency: Annotated[str, Query(max_length=40)] = CNY,
) -> Page[EntryView]:
    """A month of the project's account, posting by posting, charges among them."""
    wanted = month or rules.month_of(context.clock.now_ms())
    after = _place(page.after)

    def query(conn: Connection) -> Page[EntryView]:
        found = tenancy.project_of(conn, principal, project, Action.READ_BILLING)
        key = project_key(found.id, currency)
        account = ledger.find_accounts(conn, [key]).get(key)
        span = rules.month_bounds(wanted)
        rows = (
            ledger.account_lines(conn, account.id, *span, after=after, limit=page.fetch)
            if account
            else []
        )
        return page.of(rows, lambda line: f"{line.at_ms}:{line.entry_id}", entry_view)

    return await context.database.read(query)


def _place(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    at_ms, colon, entry_id = cursor.partition(":")
    if not colon or not at_ms.isdecimal() or len(at_ms) > 16:
        raise InvalidInput(
            "InvalidCursor", "This cursor is not one of ours.", hint="Use next_cursor unchanged."
        )
    return int(at_ms), entry_id


def booked_view(result: PostResult) -> BookedView:
    entry_id = next(iter({**result.repeated, **result.posted}.values()))
    return BookedView(entry_id=entry_id, repeated=not result.posted)


@router.post("/ledger/entries/{entry}/reverse")
async def reverse_entry(
    entry: Identity, body: ReversalRequest, principal: Writer, context: Ctx
) -> BookedView:
    """Undo an entry by its negative; both stay on the books, and what programmes paid of a charge
    goes back to them. Again, it changes nothing."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> BookedView:
        booked = booked_view(corrections.reverse(tx, entry, reason=body.reason))
        if not booked.repeated:
            owners = ledger.owners_of(tx.conn, entry)
            projects = [key.owner_id for key in owners if key.owner_kind is OwnerKind.PROJECT]
            whose = tenancy.project(tx.conn, projects[0]).organisation_id if projects else None
            detail = {"by": booked.entry_id, "reason": body.reason, "projects": projects}
            audit(tx, principal, "entry.reverse", "entry", entry, detail, organisation_id=whose)
        return booked

    return await context.database.write(use_case)


@router.post("/projects/{project}/adjust")
async def adjust_project(
    project: Identity, body: AdjustmentRequest, principal: Writer, context: Ctx
) -> BookedView:
    """Give the project money, or take some with a negative amount. One reference, booked once."""
    amount = body.amount.amount("amount")

    def use_case(tx: Tx) -> BookedView:
        found = tenancy.project_of(tx.conn, principal, project, Action.CREDIT_MONEY)
        result = ledger.adjust(tx, found.id, amount, key=body.reference, description=body.reason)
        booked = booked_view(result)
        if not booked.repeated:
            detail = {
                "amount_micro_yuan": amount,
                "reference": body.reference,
                "reason": body.reason,
            }
            audit(
                tx,
                principal,
                "project.adjust",
                "project",
                found.id,
                detail,
                organisation_id=found.organisation_id,
            )
        return booked

    return await context.database.write(use_case)


@router.get("/ledger/trial-balance")
async def trial_balance(
    principal: Reader,
    context: Ctx,
    verify: Annotated[bool, Query(description="Recompute everything from the postings.")] = False,
) -> TrialView:
    """Balances by currency and kind of account. For the operator."""
    for_operators(principal)

    def query(conn: Connection) -> TrialView:
        lines = ledger.trial_balance(conn)
        sums: dict[str, int] = {}
        for line in lines:
            sums[line.currency] = sums.get(line.currency, 0) + line.balance_micro_yuan
        wrong = reports.verify(conn) if verify else None
        return TrialView(
            lines=[
                TrialLineView(
                    currency=line.currency,
                    kind=line.kind.value,
                    accounts=line.accounts,
                    balance=Money.of(line.balance_micro_yuan),
                )
                for line in lines
            ],
            sums={currency: Money.of(amount) for currency, amount in sums.items()},
            discrepancies=None
            if wrong is None
            else [DiscrepancyView.model_validate(one, from_attributes=True) for one in wrong],
        )

    return await context.database.read(query)


def for_operators(principal: Principal) -> None:
    if not principal.is_operator:
        raise Forbidden(
            "RoleTooLow", "Only the platform's operator sees the books.", hint="Ask the operator."
        )
