"""`suan programme …`: public programmes, who is eligible, applying; what one would have cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.ledger import told_booked
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser, key_values
from suanwang.edge.cli.words import language_of, say
from suanwang.edge.client.programmes import Item
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.views_programmes import Programme, Text

ITEMS = get_args(Item)
NOT_ELIGIBLE = 1


def told(pair: Text) -> str:
    """A text of the server in the user's language."""
    return pair["zh"] if language_of(os.environ) == "zh" else pair["en"]


def _ls_options(parser: Parser) -> None:
    parser.common()


def _ls(args: Args) -> int:
    found = client_of(args).programmes.search()
    if args.json:
        print_json(found)
        return 0
    rows = [
        [one["id"], told(one["title"]), told(one["headline"]), one["mode"], _left(one)]
        for one in found
    ]
    headings = [say(h) for h in ("PROGRAMME", "TITLE", "GIVES", "MODE", "LEFT IN YUAN")]
    tables.show(headings, rows, right=(4,))
    return 0


def _left(one: Programme) -> str:
    """Of the latest year's budget."""
    return figures.yuan(one["budgets"][-1]["left"]) if one["budgets"] else "–"


def _named(parser: Parser) -> None:
    parser.option("programme", help="Id; see `suan programme ls`", metavar="PROGRAMME")
    parser.common()


def _show(args: Args) -> int:
    found = client_of(args).programmes.show(args.programme)
    if args.json:
        print_json(found)
        return 0
    print(told(found["title"]))
    print(f"{told(found['issuer'])} · {found['jurisdiction']} · v{found['version']}")
    for part in found["words"]:
        print(f"\n{told(part['heading'])}")
        for sentence in part["sentences"]:
            print(f"  {told(sentence)}")
    if found["notes"]:
        print(f"\n{told(found['notes'])}")
    print(f"\n{say('Source')}: {found['source']} ({found['standing']})")
    for one in found["budgets"]:
        print(
            say(
                "{year}: {left} of {pool} yuan left",
                year=one["year"],
                left=figures.yuan(one["left"]),
                pool=figures.yuan(one["pool"]),
            )
        )
    return 0


def _request_options(parser: Parser) -> None:
    parser.option("--item", help="What it is for", choices=ITEMS, default="compute")
    parser.option("--amount", help="Of the contract or payment, in yuan", metavar="YUAN")
    parser.option("--units", help="How many units, such as months", type=int, metavar="N")
    parser.option("--provider", help="Whose compute it is", metavar="ORGANISATION")
    parser.option("--contract", help="Number of the contract", metavar="TEXT")
    parser.option("--signed", help="Day of the contract", metavar="YYYY-MM-DD")
    parser.flag("--domestic", help="For domestic cards")
    parser.option("--direction", help="Where the programme asks for one", metavar="TEXT")
    parser.option(
        "--evidence",
        help="A paper and where it is; may be repeated",
        action="append",
        metavar="KIND=WHERE",
    )


def _request(args: Args) -> dict[str, Any]:
    """As keywords of the words `check` and `apply`."""
    return {
        "item": args.item,
        "amount": args.amount,
        "units": args.units or 0,
        "provider": args.provider,
        "contract": args.contract or "",
        "signed_on": args.signed,
        "card": "domestic" if args.domestic else "other",
        "direction": args.direction or "",
        "evidence": key_values(args.evidence, "--evidence"),
    }


def _check_options(parser: Parser) -> None:
    _named(parser)
    _request_options(parser)
    parser.option("--org", help="Of this organisation", metavar="NAME")


def _check(args: Args) -> int:
    """Exit code 1 for who is not eligible."""
    programmes = client_of(args).programmes
    found = programmes.check(args.programme, organisation=args.org or None, **_request(args))
    if args.json:
        print_json(found)
        return 0 if found["eligible"] else NOT_ELIGIBLE
    for one in found["refusals"]:
        print(f"{one['reason']}: {told(one['message'])}\n  {told(one['hint'])}")
    if found["eligible"]:
        print(say("Eligible."))
        if found["amount"]:
            print(say("{sum} yuan would be granted.", sum=figures.yuan(found["amount"])))
    if found["open_figures"]:
        names = ", ".join(found["open_figures"])
        print(say("The text leaves open, and the reviewer states: {names}.", names=names))
    return 0 if found["eligible"] else NOT_ELIGIBLE


def _apply_options(parser: Parser) -> None:
    _named(parser)
    _request_options(parser)
    parser.option("-p", "--project", help="Whose charges are lowered", metavar="NAME")


def _apply(args: Args) -> int:
    programmes = client_of(args).programmes
    made = programmes.apply(args.programme, project=args.project, **_request(args))
    if args.json:
        print_json(made)
    else:
        print(say("Applied as {id}; it waits for review.", id=made["id"]))
    return 0


def _publish_options(parser: Parser) -> None:
    parser.option("file", help="The programme, in YAML", metavar="FILE")
    parser.common()


def _publish(args: Args) -> int:
    try:
        text = Path(args.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "PathMissing", f"{args.file} cannot be read: {error}.", hint="Check the path."
        ) from None
    made = client_of(args).programmes.publish(text)
    if args.json:
        print_json(made)
    else:
        print(say("{id} version {version} is published.", id=made["id"], version=made["version"]))
    return 0


def _budget_options(parser: Parser) -> None:
    _named(parser)
    parser.option("year", help="Of this year", type=int, metavar="YEAR")
    parser.option("--pool", help="In yuan; what the text says if left out", metavar="YUAN")


def _budget(args: Args) -> int:
    made = client_of(args).programmes.set_budget(args.programme, args.year, args.pool)
    if args.json:
        print_json(made)
        return 0
    print(
        say(
            "{year}: {pool} yuan, {committed} committed, {left} left.",
            year=made["year"],
            pool=figures.yuan(made["pool"]),
            committed=figures.yuan(made["committed"]),
            left=figures.yuan(made["left"]),
        )
    )
    return 0


def _fund_options(parser: Parser) -> None:
    _named(parser)
    parser.option("funder", help="Id of the funder; see `suan programme show`", metavar="FUNDER")
    parser.option("amount", help="In yuan", metavar="YUAN")
    parser.option("--reference", help="Number of the payment", required=True, metavar="TEXT")


def _fund(args: Args) -> int:
    answer = client_of(args).programmes.book_funding(
        args.programme, args.funder, args.amount, reference=args.reference
    )
    return told_booked(args, answer)


def _what_if_options(parser: Parser) -> None:
    _named(parser)
    parser.option("--from", help="First day", required=True, metavar="YYYY-MM-DD", dest="from_day")
    parser.option("--until", help="The day after the last", required=True, metavar="YYYY-MM-DD")
    parser.option(
        "--percent", help="Where the text names no rate", type=int, metavar="N", default=None
    )
    parser.option("--pool", help="Another pool than the text's, in yuan", metavar="YUAN")


def _what_if(args: Args) -> int:
    found = client_of(args).programmes.what_if(
        args.programme,
        from_day=args.from_day,
        until_day=args.until,
        percent=args.percent,
        budget=args.pool,
    )
    if args.json:
        print_json(found)
        return 0
    print(
        say(
            "{cost} yuan of {charged} charged.",
            cost=figures.yuan(found["cost"]),
            charged=figures.yuan(found["charged"]),
        )
    )
    if found["is_ceiling"]:
        errors.tell(say("The text names only an upper bound; it was taken."))
    if found["exhausted_on"]:
        print(say("The pool is used up on {day}.", day=found["exhausted_on"]))
    rows = [
        [one["organisation_id"], figures.yuan(one["charged"]), figures.yuan(one["gained"])]
        for one in found["organisations"]
    ]
    headings = [say(h) for h in ("ORGANISATION", "CHARGED", "GAINED")]
    tables.show(headings, rows, right=(1, 2))
    for one in found["left_out"]:
        print(
            say(
                "Left out, {reason}: {count} organisations, {sum} yuan",
                reason=one["reason"],
                count=one["organisations"],
                sum=figures.yuan(one["charged"]),
            )
        )
    return 0


COMMANDS = {
    "programme ls": Doing(_ls_options, _ls),
    "programme show": Doing(_named, _show),
    "programme check": Doing(_check_options, _check),
    "programme apply": Doing(_apply_options, _apply),
    "programme publish": Doing(_publish_options, _publish),
    "programme budget": Doing(_budget_options, _budget),
    "programme fund": Doing(_fund_options, _fund),
    "programme what-if": Doing(_what_if_options, _what_if),
}
