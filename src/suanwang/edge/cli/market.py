"""`suan offers` and `suan queue`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.views_catalogue import Offer


def _offers_options(parser: Parser) -> None:
    parser.option(
        "query",
        help="Such as 'gpu.memory>=64 zone:henan price<30 sort:price'",
        nargs="*",
        metavar="QUERY",
    )
    parser.common()
    parser.option("--region", help="Only this region", metavar="NAME")
    parser.option("--site", help="Only this site", metavar="NAME")
    parser.flag("--gpus", help="Only pools with cards")


def _offers(args: Args) -> int:
    query = " ".join(args.query)
    try:
        offers = client_of(args).offers(query)
    except InvalidInput as error:
        show_place(query, error)
        raise
    found = [
        offer
        for offer in offers
        if (not args.region or offer["region"] == args.region)
        and (not args.site or offer["site"] == args.site)
        and (not args.gpus or offer["accelerator"])
    ]
    if args.json:
        print_json(found)
        return 0
    if not found and query:
        errors.tell(say("No offer is like that."))
        return 0
    if not found:
        errors.tell(say("No offers. `suan site enrol NAME --region REGION` invites a site."))
        return 0
    headings = (
        "SITE",
        "POOL",
        "REGION",
        "STATE",
        "CORES",
        "GIB",
        "CARDS",
        "CORE/H",
        "GIB/H",
        "CARD/H",
        "100T/H",
        "MODEL",
    )
    rows = [_row(offer) for offer in found]
    tables.show([say(h) for h in headings], rows, right=(4, 5, 6, 7, 8, 9, 10), states=3)
    print(
        tables.styled(
            say("Cores, memory and cards: free of all. Prices in yuan. 100T: 100 TFLOPS (FP16)."),
            "dim",
        )
    )
    return 0


def show_place(query: str, error: InvalidInput) -> None:
    """On a terminal, a mark under the character that the server does not understand."""
    at = re.match(r"Character (\d+): ", error.message)
    if sys.stderr.isatty() and error.field == "q" and at and query.isprintable():
        errors.tell(f"  {query}\n  {' ' * tables.width(query[: int(at[1]) - 1])}^")


def _row(offer: Offer) -> list[str]:
    free, capacity, prices = offer["free"], offer["capacity"], offer["prices"]
    card = offer["accelerator"]
    cards = [figures.thousandths(x["accelerator_milli"]) for x in (free, capacity)]
    return [
        offer["site"],
        offer["pool"],
        offer["region"],
        offer["state"],
        "/".join(figures.thousandths(x["cpu_milli"]) for x in (free, capacity)),
        "/".join(figures.gib(x["memory_mib"]) for x in (free, capacity)),
        "/".join(cards) if card else "",
        figures.yuan(prices["core_hour"]),
        figures.yuan(prices["memory_gib_hour"]),
        figures.yuan(prices["accelerator_hour"]) if card else "",
        figures.yuan(offer["unit_price"]["by_measured"] or offer["unit_price"]["by_peak"]),
        str(card["model"]) if card else offer["architecture"],
    ]


def _queue_options(parser: Parser) -> None:
    parser.common()


def _queue(args: Args) -> int:
    client = client_of(args)
    answer = client.api.get("/v1/queue")
    if args.json:
        print_json(answer)
        return 0
    if not answer["items"]:
        errors.tell(say("Nothing waits."))
        return 0
    from suanwang.edge.cli.candidates import named, names_in

    names = names_in(client, [item["detail"] for item in answer["items"]])
    rows = [
        [
            str(item["count"]),
            str(item["priority"]),
            item["project_id"],
            item["reason"],
            named(item["detail"], names),
        ]
        for item in answer["items"]
    ]
    headings = [say(h) for h in ("TASKS", "PRIORITY", "PROJECT", "REASON", "DETAIL")]
    tables.show(headings, rows, right=(0, 1))
    return 0


COMMANDS = {
    "offers": Doing(_offers_options, _offers),
    "queue": Doing(_queue_options, _queue),
}
