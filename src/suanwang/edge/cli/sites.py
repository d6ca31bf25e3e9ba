"""`suan site …`: invite, list, show, drain, cordon, revoke, remove."""

from __future__ import annotations

from typing import Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.http import segment
from suanwang.kernel.errors import InvalidInput


def _path(name: str, rest: str = "") -> str:
    return f"/v1/sites/{segment(name)}{rest}"


def _enrol_options(parser: Parser) -> None:
    parser.option("name", help="Short name of the site", metavar="NAME")
    parser.common()
    parser.option("--region", help="Region that users choose by", metavar="NAME")
    parser.option("--display-name", help="As pages show it", metavar="TEXT")
    parser.option("--city", help="City", metavar="NAME")
    parser.option("--kind", help="general, supercomputing, ai, cloud …", metavar="KIND")
    parser.option("--operator", help="Who runs it", metavar="NAME")
    parser.option("--lat", help="Latitude", type=float, metavar="DEGREES")
    parser.option("--lon", help="Longitude", type=float, metavar="DEGREES")
    parser.option(
        "--tariff", help="Yuan per kWh: one figure, or 24 for the hours of a day", metavar="LIST"
    )
    parser.option("--org", help="The provider; else your own organisation", metavar="NAME")
    parser.flag("--again", help="A new token for a site whose agent lost its credential")


def _enrol(args: Args) -> int:
    client = client_of(args)
    if args.again:
        answer = client.api.post(_path(args.name, "/token"))
        answer = {"name": args.name, **answer}
    else:
        if not args.region:
            raise InvalidInput(
                "UsageWrong",
                say("A new site needs --region."),
                hint=say("--again makes a new token for a site that there is."),
            )
        answer = client.api.post("/v1/sites", _description(args))
    if args.json:
        print_json(answer)
        return 0
    token = answer["enrolment_token"]
    print(say("Site {name} may enrol once with this token:", name=args.name))
    print(f"  {token}")
    print(say("On the site, run:"))
    print(f"  suan agent --server {client.server} --state FOLDER --pool NAME --token {token}")
    return 0


def _description(args: Args) -> dict[str, Any]:
    given = {
        "name": args.name,
        "region": args.region,
        "display_name": args.display_name,
        "city": args.city,
        "kind": args.kind,
        "operator": args.operator,
        "latitude": args.lat,
        "longitude": args.lon,
        "organisation": args.org,
        "tariff": None if args.tariff is None else tariff_of(args.tariff),
    }
    return {name: value for name, value in given.items() if value is not None}


def tariff_of(text: str) -> list[int]:
    """'0.52' or 24 such figures with commas → micro-yuan per kWh for each hour."""
    try:
        hours = [round(float(part) * 1_000_000) for part in text.split(",")]
    except ValueError:
        hours = []
    if len(hours) not in (1, 24):
        raise InvalidInput(
            "TariffInvalid",
            say("--tariff takes one figure in yuan per kWh, or 24 with commas."),
            field="tariff",
        )
    return hours * 24 if len(hours) == 1 else hours


def _common(parser: Parser) -> None:
    parser.common()


def _named(parser: Parser) -> None:
    parser.option("name", help="Name of the site", metavar="NAME")
    parser.common()


def _ls(args: Args) -> int:
    found = client_of(args).api.get("/v1/sites")["items"]
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("No sites. `suan site enrol NAME --region REGION` invites one."))
        return 0
    headings = [say(h) for h in ("NAME", "STATE", "HEARD", "REGION", "CITY", "KIND", "AGENT")]
    tables.show(headings, [_row(site) for site in found], states=1)
    return 0


def _row(site: dict[str, Any]) -> list[str]:
    reachable = site["reachable"] or site["state"] == "invited"
    return [
        site["name"],
        site["state"] if reachable else "unreachable",
        figures.age(site["last_contact"]),
        site["region"],
        site["city"],
        site["kind"],
        site["agent_version"],
    ]


def _show(args: Args) -> int:
    site = client_of(args).api.get(_path(args.name))
    if args.json:
        print_json(site)
        return 0
    heard = figures.age(site["last_contact"])
    tables.show_fields(
        [
            (say("Site"), f"{site['name']}  ({site['id']})"),
            (say("Name"), site["display_name"]),
            (say("State"), site["state"] + ("" if site["reachable"] else say(", not heard"))),
            (say("Heard"), say("{age} ago", age=heard) if heard else ""),
            (say("Region"), " ".join(filter(None, (site["region"], site["city"])))),
            (say("Operator"), site["operator"]),
            (say("Agent"), site["agent_version"]),
            (say("Leases"), str(site["open_leases"])),
        ]
    )
    if site["pools"]:
        print()
        headings = ("POOL", "NODE", "STATE", "CORES", "GIB", "CARDS", "DRIVER", "DETAIL")
        rows = [_node(pool, node) for pool in site["pools"] for node in pool["nodes"]]
        tables.show([say(h) for h in headings], rows, right=(3, 4, 5), states=2)
    return 0


def _node(pool: dict[str, Any], node: dict[str, Any]) -> list[str]:
    capacity, card = node["capacity"], pool["accelerator"]
    cards = figures.thousandths(capacity["accelerator_milli"]) if card else ""
    return [
        pool["name"],
        node["name"],
        "cordoned" if node["cordoned"] else "up" if node["up"] else "down",
        figures.thousandths(capacity["cpu_milli"]),
        figures.gib(capacity["memory_mib"]),
        f"{cards} {card['model']}" if card else "",
        pool["driver"],
        node["detail"],
    ]


def _switch(verb: str, done: str) -> Any:
    def run(args: Args) -> int:
        answer = client_of(args).api.post(_path(args.name, f"/{verb}"))
        if args.json:
            print_json(answer)
        else:
            print(say(done, name=args.name))
        return 0

    return run


def _cordon_options(parser: Parser) -> None:
    parser.option("name", help="Name of the site", metavar="SITE")
    parser.option("pool", help="Name of the pool", metavar="POOL")
    parser.option("node", help="Name of the node", metavar="NODE")
    parser.common()
    parser.flag("--off", help="Let work on it again")


def _cordon(args: Args) -> int:
    body = {"pool": args.pool, "node": args.node, "cordoned": not args.off}
    answer = client_of(args).api.post(_path(args.name, "/cordon"), body)
    if args.json:
        print_json(answer)
    elif args.off:
        print(say("{node} takes new work again.", node=args.node))
    else:
        print(say("{node} takes no new work.", node=args.node))
    return 0


def _rm(args: Args) -> int:
    answer = client_of(args).api.delete(_path(args.name))
    if args.json:
        print_json(answer)
    else:
        print(say("Site {name} is removed.", name=args.name))
    return 0


COMMANDS = {
    "site enrol": Doing(_enrol_options, _enrol),
    "site ls": Doing(_common, _ls),
    "site show": Doing(_named, _show),
    "site drain": Doing(_named, _switch("drain", "{name} starts nothing new.")),
    "site resume": Doing(_named, _switch("resume", "{name} takes new work again.")),
    "site revoke": Doing(_named, _switch("revoke", "The credential of {name} has ended.")),
    "site cordon": Doing(_cordon_options, _cordon),
    "site rm": Doing(_named, _rm),
}
