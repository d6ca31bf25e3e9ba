"""`suan deal …`: propose to a named side, answer by yes, no or another proposal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.rfq import product_of, span_options, terms_of, terms_options
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.deals import Deals
    from suanwang.edge.client.views_talks import DealDetail, Proposal

STATES = ("open", "accepted", "rejected", "withdrawn", "expired")


def _proposal_options(parser: Parser) -> None:
    parser.common()
    span_options(parser)
    parser.option("--price", help="For a lot and hour", required=True, metavar="YUAN")
    parser.option("--until", help="Valid so long", required=True, metavar="WHEN")
    parser.option("--product", help="What a buyer wants", metavar="CLASS:ZONE")
    parser.option("--source", help="What a seller sells from", metavar="SOURCE")
    parser.option("--note", help="What the other side reads", default="", metavar="TEXT")
    terms_options(parser)


def _proposal(args: Args) -> dict[str, Any]:
    """As keywords of the words `propose` and `counter`."""
    return {
        "product": product_of(args.product) if args.product else None,
        "source": args.source,
        "starts_at": hours.starts_at(args.starts),
        "hours": args.hours,
        "lots": args.lots,
        "price": args.price,
        "valid_until": hours.starts_at(args.until),
        "note": args.note,
        "terms": terms_of(args),
    }


def _propose_options(parser: Parser) -> None:
    parser.option("side", help="Whether you buy or sell", choices=("buy", "sell"))
    parser.option("to", help="The organisation that you propose it to", metavar="ORGANISATION")
    _proposal_options(parser)
    parser.option("--to-project", help="Only this project of it", metavar="ID")
    parser.option("--key", help="The same key is the same deal", metavar="TEXT")


def _propose(args: Args) -> int:
    found = client_of(args).deals.propose(
        args.side,
        args.to,
        to_project=args.to_project,
        project=args.project,
        key=args.key,
        **_proposal(args),
    )
    if args.json:
        print_json(found)
    else:
        text = "Proposed as {deal}; valid until {until}."
        until = figures.local_time(found["last"]["valid_until"])
        print(say(text, deal=found["id"], until=until))
    return 0


def _list_options(parser: Parser) -> None:
    parser.common()
    parser.option("--box", help="Offered to you, or by you", choices=("in", "out"))
    parser.option("--state", help="Only in this state", choices=STATES)


def _list(args: Args) -> int:
    found = list(client_of(args).deals.search(box=args.box or "either", state=args.state))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There are no deals."))
        return 0
    rows = [
        [
            one["id"],
            one["other_organisation_id"],
            *_line(one["last"]),
            one["state"],
            say("your turn") if one["your_turn"] else "",
        ]
        for one in found
    ]
    headings = [
        say(h)
        for h in ("DEAL", "TO", "NO", "SIDE", "PRODUCT", "PERIOD", "LOTS", "PRICE", "STATE", "")
    ]
    tables.show(headings, rows, right=(2, 6, 7), states=8)
    return 0


def _line(one: Proposal) -> list[str]:
    return [
        str(one["number"]),
        one["side"],
        f"{one['unit_class']}:{one['zone']}",
        hours.period(one["starts_at"], one["hours"]),
        str(one["lots"]),
        figures.yuan(one["price"]),
    ]


def _show_options(parser: Parser) -> None:
    parser.option("deal", help="Id of the deal; see `suan deal ls`", metavar="DEAL")
    parser.common()


def _show(args: Args) -> int:
    return _told(args, client_of(args).deals.show(args.deal))


def _told(args: Args, found: DealDetail) -> int:
    if args.json:
        print_json(found)
        return 0
    fields = [
        (say("Deal"), found["id"]),
        (say("From"), found["organisation_id"]),
        (say("To"), found["other_organisation_id"]),
        (say("State"), found["state"]),
        (say("Contract"), found["contract_id"] or ""),
        (say("Turn"), say("your turn") if found["your_turn"] else ""),
    ]
    tables.show_fields([one for one in fields if one[1]], states=say("State"))
    rows = [
        [
            *_line(one),
            figures.local_time(one["valid_until"]),
            one["state"],
            one["note"],
        ]
        for one in found["history"]
    ]
    headings = [
        say(h)
        for h in ("NO", "SIDE", "PRODUCT", "PERIOD", "LOTS", "PRICE", "UNTIL", "STATE", "NOTE")
    ]
    print()
    tables.show(headings, rows, right=(0, 4, 5), states=7)
    return 0


def _answer_options(parser: Parser) -> None:
    _show_options(parser)
    parser.option("--number", help="Of the proposal; the last one if absent", type=int, metavar="N")
    parser.option("-p", "--project", help="Of this project", metavar="NAME")


def _accept_options(parser: Parser) -> None:
    _answer_options(parser)
    parser.option("--source", help="What a seller sells from", metavar="SOURCE")


def _number(args: Args, deals: Deals) -> int:
    """Of the proposal that is answered."""
    return int(args.number or deals.show(args.deal)["number"])


def _accept(args: Args) -> int:
    deals = client_of(args).deals
    number = _number(args, deals)
    made = deals.accept(args.deal, number, source=args.source, project=args.project)
    return _told(args, made)


def _reject(args: Args) -> int:
    deals = client_of(args).deals
    return _told(args, deals.reject(args.deal, _number(args, deals), project=args.project))


def _counter_options(parser: Parser) -> None:
    parser.option("deal", help="Id of the deal; see `suan deal ls`", metavar="DEAL")
    parser.option("--number", help="Of the proposal; the last one if absent", type=int, metavar="N")
    _proposal_options(parser)


def _counter(args: Args) -> int:
    client = client_of(args)
    number = _number(args, client.deals)
    project = args.project or client.project
    made = client.deals.counter(args.deal, number, project=project, **_proposal(args))
    return _told(args, made)


def _withdraw_options(parser: Parser) -> None:
    _show_options(parser)
    parser.option("-p", "--project", help="Of this project", metavar="NAME")


def _withdraw(args: Args) -> int:
    return _told(args, client_of(args).deals.withdraw(args.deal, project=args.project))


COMMANDS = {
    "deal propose": Doing(_propose_options, _propose),
    "deal ls": Doing(_list_options, _list),
    "deal show": Doing(_show_options, _show),
    "deal accept": Doing(_accept_options, _accept),
    "deal reject": Doing(_answer_options, _reject),
    "deal counter": Doing(_counter_options, _counter),
    "deal withdraw": Doing(_withdraw_options, _withdraw),
}
