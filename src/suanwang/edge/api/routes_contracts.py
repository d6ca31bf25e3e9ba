"""Contracts over HTTP: what was bought and sold, what was delivered, and how to step back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_contracts as views
from suanwang.edge.api.money import Money
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_market import Ctx, Identity, Project, Reader, Trader, projects_read
from suanwang.edge.api.views import instant
from suanwang.edge.api.views_market import HourLeft
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may, require_may
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Party
from suanwang.trade.market import leaving

router = APIRouter(prefix="/v1/contracts", tags=["market"])


class As(StrEnum):
    """Which of one's contracts."""

    BUYER = "buyer"
    SELLER = "seller"
    EITHER = "either"


@router.get("")
async def list_contracts(
    principal: Reader,
    context: Ctx,
    page: Paging,
    project: Project = None,
    role: As = As.EITHER,
    state: ContractState | None = None,
    reference: Annotated[
        str | None,
        Query(max_length=40, description="What they came of: a listing, round, enquiry or deal."),
    ] = None,
) -> Page[views.ContractView]:
    """One's own contracts, the latest first: of one project, or of all of one's projects."""
    now_ms = context.clock.now_ms()

    def query(conn: Connection) -> Page[views.ContractView]:
        mine = projects_read(conn, principal, project)
        rows = contracts.page(
            conn,
            buyers=None if role is As.SELLER else mine,
            sellers=None if role is As.BUYER else mine,
            state=state,
            reference=reference,
            before=page.after,
            limit=page.fetch,
        )
        return page.of(rows, lambda one: one.id, lambda one: views.ContractView.of(one, now_ms))

    return await context.database.read(query)


def contract_for(
    conn: Connection, principal: Principal, contract_id: str, action: Action = Action.READ_MARKET
) -> tuple[Contract, Party]:
    """The contract, and as which of its parties the caller may do that. Those of others do not
    exist for him."""
    found = contracts.get(conn, contract_id)
    for party in (found.buyer, found.seller):
        if may(principal, action, party.organisation_id, party.project_id):
            return found, party
    require_may(
        principal,
        action,
        found.buyer.organisation_id,
        found.buyer.project_id,
        kind="contract",
        identity=contract_id,
    )
    return found, found.buyer


@router.get("/{contract}")
async def get_contract(contract: Identity, principal: Reader, context: Ctx) -> views.ContractDetail:
    """One contract with its hours, the latest first."""
    now_ms = context.clock.now_ms()

    def query(conn: Connection) -> views.ContractDetail:
        found, _ = contract_for(conn, principal, contract)
        return contract_detail(conn, found, now_ms)

    return await context.database.read(query)


def contract_detail(conn: Connection, found: Contract, now_ms: int) -> views.ContractDetail:
    resold = contracts.pledged(conn, [found.id], found.period)
    return views.ContractDetail(
        **views.ContractView.of(found, now_ms).model_dump(),
        hours_measured=[
            views.HourView.of(one, found.lots) for one in contracts.hours_of(conn, found.id)
        ],
        resold=[
            HourLeft(at=instant(hour * MS_PER_HOUR), lots=lots)
            for (_, hour), lots in sorted(resold.items())
        ],
    )


@router.post("/{contract}/cancel")
async def cancel_contract(contract: Identity, principal: Trader, context: Ctx) -> views.EndedView:
    """The buyer steps back within the window, for the fee that the terms say."""

    def use_case(tx: Tx) -> views.EndedView:
        found = contracts.get(tx.conn, contract)
        _require(principal, found.buyer, contract)
        paid = contracts.cancel(tx, contract)
        audit(tx, principal, "contract.cancel", "contract", contract, {"micro_yuan": paid})
        return _ended(tx, contract, paid)

    return await context.database.write(use_case)


@router.post("/{contract}/withdraw")
async def withdraw_contract(contract: Identity, principal: Trader, context: Ctx) -> views.EndedView:
    """The seller gives up, and pays the credit of every hour left. What its buyer offers from it
    ends, too (`CapacityGone`)."""

    def use_case(tx: Tx) -> views.EndedView:
        found = contracts.get(tx.conn, contract)
        _require(principal, found.seller, contract)
        paid = leaving.withdraw(tx, context.books, contract)
        audit(tx, principal, "contract.withdraw", "contract", contract, {"micro_yuan": paid})
        return _ended(tx, contract, paid)

    return await context.database.write(use_case)


def _require(principal: Principal, party: Party, contract_id: str) -> None:
    require_may(
        principal,
        Action.TRADE,
        party.organisation_id,
        party.project_id,
        kind="contract",
        identity=contract_id,
    )


def _ended(tx: Tx, contract_id: str, paid: int) -> views.EndedView:
    found = contracts.get(tx.conn, contract_id)
    return views.EndedView(contract=views.ContractView.of(found, tx.now_ms), paid=Money.of(paid))
