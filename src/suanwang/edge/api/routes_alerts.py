"""Surveillance over HTTP: what looks like abuse, its evidence, what people found it to be."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_alerts as views
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_market import Ctx, Identity, Reader, Trader, Word
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import require_may
from suanwang.trade.market import watch
from suanwang.trade.market.surveillance import AlertKind, Wanted

router = APIRouter(prefix="/v1/market/alerts", tags=["market"])


def _for_operators(principal: Principal) -> None:
    require_may(principal, Action.STEER_MARKET, principal.organisation_id)


@router.get("")
async def list_alerts(
    principal: Reader,
    context: Ctx,
    page: Paging,
    closed: Annotated[bool, Query(description="Those that were closed too.")] = False,
    kind: AlertKind | None = None,
    unit_class: Word = None,
    zone: Word = None,
) -> Page[views.AlertView]:
    """What looks like abuse, the latest first. For the operator."""
    _for_operators(principal)
    wanted = Wanted(not closed, kind, unit_class, zone)
    rows = await context.database.read(
        lambda conn: watch.page(conn, wanted, before=page.after, limit=page.fetch)
    )
    return page.of(rows, lambda one: one.id, views.AlertView.of)


@router.get("/{alert}")
async def get_alert(alert: Identity, principal: Reader, context: Ctx) -> views.AlertDetail:
    """One alert with the orders, trades and contracts that it rests on. For the operator."""
    _for_operators(principal)
    now_ms = context.clock.now_ms()

    def query(conn: Connection) -> views.AlertDetail:
        found = watch.get(conn, alert)
        return views.AlertDetail.with_evidence(found, watch.evidence(conn, found.alert), now_ms)

    return await context.database.read(query)


@router.post("/{alert}/close", status_code=204)
async def close_alert(
    alert: Identity, body: views.NoteRequest, principal: Trader, context: Ctx
) -> None:
    """Say what it was found to be."""
    _for_operators(principal)

    def use_case(tx: Tx) -> None:
        watch.close(tx, alert, body.note)
        audit(tx, principal, "alert.close", "alert", alert, {"note": body.note})

    await context.database.write(use_case)
