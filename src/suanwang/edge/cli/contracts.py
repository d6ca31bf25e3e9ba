"""`suan contract …`: what was bought and sold, what was delivered, how to step back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.views_contracts import Contract, Ended


def _list_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--as", help="As buyer or seller", choices=("buyer", "seller"), dest="role")
    parser.option(
        "--reference", help="Only what came of this listing, round, enquiry or deal", metavar="ID"
    )
    parser.flag("--all", help="Those that ended too")


def _list(args: Args) -> int:
    contracts = client_of(args).contracts
    state: Literal["signed"] | None = None if args.all else "signed"
    found = list(
        contracts.search(
            role=args.role or "either",
            state=state,
            project=args.project,
            reference=args.reference,
        )
    )
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There is no contract."))
        return 0
    headings = [
        say(h)
        for h in (
            "CONTRACT",
            "STATE",
            "CLASS",
            "ZONE",
            "PERIOD",
            "LOTS",
            "PRICE",
            "SETTLED",
            "FROM",
        )
    ]
    tables.show(headings, [_row(one) for one in found], right=(5, 6, 7), states=1)
    return 0


def _row(one: Contract) -> list[str]:
    return [
        one["id"],
        one["phase"],
        one["unit_class"],
        one["zone"],
        hours.period(one["starts_at"], one["hours"]),
        str(one["lots"]),
        figures.yuan(one["price"]),
        f"{one['settled_hours']}/{one['hours']}",
        one["origin"],
    ]


def _show_options(parser: Parser) -> None:
    parser.option("contract", help="Id of the contract; see `suan contract ls`", metavar="CONTRACT")
    parser.common()


def _show(args: Args) -> int:
    found = client_of(args).contracts.show(args.contract)
    if args.json:
        print_json(found)
        return 0
    terms = found["terms"]
    tables.show_fields(
        [
            (say("Contract"), found["id"]),
            (say("State"), found["phase"]),
            (say("Class and zone"), f"{found['unit_class']} {found['zone']}"),
            (say("Period"), hours.period(found["starts_at"], found["hours"])),
            (say("Lots"), str(found["lots"])),
            (say("Price for a lot and hour"), figures.yuan(found["price"])),
            (say("Worth"), figures.yuan(found["worth"])),
            (say("Rent for a lot and hour"), figures.yuan(found["rent"])),
            (say("Set aside by the buyer"), figures.yuan(found["held"])),
            (say("Deposit of the seller"), figures.yuan(found["deposit"])),
            (say("Credit for what is not delivered"), f"{terms['credit_percent']} %"),
            (say("Buyer"), found["buyer_project_id"]),
            (say("Seller"), found["seller_project_id"]),
            (say("Pool"), found["pool_id"]),
            (say("Sold on from"), found["backing_id"] or ""),
            (say("Came of"), f"{found['origin']} {found['reference']}"),
        ],
        states=say("State"),
    )
    if not found["hours_measured"]:
        return 0
    rows = [
        [
            figures.local_time(one["at"]),
            "" if one["delivered_percent"] is None else f"{one['delivered_percent']} %",
            figures.yuan(one["charged"]),
            figures.yuan(one["credited"]),
            figures.yuan(one["rent"]),
            say("settled") if one["settled"] else say("being measured"),
        ]
        for one in found["hours_measured"]
    ]
    headings = [say(h) for h in ("HOUR", "DELIVERED", "CHARGED", "CREDITED", "RENT", "")]
    print()
    tables.show(headings, rows, right=(1, 2, 3, 4))
    return 0


def _ended(args: Args, found: Ended, text: str) -> int:
    if args.json:
        print_json(found)
    else:
        paid = figures.yuan(found["paid"])
        print(say(text, contract=found["contract"]["id"], yuan=paid or "0.00"))
    return 0


def _cancel(args: Args) -> int:
    found = client_of(args).contracts.cancel(args.contract)
    return _ended(args, found, say("{contract} is cancelled; the fee was {yuan} yuan."))


def _withdraw(args: Args) -> int:
    found = client_of(args).contracts.withdraw(args.contract)
    return _ended(args, found, say("Withdrawn from {contract}; the credit was {yuan} yuan."))


COMMANDS = {
    "contract ls": Doing(_list_options, _list),
    "contract show": Doing(_show_options, _show),
    "contract cancel": Doing(_show_options, _cancel),
    "contract withdraw": Doing(_show_options, _withdraw),
}
