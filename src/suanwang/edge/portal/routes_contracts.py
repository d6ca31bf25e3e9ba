"""Contracts: one's own as buyer and seller; one with its hours, what it holds, and ways out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response, StreamingResponse

from suanwang.edge.api import routes_contracts as api
from suanwang.edge.api.paging import decode_cursor, encode_cursor
from suanwang.edge.api.routes_contracts import As
from suanwang.edge.portal import choices, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.formats import local
from suanwang.edge.portal.origins import came_of
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.routes_admin import answered
from suanwang.edge.portal.routes_overview import changes
from suanwang.edge.portal.trading import place_names, words
from suanwang.grid.sites import service as sites
from suanwang.kernel.time import hour_of
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action
from suanwang.trade.contracts import rules
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Hour
from suanwang.trade.market import instruments as naming

router = APIRouter(route_class=PortalRoute, prefix="/contracts")
PAGE, CELLS, HOURS_SHOWN = 50, 168, 48
MOST_HOURS = 10_000


@dataclass(frozen=True)
class ContractRow:
    """A line of the list; `buys`: the reader is its buyer."""

    contract: Contract
    phase: str
    buys: bool
    project: str


def contract_rows(conn: Connection, page: Page, found: Sequence[Contract]) -> list[ContractRow]:
    """With the project named only to those who have several."""
    mine = page.principal.readable_projects
    projects = {
        one.id: one.display_name for one in tenancy.projects(conn, page.principal, limit=500)
    }
    rows = []
    for one in found:
        buys = one.buyer.project_id in mine
        party = one.buyer if buys else one.seller
        name = projects.get(party.project_id, "") if len(projects) > 1 else ""
        rows.append(ContractRow(one, rules.phase(one, page.now_ms).value, buys, name))
    return rows


@router.get("")
async def list_contracts(
    page: SignedIn,
    role: As = As.EITHER,
    state: Annotated[str, Query(max_length=20)] = "",
    reference: Annotated[str, Query(max_length=40)] = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    wanted = ContractState(state) if state in [one.value for one in ContractState] else None
    mine = page.principal.readable_projects

    def query(conn: Connection) -> tuple[list[ContractRow], str | None]:
        found = contracts.page(
            conn,
            buyers=None if role is As.SELLER else mine,
            sellers=None if role is As.BUYER else mine,
            state=wanted,
            reference=reference or None,
            before=decode_cursor(cursor) if cursor else None,
            limit=PAGE + 1,
        )
        more = encode_cursor(found[PAGE - 1].id) if len(found) > PAGE else None
        return contract_rows(conn, page, found[:PAGE]), more

    rows, more = await page.context.database.read(query)
    return page.render(
        "contracts_live.html" if page.is_fragment else "contracts.html",
        rows=rows,
        next_cursor=more,
        cursor=cursor,
        role=role.value,
        roles=[one.value for one in As],
        state=state,
        reference=reference,
        states=[one.value for one in ContractState],
        **words(page),
    )


@router.get("/events")
async def events(page: SignedIn, contract: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Server-sent: `changed` when a contract has, or the newest of one's own if none is named."""
    mine = page.principal.readable_projects

    def picture(conn: Connection) -> tuple[Any, ...]:
        if contract:
            found, _ = api.contract_for(conn, page.principal, contract)
            return (found, *contracts.hours_of(conn, contract, 2))
        return tuple(contracts.page(conn, buyers=mine, sellers=mine, limit=PAGE))

    await page.context.database.read(picture)  # a refusal is an answer, not a broken stream
    return StreamingResponse(
        changes(page, picture),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


# --- one contract ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A piece of the strip of hours: what was there of what was promised."""

    first_hour: int
    hours: int
    percent: int | None
    """Of the lots; None: not measured, or still to come."""
    charged: int
    credited: int
    is_past: bool

    @property
    def tone(self) -> str:
        percent = self.percent or 0
        return "ok" if percent == 100 else "warn" if percent >= 90 else "bad"


def cells(contract: Contract, hours: Sequence[Hour], now_ms: int, most: int = CELLS) -> list[Cell]:
    """The whole period in at most so many equal pieces."""
    known = {one.hour: one for one in hours}
    period = contract.period
    size = -(-period.hours // most)
    found = []
    for first in range(period.first_hour, period.end_hour, size):
        end = min(first + size, period.end_hour)
        piece = [known[hour] for hour in range(first, end) if hour in known]
        promised = sum(one.samples for one in piece) * contract.lots
        delivered = sum(one.delivered for one in piece)
        found.append(
            Cell(
                first,
                end - first,
                100 * delivered // promised if promised else None,
                sum(one.charged for one in piece),
                sum(one.credited for one in piece),
                end <= hour_of(now_ms),
            )
        )
    return found


def _read(conn: Connection, page: Page, contract_id: str) -> dict[str, Any]:
    found, _ = api.contract_for(conn, page.principal, contract_id)
    hours = contracts.hours_of(conn, found.id, MOST_HOURS)
    resold = contracts.pledged(conn, [found.id], found.period)
    names = sites.names_of(conn, [found.site_id], [found.pool_id])
    buyer, seller = found.buyer, found.seller
    buys = page.may(Action.TRADE, buyer.organisation_id, buyer.project_id)
    sells = page.may(Action.TRADE, seller.organisation_id, seller.project_id)
    mine = page.principal.readable_projects
    is_signed = found.state is ContractState.SIGNED
    sellable = [one for one in naming.standard_periods(page.now_ms) if found.period.covers(one)]
    return {
        "contract": found,
        "phase": rules.phase(found, page.now_ms).value,
        "buys": found.buyer.project_id in mine,
        "role": "buyer"
        if found.buyer.project_id in mine
        else "seller"
        if found.seller.project_id in mine
        else "onlooker",
        "cells": cells(found, hours, page.now_ms),
        "hours": hours[:HOURS_SHOWN],
        "charged": sum(one.charged for one in hours),
        "credited": sum(one.credited for one in hours),
        "resold_most": max(resold.values(), default=0),
        "resold_hours": len(resold),
        "site": names.get(found.site_id, ""),
        "site_title": place_names(conn).get(found.site_id, found.site_id),
        "pool": names.get(found.pool_id, found.pool_id),
        "origin": came_of(conn, page, found),
        "names": choices.names_of(conn, (buyer.organisation_id, seller.organisation_id)),
        "may_dispute": page.may(Action.WRITE_BILLING, buyer.organisation_id),
        "why_not_cancel": rules.may_cancel(found, page.now_ms, bool(resold)),
        "fee": rules.cancel_fee(found),
        "rent_of_cancelled": rules.rent_of_cancelled(found),
        "credit": rules.withdrawal_credit(found),
        "may_cancel": buys and is_signed,
        "may_withdraw": sells and is_signed,
        "may_sell_on": buys and is_signed and found.period.until_ms > page.now_ms,
        "sellable": sellable,
        "month": local(found.period.from_ms).strftime("%Y-%m"),
    }


async def _page(
    page: Page,
    contract: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    shown = await page.context.database.read(lambda conn: _read(conn, page, contract))
    return page.render(
        "contract_live.html" if page.is_fragment else "contract.html",
        problem.status if problem else 200,
        problem=problem,
        form=form or {},
        suffix_of=naming.suffix_of,
        **words(page),
        **shown,
    )


@router.get("/{contract}")
async def show_contract(page: SignedIn, contract: str) -> Response:
    return await _page(page, contract)


@router.post("/{contract}/cancel")
async def cancel(page: SignedIn, contract: str) -> Response:
    async def change(_: dict[str, str]) -> None:
        await api.cancel_contract(contract, page.principal, page.context)

    to = f"/contracts/{contract}?done=contract_cancelled"
    return await answered(page, change, to, partial(_page, page, contract))


@router.post("/{contract}/withdraw")
async def withdraw(page: SignedIn, contract: str) -> Response:
    async def change(_: dict[str, str]) -> None:
        await api.withdraw_contract(contract, page.principal, page.context)

    to = f"/contracts/{contract}?done=contract_withdrawn"
    return await answered(page, change, to, partial(_page, page, contract))
