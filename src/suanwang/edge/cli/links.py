"""`suan site link`, `links`, `unlink`: what moving data between two sites costs."""

from __future__ import annotations

from typing import Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.http import segment
from suanwang.kernel.errors import InvalidInput


def _path(from_site: str, to_site: str) -> str:
    return f"/v1/links/{segment(from_site)}/{segment(to_site)}"


def _links_options(parser: Parser) -> None:
    parser.common()
    parser.option(
        "--from",
        help="All links from this site, those by distance too",
        metavar="SITE",
        dest="site",
    )


def _links(args: Args) -> int:
    query = {"from_site": args.site}
    found = client_of(args).api.get("/v1/links", query)["items"]
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("No link is stated or measured: all go by distance."))
        return 0
    headings = [say(h) for h in ("FROM", "TO", "YUAN/GIB", "SECONDS/GIB", "SOURCE")]
    tables.show(headings, [_row(one) for one in found], right=(2, 3))
    return 0


def _row(one: dict[str, Any]) -> list[str]:
    measured = one["source"] == "measured" and not one["price_per_gib"]["micro_yuan"]
    return [
        one["from_site"],
        one["to_site"],
        "" if measured else figures.yuan(one["price_per_gib"]),
        f"{one['ms_per_gib'] / 1000:g}",
        one["source"],
    ]


def _ends(parser: Parser) -> None:
    parser.option("site", help="From this site", metavar="FROM")
    parser.option("to", help="To this site", metavar="TO")
    parser.common()
    parser.flag("--both", help="The way back as well")


def _link_options(parser: Parser) -> None:
    _ends(parser)
    parser.option("--yuan-per-gib", help="Price of a GiB", required=True, metavar="YUAN")
    parser.option(
        "--seconds-per-gib", help="Time of a GiB", required=True, type=float, metavar="SECONDS"
    )


def _ways(args: Args) -> list[tuple[str, str]]:
    there = (args.site, args.to)
    return [there, (args.to, args.site)] if args.both else [there]


def _link(args: Args) -> int:
    if not 0 <= args.seconds_per_gib < 1e9:
        raise InvalidInput(
            "UsageWrong",
            say("--seconds-per-gib takes no negative time."),
            hint="",
            field="seconds_per_gib",
        )
    body = {
        "price_per_gib": {"yuan": args.yuan_per_gib},
        "ms_per_gib": round(args.seconds_per_gib * 1000),
    }
    api = client_of(args).api
    made = [api.put(_path(*way), body) for way in _ways(args)]
    if args.json:
        print_json(made)
        return 0
    for one in made:
        text = "A GiB from {here} to {there} costs {yuan} yuan and {seconds} s."
        print(
            say(
                text,
                here=one["from_site"],
                there=one["to_site"],
                yuan=figures.yuan(one["price_per_gib"]),
                seconds=f"{one['ms_per_gib'] / 1000:g}",
            )
        )
    return 0


def _unlink(args: Args) -> int:
    api = client_of(args).api
    for way in _ways(args):
        api.delete(_path(*way))
    if args.json:
        print_json([{"from_site": a, "to_site": b} for a, b in _ways(args)])
        return 0
    for here, there in _ways(args):
        print(say("{here} to {there} goes by distance again.", here=here, there=there))
    return 0


COMMANDS = {
    "site links": Doing(_links_options, _links),
    "site link": Doing(_link_options, _link),
    "site unlink": Doing(_ends, _unlink),
}
