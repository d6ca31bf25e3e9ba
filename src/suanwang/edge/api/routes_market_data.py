"""Market data for everybody: candles, reference prices, reputations."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_market_data as views
from suanwang.edge.api.routes_market import Ctx, Word
from suanwang.kernel.time import MS_PER_DAY
from suanwang.trade.contracts import service as contracts
from suanwang.trade.market import figures
from suanwang.trade.market import instruments as naming

router = APIRouter(prefix="/v1/market", tags=["market"])
Days = Annotated[int, Query(ge=1, le=400)]


class Span(StrEnum):
    HOUR = "hour"
    DAY = "day"


@router.get("/history")
async def get_history(
    instrument: Annotated[str, Query(max_length=140)],
    context: Ctx,
    days: Days = 14,
    span: Span = Span.HOUR,
) -> list[views.CandleView]:
    """Prices of one instrument's book by the hour or day. No account is needed."""
    wanted = naming.parse(instrument)
    since_ms = context.clock.now_ms() - days * MS_PER_DAY
    length_ms = figures.SPANS[span.value]
    found = await context.database.read(
        lambda conn: figures.history(conn, wanted, since_ms, length_ms)
    )
    return [views.CandleView.of(one) for one in found]


@router.get("/index")
async def get_index(
    context: Ctx, unit_class: Word = None, zone: Word = None, days: Days = 30, span: Span = Span.DAY
) -> list[views.IndexView]:
    """The reference price of each product: the mean of what strangers agreed, weighed by lots and
    hours. No account is needed."""
    now_ms = context.clock.now_ms()
    length_ms = figures.SPANS[span.value]

    def query(conn: Connection) -> list[figures.IndexPoint]:
        since_ms = now_ms - days * MS_PER_DAY
        return figures.index(
            conn, since_ms, now_ms + 1, length_ms, unit_class=unit_class, zone=zone
        )

    return [views.IndexView.of(one) for one in await context.database.read(query)]


@router.get("/glance")
async def get_glance(context: Ctx) -> list[views.GlanceView]:
    """The last 24 hours of each product against those before. No account is needed."""
    now_ms = context.clock.now_ms()
    found = await context.database.read(lambda conn: figures.glances(conn, now_ms))
    return [views.GlanceView.of(one) for one in found]


@router.get("/sellers")
async def list_sellers(context: Ctx) -> list[views.SellerView]:
    """What sellers delivered of what they promised in ninety days, as it was measured. No account
    is needed."""
    now_ms = context.clock.now_ms()
    found = await context.database.read(lambda conn: contracts.reputations(conn, now_ms))
    return [views.SellerView.of(one) for one in found.values()]
