"""`suan catalogue …` and `suan bench …`: what cards are worth, and what they were measured at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.market import show_place
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.views_catalogue import Bench, Measured, Offer, Peak, PoolFigure

LOOK_EVERY_S = 1.0
BENCHES_SHOWN = 100


def tera(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def band(peak: Peak | None) -> str:
    """One figure, or from the least to the most where sources differ."""
    if peak is None:
        return ""
    if peak["sources_differ"]:
        return f"{tera(peak['low_tera'])}–{tera(peak['high_tera'])}"
    return tera(peak["tera"])


def measured(one: Measured) -> str:
    return f"{tera(one['value'])} {one['unit']}"


def _ls_options(parser: Parser) -> None:
    parser.option(
        "query",
        help="Such as 'gpu.domestic:yes gpu.memory>=64 sort:-gpu.fp16'",
        nargs="*",
        metavar="QUERY",
    )
    parser.common()


def _ls(args: Args) -> int:
    query = " ".join(args.query)
    try:
        found = client_of(args).catalogue.search(query)
    except InvalidInput as error:
        show_place(query, error)
        raise
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("Nothing in the catalogue is like that."))
        return 0
    rows = [
        [
            one["class"],
            one.get("vendor", ""),
            one.get("stack", ""),
            str(one.get("memory_gb", "")),
            "–".join(dict.fromkeys(str(b["gb_s"]) for b in one.get("bandwidths", ()))),
            band(one.get("peak", {}).get("FP16")),
            band(one.get("peak", {}).get("INT8")),
            tera(next((m["value"] for m in one["measured"] if m["what"] == "FP16"), None)),
            figures.yuan(one["price_from"]),
            ", ".join(one["offered_by"]),
        ]
        for one in found
    ]
    headings = (
        "CLASS",
        "MAKER",
        "STACK",
        "GB",
        "GB/S",
        "FP16",
        "INT8",
        "MEASURED",
        "FROM",
        "SITES",
    )
    tables.show([say(h) for h in headings], rows, right=(3, 4, 5, 6, 7, 8))
    note = "FP16 and INT8: dense, TFLOPS and TOPS. Ranges: sources differ. Measured: FP16."
    print(tables.styled(say(note), "dim"))
    return 0


def _show_options(parser: Parser) -> None:
    parser.option("name", help="A class (h100-80g) or a card's name", metavar="CLASS")
    parser.common()


def _show(args: Args) -> int:
    one = client_of(args).catalogue.show(args.name)
    if args.json:
        print_json(one)
        return 0
    domestic = (say("yes") if one["domestic"] else say("no")) if "domestic" in one else ""
    tables.show_fields(
        [
            (say("CLASS"), one["class"]),
            (say("MODEL"), one.get("name", "")),
            (say("MAKER"), one.get("vendor", "")),
            (say("STACK"), one.get("stack", "")),
            (say("DOMESTIC"), domestic),
            (say("NAMES"), ", ".join(one.get("names", ()))),
        ]
    )
    if one.get("figures"):
        print()
        headings = [say(h) for h in ("PRECISION", "BASIS", "TERA", "TRUST", "SOURCE")]
        tables.show(headings, [_figure(f) for f in one["figures"]], right=(2,))
    if one["measured"]:
        print()
        headings = [say(h) for h in ("MEASURED", "SITE", "POOL", "RUNS", "WITH", "AT")]
        tables.show(headings, [_measured(m) for m in one["measured"]], right=(3,))
    if one["offers"]:
        print()
        headings = [say(h) for h in ("SITE", "POOL", "PRICE/H", "100T/H", "MEASURED")]
        tables.show(headings, [_offer(o) for o in one["offers"]], right=(2, 3, 4))
    return 0


def _figure(one: dict[str, Any]) -> list[str]:
    note = f" ({one['note']})" if one["note"] else ""
    return [
        one["precision"],
        one["basis"],
        tera(one["tera"]),
        one["confidence"],
        f"{one['source']['title']}, {one['source']['date']}{note}",
    ]


def _measured(one: PoolFigure) -> list[str]:
    return [
        f"{one['what']} {measured(one)}",
        one["site"],
        one["pool"],
        str(one["results"]),
        one["backend"],
        figures.local_time(one["at"]),
    ]


def _offer(one: Offer) -> list[str]:
    price = one["unit_price"]
    return [
        one["site"],
        one["pool"],
        figures.yuan(one["prices"]["accelerator_hour" if one["accelerator"] else "core_hour"]),
        figures.yuan(price["by_peak"]),
        figures.yuan(price["by_measured"]),
    ]


# --- the micro-benchmark -----------------------------------------------------------------------


def _run_options(parser: Parser) -> None:
    parser.option("pool", help="Which pool; see `suan offers`", metavar="SITE/POOL")
    parser.common()
    parser.option("-p", "--project", help="At this project's cost", metavar="NAME")
    parser.option("--cores", help="So many cores", type=int, default=1, metavar="N")
    parser.flag("--no-wait", help="Do not wait for the result")


def _run(args: Args) -> int:
    """Exit code 1 where the result was refused."""
    catalogue = client_of(args).catalogue
    one = catalogue.measure(args.pool, project=args.project, cores=args.cores)
    if not args.no_wait:
        errors.tell(say("Job {job} measures; waiting.", job=figures.short(one["job_id"])))
        while one["state"] == "open":
            time.sleep(LOOK_EVERY_S)
            one = catalogue.bench(one["id"])
    if args.json:
        print_json(one)
    else:
        _print_one(one)
    return errors.REFUSED if one["state"] == "refused" else 0


def _print_one(one: Bench) -> None:
    tables.show_fields(
        [
            (say("BENCH"), one["id"]),
            (say("JOB"), one["job_id"]),
            (say("POOL"), f"{one['site']}/{one['pool']}"),
            (say("CLASS"), one["class"]),
            (say("STATE"), one["state"]),
            (say("REASON"), f"{one['reason']}: {one['detail']}" if one["reason"] else ""),
            *((result["what"], measured(result)) for result in one["results"]),
        ]
    )


def _list_options(parser: Parser) -> None:
    parser.common()


def _list(args: Args) -> int:
    found = list(client_of(args).catalogue.benches(most=BENCHES_SHOWN))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("Nothing was measured yet. `suan bench run SITE/POOL` does."))
        return 0
    headings = ("BENCH", "SITE", "POOL", "CLASS", "STATE", "AT", "RESULT")
    rows = [
        [
            figures.short(one["id"]),
            one["site"],
            one["pool"],
            one["class"],
            one["state"],
            figures.local_time(one["created_at"]),
            one["reason"] or ", ".join(f"{r['what']} {measured(r)}" for r in one["results"]),
        ]
        for one in found
    ]
    tables.show([say(h) for h in headings], rows, states=4)
    return 0


COMMANDS = {
    "catalogue ls": Doing(_ls_options, _ls),
    "catalogue show": Doing(_show_options, _show),
    "bench run": Doing(_run_options, _run),
    "bench ls": Doing(_list_options, _list),
}
