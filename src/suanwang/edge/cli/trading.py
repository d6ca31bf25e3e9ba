"""`suan market …`: what is traded, books and tapes, one's own orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.market import Stay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suanwang.edge.client.views_market import Fill, Order, OrderAnswer

STAYS = get_args(Stay)


def _products_options(parser: Parser) -> None:
    parser.common()


def _products(args: Args) -> int:
    found = client_of(args).market.products()
    if args.json:
        print_json(found)
        return 0
    rows = [
        [one["unit_class"], one["zone"], str(one["lots"]), str(one["pools"])]
        for one in found["products"]
    ]
    headings = [say(h) for h in ("CLASS", "ZONE", "LOTS", "POOLS")]
    tables.show(headings, rows, right=(2, 3))
    print()
    periods = [
        [one["suffix"], hours.period(one["starts_at"], one["hours"])] for one in found["periods"]
    ]
    headings = [say(h) for h in ("CLASS:ZONE:", "PERIOD")]
    tables.show(headings, periods)
    return 0


def _board_options(parser: Parser) -> None:
    parser.common()
    parser.option("--class", help="Only this class", metavar="NAME", dest="unit_class")
    parser.option("--zone", help="Only this zone", metavar="NAME")


def _board(args: Args) -> int:
    found = client_of(args).market.instruments(unit_class=args.unit_class, zone=args.zone)
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("Nothing is traded yet; `suan market products` says what may be."))
        return 0
    rows = [
        [
            one["instrument"],
            hours.period(one["starts_at"], one["hours"]),
            figures.yuan(one["bid"]),
            figures.yuan(one["ask"]),
            figures.yuan(one["last_price"]),
            say("halted") if one["halted"] else "",
        ]
        for one in found
    ]
    headings = [say(h) for h in ("INSTRUMENT", "PERIOD", "BID", "ASK", "LAST", "")]
    tables.show(headings, rows, right=(2, 3, 4))
    return 0


def _book_options(parser: Parser) -> None:
    parser.option("instrument", help="See `suan market board`", metavar="INSTRUMENT")
    parser.common()


def _book(args: Args) -> int:
    found = client_of(args).market.book(args.instrument)
    if args.json:
        print_json(found)
        return 0
    rows = [["", "", figures.yuan(one["price"]), str(one["lots"])] for one in found["asks"][::-1]]
    rows += [[str(one["lots"]), figures.yuan(one["price"]), "", ""] for one in found["bids"]]
    headings = [say(h) for h in ("BUY LOTS", "BID", "ASK", "SELL LOTS")]
    tables.show(headings, rows, right=(0, 1, 2, 3))
    errors.tell(
        say(
            "Last price {last}; limits between {low} and {high} are accepted.",
            last=figures.yuan(found["last_price"]) or say("none"),
            low=figures.yuan(found["low"]),
            high=figures.yuan(found["high"]),
        )
    )
    if found["halted"]:
        errors.tell(say("Trading of this instrument is halted."))
    return 0


def _trades_options(parser: Parser) -> None:
    parser.common()
    parser.option("--instrument", help="Only this one", metavar="INSTRUMENT")
    parser.option("-n", "--limit", help="So many", type=int, default=20, metavar="N")


def _trades(args: Args) -> int:
    found = list(client_of(args).market.trades(instrument=args.instrument, most=args.limit))
    if args.json:
        print_json(found)
        return 0
    rows = [
        [
            figures.local_time(one["at"]),
            one["instrument"],
            figures.yuan(one["price"]),
            str(one["lots"]),
            one["aggressor"],
        ]
        for one in found
    ]
    headings = [say(h) for h in ("AT", "INSTRUMENT", "PRICE", "LOTS", "SIDE")]
    tables.show(headings, rows, right=(2, 3))
    return 0


def _order_options(parser: Parser) -> None:
    parser.option("instrument", help="See `suan market products`", metavar="INSTRUMENT")
    parser.option("lots", help="Cards, or cores", type=int, metavar="LOTS")
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--price", help="At most or at least so much for a lot and hour", metavar="YUAN")
    parser.option(
        "--stay",
        help="rest in the book, trade immediate(ly) or not at all, whole or not at all, or only "
        "as maker",
        choices=STAYS,
    )
    parser.option("--key", help="The same key is the same order", metavar="TEXT")


def _sell_options(parser: Parser) -> None:
    _order_options(parser)
    parser.option(
        "--source", help="Id of the pool or contract to sell from", required=True, metavar="ID"
    )


def _told(args: Args, answer: OrderAnswer) -> int:
    order = answer["order"]
    if args.json or order is None:
        print_json(answer)
        return 0
    _show(order, answer["fills"])
    return 0


def _show(order: Order, fills: Sequence[Fill]) -> None:
    for fill in fills:
        text = "{lots} lots at {price} yuan: contract {contract}."
        price = figures.yuan(fill["price"])
        print(say(text, lots=fill["lots"], price=price, contract=fill["contract_id"]))
    if order["left"]:
        print(
            say("{lots} lots rest in the book as {order}.", lots=order["left"], order=order["id"])
        )
    elif not fills:
        print(say("Nothing was traded: {why}.", why=order["why"]))


def _buy(args: Args) -> int:
    market = client_of(args).market
    answer = market.buy(
        args.instrument,
        args.lots,
        args.price,
        stay=args.stay,
        project=args.project,
        key=args.key,
    )
    return _told(args, answer)


def _sell(args: Args) -> int:
    market = client_of(args).market
    answer = market.sell(
        args.instrument,
        args.lots,
        args.price,
        source=args.source,
        stay=args.stay,
        project=args.project,
        key=args.key,
    )
    return _told(args, answer)


def _orders_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.flag("--all", help="Those that ended too")


def _orders(args: Args) -> int:
    market = client_of(args).market
    found = list(market.orders(project=args.project, state=None if args.all else "open"))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There is no order."))
        return 0
    rows = [
        [
            one["id"],
            one["state"],
            one["side"],
            one["instrument"],
            figures.yuan(one["price"]),
            str(one["left"]),
            str(one["traded"]),
            one["why"],
        ]
        for one in found
    ]
    headings = [
        say(h) for h in ("ORDER", "STATE", "SIDE", "INSTRUMENT", "PRICE", "LEFT", "TRADED", "WHY")
    ]
    tables.show(headings, rows, right=(4, 5, 6), states=1)
    return 0


def _cancel_options(parser: Parser) -> None:
    parser.option("order", help="Id of the order; see `suan market orders`", metavar="ORDER")
    parser.common()


def _cancel(args: Args) -> int:
    answer = client_of(args).market.cancel(args.order)
    if args.json:
        print_json(answer)
    else:
        text = "{order} is out of the book; {traded} lots of it were traded."
        print(say(text, order=answer["id"], traded=answer["traded"]))
    return 0


def _amend_options(parser: Parser) -> None:
    parser.option("order", help="Id of the order; see `suan market orders`", metavar="ORDER")
    parser.common()
    parser.option("--lots", help="All of it, what was traded included", type=int, metavar="LOTS")
    parser.option("--price", help="At most or at least so much for a lot and hour", metavar="YUAN")
    parser.option("--key", help="The same key is the same change", metavar="TEXT")


def _amend(args: Args) -> int:
    market = client_of(args).market
    answer = market.amend(args.order, lots=args.lots, price=args.price, key=args.key)
    order = answer["order"]
    if args.json or order is None:
        print_json(answer)
        return 0
    if answer["kept_place"]:
        text = "{order} keeps its place; {lots} lots of it rest in the book."
        print(say(text, order=order["id"], lots=order["left"]))
        return 0
    text = "{old} is out of the book; {new} takes its place, behind the others at its price."
    print(say(text, old=answer["replaces"], new=order["id"]))
    _show(order, answer["fills"])
    return 0


COMMANDS = {
    "market products": Doing(_products_options, _products),
    "market board": Doing(_board_options, _board),
    "market book": Doing(_book_options, _book),
    "market trades": Doing(_trades_options, _trades),
    "market buy": Doing(_order_options, _buy),
    "market sell": Doing(_sell_options, _sell),
    "market orders": Doing(_orders_options, _orders),
    "market amend": Doing(_amend_options, _amend),
    "market cancel": Doing(_cancel_options, _cancel),
}
