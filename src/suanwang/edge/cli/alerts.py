"""`suan alert …`: what the surveillance of the market saw, and what it was found to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from suanwang.edge.cli import errors, figures, hours, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.market import AlertKind

if TYPE_CHECKING:
    from suanwang.edge.client.views_alerts import Alert, AlertDetail

KINDS = get_args(AlertKind)


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.option("--kind", help="Only of this pattern", choices=KINDS)
    parser.option("--class", help="Only of this class", metavar="CLASS", dest="unit_class")
    parser.option("--zone", help="Only in this zone", metavar="ZONE")
    parser.flag("--all", help="Those that were closed too")


def _ls(args: Args) -> int:
    market = client_of(args).market
    found = list(
        market.alerts(kind=args.kind, unit_class=args.unit_class, zone=args.zone, closed=args.all)
    )
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("No alerts."))
        return 0
    rows = [
        [
            one["id"],
            one["kind"],
            _state(one),
            f"{one['unit_class']}:{one['zone']}",
            figures.local_time(one["found_at"]),
            one["detail"],
        ]
        for one in found
    ]
    headings = [say(h) for h in ("ALERT", "PATTERN", "STATE", "PRODUCT", "FOUND", "DETAIL")]
    tables.show(headings, rows, states=2)
    return 0


def _state(one: Alert) -> str:
    return "closed" if one["closed_at"] else "open"


def _one_options(parser: Parser) -> None:
    parser.option("alert", help="Id of the alert; see `suan alert ls`", metavar="ALERT")
    parser.common()


def _show(args: Args) -> int:
    found = client_of(args).market.alert(args.alert)
    if args.json:
        print_json(found)
        return 0
    fields = [
        (say("Alert"), found["id"]),
        (say("Pattern"), found["kind"]),
        (say("State"), _state(found)),
        (say("Class and zone"), f"{found['unit_class']} {found['zone']}"),
        (say("Organisations"), ", ".join(found["organisations"])),
        (say("Seen"), found["detail"]),
        (say("Found"), figures.local_time(found["found_at"])),
        (say("What it was"), found["note"]),
    ]
    tables.show_fields([one for one in fields if one[1]], states=say("State"))
    if found["orders"]:
        _spoof(found)
    else:
        _round_trip(found)
    return 0


def _spoof(found: AlertDetail) -> None:
    orders = [
        [
            figures.local_time(one["placed_at"]),
            figures.local_time(one["ended_at"]),
            one["side"],
            one["instrument"],
            figures.yuan(one["price"]),
            f"{one['traded']}/{one['lots']}",
            one["id"],
        ]
        for one in found["orders"]
    ]
    print(f"\n{say('Orders taken back:')}")
    headings = [
        say(h) for h in ("PLACED", "TAKEN BACK", "SIDE", "INSTRUMENT", "PRICE", "TRADED", "ORDER")
    ]
    tables.show(headings, orders, right=(4, 5))
    trades = [
        [
            figures.local_time(one["at"]),
            one["seller_organisation_id"],
            one["buyer_organisation_id"],
            figures.yuan(one["price"]),
            str(one["lots"]),
            one["contract_id"],
        ]
        for one in found["trades"]
    ]
    print(f"\n{say('Traded meanwhile on the other side:')}")
    tables.show([say(h) for h in ("AT", *_PARTIES)], trades, right=(3, 4))


_PARTIES = ("SELLER", "BUYER", "PRICE", "LOTS", "CONTRACT")


def _round_trip(found: AlertDetail) -> None:
    rows = [
        [
            figures.local_time(one["signed_at"]),
            hours.period(one["starts_at"], one["hours"]),
            one["origin"],
            one["seller_organisation_id"],
            one["buyer_organisation_id"],
            figures.yuan(one["price"]),
            str(one["lots"]),
            one["id"],
        ]
        for one in found["contracts"]
    ]
    print(f"\n{say('Sold there and back:')}")
    headings = [say(h) for h in ("SIGNED", "PERIOD", "ORIGIN", *_PARTIES)]
    tables.show(headings, rows, right=(5, 6))


def _close_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--note", help="What it was found to be", required=True, metavar="TEXT")


def _close(args: Args) -> int:
    client_of(args).market.close_alert(args.alert, args.note)
    if args.json:
        print_json({"id": args.alert, "note": args.note})
    else:
        print(say("{alert} is closed; the note is in the audit log.", alert=args.alert))
    return 0


COMMANDS = {
    "alert ls": Doing(_ls_options, _ls),
    "alert show": Doing(_one_options, _show),
    "alert close": Doing(_close_options, _close),
}
