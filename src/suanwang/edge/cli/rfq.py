"""`suan rfq …`: ask for quotes, quote under seal, see who won and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.quotations import Which
    from suanwang.edge.client.views import Money
    from suanwang.edge.client.views_talks import Enquiry, Quote

RULES = ("lowest_price", "lowest_per_unit")
STATES = ("open", "awarded", "failed", "cancelled")


def product_of(text: str) -> str:
    """CLASS:ZONE as it was given. Raises InvalidInput."""
    unit_class, colon, zone = text.partition(":")
    if not colon or not unit_class or not zone:
        raise InvalidInput(
            "UsageWrong",
            say("{given} is no product.", given=text),
            hint=say("Write CLASS:ZONE, such as a100-80g:henan."),
        )
    return text


def span_options(parser: Parser) -> None:
    """What is talked about: which hours, how many lots, for whom."""
    parser.option(
        "--from",
        help="First hour: 2026-12-01 16:00 in Asia/Shanghai, or +3h",
        required=True,
        metavar="WHEN",
        dest="starts",
    )
    parser.option("--hours", help="So many hours", required=True, type=int, metavar="N")
    parser.option("--lots", help="Cards, or cores", required=True, type=int, metavar="N")
    parser.option("-p", "--project", help="Of this project", metavar="NAME")


def terms_options(parser: Parser) -> None:
    parser.option(
        "--credit-percent",
        help="Credit for what is not delivered, of its price",
        type=int,
        default=20,
        metavar="N",
    )
    parser.option(
        "--deposit-percent",
        help="Deposit of the seller, of the whole price",
        type=int,
        default=10,
        metavar="N",
    )


def terms_of(args: Args) -> dict[str, int]:
    return {"credit_percent": args.credit_percent, "deposit_percent": args.deposit_percent}


def _ask_options(parser: Parser) -> None:
    parser.option("product", help="CLASS:ZONE, any of which would do", metavar="PRODUCT", nargs="+")
    parser.common()
    span_options(parser)
    parser.option("--until", help="Deadline for quotes", required=True, metavar="WHEN")
    parser.option("--ceiling", help="At most so much for a lot and hour", metavar="YUAN")
    parser.flag("--secret", help="Nobody is told the ceiling")
    parser.option("--expected", help="Without a ceiling: what you reckon with", metavar="YUAN")
    parser.option("--bond", help="What a quote sets aside for a lot and hour", metavar="YUAN")
    parser.option("--rule", help="Which quote wins", choices=RULES, default=RULES[0])
    parser.option(
        "--least", help="Divisible among several, if there are so many lots", type=int, metavar="N"
    )
    parser.option(
        "--invite", help="Only this organisation; again for others", action="append", metavar="NAME"
    )
    parser.option("--title", help="What sellers read", default="", metavar="TEXT")
    terms_options(parser)
    parser.option("--key", help="The same key is the same enquiry", metavar="TEXT")


def _ask(args: Args) -> int:
    found = client_of(args).quotations.ask(
        [product_of(one) for one in args.product],
        starts_at=hours.starts_at(args.starts),
        hours=args.hours,
        lots=args.lots,
        divisible=args.least is not None,
        min_lots=args.least,
        deadline=hours.starts_at(args.until),
        ceiling=args.ceiling,
        ceiling_public=not args.secret,
        expected=args.expected,
        bond=args.bond,
        rule=args.rule,
        invited=args.invite or (),
        title=args.title,
        terms=terms_of(args),
        key=args.key,
        project=args.project,
    )
    if args.json:
        print_json(found)
    else:
        buyers = found["buyers"]
        text = "Asked as {enquiry}; {yuan} yuan are set aside until {deadline}."
        print(
            say(
                text,
                enquiry=found["id"],
                yuan=figures.yuan(buyers["held"] if buyers else None),
                deadline=figures.local_time(found["deadline"]),
            )
        )
    return 0


def _list_options(parser: Parser) -> None:
    parser.common()
    parser.flag("--mine", help="What your own projects have asked")
    parser.option("--state", help="Only in this state", choices=STATES)


def _list(args: Args) -> int:
    which: Which = "asked" if args.mine else "open_to_me"
    found = list(client_of(args).quotations.search(which=which, state=args.state))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There are no enquiries."))
        return 0
    rows = [
        [
            one["id"],
            _products(one),
            hours.period(one["starts_at"], one["hours"]),
            str(one["lots"]),
            figures.yuan(_ceiling(one)),
            figures.local_time(one["deadline"]),
            one["state"],
            one["title"],
        ]
        for one in found
    ]
    headings = [
        say(h)
        for h in ("ENQUIRY", "PRODUCTS", "PERIOD", "LOTS", "CEILING", "DEADLINE", "STATE", "TITLE")
    ]
    tables.show(headings, rows, right=(3, 4), states=6)
    return 0


def _ceiling(one: Enquiry) -> Money | None:
    return (one["buyers"]["ceiling"] if one["buyers"] else None) or one["ceiling"]


def _products(one: Enquiry) -> str:
    return ", ".join(f"{of['unit_class']}:{of['zone']}" for of in one["products"])


def _show_options(parser: Parser) -> None:
    parser.option("enquiry", help="Id of the enquiry; see `suan rfq ls`", metavar="ENQUIRY")
    parser.common()


def _show(args: Args) -> int:
    found = client_of(args).quotations.show(args.enquiry)
    if args.json:
        print_json(found)
        return 0
    fields = [
        (say("Enquiry"), found["id"]),
        (say("Title"), found["title"]),
        (say("Products"), _products(found)),
        (say("Period"), hours.period(found["starts_at"], found["hours"])),
        (say("Lots"), str(found["lots"])),
        (say("At least"), str(found["min_lots"]) if found["divisible"] else ""),
        (say("Ceiling"), figures.yuan(_ceiling(found)) or say("none that is told")),
        (say("Bond for a lot and hour"), figures.yuan(found["bond"])),
        (say("Rule"), found["rule"]),
        (say("Deadline"), figures.local_time(found["deadline"])),
        (say("State"), found["state"]),
        (say("Why"), found["why"]),
    ]
    if found["buyers"]:
        fields.append((say("Sealed quotes"), str(found["buyers"]["quotes"])))
        fields.append((say("Set aside"), figures.yuan(found["buyers"]["held"])))
    tables.show_fields([one for one in fields if one[1]], states=say("State"))
    shown = {one["id"]: one for one in [*found["mine"], *found["opened"]]}
    if shown:
        print()
        _show_quotes(list(shown.values()))
    return 0


def _show_quotes(found: list[Quote]) -> None:
    rows = [
        [
            one["id"],
            one["seller_organisation_id"] or "",
            f"{one['unit_class']}:{one['zone']}",
            str(one["lots"]),
            figures.yuan(one["price"]) or say("sealed"),
            one["state"],
            one["why"],
            one["contract_id"] or "",
        ]
        for one in found
    ]
    headings = [
        say(h) for h in ("QUOTE", "SELLER", "PRODUCT", "LOTS", "PRICE", "STATE", "WHY", "CONTRACT")
    ]
    tables.show(headings, rows, right=(3, 4), states=5)


def _quote_options(parser: Parser) -> None:
    _show_options(parser)
    parser.option("source", help="Id of the pool or contract to sell from", metavar="SOURCE")
    parser.option("price", help="For a lot and hour", metavar="YUAN")
    parser.option("--lots", help="Fewer than asked for, if that is divisible", type=int)
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--key", help="The same key is the same quote", metavar="TEXT")


def _quote(args: Args) -> int:
    found = client_of(args).quotations.quote(
        args.enquiry,
        args.source,
        args.price,
        lots=args.lots,
        project=args.project,
        key=args.key,
    )
    if args.json:
        print_json(found)
    else:
        text = "Quoted under seal as {quote}; {yuan} yuan are set aside."
        print(say(text, quote=found["id"], yuan=figures.yuan(found["held"])))
    return 0


def _withdraw_options(parser: Parser) -> None:
    _show_options(parser)
    parser.option("quote", help="Id of the quote", metavar="QUOTE")


def _withdraw(args: Args) -> int:
    found = client_of(args).quotations.withdraw(args.enquiry, args.quote)
    if args.json:
        print_json(found)
    else:
        print(say("{quote} is withdrawn; nothing is set aside for it.", quote=found["id"]))
    return 0


def _cancel(args: Args) -> int:
    found = client_of(args).quotations.cancel(args.enquiry)
    if args.json:
        print_json(found)
    else:
        text = "{enquiry} is cancelled; that cost {yuan} yuan."
        print(say(text, enquiry=found["enquiry"]["id"], yuan=figures.yuan(found["paid"]) or "0"))
    return 0


COMMANDS = {
    "rfq ask": Doing(_ask_options, _ask),
    "rfq ls": Doing(_list_options, _list),
    "rfq show": Doing(_show_options, _show),
    "rfq quote": Doing(_quote_options, _quote),
    "rfq withdraw": Doing(_withdraw_options, _withdraw),
    "rfq cancel": Doing(_show_options, _cancel),
}
