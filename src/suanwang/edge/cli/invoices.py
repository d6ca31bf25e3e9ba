"""`suan invoice …`: whom invoices are made out to, asking for one, and what became of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.money import project_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.projects import reference_of
from suanwang.edge.cli.words import say
from suanwang.edge.client.client import Client
from suanwang.edge.client.invoices import RedReason
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.views_settlement import Invoice

PARTY = ("name", "code", "address", "phone", "bank", "bank_account", "email")


def _organisation_of(client: Client, named: str | None) -> str:
    return named or str(client.api.get("/v1/session")["organisation_id"])


def _buyer_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Of this organisation", metavar="NAME")
    parser.option("--name", help="As on the business licence", metavar="TEXT")
    parser.option("--code", help="Unified social credit code, 18 characters", metavar="CODE")
    parser.option("--address", help="Registered address", metavar="TEXT")
    parser.option("--phone", help="Telephone", metavar="TEXT")
    parser.option("--bank", help="Bank where the account is kept", metavar="TEXT")
    parser.option("--bank-account", help="Number of the account", metavar="TEXT")
    parser.option("--email", help="Where the invoice is sent", metavar="TEXT")


def _buyer(args: Args) -> int:
    """Without options it is shown; with some, these change."""
    client = client_of(args)
    organisation = _organisation_of(client, args.org)
    found = client.invoices.buyer(organisation)
    given = {name: value for name in PARTY if (value := getattr(args, name)) is not None}
    if given:
        stated = {"name": "", "code": "", **{n: str(v) for n, v in (found or {}).items()}}
        found = client.invoices.state_buyer(organisation, {**stated, **given})
    if args.json:
        print_json(found)
    elif found is None:
        errors.tell(say("Nobody has said whom invoices are made out to; give --name and --code."))
    else:
        tables.show_fields(
            [
                one
                for one in (
                    (say("Name"), found["name"]),
                    (say("Credit code"), found["code"]),
                    (say("Address"), found["address"]),
                    (say("Telephone"), found["phone"]),
                    (say("Bank"), found["bank"]),
                    (say("Account"), found["bank_account"]),
                    (say("E-mail"), found["email"]),
                )
                if one[1]
            ]
        )
    return 0


def _request_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--month", help="A closed month", required=True, metavar="YYYY-MM")
    parser.option("--remark", help="Printed on the invoice", default="", metavar="TEXT")
    parser.flag("--dry-run", help="Only tell what may be invoiced")


def _request(args: Args) -> int:
    client = client_of(args)
    named = project_of(client, args.project)
    if args.dry_run:
        money = client.invoices.invoiceable(reference_of(client, named), args.month)
        if args.json:
            print_json(money)
            return 0
        tables.show_fields(
            [
                (say("charged"), figures.yuan(money["charged"])),
                (say("relieved"), figures.yuan(money["relieved"])),
                (say("unpaid"), figures.yuan(money["unpaid"])),
                (say("invoiced"), figures.yuan(money["invoiced"])),
                (say("left"), figures.yuan(money["left"])),
            ]
        )
        return 0
    project = reference_of(client, named)
    return _shown(args, client.invoices.request(project, args.month, remark=args.remark))


def _shown(args: Args, found: Invoice) -> int:
    if args.json:
        print_json(found)
        return 0
    tables.show_fields(
        [
            (say("Invoice"), found["id"]),
            (say("State"), found["state"]),
            (say("Number"), f"{found['number']} {found['issued_on']}".strip()),
            (say("Buyer"), f"{found['buyer']['name']} {found['buyer']['code']}"),
            (say("Seller"), f"{found['seller']['name']} {found['seller']['code']}"),
            (say("Total"), f"{found['gross']}  {found['capitals']}"),
            (say("Reason"), found["refusal"]),
            (say("Undone by red letters"), found["undone"] if found["red_letters"] else ""),
            (say("Red letters"), " ".join(found["red_letters"])),
            (say("Red letter of"), found["reverses"] or ""),
        ]
    )
    print()
    rows = [
        [one["specification"], one["quantity"], one["unit"], one["net"], one["tax"], one["gross"]]
        for one in found["lines"]
    ]
    headings = [say(h) for h in ("POOL", "QUANTITY", "UNIT", "NET", "TAX", "GROSS")]
    tables.show(headings, rows, right=(1, 3, 4, 5))
    return 0


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Of this organisation", metavar="NAME")


def _ls(args: Args) -> int:
    found = list(client_of(args).invoices.search(organisation=args.org))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("No invoices yet. `suan invoice request --month YYYY-MM` asks for one."))
        return 0
    rows = [
        [one["id"], one["month"], one["state"], one["gross"], one["number"], one["buyer"]["name"]]
        for one in found
    ]
    headings = [say(h) for h in ("INVOICE", "MONTH", "STATE", "GROSS", "NUMBER", "BUYER")]
    tables.show(headings, rows, right=(3,), states=2)
    return 0


def _one_options(parser: Parser) -> None:
    parser.option("invoice", help="Id of the invoice; see `suan invoice ls`", metavar="INVOICE")
    parser.common()


def _show(args: Args) -> int:
    return _shown(args, client_of(args).invoices.show(args.invoice))


def _issue_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--number", help="The invoice's number", required=True, metavar="DIGITS")
    parser.option("--date", help="On the invoice; today if absent", metavar="YYYY-MM-DD")


def _issue(args: Args) -> int:
    invoices = client_of(args).invoices
    return _shown(args, invoices.issue(args.invoice, args.number, issued_on=args.date))


def _reject_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--reason", help="Why, for the buyer", required=True, metavar="TEXT")


def _reject(args: Args) -> int:
    return _shown(args, client_of(args).invoices.reject(args.invoice, args.reason))


def _reverse_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option(
        "--reason",
        help="wrong, returned, stopped or allowance",
        choices=get_args(RedReason),
        default="wrong",
    )
    parser.option("--amount", help="Undo only so much, tax included", metavar="YUAN")
    parser.option(
        "--line", help="Undo so much of a line; may be repeated", action="append", metavar="N=YUAN"
    )


def _lines(given: list[str]) -> dict[int, str]:
    """The amounts by the lines' numbers."""
    found = dict(_line(one) for one in given)
    if len(found) < len(given):
        raise InvalidInput(
            "UsageWrong",
            say("A line is given twice."),
            hint=say("Write the line's number and yuan: --line 2=12.50."),
        )
    return found


def _line(text: str) -> tuple[int, str]:
    number, equals, yuan = text.partition("=")
    if not equals or not number.strip().isdecimal():
        raise InvalidInput(
            "UsageWrong",
            say("{given} is no line and amount.", given=text),
            hint=say("Write the line's number and yuan: --line 2=12.50."),
        )
    return int(number), yuan.strip()


def _reverse(args: Args) -> int:
    found = client_of(args).invoices.reverse(
        args.invoice,
        args.reason,
        amount=args.amount or None,
        lines=_lines(args.line or []),
    )
    return _shown(args, found)


def _export_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--format", help="json or xml", choices=("json", "xml"), default="json")
    parser.option("--to", help="A file instead of the terminal", metavar="FILE")


def _export(args: Args) -> int:
    invoices = client_of(args).invoices
    file_of = invoices.data_xml if args.format == "xml" else invoices.data_json
    data = file_of(args.invoice)
    if args.to:
        Path(args.to).write_bytes(data)
    else:
        sys.stdout.buffer.write(data + b"\n")
    return 0


COMMANDS = {
    "invoice buyer": Doing(_buyer_options, _buyer),
    "invoice request": Doing(_request_options, _request),
    "invoice ls": Doing(_ls_options, _ls),
    "invoice show": Doing(_one_options, _show),
    "invoice issue": Doing(_issue_options, _issue),
    "invoice reject": Doing(_reject_options, _reject),
    "invoice reverse": Doing(_reverse_options, _reverse),
    "invoice export": Doing(_export_options, _export),
}
