"""The statement: a project's month, its lines, its other movements, the account as it is now."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import views_billing as views
from suanwang.edge.api.money import exact_yuan
from suanwang.edge.api.views_billing import StatementBy
from suanwang.edge.portal import choices, formats
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn, owners_of
from suanwang.edge.portal.trading import instrument_text
from suanwang.grid.jobs import reading
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import SuanwangError
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action, Project
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing.model import GroupBy, ReportLine, Statement
from suanwang.trade.contracts import service as contracts
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import CNY, AccountLine, EntryKind, OwnerKind
from suanwang.trade.market.model import Instrument

router = APIRouter(route_class=PortalRoute)
PAGE = 200
MOST_LINES = 100_000
"""Of a CSV file."""
_CONTRACT = re.compile(r"\bcon_[0-9a-z]+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Project_ = Annotated[str, Query(alias="project", max_length=128)]
Month = Annotated[str, Query(max_length=7)]


@dataclass(frozen=True)
class Line:
    """A line of the statement with the name of what it stands for."""

    name: str
    url: str
    line: ReportLine


def _read(
    conn: Connection, page: Page, project: str, month: str, by: GroupBy, after: str | None
) -> dict[str, Any]:
    found = tenancy.project_of(conn, page.principal, project or None, Action.READ_BILLING)
    made = reports.statement(conn, found.id, month, by=by, after=after, limit=PAGE)
    days = reports.statement(conn, found.id, month, by=GroupBy.DAY, limit=31)
    others = [
        views.account(found.id, one)
        for one in ledger.accounts_of(conn, OwnerKind.PROJECT, found.id)
        if one.key.currency != CNY
    ]
    titles = choices.titles_of(conn, page.language) if made.reliefs or others else {}
    return {
        "project": found,
        "statement": made,
        "lines": _named(conn, page, made.report.lines, by),
        "decimals": formats.exact_decimals(
            [
                *(one.amount_micro_yuan for one in made.report.lines),
                *(one.amount_micro_yuan for one in made.reliefs),
                made.charged_micro_yuan,
            ]
        ),
        "next_after": made.report.next_after,
        "days": _days(days, month),
        "movements": reports.movements(conn, found.id, month),
        "account": views.account(found.id, ledger.project_account(conn, found.id)),
        "others": others,
        "projects": tenancy.projects(conn, page.principal, limit=500),
        "owners": owners_of(conn, page.principal),
        "programme_titles": titles,
        "currency_text": partial(choices.currency_text, titles),
    }


def told(line: AccountLine) -> str:
    """What its reader knows it by: its description, else the payment's own reference."""
    reference = line.key.split(":", 2)[-1] if line.kind is EntryKind.TOP_UP else ""
    return line.description or reference or "–"


def contract_of(line: AccountLine) -> str | None:
    """The contract that a movement between its parties is about."""
    if line.kind not in (EntryKind.SLA_CREDIT, EntryKind.CANCELLATION):
        return None
    found = _CONTRACT.search(line.description)
    return found.group(0) if found else None


def _days(statement: Statement, month: str) -> list[tuple[int, int]]:
    """Every day of the month and what was charged on it."""
    sums = {line.key: line.amount_micro_yuan for line in statement.report.lines}
    count = round((statement.until_ms - statement.from_ms) / 86_400_000)
    return [(day, sums.get(f"{month}-{day:02d}", 0)) for day in range(1, count + 1)]


def _named(conn: Connection, page: Page, lines: tuple[ReportLine, ...], by: GroupBy) -> list[Line]:
    if by is GroupBy.POOL:
        names = sites.names(conn)
        site_of = {pool.pool_id: pool.site_id for pool in sites.pools(conn)}
        return [
            Line(
                "/".join(filter(None, (names.get(site_of.get(line.key, "")), names.get(line.key))))
                or line.key,
                "",
                line,
            )
            for line in lines
        ]
    return [Line(*_name(conn, page, line.key, by), line) for line in lines]


def _name(conn: Connection, page: Page, key: str, by: GroupBy) -> tuple[str, str]:
    """(name, address); an id stands for itself when its object is gone."""
    try:
        if by is GroupBy.JOB and key.startswith(contracts.CONTRACT):
            found = contracts.get(conn, key)
            traded = Instrument(found.product, found.period)
            what = instrument_text(page.language, page.now_ms, traded)
            return page.say("statement.contract", what=what), f"/contracts/{key}"
        if by is GroupBy.JOB:
            return reading.require_job(conn, key).name, f"/jobs/{key}"
        if by is GroupBy.USER:
            return people.user(conn, key).display_name, ""
    except SuanwangError:
        pass
    return key, ""


@router.get("/statement")
async def show_statement(
    page: SignedIn,
    project: Project_ = "",
    month: Month = "",
    by: StatementBy = StatementBy.JOB,
    after: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    wanted = month or rules.month_of(page.now_ms)
    grouping = GroupBy(by.value)
    shown = await page.context.database.read(
        lambda conn: _read(conn, page, project, wanted, grouping, after or None)
    )
    return page.render(
        "statement.html",
        month=wanted,
        this_month=rules.month_of(page.now_ms),
        by=by.value,
        groupings=[one.value for one in StatementBy],
        told=told,
        contract_of=contract_of,
        after=after,
        **shown,
    )


@router.get("/statement.csv")
async def statement_csv(
    page: SignedIn, project: Project_ = "", month: Month = "", by: StatementBy = StatementBy.JOB
) -> Response:
    """Every line of the month at list price, then what programmes paid of it, below zero: the
    amounts sum to what is due, exact to the micro-yuan."""
    wanted = month or rules.month_of(page.now_ms)
    grouping = GroupBy(by.value)

    def query(conn: Connection) -> tuple[Project, list[Line], dict[str, int]]:
        found = tenancy.project_of(conn, page.principal, project or None, Action.READ_BILLING)
        lines: list[Line] = []
        after: str | None = None
        while len(lines) < MOST_LINES:
            made = reports.statement(
                conn, found.id, wanted, by=grouping, after=after, limit=reports.PAGE_LIMIT
            )
            lines += _named(conn, page, made.report.lines, grouping)
            after = made.report.next_after
            if after is None:
                break
        titles = choices.titles_of(conn, page.language) if made.reliefs else {}
        paid = {
            titles.get(one.programme_id, one.programme_id): one.amount_micro_yuan
            for one in made.reliefs
        }
        return found, lines, paid

    found, lines, paid = await page.context.database.read(query)
    name = f"statement-{found.name}-{wanted}-{by.value}.csv"
    return Response(
        "\ufeff" + _csv(page, lines, paid),  # the mark tells spreadsheets that it is UTF-8
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


def _csv(page: Page, lines: list[Line], paid: dict[str, int]) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    heads = ("key", "line", "core_hours", "memory_gib_hours", "card_hours", "amount")
    table.writerow([page.say(f"statement.{head}") for head in heads])
    for one in lines:
        used = one.line.quantities
        table.writerow(
            [
                one.line.key,
                plain(one.name),
                f"{used.core_milli_seconds / 3_600_000:.6f}",
                f"{used.memory_mib_seconds / 1024 / 3600:.6f}",
                f"{used.accelerator_milli_seconds / 3_600_000:.6f}",
                exact_yuan(one.line.amount_micro_yuan),
            ]
        )
    for title, amount in paid.items():
        relieved = page.say("statement.relieved")
        table.writerow([relieved, plain(title), "", "", "", f"-{exact_yuan(amount)}"])
    return out.getvalue()


def plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
