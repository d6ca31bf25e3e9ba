"""Tables of grants and of what bounds them, and every statement over those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.platform.bulk import insert_new_rows, insert_rows
from suanwang.platform.database import Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.policy.life import Budget, Finding, Grant, GrantState
from suanwang.trade.policy.model import Item, Mode

grants = sa.Table(
    "policy_grants",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("application_id", Id, nullable=False),
    sa.Column("programme_id", Id, nullable=False),
    sa.Column("programme_version", sa.Integer, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("item", sa.String(32), nullable=False),
    sa.Column("year", sa.Integer, nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("redeemed", Money, nullable=False),
    sa.Column("percent_domestic", sa.Integer, nullable=False),
    sa.Column("percent_other", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("granted_at_ms", Ms, nullable=False),
    sa.Column("expires_at_ms", Ms, nullable=True),
    sa.Column("reclaimed", Money, nullable=False),
    sa.Column("audited_at_ms", Ms, nullable=True),
    sa.Column("finding", sa.String(16), nullable=True),
    sa.Column("remark", sa.Text, nullable=False),
    sa.Index("ix_policy_grants_project_id_state", "project_id", "state"),
    sa.Index("ix_policy_grants_organisation_id_id", "organisation_id", "id"),
    sa.Index("ix_policy_grants_state_expires_at_ms", "state", "expires_at_ms"),
    sa.Index("ix_policy_grants_programme_id_year", "programme_id", "year"),
    sa.CheckConstraint("redeemed >= 0 AND redeemed <= amount", name="redeemed_within_amount"),
)

budgets = sa.Table(
    "policy_budgets",
    metadata,
    sa.Column("programme_id", Id, primary_key=True),
    sa.Column("year", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pool", Money, nullable=False),
    sa.Column("committed", Money, nullable=False),
    sa.CheckConstraint("committed >= 0 AND committed <= pool", name="committed_within_pool"),
)

allowances = sa.Table(
    "policy_allowances",
    metadata,
    sa.Column("programme_id", Id, primary_key=True),
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("year", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("granted", Money, nullable=False),
)
"""What an entity was granted in a year: the cap is of the case, so it comes with the update."""

helped = sa.Table(
    "policy_helped",
    metadata,
    sa.Column("group", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(160), primary_key=True),
    sa.Column("grant_id", Id, nullable=False),
)
"""Who or which contract has been helped within an exclusive group: once, whoever asks at once."""

_ACTIVE = Prepared(
    sa.select(grants)
    .where(
        grants.c.project_id.in_(ONE_OF),
        grants.c.state == GrantState.ACTIVE.value,
    )
    .order_by(grants.c.id)
    .with_for_update()
)
_REDEEM = Prepared(
    sa.update(grants)
    .where(
        grants.c.id == sa.bindparam("grant"),
        grants.c.state == GrantState.ACTIVE.value,
        grants.c.redeemed + sa.bindparam("amount_now") <= grants.c.amount,
    )
    .values(
        redeemed=grants.c.redeemed + sa.bindparam("amount_now"),
        state=sa.case(
            (
                grants.c.redeemed + sa.bindparam("amount_now") == grants.c.amount,
                GrantState.SPENT.value,
            ),
            else_=grants.c.state,
        ),
    )
)
_DRAW = Prepared(
    sa.update(budgets)
    .where(
        budgets.c.programme_id == sa.bindparam("programme"),
        budgets.c.year == sa.bindparam("of_year"),
        budgets.c.committed + sa.bindparam("commit_now") <= budgets.c.pool,
    )
    .values(committed=budgets.c.committed + sa.bindparam("commit_now"))
)


def _grant(row: Any) -> Grant:
    return Grant(
        row.id,
        row.application_id,
        row.programme_id,
        row.programme_version,
        row.organisation_id,
        row.project_id,
        Mode(row.mode),
        Item(row.item),
        row.year,
        row.amount,
        row.redeemed,
        row.percent_domestic,
        row.percent_other,
        GrantState(row.state),
        row.granted_at_ms,
        row.expires_at_ms,
        row.reclaimed,
        row.audited_at_ms,
        None if row.finding is None else Finding(row.finding),
        row.remark,
    )


def insert_grant(conn: Connection, one: Grant) -> None:
    row = (
        one.id,
        one.application_id,
        one.programme_id,
        one.programme_version,
        one.organisation_id,
        one.project_id,
        one.mode.value,
        one.item.value,
        one.year,
        one.amount_micro_yuan,
        one.redeemed_micro_yuan,
        one.percent_domestic,
        one.percent_other,
        one.state.value,
        one.granted_at_ms,
        one.expires_at_ms,
        one.reclaimed_micro_yuan,
        one.audited_at_ms,
        None,
        one.remark,
    )
    insert_rows(conn, grants, [row])


def lock_grant(conn: Connection, grant_id: str) -> Grant | None:
    query = sa.select(grants).where(grants.c.id == grant_id).with_for_update()
    row = conn.execute(query).first()
    return None if row is None else _grant(row)


def find_grant(conn: Connection, grant_id: str) -> Grant | None:
    row = conn.execute(sa.select(grants).where(grants.c.id == grant_id)).first()
    return None if row is None else _grant(row)


def active_grants(conn: Connection, project_ids: Sequence[str]) -> list[Grant]:
    """Locked in order of id until the transaction ends."""
    return [_grant(row) for row in _ACTIVE.rows(conn, {"one_of": project_ids})]


def find_grants(
    conn: Connection,
    *,
    organisation_id: str | None = None,
    project_id: str | None = None,
    programme_id: str | None = None,
    limit: int = 500,
) -> list[Grant]:
    """The latest first."""
    query = sa.select(grants).order_by(grants.c.id.desc()).limit(limit)
    for column, value in (
        (grants.c.organisation_id, organisation_id),
        (grants.c.project_id, project_id),
        (grants.c.programme_id, programme_id),
    ):
        if value is not None:
            query = query.where(column == value)
    return [_grant(row) for row in conn.execute(query)]


def expired_grants(conn: Connection, now_ms: int, limit: int) -> list[Grant]:
    query = (
        sa.select(grants)
        .where(grants.c.state == GrantState.ACTIVE.value, grants.c.expires_at_ms <= now_ms)
        .order_by(grants.c.id)
        .limit(limit)
        .with_for_update()
    )
    return [_grant(row) for row in conn.execute(query)]


def redeem(conn: Connection, amounts: Sequence[tuple[str, int]]) -> bool:
    """Take from grants, never more than they hold; a grant that is used up is spent."""
    rows = [{"grant": one, "amount_now": amount} for one, amount in sorted(amounts)]
    return _REDEEM.run_all(conn, rows) == len(rows)


def end_grant(
    conn: Connection, before: Grant, state: GrantState, reclaimed: int, remark: str
) -> bool:
    """What is left of it is given up: the amount becomes what was redeemed."""
    statement = (
        sa.update(grants)
        .where(grants.c.id == before.id, grants.c.state == before.state.value)
        .values(state=state.value, reclaimed=reclaimed, remark=remark)
    )
    return conn.execute(statement).rowcount == 1


def restore(
    conn: Connection, before: Grant, amount: int, *, state: GrantState, reclaimed: int = 0
) -> bool:
    """Undo a redemption, and so much of a clawback. Whoever calls has the grant's lock."""
    statement = (
        sa.update(grants)
        .where(
            grants.c.id == before.id,
            grants.c.state == before.state.value,
            grants.c.redeemed >= amount,
        )
        .values(
            redeemed=grants.c.redeemed - amount,
            reclaimed=grants.c.reclaimed - reclaimed,
            state=state.value,
        )
    )
    return conn.execute(statement).rowcount == 1


def note_audit(tx: Tx, grant_id: str, finding: Finding, remark: str) -> None:
    tx.conn.execute(
        sa.update(grants)
        .where(grants.c.id == grant_id)
        .values(audited_at_ms=tx.now_ms, finding=finding.value, remark=remark)
    )


def find_budgets(conn: Connection, programme_id: str | None = None) -> list[Budget]:
    """What was redeemed is told by the grants: nothing is guarded by it, so no redemption of a
    voucher need write the row that all of a programme's have in common."""
    query = (
        sa.select(
            budgets.c.programme_id,
            budgets.c.year,
            budgets.c.pool,
            budgets.c.committed,
            sa.func.coalesce(sa.func.sum(grants.c.redeemed), 0),
        )
        .outerjoin(
            grants,
            (grants.c.programme_id == budgets.c.programme_id) & (grants.c.year == budgets.c.year),
        )
        .group_by(budgets.c.programme_id, budgets.c.year, budgets.c.pool, budgets.c.committed)
        .order_by(budgets.c.programme_id, budgets.c.year)
    )
    if programme_id is not None:
        query = query.where(budgets.c.programme_id == programme_id)
    return [Budget(*row[:4], int(row[4])) for row in conn.execute(query)]


def lock_budgets(conn: Connection, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Programme and year → micro-yuan left. In order of key, so that two who need the same ones
    never wait in a ring."""
    wanted = sorted(set(keys))
    query = (
        sa.select(budgets)
        .where(sa.tuple_(budgets.c.programme_id, budgets.c.year).in_(wanted))
        .order_by(budgets.c.programme_id, budgets.c.year)
        .with_for_update()
    )
    return {(row.programme_id, row.year): row.pool - row.committed for row in conn.execute(query)}


def open_budget(conn: Connection, programme_id: str, year: int, pool: int) -> bool:
    """Opened, or changed: never below what is committed. False if it would be."""
    if insert_new_rows(conn, budgets, [(programme_id, year, pool, 0)], ("year",)):
        return True
    statement = (
        sa.update(budgets)
        .where(
            budgets.c.programme_id == programme_id,
            budgets.c.year == year,
            budgets.c.committed <= pool,
        )
        .values(pool=pool)
    )
    return conn.execute(statement).rowcount == 1


def draw(conn: Connection, programme_id: str, year: int, committed: int) -> bool:
    """Commit from a budget, or give back; False if it does not hold so much, or is not open."""
    wanted = {"programme": programme_id, "of_year": year, "commit_now": committed}
    return _DRAW.run(conn, wanted) == 1


def allow(
    conn: Connection, programme_id: str, organisation_id: str, year: int, amount: int, cap: int
) -> bool:
    """Add to what an entity was granted in a year; False if that is above the cap."""
    row = (programme_id, organisation_id, year, 0)
    insert_new_rows(conn, allowances, [row], ("year",))
    statement = (
        sa.update(allowances)
        .where(
            allowances.c.programme_id == programme_id,
            allowances.c.organisation_id == organisation_id,
            allowances.c.year == year,
            allowances.c.granted + amount <= cap,
        )
        .values(granted=allowances.c.granted + amount)
    )
    return conn.execute(statement).rowcount == 1


def granted_by_year(conn: Connection, programme_id: str, organisation_id: str) -> dict[int, int]:
    query = sa.select(allowances.c.year, allowances.c.granted).where(
        allowances.c.programme_id == programme_id, allowances.c.organisation_id == organisation_id
    )
    return {row.year: row.granted for row in conn.execute(query) if row.granted}


def mark_helped(conn: Connection, rows: Sequence[tuple[str, str]], grant_id: str) -> bool:
    """False if one of them was helped before."""
    new = [(*row, grant_id) for row in sorted(set(rows))]
    return not new or len(insert_new_rows(conn, helped, new, ("subject",))) == len(new)


def holders(conn: Connection, subject: str) -> dict[str, tuple[str, str]]:
    """Group → programme and application of the grant by which a subject was helped within it."""
    query = (
        sa.select(helped.c.group, grants.c.programme_id, grants.c.application_id)
        .join(grants, grants.c.id == helped.c.grant_id)
        .where(helped.c.subject == subject)
    )
    return {row[0]: (row[1], row[2]) for row in conn.execute(query)}


def groups_of(conn: Connection, subject: str) -> tuple[str, ...]:
    query = sa.select(helped.c.group).where(helped.c.subject == subject).order_by(helped.c.group)
    return tuple(row.group for row in conn.execute(query))
