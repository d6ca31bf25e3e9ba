"""The aggregates behind statements and usage reports. One query a page; no rows in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.kernel.time import MS_PER_DAY
from suanwang.trade.billing import rules
from suanwang.trade.billing.model import (
    GroupBy,
    PastCharge,
    PricedUsage,
    PriceList,
    Quantities,
    RelievedLine,
    Report,
    ReportLine,
    UsageRecord,
)
from suanwang.trade.billing.store import IN_LIMIT, charges, price_lists, reliefs, usage

_RELIEF = (
    sa.select(sa.func.coalesce(sa.func.sum(reliefs.c.amount), 0))
    .where(reliefs.c.source == charges.c.source, reliefs.c.usage_id == charges.c.usage_id)
    .scalar_subquery()
)
"""What programmes paid of a charge."""

_CHARGE_OF_USAGE = (charges.c.source == usage.c.source) & (charges.c.usage_id == usage.c.id)

_KEYS: dict[GroupBy, sa.ColumnElement[Any]] = {
    GroupBy.JOB: usage.c.job_id,
    GroupBy.POOL: usage.c.pool_id,
    GroupBy.DAY: (usage.c.start_ms + rules.SHANGHAI_MS) // MS_PER_DAY,
    GroupBy.USER: usage.c.user_id,
    GroupBy.PROJECT: usage.c.project_id,
    GroupBy.SITE: usage.c.site_id,
}


def _page(
    conn: Connection,
    source: sa.FromClause,
    conditions: Sequence[sa.ColumnElement[bool]],
    amount: sa.ColumnElement[int],
    by: GroupBy,
    after: str | None,
    limit: int,
) -> Report:
    key = _KEYS[by]
    query = (
        sa.select(
            key.label("key"),
            sa.func.count(),
            sa.func.sum(usage.c.billable_seconds),
            sa.func.sum(usage.c.core_milli_seconds),
            sa.func.sum(usage.c.memory_mib_seconds),
            sa.func.sum(usage.c.accelerator_milli_seconds),
            sa.func.sum(usage.c.cpu_ms),
            sa.func.coalesce(sa.func.sum(amount), 0),
        )
        .select_from(source)
        .where(*conditions)
        .group_by(sa.text("1"))
        .order_by(sa.text("1"))
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(key > (rules.day_number(after) if by is GroupBy.DAY else after))
    rows = conn.execute(query).all()
    lines = tuple(
        ReportLine(
            rules.date_text(row[0]) if by is GroupBy.DAY else row[0],
            Quantities(*(int(figure) for figure in row[1:7])),
            int(row[7]),
        )
        for row in rows[:limit]
    )
    return Report(by, lines, lines[-1].key if len(rows) > limit else None)


def charged(
    conn: Connection,
    project_id: str,
    from_ms: int,
    until_ms: int,
    by: GroupBy,
    after: str | None,
    limit: int,
) -> Report:
    """A project's charges that count in the span."""
    conditions = (
        charges.c.project_id == project_id,
        charges.c.at_ms >= from_ms,
        charges.c.at_ms < until_ms,
    )
    source = charges.join(usage, _CHARGE_OF_USAGE)
    return _page(conn, source, conditions, charges.c.amount, by, after, limit)


def used(
    conn: Connection,
    project_ids: Sequence[str],
    from_ms: int,
    until_ms: int,
    by: GroupBy,
    after: str | None,
    limit: int,
    job_ids: Sequence[str] | None = None,
) -> Report:
    """What projects used in the span, charged already or not yet."""
    conditions = [
        usage.c.project_id.in_(project_ids),
        usage.c.start_ms >= from_ms,
        usage.c.start_ms < until_ms,
    ]
    if job_ids is not None:
        conditions.append(usage.c.job_id.in_(job_ids))
    source = usage.outerjoin(charges, _CHARGE_OF_USAGE)
    return _page(conn, source, conditions, charges.c.amount, by, after, limit)


def earned(
    conn: Connection,
    organisation_id: str,
    from_ms: int,
    until_ms: int,
    by: GroupBy,
    after: str | None,
    limit: int,
) -> Report:
    """What a provider gets of the charges that count in the span."""
    conditions = (
        charges.c.provider_organisation_id == organisation_id,
        charges.c.at_ms >= from_ms,
        charges.c.at_ms < until_ms,
    )
    source = charges.join(usage, _CHARGE_OF_USAGE)
    amount = charges.c.amount - charges.c.fee
    return _page(conn, source, conditions, amount, by, after, limit)


def priced(
    conn: Connection,
    whose: sa.ColumnElement[bool],
    from_ms: int,
    until_ms: int,
    after: tuple[int, str, str] | None,
    limit: int,
) -> list[PricedUsage]:
    """Charges that count in the span, one by one with all that explains them."""
    fields = UsageRecord.__struct_fields__
    query = (
        sa.select(
            charges.c.at_ms,
            charges.c.amount,
            charges.c.fee,
            _RELIEF,
            price_lists,
            *[usage.c[name].label(f"of_{name}") for name in fields],
        )
        .join(usage, _CHARGE_OF_USAGE)
        .join(price_lists, price_lists.c.id == usage.c.price_list_id)
        .where(whose, charges.c.at_ms >= from_ms, charges.c.at_ms < until_ms)
        .order_by(charges.c.at_ms, charges.c.source, charges.c.usage_id)
        .limit(limit)
    )
    if after is not None:
        place = sa.tuple_(charges.c.at_ms, charges.c.source, charges.c.usage_id)
        query = query.where(place > sa.tuple_(*after))
    return [
        PricedUsage(
            UsageRecord(*row[11:]), row[0], row[1], row[2], PriceList(*row[4:11]), int(row[3])
        )
        for row in conn.execute(query)
    ]


def of_projects(project_ids: Sequence[str]) -> sa.ColumnElement[bool]:
    return charges.c.project_id.in_(project_ids)


def of_provider(organisation_id: str) -> sa.ColumnElement[bool]:
    return charges.c.provider_organisation_id == organisation_id


def relieved(
    conn: Connection, project_id: str, from_ms: int, until_ms: int
) -> tuple[RelievedLine, ...]:
    """What programmes paid of a project's charges that count in the span."""
    query = (
        sa.select(reliefs.c.programme_id, sa.func.count(), sa.func.sum(reliefs.c.amount))
        .where(
            reliefs.c.project_id == project_id,
            reliefs.c.at_ms >= from_ms,
            reliefs.c.at_ms < until_ms,
        )
        .group_by(reliefs.c.programme_id)
        .order_by(reliefs.c.programme_id)
    )
    return tuple(
        RelievedLine(programme, int(count), int(amount))
        for programme, count, amount in conn.execute(query)
    )


def relieved_of_grant(conn: Connection, grant_id: str, limit: int) -> list[tuple[int, str, int]]:
    """(instant, usage id, amount) of a grant's redemptions, the latest first."""
    query = (
        sa.select(reliefs.c.at_ms, reliefs.c.usage_id, reliefs.c.amount)
        .where(reliefs.c.grant_id == grant_id)
        .order_by(reliefs.c.at_ms.desc(), reliefs.c.usage_id.desc())
        .limit(limit)
    )
    return [(row[0], row[1], int(row[2])) for row in conn.execute(query)]


def reliefs_of_charges(
    conn: Connection, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, int]]:
    """(source, usage id) → grant → amount."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    place = sa.tuple_(reliefs.c.source, reliefs.c.usage_id)
    columns = (reliefs.c.source, reliefs.c.usage_id, reliefs.c.grant_id, reliefs.c.amount)
    for start in range(0, len(wanted), IN_LIMIT):
        query = sa.select(*columns).where(place.in_(wanted[start : start + IN_LIMIT]))
        for source, usage_id, grant_id, amount in conn.execute(query):
            found.setdefault((source, usage_id), {})[grant_id] = int(amount)
    return found


def paid_by_pool(
    conn: Connection, project_id: str, from_ms: int, until_ms: int
) -> dict[str, tuple[Quantities, int]]:
    """Pool → what was used there, and what the project itself paid for it."""
    return _paid(
        conn,
        charges.c.project_id == project_id,
        charges.c.at_ms >= from_ms,
        charges.c.at_ms < until_ms,
    )


def paid_of_charges(
    conn: Connection, wanted: Sequence[tuple[str, str]]
) -> dict[str, tuple[Quantities, int]]:
    """The same of these charges: (source, usage id)."""
    found: dict[str, tuple[Quantities, int]] = {}
    place = sa.tuple_(charges.c.source, charges.c.usage_id)
    for start in range(0, len(wanted), IN_LIMIT):
        part = _paid(conn, place.in_(wanted[start : start + IN_LIMIT]))
        for pool, (used, amount) in part.items():
            before, sum_ = found.get(pool, (Quantities(), 0))
            found[pool] = plus(before, used), sum_ + amount
    return found


def pools_of_charges(
    conn: Connection, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    place = sa.tuple_(usage.c.source, usage.c.id)
    for start in range(0, len(wanted), IN_LIMIT):
        query = sa.select(usage.c.source, usage.c.id, usage.c.pool_id).where(
            place.in_(wanted[start : start + IN_LIMIT])
        )
        found.update({(row[0], row[1]): row[2] for row in conn.execute(query)})
    return found


def plus(one: Quantities, other: Quantities, sign: int = 1) -> Quantities:
    pairs = zip(astuple(one), astuple(other), strict=True)
    return Quantities(*(mine + sign * theirs for mine, theirs in pairs))


def _paid(
    conn: Connection, *conditions: sa.ColumnElement[bool]
) -> dict[str, tuple[Quantities, int]]:
    query = (
        sa.select(
            usage.c.pool_id,
            sa.func.count(),
            sa.func.sum(usage.c.billable_seconds),
            sa.func.sum(usage.c.core_milli_seconds),
            sa.func.sum(usage.c.memory_mib_seconds),
            sa.func.sum(usage.c.accelerator_milli_seconds),
            sa.func.sum(usage.c.cpu_ms),
            sa.func.sum(charges.c.amount - _RELIEF),
        )
        .select_from(charges.join(usage, _CHARGE_OF_USAGE))
        .where(*conditions)
        .group_by(usage.c.pool_id)
    )
    return {
        row[0]: (Quantities(*(int(figure) for figure in row[1:7])), int(row[7]))
        for row in conn.execute(query)
    }


def past_charges(conn: Connection, from_ms: int, until_ms: int, limit: int) -> list[PastCharge]:
    """Charges of a span summed by day, project, provider and pool."""
    day = (charges.c.at_ms + rules.SHANGHAI_MS) // MS_PER_DAY
    key = (
        day.label("day"),
        usage.c.organisation_id,
        charges.c.project_id,
        charges.c.provider_organisation_id,
        usage.c.pool_id,
    )
    query = (
        sa.select(*key, sa.func.count(), sa.func.sum(charges.c.amount))
        .select_from(charges.join(usage, _CHARGE_OF_USAGE))
        .where(charges.c.at_ms >= from_ms, charges.c.at_ms < until_ms)
        .group_by(*(sa.text(str(place)) for place in range(1, 6)))
        .order_by(*(sa.text(str(place)) for place in range(1, 6)))
        .limit(limit)
    )
    return [
        PastCharge(row[0], row[1], row[2], row[3], row[4], int(row[5]), int(row[6]))
        for row in conn.execute(query)
    ]
