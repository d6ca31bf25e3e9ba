"""Routes of money: accounts, statements, usage, price lists, top-ups and credit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_billing as views
from suanwang.edge.api.auth import Context, require_scope
from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.paging import Page, Paging
from suanwang.kernel.errors import Forbidden, InvalidInput
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal, Project, Scope
from suanwang.tenancy.rules import require_may
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import GroupBy
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import OwnerKind

AuthorisePool = Callable[[Connection, Principal, str], None]
"""Raises unless the caller may set the prices of that pool, or if there is no such pool."""

Reader = Annotated[Principal, Depends(require_scope(Scope.BILLING_READ))]
Writer = Annotated[Principal, Depends(require_scope(Scope.BILLING_WRITE))]
Identity = Annotated[str, Path(max_length=128)]
Month = Annotated[
    str | None,
    Query(description="Calendar month in Asia/Shanghai; this one if absent.", examples=["2026-11"]),
]
Instant = Annotated[int | None, Query(ge=0, le=1 << 52)]

router = APIRouter(prefix="/v1", tags=["billing"], route_class=DirectRoute)


def context_of(request: Request) -> Context:
    return cast(Context, request.app.state.context)


Ctx = Annotated[Context, Depends(context_of)]


def _this_month(month: str | None, context: Context) -> str:
    return month or rules.month_of(context.clock.now_ms())


def _readable(conn: Connection, principal: Principal, name_or_id: str) -> Project:
    return tenancy.project_of(conn, principal, name_or_id, Action.READ_BILLING)


def organisation_read(conn: Connection, principal: Principal, name_or_id: str | None) -> str | None:
    """Whose bills a list is asked for: the named organisation's, else one's own; None, which is
    everybody's, for an operator who names none."""
    whose = None if principal.is_operator else principal.organisation_id
    if name_or_id is not None:
        whose = tenancy.organisation(conn, name_or_id).id
    asked = whose or principal.organisation_id
    require_may(principal, Action.READ_BILLING, asked, identity=name_or_id)
    return whose


@router.get("/projects/{project}/account")
async def get_account(project: Identity, principal: Reader, context: Ctx) -> views.AccountView:
    """Balance, holds, credit, and what is left of them."""

    def query(conn: Connection) -> views.AccountView:
        found = _readable(conn, principal, project)
        return views.account(found.id, ledger.project_account(conn, found.id))

    return await context.database.read(query)


@router.get("/projects/{project}/accounts")
async def list_accounts(
    project: Identity, principal: Reader, context: Ctx
) -> Page[views.AccountView]:
    """Its accounts in every currency: money, and what programmes have given it."""

    def query(conn: Connection) -> Page[views.AccountView]:
        found = _readable(conn, principal, project)
        owned = ledger.accounts_of(conn, OwnerKind.PROJECT, found.id)
        return Page(items=[views.account(found.id, one) for one in owned])

    return await context.database.read(query)


@router.get("/projects/{project}/statement")
async def get_statement(
    project: Identity,
    principal: Reader,
    context: Ctx,
    page: Paging,
    month: Month = None,
    by: views.StatementBy = views.StatementBy.JOB,
) -> views.StatementView:
    """A month: opening + topped up − charged + adjusted = closing; its lines sum to charged."""
    wanted = _this_month(month, context)

    def query(conn: Connection) -> views.StatementView:
        found = _readable(conn, principal, project)
        statement = reports.statement(
            conn, found.id, wanted, by=GroupBy(by.value), after=page.after, limit=page.limit
        )
        movements = reports.movements(conn, found.id, wanted) if page.after is None else []
        return views.statement(statement, movements)

    return await context.database.read(query)


@router.get("/projects/{project}/usage")
async def get_usage(
    project: Identity,
    principal: Reader,
    context: Ctx,
    page: Paging,
    month: Month = None,
    from_ms: Instant = None,
    until_ms: Instant = None,
    by: GroupBy = GroupBy.DAY,
) -> Page[views.ReportLineView]:
    """What was used in a month, or in [from_ms, until_ms), charged already or not yet."""
    if (from_ms is None) != (until_ms is None) or (from_ms is not None and month is not None):
        raise InvalidInput(
            "InvalidSpan",
            "A span is a month, or both from_ms and until_ms.",
            hint="Give month=2026-11, or from_ms and until_ms.",
            field="from_ms",
        )
    span = (
        (from_ms, until_ms)
        if from_ms is not None and until_ms is not None
        else rules.month_bounds(_this_month(month, context))
    )

    def query(conn: Connection) -> Page[views.ReportLineView]:
        found = _readable(conn, principal, project)
        return views.page_of(
            reports.usage_summary(
                conn, [found.id], *span, by=by, after=page.after, limit=page.limit
            )
        )

    return await context.database.read(query)


@router.get("/organisations/{organisation}/revenue")
async def get_revenue(
    organisation: Identity,
    principal: Reader,
    context: Ctx,
    page: Paging,
    month: Month = None,
    by: GroupBy = GroupBy.POOL,
) -> Page[views.ReportLineView]:
    """What an organisation's sites earned in a month, platform fee deducted."""
    if by not in views.REVENUE_BY:
        raise InvalidInput(
            "InvalidGrouping",
            "Revenue is told by pool, site or day.",
            hint="Give by=pool.",
            field="by",
        )
    wanted = _this_month(month, context)

    def query(conn: Connection) -> Page[views.ReportLineView]:
        found = tenancy.organisation(conn, organisation)
        require_may(principal, Action.READ_BILLING, found.id, identity=organisation)
        return views.page_of(
            reports.provider_revenue(
                conn, found.id, wanted, by=by, after=page.after, limit=page.limit
            )
        )

    return await context.database.read(query)


@router.post("/projects/{project}/top-up")
async def post_top_up(
    project: Identity, body: views.TopUp, principal: Writer, context: Ctx
) -> views.TopUpView:
    """Book money that came in. The same `payment_reference` again books nothing."""
    amount = body.amount.amount("amount")

    def use_case(tx: Tx) -> views.TopUpView:
        found = tenancy.project_of(tx.conn, principal, project, Action.CREDIT_MONEY)
        result = ledger.top_up(
            tx, found.id, amount, key=body.payment_reference, description=body.description
        )
        if result.posted:
            detail = {"amount_micro_yuan": amount, "payment_reference": body.payment_reference}
            audit(
                tx,
                principal,
                "project.top_up",
                "project",
                found.id,
                detail,
                organisation_id=found.organisation_id,
            )
        return views.TopUpView(
            entry_id=next(iter({**result.repeated, **result.posted}.values())),
            repeated=not result.posted,
            account=views.account(found.id, ledger.project_account(tx.conn, found.id)),
        )

    return await context.database.write(use_case)


@router.post("/projects/{project}/credit-limit")
async def post_credit_limit(
    project: Identity, body: views.CreditLimit, principal: Writer, context: Ctx
) -> views.AccountView:
    """How far below zero the project may go. Raised by the operator; lowered by its admin too."""
    limit = body.credit_limit.amount("credit_limit")

    def use_case(tx: Tx) -> views.AccountView:
        found = tenancy.project_of(tx.conn, principal, project, Action.WRITE_BILLING)
        before = ledger.project_account(tx.conn, found.id)
        current = before.credit_limit_micro_yuan if before else 0
        if limit > current and not principal.is_operator:
            raise Forbidden(
                "CreditIsTheOperators",
                "Only the platform's operator may raise a credit limit.",
                hint="Ask the operator, or top the account up.",
            )
        ledger.set_credit_limit(tx, found.id, limit)
        audit(
            tx,
            principal,
            "project.credit_limit",
            "project",
            found.id,
            {"from_micro_yuan": current, "to_micro_yuan": limit},
            organisation_id=found.organisation_id,
        )
        return views.account(found.id, ledger.project_account(tx.conn, found.id))

    return await context.database.write(use_case)


@router.get("/prices")
async def list_prices(
    principal: Reader,
    context: Ctx,
    page: Paging,
    pool: Annotated[list[str] | None, Query(max_length=200)] = None,
) -> Page[views.PriceListView]:
    """The current price list of each pool (or of those named), in order of pool."""

    def query(conn: Connection) -> Page[views.PriceListView]:
        found = billing.page_of_prices(conn, after=page.after, pool_ids=pool, limit=page.fetch)
        return page.of(found, lambda one: one.pool_id, views.price_list)

    return await context.database.read(query)


@router.get("/pools/{pool}/prices")
async def list_price_history(
    pool: Identity, principal: Reader, context: Ctx, page: Paging
) -> Page[views.PriceListView]:
    """Every price list that a pool has had, the latest first. A lease keeps that of its start."""

    def query(conn: Connection) -> Page[views.PriceListView]:
        before = _version(page.after)
        found = billing.price_history(conn, pool, before=before, limit=page.fetch)
        return page.of(found, lambda one: str(one.version), views.price_list)

    return await context.database.read(query)


def _version(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdecimal() or len(cursor) > 9:
        raise InvalidInput(
            "InvalidCursor", "This cursor is not one of ours.", hint="Use next_cursor unchanged."
        )
    return int(cursor)


def operators_only(_conn: Connection, principal: Principal, _pool_id: str) -> None:
    """What stands in until the application says who owns a pool."""
    if not principal.is_operator:
        raise Forbidden(
            "RoleTooLow", "Only the platform's operator may set prices.", hint="Ask the operator."
        )


def billing_router(authorise_pool: AuthorisePool = operators_only) -> APIRouter:
    """All routes of money; `authorise_pool` says who may set a pool's prices."""
    whole = APIRouter()
    whole.include_router(router)

    @whole.post("/v1/pools/{pool}/prices", tags=["billing"])
    async def post_prices(
        pool: Identity, body: views.PricesGiven, principal: Writer, context: Ctx
    ) -> views.PriceListView:
        """Publish prices for runs that start from now on; unchanged prices make no new list."""

        def use_case(tx: Tx) -> views.PriceListView:
            authorise_pool(tx.conn, principal, pool)
            before = billing.current_prices(tx.conn, [pool]).get(pool)
            list_id = billing.publish_prices(tx, pool, body.terms())
            found = billing.prices(tx.conn, [list_id])[list_id]
            if before is None or before.id != list_id:
                audit(
                    tx,
                    principal,
                    "pool.prices",
                    "pool",
                    pool,
                    {"from": before.id if before else None, "to": list_id},
                )
            return views.price_list(found)

        return await context.database.write(use_case)

    return whole
