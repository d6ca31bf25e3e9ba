"""`suan deal …`: propose to a named side, answer by yes, no or another proposal."""

from __future__ import annotations

from typing import Any

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.rfq import product_of, span_options, terms_of, terms_options
from suanwang.edge.cli.words import say
from suanwang.edge.client.client import Client
from suanwang.edge.client.http import segment

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


def _proposal(args: Args, client: Client) -> dict[str, Any]:
    return {
        "product": product_of(args.product) if args.product else None,
        "source": args.source,
        "starts_at": hours.starts_at(args.starts),
        "hours": args.hours,
        "lots": args.lots,
        "price": {"yuan": args.price},
        "valid_until": hours.starts_at(args.until),
        "note": args.note,
        "terms": terms_of(args),
        "project": args.project or client.project,
    }


def _propose_options(parser: Parser) -> None:
    parser.option("side", help="Whether you buy or sell", choices=("buy", "sell"))
    parser.option("to", help="The organisation that you propose it to", metavar="ORGANISATION")
    _proposal_options(parser)
    parser.option("--to-project", help="Only this project of it", metavar="ID")
    parser.option("--key", help="The same key is the same deal", metavar="TEXT")


def _propose(args: Args) -> int:
    client = client_of(args)
    body = {
        **_proposal(args, client),
        "side": args.side,
        "to": args.to,
        "to_project": args.to_project,
        "key": args.key,
    }
    found = client.api.post("/v1/deals", body, repeat=args.key is not None)
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
    query = {"box": args.box or "either", "state": args.state, "limit": 200}
    found = list(client_of(args).api.pages("/v1/deals", query))
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


def _line(one: dict[str, Any]) -> list[str]:
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


def _path(args: Args) -> str:
    return f"/v1/deals/{segment(args.deal)}"


def _show(args: Args) -> int:
    return _told(args, client_of(args).api.get(_path(args)))


def _told(args: Args, found: dict[str, Any]) -> int:
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


def _number(args: Args, client: Client) -> int:
    """Of the proposal that is answered."""
    return int(args.number or client.api.get(_path(args))["number"])


def _accept(args: Args) -> int:
    client = client_of(args)
    body = {"number": _number(args, client), "source": args.source, "project": args.project}
    return _told(args, client.api.post(f"{_path(args)}/accept", body, repeat=True))


def _reject(args: Args) -> int:
    client = client_of(args)
    body = {"number": _number(args, client), "project": args.project}
    return _told(args, client.api.post(f"{_path(args)}/reject", body, repeat=True))


def _counter_options(parser: Parser) -> None:
    parser.option("deal", help="Id of the deal; see `suan deal ls`", metavar="DEAL")
    parser.option("--number", help="Of the proposal; the last one if absent", type=int, metavar="N")
    _proposal_options(parser)


def _counter(args: Args) -> int:
    client = client_of(args)
    body = {**_proposal(args, client), "number": _number(args, client)}
    return _told(args, client.api.post(f"{_path(args)}/counter", body, repeat=True))


def _withdraw_options(parser: Parser) -> None:
    _show_options(parser)
    parser.option("-p", "--project", help="Of this project", metavar="NAME")


def _withdraw(args: Args) -> int:
    body = {"project": args.project}
    return _told(args, client_of(args).api.post(f"{_path(args)}/withdraw", body, repeat=True))


COMMANDS = {
    "deal propose": Doing(_propose_options, _propose),
    "deal ls": Doing(_list_options, _list),
    "deal show": Doing(_show_options, _show),
    "deal accept": Doing(_accept_options, _accept),
    "deal reject": Doing(_answer_options, _reject),
    "deal counter": Doing(_counter_options, _counter),
    "deal withdraw": Doing(_withdraw_options, _withdraw),
}
