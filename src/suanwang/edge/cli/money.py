"""`suan usage` and `suan bill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.projects import reference_of
from suanwang.edge.cli.words import say
from suanwang.edge.client.client import Client

if TYPE_CHECKING:
    from suanwang.edge.client.views_billing import ReportLine, Statement

DEFAULT_PROJECT = "default"


def project_of(client: Client, named: str | None) -> str:
    """What is named, else the login's, else the only one, else the one called default."""
    if named or client.project:
        return named or client.project or ""
    projects = client.api.get("/v1/session")["projects"]
    return projects[0] if len(projects) == 1 else DEFAULT_PROJECT


def _usage_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--month", help="Another month than this one", metavar="YYYY-MM")
    parser.option(
        "--by",
        help="Grouped by day, job, pool, site or user",
        choices=("day", "job", "pool", "site", "user"),
        default="day",
    )


def _usage(args: Args) -> int:
    client = client_of(args)
    project = reference_of(client, project_of(client, args.project))
    lines = list(client.billing.usage(project, month=args.month, by=args.by))
    if args.json:
        print_json(lines)
    elif lines:
        _show_lines(client, lines, args.by)
    else:
        errors.tell(say("Nothing was used."))
    return 0


def _show_lines(client: Client, lines: list[ReportLine], by: str) -> None:
    names = _names(client, lines, by)
    rows = []
    for line in lines:
        used = line["quantities"]
        rows.append(
            [
                names.get(line["key"], line["key"]),
                figures.duration(used["billable_seconds"]),
                f"{used['core_milli_seconds'] / 3_600_000:.3f}",
                f"{used['memory_mib_seconds'] / 1024 / 3_600:.3f}",
                f"{used['accelerator_milli_seconds'] / 3_600_000:.3f}",
                figures.yuan(line["amount"]),
            ]
        )
    headings = [by.upper(), "TIME", "CORE HOURS", "GIB HOURS", "CARD HOURS", "YUAN"]
    tables.show([say(h) for h in headings], rows, right=(1, 2, 3, 4, 5))


def _names(client: Client, lines: list[ReportLine], by: str) -> dict[str, str]:
    if by == "job":
        return {line["key"]: figures.short(line["key"]) for line in lines}
    if by not in ("pool", "site"):
        return {}
    offers = client.offers()
    if by == "site":
        return {offer["site_id"]: offer["site"] for offer in offers}
    return {offer["pool_id"]: f"{offer['site']}/{offer['pool']}" for offer in offers}


def _bill_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--month", help="Another month than this one", metavar="YYYY-MM")
    parser.option(
        "--by",
        help="Lines by job, pool, day or user",
        choices=("job", "pool", "day", "user"),
        default="job",
    )
    parser.option("--focus", help="Write the month to a file as FOCUS 1.2", metavar="FILE")


def _bill(args: Args) -> int:
    client = client_of(args)
    project = reference_of(client, project_of(client, args.project))
    if args.focus:
        return _focus(client, project, args)
    billing = client.billing
    account = billing.account(project)
    others = [one for one in billing.accounts(project) if one["currency"] != account["currency"]]
    statement = billing.statement(project, month=args.month, by=args.by)
    if args.json:
        whole = {name: value for name, value in statement.items() if name != "next_cursor"}
        print_json({"account": account, "others": others, "statement": whole})
        return 0
    moved = (
        f"{say('topped up')} {figures.yuan(statement['topped_up'])}",
        f"{say('charged')} {figures.yuan(statement['charged'])}",
        f"{say('adjusted')} {figures.yuan(statement['adjusted'])}",
    )
    tables.show_fields(
        [
            (say("Balance"), figures.yuan(account["balance"])),
            (say("Held"), figures.yuan(account["held"])),
            (say("Credit limit"), figures.yuan(account["credit_limit"])),
            (
                say("Available"),
                figures.yuan(account["available"])
                + (say("  in arrears") if account["in_arrears"] else ""),
            ),
            *((one["currency"], figures.yuan(one["available"])) for one in others),
            (statement["month"], ", ".join(moved)),
        ]
    )
    if statement["lines"]:
        print()
        _show_lines(client, statement["lines"], args.by)
        _show_due(statement)
    return 0


def _show_due(statement: Statement) -> None:
    """How the lines come to what is due: they are at list price."""
    if not statement["reliefs"]:
        return
    paid = [
        (one["programme_id"], f"-{figures.yuan(one['amount'])}") for one in statement["reliefs"]
    ]
    print()
    tables.show_fields(
        [
            (say("At list price"), figures.yuan(statement["listed"])),
            *((say("Paid by {programme}", programme=name), text) for name, text in paid),
            (say("Due"), figures.yuan(statement["charged"])),
        ]
    )


def _focus(client: Client, project: str, args: Args) -> int:
    """A page after the other, straight to the file; none is made of what is refused."""
    pieces = client.settlement.focus_of_project(project, month=args.month)
    first = next(pieces, b"")
    with open(args.focus, "wb") as file:
        file.write(first)
        file.writelines(pieces)
    errors.tell(say("Written to {file}.", file=args.focus))
    return 0


COMMANDS = {
    "usage": Doing(_usage_options, _usage),
    "bill": Doing(_bill_options, _bill),
}
