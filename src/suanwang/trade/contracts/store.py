"""Tables of contracts and their statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows, insert_rows
from suanwang.platform.database import Tx
from suanwang.platform.prepared import Prepared
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import (
    Booked,
    Contract,
    ContractState,
    Draft,
    Hour,
    Origin,
    Party,
    Terms,
)

IN_LIMIT = 500

contracts = sa.Table(
    "contracts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("reference", Id, nullable=False),
    sa.Column("buyer_organisation_id", Id, nullable=False),
    sa.Column("buyer_project_id", Id, nullable=False),
    sa.Column("buyer_user_id", Id, nullable=False),
    sa.Column("seller_organisation_id", Id, nullable=False),
    sa.Column("seller_project_id", Id, nullable=False),
    sa.Column("seller_user_id", Id, nullable=False),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("unit_class", sa.String(60), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("first_hour", sa.Integer, nullable=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("price", Money, nullable=False),
    sa.Column("credit_percent", sa.Integer, nullable=False),
    sa.Column("deposit_percent", sa.Integer, nullable=False),
    sa.Column("cancel_hours", sa.Integer, nullable=False),
    sa.Column("cancel_percent", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("signed_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Column("settled_hours", sa.Integer, nullable=False),
    sa.Column("buyer_held", Money, nullable=False),
    sa.Column("seller_held", Money, nullable=False),
    sa.Column("backing_id", Id, nullable=True),
    sa.Column("rent", Money, nullable=False, server_default="0"),
    sa.Column("rent_held", Money, nullable=False, server_default="0"),
    sa.CheckConstraint("buyer_held >= 0 AND seller_held >= 0", name="contracts_held"),
    sa.Index("ix_contracts_buyer_project_id", "buyer_project_id", "id"),
    sa.Index("ix_contracts_seller_project_id", "seller_project_id", "id"),
    sa.Index("ix_contracts_state_first_hour", "state", "first_hour"),
    sa.Index("ix_contracts_signed_at_ms", "signed_at_ms"),
)

hours = sa.Table(
    "contract_hours",
    metadata,
    sa.Column("contract_id", Id, primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("samples", sa.Integer, nullable=False),
    sa.Column("delivered", sa.BigInteger, nullable=False),
    sa.Column("charged", Money, nullable=False),
    sa.Column("credited", Money, nullable=False),
    sa.Column("settled_at_ms", Ms, nullable=False),
    sa.Column("rent", Money, nullable=False, server_default="0"),
)

capacity = sa.Table(
    "pledged_capacity",
    metadata,
    sa.Column("source_id", Id, primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.CheckConstraint("lots >= 0", name="pledged_capacity_lots"),
)

_PLEDGE = Prepared(
    sa.update(capacity)
    .where(
        capacity.c.source_id == sa.bindparam("source"),
        capacity.c.hour == sa.bindparam("at_hour"),
        capacity.c.lots + sa.bindparam("delta") <= sa.bindparam("most"),
    )
    .values(lots=capacity.c.lots + sa.bindparam("delta"))
)
_SAMPLE = Prepared(
    sa.update(hours)
    .where(
        hours.c.contract_id == sa.bindparam("contract"),
        hours.c.hour == sa.bindparam("at_hour"),
        hours.c.settled_at_ms == 0,
    )
    .values(
        samples=hours.c.samples + 1,
        delivered=hours.c.delivered + sa.bindparam("lots_there"),
    )
)
_UNSETTLED = (0, 0, 0, 0, 0, 0)
MOST = 2_000_000_000
"""A pledge that only gives back has no bound above."""


def _contract(row: Row[Any]) -> Contract:
    return Contract(
        id=row.id,
        origin=Origin(row.origin),
        reference=row.reference,
        buyer=Party(row.buyer_organisation_id, row.buyer_project_id, row.buyer_user_id),
        seller=Party(row.seller_organisation_id, row.seller_project_id, row.seller_user_id),
        site_id=row.site_id,
        pool_id=row.pool_id,
        product=Product(row.unit_class, row.zone),
        period=Period(row.first_hour, row.hours),
        lots=row.lots,
        price=row.price,
        terms=Terms(row.credit_percent, row.deposit_percent, row.cancel_hours, row.cancel_percent),
        state=ContractState(row.state),
        signed_at_ms=row.signed_at_ms,
        ended_at_ms=row.ended_at_ms,
        settled_hours=row.settled_hours,
        buyer_held=row.buyer_held,
        seller_held=row.seller_held,
        backing_id=row.backing_id,
        rent=row.rent,
        rent_held=row.rent_held,
    )


def insert(tx: Tx, drafts: Sequence[Draft]) -> list[str]:
    """The new ids, in the drafts' order."""
    ids = [tx.ids.new("con") for _ in drafts]
    rows = [
        (
            id_,
            one.origin.value,
            one.reference,
            one.buyer.organisation_id,
            one.buyer.project_id,
            one.buyer.user_id,
            one.seller.organisation_id,
            one.seller.project_id,
            one.seller.user_id,
            one.site_id,
            one.pool_id,
            one.product.unit_class,
            one.product.zone,
            one.period.first_hour,
            one.period.hours,
            one.lots,
            one.price,
            one.terms.credit_percent,
            one.terms.deposit_percent,
            one.terms.cancel_hours,
            one.terms.cancel_percent,
            ContractState.SIGNED.value,
            tx.now_ms,
            None,
            0,
            one.worth,
            one.deposit,
            one.backing_id,
            one.rent,
            one.whole_rent,
        )
        for id_, one in zip(ids, drafts, strict=True)
    ]
    insert_rows(tx.conn, contracts, rows)
    return ids


def by_id(conn: Connection, contract_id: str, *, lock: bool = False) -> Contract | None:
    query = sa.select(contracts).where(contracts.c.id == contract_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _contract(row) if row is not None else None


def share_signed(conn: Connection, contract_id: str) -> bool:
    """Whether it is signed, and stays so until the transaction ends."""
    query = (
        sa.select(contracts.c.id)
        .where(contracts.c.id == contract_id, contracts.c.state == ContractState.SIGNED.value)
        .with_for_update(read=True)
    )
    return conn.execute(query).first() is not None


def by_ids(conn: Connection, ids: Sequence[str]) -> list[Contract]:
    found: list[Contract] = []
    for start in range(0, len(ids), IN_LIMIT):
        query = sa.select(contracts).where(contracts.c.id.in_(ids[start : start + IN_LIMIT]))
        found += [_contract(row) for row in conn.execute(query.order_by(contracts.c.id))]
    return found


def page(
    conn: Connection,
    *,
    buyers: Sequence[str] | None,
    sellers: Sequence[str] | None,
    state: ContractState | None,
    reference: str | None,
    before: str | None,
    limit: int,
) -> list[Contract]:
    """The latest first; those of which one of the buyers or of the sellers (projects) is a party,
    everybody's if neither is given."""
    query = sa.select(contracts).order_by(contracts.c.id.desc()).limit(limit)
    sides: list[Any] = []
    if buyers is not None:
        sides.append(contracts.c.buyer_project_id.in_(buyers))
    if sellers is not None:
        sides.append(contracts.c.seller_project_id.in_(sellers))
    if sides:
        query = query.where(sa.or_(*sides))
    if state is not None:
        query = query.where(contracts.c.state == state.value)
    if reference is not None:
        query = query.where(contracts.c.reference == reference)
    if before is not None:
        query = query.where(contracts.c.id < before)
    return [_contract(row) for row in conn.execute(query)]


def signed(conn: Connection, until_hour: int) -> list[Contract]:
    """Signed ones that begin before an hour, by id."""
    query = (
        sa.select(contracts)
        .where(
            contracts.c.state == ContractState.SIGNED.value,
            contracts.c.first_hour < until_hour,
        )
        .order_by(contracts.c.id)
    )
    return [_contract(row) for row in conn.execute(query)]


def sold_on(conn: Connection, first_hour: int, until_hour: int) -> list[Contract]:
    """Signed ones out of other contracts that begin in [first, until), by id."""
    query = sa.select(contracts).where(
        *_signed_between(first_hour, until_hour), contracts.c.backing_id.is_not(None)
    )
    return [_contract(row) for row in conn.execute(query.order_by(contracts.c.id))]


def booked(conn: Connection, first_hour: int, until_hour: int, but: Sequence[str]) -> list[Booked]:
    """Signed ones out of pools themselves that begin in [first, until), but those named."""
    time = (
        contracts.c.pool_id,
        contracts.c.unit_class,
        contracts.c.first_hour,
        contracts.c.hours,
    )
    query = (
        sa.select(*time, sa.func.sum(contracts.c.lots))
        .where(
            *_signed_between(first_hour, until_hour),
            contracts.c.backing_id.is_(None),
            contracts.c.id.not_in(but),
        )
        .group_by(*time)
        .order_by(*time)
    )
    return [
        Booked(pool_id, unit_class, Period(first, hours), int(lots))
        for pool_id, unit_class, first, hours, lots in conn.execute(query)
    ]


def _signed_between(first_hour: int, until_hour: int) -> tuple[Any, ...]:
    return (
        contracts.c.state == ContractState.SIGNED.value,
        contracts.c.first_hour >= first_hour,
        contracts.c.first_hour < until_hour,
    )


def prices(
    conn: Connection, since_ms: int, until_ms: int, origins: Sequence[Origin], bucket_ms: int
) -> list[tuple[Product, int, int, int, int]]:
    """(product, bucket, price, lot-hours, contracts) of what was signed in [since, until), by the
    bucket of the signing; what was cancelled does not count."""
    bucket = contracts.c.signed_at_ms - contracts.c.signed_at_ms % bucket_ms
    columns = (contracts.c.unit_class, contracts.c.zone, bucket, contracts.c.price)
    query = (
        sa.select(*columns, sa.func.sum(contracts.c.lots * contracts.c.hours), sa.func.count())
        .where(
            contracts.c.signed_at_ms >= since_ms,
            contracts.c.signed_at_ms < until_ms,
            contracts.c.origin.in_([one.value for one in origins]),
            contracts.c.state != ContractState.CANCELLED.value,
        )
        .group_by(*columns)
        .order_by(*columns)
    )
    return [
        (Product(unit, zone), int(at), price, int(lot_hours), count)
        for unit, zone, at, price, lot_hours, count in conn.execute(query)
    ]


def signed_since(conn: Connection, since_ms: int) -> list[Contract]:
    """What was signed since then, by id."""
    query = sa.select(contracts).where(contracts.c.signed_at_ms >= since_ms)
    return [_contract(row) for row in conn.execute(query.order_by(contracts.c.id))]


def due(conn: Connection, before_hour: int, limit: int) -> list[Contract]:
    """Signed ones whose next unsettled hour has ended before `before_hour` began."""
    query = (
        sa.select(contracts)
        .where(
            contracts.c.state == ContractState.SIGNED.value,
            contracts.c.first_hour + contracts.c.settled_hours < before_hour,
        )
        .order_by(contracts.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_contract(row) for row in conn.execute(query)]


def update(conn: Connection, contract_id: str, **values: Any) -> None:
    conn.execute(sa.update(contracts).where(contracts.c.id == contract_id).values(**values))


def move_capacity(
    conn: Connection, moves: Mapping[tuple[str, int], int], most: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Pledge (positive) or give back lots by (source, hour); those for which there was no room.

    A source is a pool, or a contract that is sold on; `most` has the lots of those pledged from.
    """
    keys = sorted(moves)
    insert_new_rows(conn, capacity, [(source, hour, 0) for source, hour in keys], ())
    return [
        (source, hour)
        for source, hour in keys
        if not _PLEDGE.run(
            conn,
            {
                "source": source,
                "at_hour": hour,
                "delta": moves[source, hour],
                "most": most[source] if moves[source, hour] > 0 else MOST,
            },
        )
    ]


def pledged(
    conn: Connection, source_ids: Sequence[str], first_hour: int, end_hour: int
) -> dict[tuple[str, int], int]:
    """(source, hour) → lots, where any are pledged."""
    found: dict[tuple[str, int], int] = {}
    for start in range(0, len(source_ids), IN_LIMIT):
        query = sa.select(capacity).where(
            capacity.c.source_id.in_(source_ids[start : start + IN_LIMIT]),
            capacity.c.hour >= first_hour,
            capacity.c.hour < end_hour,
            capacity.c.lots > 0,
        )
        found |= {(source, hour): lots for source, hour, lots in conn.execute(query)}
    return found


def forget_capacity(conn: Connection, before_hour: int) -> int:
    return conn.execute(sa.delete(capacity).where(capacity.c.hour < before_hour)).rowcount


def add_samples(conn: Connection, hour: int, there: Mapping[str, int]) -> None:
    """One look at contracts: contract id → lots that were there."""
    ids = sorted(there)
    insert_new_rows(conn, hours, [(id_, hour, *_UNSETTLED) for id_ in ids], ())
    _SAMPLE.run_all(
        conn,
        [{"contract": id_, "at_hour": hour, "lots_there": there[id_]} for id_ in ids],
    )


def sampled(conn: Connection, wanted: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Contract → (samples, delivered) of the hour asked for."""
    pairs = dict(wanted)
    found = {}
    ids = sorted(pairs)
    for start in range(0, len(ids), IN_LIMIT):
        query = sa.select(hours).where(hours.c.contract_id.in_(ids[start : start + IN_LIMIT]))
        for row in conn.execute(query.where(hours.c.hour.in_(sorted(set(pairs.values()))))):
            if pairs[row.contract_id] == row.hour:
                found[row.contract_id] = (row.samples, row.delivered)
    return found


def settle_hour(
    conn: Connection, contract_id: str, hour: int, amounts: tuple[int, int, int], at_ms: int
) -> None:
    """`amounts`: charged, credited and rent, micro-yuan. Where nobody looked there is no row
    yet."""
    insert_new_rows(conn, hours, [(contract_id, hour, *_UNSETTLED)], ())
    charged, credited, rent = amounts
    conn.execute(
        sa.update(hours)
        .where(hours.c.contract_id == contract_id, hours.c.hour == hour)
        .values(charged=charged, credited=credited, rent=rent, settled_at_ms=at_ms)
    )


def hours_of(conn: Connection, contract_id: str, limit: int) -> list[Hour]:
    """The latest first."""
    query = (
        sa.select(hours)
        .where(hours.c.contract_id == contract_id)
        .order_by(hours.c.hour.desc())
        .limit(limit)
    )
    return [Hour(*row) for row in conn.execute(query)]


def charged(conn: Connection, contract_id: str) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(hours.c.charged), 0))
    return int(conn.execute(query.where(hours.c.contract_id == contract_id)).scalar_one())


def outcomes(conn: Connection, since_ms: int) -> dict[str, tuple[int, int, int]]:
    """Seller organisation → (hours settled, samples x lots promised, delivered) since then."""
    query = (
        sa.select(
            contracts.c.seller_organisation_id,
            sa.func.count(),
            sa.func.sum(hours.c.samples * contracts.c.lots),
            sa.func.sum(hours.c.delivered),
        )
        .join(contracts, contracts.c.id == hours.c.contract_id)
        .where(hours.c.settled_at_ms >= since_ms, hours.c.settled_at_ms > 0)
        .group_by(contracts.c.seller_organisation_id)
    )
    return {org: (count, int(most), int(got)) for org, count, most, got in conn.execute(query)}
