"""`suan auction …`: rounds, bids, results; by hand, for the operator, what goes by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.views_auctions import Bid, BidResult, Round

DIFFERS = 1
ROUNDS_SHOWN = 50
WORDS = {
    "accepted": "accepted",
    "partly": "accepted in part",
    "none": "nothing accepted",
    "price": "the price went beyond the limit",
    "tie": "at the limit, and not enough for all",
    "paradox": "whole, it would have moved the price too far",
    "group": "another of its group was accepted",
    "parent": "its parent was not accepted",
    "alone": "nobody on the other side",
}


def _round_options(parser: Parser) -> None:
    parser.option("round", help="Day, such as 2026-12-03, or id", metavar="ROUND")
    parser.common()


def _ls_options(parser: Parser) -> None:
    parser.common()


def _ls(args: Args) -> int:
    found = list(client_of(args).auctions.rounds(most=ROUNDS_SHOWN))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There is no round yet."))
        return 0
    rows = []
    for one in found:
        cleared = one["cleared"]
        rows.append(
            [
                one["day"],
                one["state"],
                figures.local_time(one["closes_at"]),
                str(one["orders"] or ""),
                str(cleared["traded"]) if cleared else "",
                f"{cleared['gap']:.2%}" if cleared else "",
                one["id"],
            ]
        )
    headings = [say(h) for h in ("DAY", "STATE", "CLOSES", "ORDERS", "LOT-HOURS", "GAP", "ROUND")]
    tables.show(headings, rows, right=(3, 4, 5), states=1)
    return 0


def _show(args: Args) -> int:
    auctions = client_of(args).auctions
    found = auctions.show(args.round)
    orders = list(auctions.bids(args.round))
    if args.json:
        print_json({**found, "my_orders": orders})
        return 0
    errors.tell(
        say(
            "Round of {day}: {state}; closes {at}.",
            day=found["day"],
            state=found["state"],
            at=figures.local_time(found["closes_at"]),
        )
    )
    if found["why"]:
        errors.tell(found["why"])
    for link in found["links"]:
        text = "{source} to {target}: {lots} lots of each class, {cost} yuan for a lot and hour."
        cost = figures.yuan(link["cost"])
        source, target, lots = link["source"], link["target"], link["lots"]
        errors.tell(say(text, source=source, target=target, lots=lots, cost=cost))
    _show_orders(orders)
    return 0


def _show_orders(orders: list[Bid]) -> None:
    if not orders:
        errors.tell(say("You have no order in this round."))
        return
    rows = [
        [
            one["id"],
            one["state"],
            one["side"],
            figures.yuan(one["held"]),
            say(WORDS[one["result"]["outcome"]]) if one["result"] else "",
            figures.yuan(one["result"]["amount"]) if one["result"] else "",
            str(len(one["result"]["contracts"])) if one["result"] else "",
        ]
        for one in orders
    ]
    headings = [say(h) for h in ("ORDER", "STATE", "SIDE", "HELD", "OUTCOME", "YUAN", "CONTRACTS")]
    tables.show(headings, rows, right=(3, 5, 6), states=1)


def _bid_options(parser: Parser) -> None:
    parser.option("round", help="Day, such as 2026-12-03, or id", metavar="ROUND")
    parser.option("file", help="A bid in YAML or JSON; - is stdin", nargs="?", metavar="FILE")
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--product", help="Class and zone: a100-80g@henan", metavar="PRODUCT")
    parser.option("--lots", help="Cards, or cores", type=int, metavar="N")
    parser.option("--price", help="Limit in yuan for a lot and hour", metavar="YUAN")
    parser.option("--hours", help="From and until, such as 8-20; all day if absent", metavar="A-B")
    parser.option("--source", help="Sell from this pool or contract", metavar="ID")
    parser.flag("--block", help="All of it or nothing")
    parser.option(
        "--any", help="All or nothing: any N consecutive hours", type=int, metavar="N", dest="run"
    )
    parser.option("--replace", help="Put it in the place of this order", metavar="ORDER")
    parser.option("--key", help="The same key is the same order", metavar="TEXT")


def _bid(args: Args) -> int:
    auctions = client_of(args).auctions
    document = _document(args)
    if args.replace:
        answer = auctions.replace(args.round, args.replace, document)
    else:
        answer = auctions.bid(args.round, document, project=args.project, key=args.key)
    if args.json:
        print_json(answer)
        return 0
    held = figures.yuan(answer["held"])
    print(say("{order} stands; {held} yuan are set aside.", order=answer["id"], held=held))
    return 0


def _document(args: Args) -> dict[str, Any]:
    """A bid of a file, or a simple one of the flags."""
    if args.file is not None:
        from suanwang.edge.cli.specfiles import load

        return load(args.file)[0][0]
    if args.lots is None or args.price is None:
        raise InvalidInput(
            "UsageWrong",
            say("A bid takes a file, or --lots and --price."),
            hint=say("See `suan auction bid --help`."),
        )
    part: dict[str, Any] = {"lots": args.lots, "price": args.price}
    if args.product:
        part["product"] = args.product
    if args.hours:
        part["hours"] = _hours(args.hours)
    if args.run is not None:
        part["any"] = args.run
    blocks = args.block or args.run is not None
    side = {"side": "sell", "source": args.source} if args.source else {"side": "buy"}
    return {**side, "blocks" if blocks else "curve": [part]}


def _hours(text: str) -> list[int]:
    first, dash, until = text.partition("-")
    if not dash or not first.isdecimal() or not until.isdecimal():
        raise InvalidInput(
            "UsageWrong",
            say("{given} are no hours.", given=text),
            hint=say("Write 8-20: from eight o'clock until before twenty."),
        )
    return [int(first), int(until)]


def _withdraw_options(parser: Parser) -> None:
    parser.option("round", help="Day, such as 2026-12-03, or id", metavar="ROUND")
    parser.option("order", help="Id of the order; see `suan auction show`", metavar="ORDER")
    parser.common()


def _withdraw(args: Args) -> int:
    answer = client_of(args).auctions.withdraw(args.round, args.order)
    if args.json:
        print_json(answer)
    else:
        print(say("{order} is withdrawn; what it set aside is given back.", order=answer["id"]))
    return 0


def _results(args: Args) -> int:
    auctions = client_of(args).auctions
    prices = auctions.prices(args.round)
    orders = list(auctions.bids(args.round))
    if args.json:
        print_json({"prices": prices, "my_orders": orders})
        return 0
    rows = [
        [one["product"], f"{one['hour']:02d}:00", figures.yuan(one["price"]), str(one["lots"])]
        for one in prices
        if one["price"]
    ]
    if not rows:
        errors.tell(say("Nothing was traded in this round, or it is not cleared yet."))
    else:
        headings = [say(h) for h in ("PRODUCT", "HOUR", "PRICE", "LOTS")]
        tables.show(headings, rows, right=(2, 3))
    for order in orders:
        if order["result"]:
            print()
            _show_orders([order])
            _show_parts(order["result"])
    return 0


def _part(name: str) -> str:
    """A block goes by its name, a step by its place in the curve."""
    step = re.fullmatch(r"curve\[(\d+)\]", name)
    return say("Curve step {number}", number=int(step[1]) + 1) if step else name


def _show_parts(result: BidResult) -> None:
    rows = [
        [
            _part(one["part"]),
            "" if one["hour"] is None else f"{one['hour']:02d}:00",
            say(WORDS[one["outcome"]]),
            str(sum(part["lots"] for part in one["lots"])),
            str(one["asked"]),
            figures.yuan(one["amount"]) if one["lots"] else "",
            figures.yuan(one["winning"]),
        ]
        for one in result["parts"]
    ]
    headings = [
        say(h) for h in ("PART", "HOUR", "OUTCOME", "GOT", "ASKED", "YUAN", "WOULD HAVE WON")
    ]
    tables.show(headings, rows, right=(3, 4, 5, 6))
    if result["rent"]["micro_yuan"]:
        text = "{rent} yuan of it for capacity in other zones; contracts name the pools there."
        errors.tell(say(text, rent=figures.yuan(result["rent"])))


# --- the operator --------------------------------------------------------------------------------


def _open_options(parser: Parser) -> None:
    parser.option("day", help="Day of delivery, such as 2026-12-03", metavar="DAY")
    parser.common()


def _open(args: Args) -> int:
    return _told(args, client_of(args).auctions.open(args.day))


def _close(args: Args) -> int:
    return _told(args, client_of(args).auctions.close(args.round))


def _clear(args: Args) -> int:
    return _told(args, client_of(args).auctions.clear(args.round))


def _void_options(parser: Parser) -> None:
    _round_options(parser)
    parser.option("--reason", help="Shown with the round", required=True, metavar="TEXT")


def _void(args: Args) -> int:
    return _told(args, client_of(args).auctions.void(args.round, args.reason))


def _told(args: Args, found: Round) -> int:
    if args.json:
        print_json(found)
        return 0
    print(say("Round of {day}: {state}.", day=found["day"], state=found["state"]))
    if found["cleared"]:
        print(
            say(
                "{traded} lot-hours of {orders} orders; welfare {welfare} yuan, at most {gap} "
                "below the best possible.",
                traded=found["cleared"]["traded"],
                orders=found["orders"],
                welfare=figures.yuan(found["cleared"]["welfare"]),
                gap=f"{found['cleared']['gap']:.2%}",
            )
        )
    return 0


def _replay(args: Args) -> int:
    """Exit code 1 where the outcome is another, so that an audit may run it."""
    found = client_of(args).auctions.replay(args.round)
    if args.json:
        print_json(found)
    elif found["same"]:
        print(say("The same orders, cleared again, give the same outcome."))
    elif not found["same_book"]:
        print(say("The orders are not those that were cleared."))
    elif not found["same_engine"]:
        print(say("Another version of the engine cleared it; this one comes to another outcome."))
    else:
        print(say("The same engine comes to another outcome."))
    return 0 if found["same"] else DIFFERS


COMMANDS = {
    "auction ls": Doing(_ls_options, _ls),
    "auction show": Doing(_round_options, _show),
    "auction bid": Doing(_bid_options, _bid),
    "auction withdraw": Doing(_withdraw_options, _withdraw),
    "auction results": Doing(_round_options, _results),
    "auction open": Doing(_open_options, _open),
    "auction close": Doing(_round_options, _close),
    "auction clear": Doing(_round_options, _clear),
    "auction void": Doing(_void_options, _void),
    "auction replay": Doing(_round_options, _replay),
}
