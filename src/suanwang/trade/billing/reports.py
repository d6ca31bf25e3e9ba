"""Use cases that only read: statements, usage by whatever one asks, a provider's revenue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import InvalidInput
from suanwang.trade.billing import report_store, rules, store
from suanwang.trade.billing.model import (
    GroupBy,
    PastCharge,
    PricedUsage,
    Quantities,
    Report,
    ReportLine,
    Statement,
)
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import AccountKind, AccountLine, Discrepancy, EntryKind

PAGE_LIMIT = 1_000
CHARGE_KEY = "charge:"
"""Of the entry of a charge, before its source and usage."""


def _checked(limit: int) -> int:
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidInput(
            "InvalidLimit",
            f"A page has 1 to {PAGE_LIMIT} lines.",
            hint="Ask for fewer and go on with `after`.",
            field="limit",
        )
    return limit


def statement(
    conn: Connection,
    project_id: str,
    month: str,
    *,
    by: GroupBy = GroupBy.JOB,
    after: str | None = None,
    limit: int = 100,
) -> Statement:
    """A project's calendar month in Asia/Shanghai ("2026-11"): totals, and a page of its lines.

    The lines of all pages sum to `listed_micro_yuan`: what the ledger booked for the project, and
    what programmes paid.
    """
    from_ms, until_ms = rules.month_bounds(month)
    report = report_store.charged(conn, project_id, from_ms, until_ms, by, after, _checked(limit))
    account = ledger.project_account(conn, project_id)
    opening, within, closing = (
        ledger.period(conn, account, from_ms, until_ms) if account else (0, {}, 0)
    )
    topped_up = within.get(EntryKind.TOP_UP, 0)
    charged = -within.get(EntryKind.CHARGE, 0)
    return Statement(
        project_id=project_id,
        month=month,
        from_ms=from_ms,
        until_ms=until_ms,
        opening_micro_yuan=opening,
        topped_up_micro_yuan=topped_up,
        charged_micro_yuan=charged,
        adjusted_micro_yuan=sum(within.values()) - topped_up + charged,
        closing_micro_yuan=closing,
        report=report,
        reliefs=report_store.relieved(conn, project_id, from_ms, until_ms),
    )


def movements(
    conn: Connection, project_id: str, month: str, *, limit: int = 200
) -> list[AccountLine]:
    """A month's postings of a project that are no charges: top-ups, transfers, reversals."""
    account = ledger.project_account(conn, project_id)
    if account is None:
        return []
    return ledger.account_lines(
        conn, account.id, *rules.month_bounds(month), without=(EntryKind.CHARGE,), limit=limit
    )


def usage_summary(
    conn: Connection,
    project_ids: Sequence[str],
    from_ms: int,
    until_ms: int,
    *,
    by: GroupBy = GroupBy.DAY,
    after: str | None = None,
    limit: int = 100,
    job_ids: Sequence[str] | None = None,
) -> Report:
    """What projects used in [from, until), and what of it has been charged by now; of these jobs
    alone if they are given."""
    return report_store.used(
        conn, project_ids, from_ms, until_ms, by, after, _checked(limit), job_ids
    )


def provider_revenue(
    conn: Connection,
    organisation_id: str,
    month: str,
    *,
    by: GroupBy = GroupBy.POOL,
    after: str | None = None,
    limit: int = 100,
) -> Report:
    """What an organisation's sites earned in a month, platform fee deducted."""
    from_ms, until_ms = rules.month_bounds(month)
    return report_store.earned(conn, organisation_id, from_ms, until_ms, by, after, _checked(limit))


def adjustments(
    conn: Connection,
    project_id: str,
    month: str,
    *,
    after: tuple[int, str] | None = None,
    limit: int = PAGE_LIMIT,
) -> list[AccountLine]:
    """A month's postings that are neither charges nor top-ups: the statement's `adjusted`."""
    account = ledger.project_account(conn, project_id)
    if account is None:
        return []
    return ledger.account_lines(
        conn,
        account.id,
        *rules.month_bounds(month),
        without=(EntryKind.CHARGE, EntryKind.TOP_UP),
        after=after,
        limit=limit,
    )


def priced_usage(
    conn: Connection,
    month: str,
    *,
    project_ids: Sequence[str] | None = None,
    provider_organisation_id: str | None = None,
    after: tuple[int, str, str] | None = None,
    limit: int = PAGE_LIMIT,
) -> list[PricedUsage]:
    """A month's charges one by one, of projects or of a provider; `after` is the last one's
    `place`."""
    whose = (
        report_store.of_provider(provider_organisation_id)
        if provider_organisation_id is not None
        else report_store.of_projects(project_ids or ())
    )
    return report_store.priced(conn, whose, *rules.month_bounds(month), after, _checked(limit))


def paid_by_pool(
    conn: Connection,
    project_id: str,
    month: str,
    undone: Sequence[str],
    credited: Mapping[str, int],
) -> list[ReportLine]:
    """What a project itself paid in a month, by pool and in order of it: programmes' part, charges
    that were undone and what was given back of others left out. Both are named by the keys of
    their entries."""
    found = report_store.paid_by_pool(conn, project_id, *rules.month_bounds(month))
    gone = report_store.paid_of_charges(conn, [one for one in map(_usage_of, undone) if one])
    nothing = (Quantities(), 0)
    for pool, (used, amount) in gone.items():
        before, sum_ = found.get(pool, nothing)
        found[pool] = report_store.plus(before, used, -1), sum_ - amount
    back = {key: one for key in credited if (one := _usage_of(key)) is not None}
    pools = report_store.pools_of_charges(conn, list(back.values()))
    for key, one in back.items():
        used, sum_ = found.get(pools[one], nothing)
        found[pools[one]] = used, sum_ - credited[key]
    return [ReportLine(pool, *found[pool]) for pool in sorted(found)]


def _usage_of(entry_key: str) -> tuple[str, str] | None:
    """(source, usage id) of a charge that an entry's key names."""
    if not entry_key.startswith(CHARGE_KEY):
        return None
    source, _, usage_id = entry_key.removeprefix(CHARGE_KEY).partition("/")
    return source, usage_id


def earned_by_pool(
    conn: Connection, organisation_id: str, from_ms: int, until_ms: int
) -> list[ReportLine]:
    """The same for any span, all lines at once: an organisation has few pools."""
    lines: list[ReportLine] = []
    after = None
    while True:
        page = report_store.earned(
            conn, organisation_id, from_ms, until_ms, GroupBy.POOL, after, PAGE_LIMIT
        )
        lines += page.lines
        after = page.next_after
        if after is None:
            return lines


def past_charges(
    conn: Connection, from_ms: int, until_ms: int, *, limit: int = 100_000
) -> list[PastCharge]:
    """What was charged to everybody in the span, summed by day, project, provider and pool."""
    return report_store.past_charges(conn, from_ms, until_ms, limit)


def relieved(conn: Connection, project_id: str, from_ms: int, until_ms: int) -> int:
    """What programmes paid of a project's charges that count in [from, until)."""
    lines = report_store.relieved(conn, project_id, from_ms, until_ms)
    return sum(line.amount_micro_yuan for line in lines)


def relieved_of_grant(
    conn: Connection, grant_id: str, *, limit: int = 200
) -> list[tuple[int, str, int]]:
    """(instant, usage id, micro-yuan) of what a grant has paid, the latest first."""
    return report_store.relieved_of_grant(conn, grant_id, limit)


def reliefs_of_charges(conn: Connection, entry_keys: Sequence[str]) -> dict[str, dict[str, int]]:
    """Key of a charge's entry → grant → what it paid, for those of which grants paid a part."""
    wanted = [one for one in map(_usage_of, entry_keys) if one is not None]
    found = report_store.reliefs_of_charges(conn, wanted)
    return {f"{CHARGE_KEY}{source}/{usage}": by for (source, usage), by in found.items()}


def verify(conn: Connection) -> list[Discrepancy]:
    """The ledger's own audit, and whether each project was booked exactly its charges."""
    booked = {
        key.owner_id: -amount
        for key, amount in ledger.totals(conn, EntryKind.CHARGE, AccountKind.PREPAID).items()
    }
    charged = store.charge_totals(conn)
    for project_id, amount in store.relief_totals(conn).items():
        charged[project_id] = charged.get(project_id, 0) - amount
    wrong = [
        Discrepancy("charges", project_id, charged.get(project_id, 0), booked.get(project_id, 0))
        for project_id in sorted(charged.keys() | booked.keys())
        if charged.get(project_id, 0) != booked.get(project_id, 0)
    ]
    return [*ledger.verify(conn), *wrong]
