"""Tables of the micro-benchmark and every statement over them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_rows, tuples_of
from suanwang.platform.database import Tx
from suanwang.platform.schema import Id, Ms, metadata
from suanwang.trade.catalogue.model import BenchState, Measurement, Ticket

tickets = sa.Table(
    "bench_tickets",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("job_id", Id, nullable=False, unique=True),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("unit_class", sa.String(64), nullable=False),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("sealed_key", sa.LargeBinary, nullable=False),
    sa.Column("program", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Index(
        "ix_bench_tickets_open",
        "id",
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    ),
)

measurements = sa.Table(
    "bench_measurements",
    metadata,
    sa.Column("ticket_id", Id, sa.ForeignKey("bench_tickets.id"), primary_key=True),
    sa.Column("precision", sa.String(8), primary_key=True),
    sa.Column("job_id", Id, nullable=False),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("unit_class", sa.String(64), nullable=False),
    sa.Column("mega", sa.BigInteger, nullable=False),
    sa.Column("backend", sa.String(40), nullable=False),
    sa.Column("device", sa.String(120), nullable=False),
    sa.Column("program", sa.String(16), nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.CheckConstraint("mega > 0", name="mega_positive"),
    sa.Index("ix_bench_measurements_pool", "pool_id", "precision", "at_ms"),
    sa.Index("ix_bench_measurements_class", "unit_class", "at_ms"),
)

_TICKET = [tickets.c["id" if n == "ticket_id" else n] for n in Ticket.__struct_fields__]
_MEASURED = [measurements.c[name] for name in Measurement.__struct_fields__]


def _ticket(row: Row[tuple[object, ...]]) -> Ticket:
    values = dict(zip(Ticket.__struct_fields__, row, strict=True))
    return Ticket(**{**values, "state": BenchState(str(values["state"]))})  # type: ignore[arg-type]


def insert_ticket(tx: Tx, ticket: Ticket) -> None:
    row = {name: getattr(ticket, name) for name in Ticket.__struct_fields__}
    row["id"] = row.pop("ticket_id")
    row["state"] = ticket.state.value
    insert_rows(tx.conn, tickets, tuples_of(tickets, [row]))


def ticket_of(conn: Connection, ticket_id: str, *, lock: bool = False) -> Ticket | None:
    query = sa.select(*_TICKET).where(tickets.c.id == ticket_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _ticket(row) if row is not None else None


def open_tickets(conn: Connection, limit: int) -> list[Ticket]:
    open_only = tickets.c.state == sa.literal_column("'open'")
    query = sa.select(*_TICKET).where(open_only).order_by(tickets.c.id).limit(limit)
    return [_ticket(row) for row in conn.execute(query)]


def newest_tickets(conn: Connection, before_id: str | None, limit: int) -> list[Ticket]:
    query = sa.select(*_TICKET).order_by(tickets.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(tickets.c.id < before_id)
    return [_ticket(row) for row in conn.execute(query)]


def end_ticket(tx: Tx, ticket_id: str, state: BenchState, reason: str, detail: str) -> bool:
    """False when it had ended before; nothing is changed then."""
    query = (
        sa.update(tickets)
        .where(tickets.c.id == ticket_id, tickets.c.state == BenchState.OPEN.value)
        .values(state=state.value, reason=reason, detail=detail, ended_at_ms=tx.now_ms)
    )
    return tx.conn.execute(query).rowcount == 1


def insert_measurements(tx: Tx, found: Sequence[Measurement]) -> None:
    rows = [{name: getattr(one, name) for name in Measurement.__struct_fields__} for one in found]
    if rows:
        insert_rows(tx.conn, measurements, tuples_of(measurements, rows))


def newest_by_pool(conn: Connection, each: int, unit_class: str | None) -> list[Measurement]:
    """Of every pool and precision so many newest, newest first."""
    rank = sa.func.row_number().over(
        partition_by=(measurements.c.pool_id, measurements.c.unit_class, measurements.c.precision),
        order_by=(measurements.c.at_ms.desc(), measurements.c.ticket_id.desc()),
    )
    ranked = sa.select(*_MEASURED, rank.label("rank"))
    if unit_class is not None:
        ranked = ranked.where(measurements.c.unit_class == unit_class)
    inner = ranked.subquery()
    query = (
        sa.select(*(inner.c[name] for name in Measurement.__struct_fields__))
        .where(inner.c.rank <= each)
        .order_by(inner.c.at_ms.desc(), inner.c.ticket_id.desc(), inner.c.precision)
    )
    return [Measurement(*row) for row in conn.execute(query)]


def of_ticket(conn: Connection, ticket_id: str) -> list[Measurement]:
    query = (
        sa.select(*_MEASURED)
        .where(measurements.c.ticket_id == ticket_id)
        .order_by(measurements.c.precision)
    )
    return [Measurement(*row) for row in conn.execute(query)]
