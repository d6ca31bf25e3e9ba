"""The table of listings and its statements."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party, Terms
from suanwang.trade.market.model import Listing, ListingSearch, ListingSort, ListingState

listings = sa.Table(
    "listings",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("source_id", Id, nullable=False),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("unit_class", sa.String(60), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("first_hour", sa.Integer, nullable=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("min_lots", sa.Integer, nullable=False),
    sa.Column("min_hours", sa.Integer, nullable=False),
    sa.Column("max_hours", sa.Integer, nullable=False),
    sa.Column("price", Money, nullable=False),
    sa.Column("credit_percent", sa.Integer, nullable=False),
    sa.Column("deposit_percent", sa.Integer, nullable=False),
    sa.Column("cancel_hours", sa.Integer, nullable=False),
    sa.Column("cancel_percent", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("listed_at_ms", Ms, nullable=False),
    sa.Index("ix_listings_state_unit_class", "state", "unit_class"),
    sa.Index("ix_listings_organisation_id", "organisation_id"),
)

purchases = sa.Table(
    "listing_purchases",
    metadata,
    sa.Column("project_id", Id, primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("contract_id", Id, nullable=False),
)


def _listing(row: Row[Any]) -> Listing:
    return Listing(
        id=row.id,
        seller=Party(row.organisation_id, row.project_id, row.user_id),
        source_id=row.source_id,
        site_id=row.site_id,
        pool_id=row.pool_id,
        product=Product(row.unit_class, row.zone),
        title=row.title,
        window=Period(row.first_hour, row.hours),
        lots=row.lots,
        min_lots=row.min_lots,
        min_hours=row.min_hours,
        max_hours=row.max_hours,
        price=row.price,
        terms=Terms(row.credit_percent, row.deposit_percent, row.cancel_hours, row.cancel_percent),
        state=ListingState(row.state),
        listed_at_ms=row.listed_at_ms,
    )


def insert(conn: Connection, one: Listing) -> None:
    conn.execute(
        sa.insert(listings).values(
            id=one.id,
            organisation_id=one.seller.organisation_id,
            project_id=one.seller.project_id,
            user_id=one.seller.user_id,
            source_id=one.source_id,
            site_id=one.site_id,
            pool_id=one.pool_id,
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            title=one.title,
            first_hour=one.window.first_hour,
            hours=one.window.hours,
            lots=one.lots,
            min_lots=one.min_lots,
            min_hours=one.min_hours,
            max_hours=one.max_hours,
            price=one.price,
            credit_percent=one.terms.credit_percent,
            deposit_percent=one.terms.deposit_percent,
            cancel_hours=one.terms.cancel_hours,
            cancel_percent=one.terms.cancel_percent,
            state=one.state.value,
            listed_at_ms=one.listed_at_ms,
        )
    )


def by_id(conn: Connection, listing_id: str, *, lock: bool = False) -> Listing | None:
    query = sa.select(listings).where(listings.c.id == listing_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _listing(row) if row is not None else None


def close(conn: Connection, listing_id: str, state: ListingState) -> None:
    conn.execute(sa.update(listings).where(listings.c.id == listing_id).values(state=state.value))


def found(
    conn: Connection, search: ListingSearch, *, after: tuple[int, str] | None, limit: int
) -> list[Listing]:
    """`after` is what the last row that the caller has is sorted by, and its id."""
    query = sa.select(listings).where(*_met(search)).limit(limit)
    column, is_falling = _SORTS[search.sort]
    if search.sort is ListingSort.NEWEST:
        query = query.order_by(listings.c.id.desc())
        if after is not None:
            query = query.where(listings.c.id < after[1])
    else:
        query = query.order_by(column.desc() if is_falling else column, listings.c.id)
        if after is not None:
            further = column < after[0] if is_falling else column > after[0]
            same = (column == after[0]) & (listings.c.id > after[1])
            query = query.where(further | same)
    return [_listing(row) for row in conn.execute(query)]


def open_from(conn: Connection, organisation_id: str, source_id: str) -> list[str]:
    """Of an organisation, those that sell from a source."""
    query = sa.select(listings.c.id).where(
        listings.c.organisation_id == organisation_id,
        listings.c.source_id == source_id,
        listings.c.state == ListingState.OPEN.value,
    )
    return [row.id for row in conn.execute(query.order_by(listings.c.id))]


_SORTS: dict[ListingSort, tuple[sa.Column[Any], bool]] = {
    ListingSort.NEWEST: (listings.c.listed_at_ms, True),
    ListingSort.PRICE: (listings.c.price, False),
    ListingSort.STARTS: (listings.c.first_hour, False),
    ListingSort.LOTS: (listings.c.lots, True),
}
"""What a sort goes by, and whether the greatest comes first."""


def _met(search: ListingSearch) -> list[sa.ColumnElement[bool]]:
    stated = {
        listings.c.organisation_id: search.organisation_id,
        listings.c.state: search.state.value if search.state is not None else None,
        listings.c.unit_class: search.unit_class,
        listings.c.zone: search.zone,
    }
    met = [column == value for column, value in stated.items() if value is not None]
    texts = (listings.c.title, listings.c.unit_class, listings.c.zone, listings.c.id)
    for term in search.terms:
        said = [column.icontains(term.text, autoescape=True) for column in texts]
        met.append(sa.or_(*said, listings.c.site_id.in_(term.site_ids)))
    return met


def cheapest(conn: Connection) -> dict[Product, int]:
    """Of the open ones."""
    query = (
        sa.select(listings.c.unit_class, listings.c.zone, sa.func.min(listings.c.price))
        .where(listings.c.state == ListingState.OPEN.value)
        .group_by(listings.c.unit_class, listings.c.zone)
    )
    return {
        Product(unit_class, zone): int(price) for unit_class, zone, price in conn.execute(query)
    }


def ended(conn: Connection, hour: int) -> list[str]:
    """Open ones whose window is over."""
    query = sa.select(listings.c.id).where(
        listings.c.state == ListingState.OPEN.value,
        listings.c.first_hour + listings.c.hours <= hour,
    )
    return [row.id for row in conn.execute(query.order_by(listings.c.id))]


def contract_of_key(conn: Connection, project_id: str, key: str) -> str | None:
    query = sa.select(purchases.c.contract_id).where(
        purchases.c.project_id == project_id, purchases.c.key == key
    )
    return conn.execute(query).scalar_one_or_none()


def insert_purchase(conn: Connection, project_id: str, key: str, contract_id: str) -> None:
    values = {"project_id": project_id, "key": key, "contract_id": contract_id}
    conn.execute(sa.insert(purchases).values(**values))
