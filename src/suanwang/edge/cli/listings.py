"""`suan listing …`: capacity at a posted price, bought at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.listings import ListingSort

if TYPE_CHECKING:
    from suanwang.edge.client.views_market import HourLeft, Terms

SORTS = get_args(ListingSort)


def _list_options(parser: Parser) -> None:
    parser.option("query", help="Words of title, class, zone or id", nargs="*", metavar="WORD")
    parser.common()
    parser.option("--class", help="Only of this class", metavar="CLASS", dest="unit_class")
    parser.option("--zone", help="Only in this zone", metavar="ZONE")
    parser.option("--sort", help="The newest, cheapest, soonest or largest first", choices=SORTS)
    parser.flag("--all", help="Those that ended too")


def _list(args: Args) -> int:
    found = list(
        client_of(args).listings.search(
            " ".join(args.query),
            state="any" if args.all else "open",
            unit_class=args.unit_class,
            zone=args.zone,
            sort=args.sort or "newest",
        )
    )
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("Nothing is listed."))
        return 0
    rows = [
        [
            one["id"],
            one["unit_class"],
            one["zone"],
            hours.period(one["starts_at"], one["hours"]),
            str(one["most_lots"]),
            figures.yuan(one["price"]),
            one["state"],
            one["title"],
        ]
        for one in found
    ]
    headings = [
        say(h) for h in ("LISTING", "CLASS", "ZONE", "PERIOD", "LOTS", "PRICE", "STATE", "TITLE")
    ]
    tables.show(headings, rows, right=(4, 5), states=6)
    return 0


def _show_options(parser: Parser) -> None:
    parser.option("listing", help="Id of the listing; see `suan listing ls`", metavar="LISTING")
    parser.common()


def _show(args: Args) -> int:
    found = client_of(args).listings.show(args.listing)
    if args.json:
        print_json(found)
        return 0
    terms = found["terms"]
    tables.show_fields(
        [
            (say("Listing"), found["id"]),
            (say("Title"), found["title"]),
            (say("Class and zone"), f"{found['unit_class']} {found['zone']}"),
            (say("Period"), hours.period(found["starts_at"], found["hours"])),
            (say("Price for a lot and hour"), figures.yuan(found["price"])),
            (say("Lots of one purchase"), f"{found['min_lots']} - {found['lots']}"),
            (say("Hours of one purchase"), f"{found['min_hours']} - {found['max_hours']}"),
            (say("Credit for what is not delivered"), f"{terms['credit_percent']} %"),
            (say("Cancelling"), _cancelling(terms)),
            (say("Delivered by the seller"), _delivered(found["delivered_percent"])),
            (say("State"), found["state"]),
        ],
        states=say("State"),
    )
    spans = _spans(found["unsold"])
    headings = [say(h) for h in ("FROM", "HOURS", "LOTS LEFT")]
    print()
    tables.show(headings, spans, right=(1, 2))
    return 0


def _delivered(percent: float | None) -> str:
    return say("not measured yet") if percent is None else f"{percent:g} %"


def _cancelling(terms: Terms) -> str:
    text = "until {hours} hours before, for {percent} %"
    return say(text, hours=terms["cancel_hours"], percent=terms["cancel_percent"])


def _spans(unsold: list[HourLeft]) -> list[list[str]]:
    """Hours in a row with as many lots left, as one line."""
    found: list[tuple[str | None, int, int]] = []
    for one in unsold:
        if found and found[-1][2] == one["lots"]:
            found[-1] = (found[-1][0], found[-1][1] + 1, one["lots"])
        else:
            found.append((one["at"], 1, one["lots"]))
    return [[hours.period(at, count), str(count), str(lots)] for at, count, lots in found]


def _span_options(parser: Parser) -> None:
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


def _post_options(parser: Parser) -> None:
    parser.option("source", help="Id of the pool or contract to sell from", metavar="SOURCE")
    parser.common()
    _span_options(parser)
    parser.option("--price", help="For a lot and hour", required=True, metavar="YUAN")
    parser.option("--title", help="What buyers read", default="", metavar="TEXT")
    parser.option("--min-lots", help="Least of one purchase", type=int, default=1, metavar="N")
    parser.option("--min-hours", help="Shortest purchase", type=int, default=1, metavar="N")
    parser.option("--max-hours", help="Longest purchase", type=int, metavar="N")
    parser.option(
        "--credit-percent",
        help="Credit for what is not delivered, of its price",
        type=int,
        default=20,
        metavar="N",
    )


def _post(args: Args) -> int:
    found = client_of(args).listings.post(
        args.source,
        starts_at=hours.starts_at(args.starts),
        hours=args.hours,
        lots=args.lots,
        price=args.price,
        title=args.title,
        min_lots=args.min_lots,
        min_hours=args.min_hours,
        max_hours=args.max_hours,
        terms={"credit_percent": args.credit_percent},
        project=args.project,
    )
    if args.json:
        print_json(found)
    else:
        print(say("Listed as {listing}.", listing=found["id"]))
    return 0


def _buy_options(parser: Parser) -> None:
    _show_options(parser)
    _span_options(parser)
    parser.option("--key", help="The same key is the same purchase", metavar="TEXT")


def _buy(args: Args) -> int:
    found = client_of(args).listings.buy(
        args.listing,
        starts_at=hours.starts_at(args.starts),
        hours=args.hours,
        lots=args.lots,
        project=args.project,
        key=args.key,
    )
    if args.json:
        print_json(found)
    else:
        text = "Bought for {yuan} yuan: contract {contract}."
        print(say(text, yuan=figures.yuan(found["worth"]), contract=found["id"]))
    return 0


def _close(args: Args) -> int:
    found = client_of(args).listings.close(args.listing)
    if args.json:
        print_json(found)
    else:
        print(say("{listing} is closed; what was bought stays bought.", listing=found["id"]))
    return 0


COMMANDS = {
    "listing ls": Doing(_list_options, _list),
    "listing show": Doing(_show_options, _show),
    "listing post": Doing(_post_options, _post),
    "listing buy": Doing(_buy_options, _buy),
    "listing close": Doing(_show_options, _close),
}
