"""`suan voucher …` and the review of applications; `suan org profile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.ledger import told_booked
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.views_programmes import Application, Voucher

GROUNDS = (
    "false_evidence",
    "double_claim",
    "affiliated_trade",
    "splitting",
    "milestone_missed",
)


def _applications_options(parser: Parser) -> None:
    parser.common()
    parser.option(
        "--state",
        help="Only those in this state",
        choices=("submitted", "granted", "refused", "withdrawn"),
    )


def _applications(args: Args) -> int:
    found = list(client_of(args).programmes.applications(state=args.state))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There is no application."))
        return 0
    rows = [
        [
            one["id"],
            one["programme_id"],
            one["organisation_id"],
            one["request"]["item"],
            figures.yuan({"micro_yuan": one["request"]["amount_micro_yuan"]}),
            one["state"],
            one["remark"],
        ]
        for one in found
    ]
    headings = [
        say(h)
        for h in ("APPLICATION", "PROGRAMME", "ORGANISATION", "ITEM", "YUAN", "STATE", "REMARK")
    ]
    tables.show(headings, rows, right=(4,), states=5)
    return 0


def _application(parser: Parser) -> None:
    parser.option(
        "application", help="Id; see `suan programme applications`", metavar="APPLICATION"
    )
    parser.common()


def _grant_options(parser: Parser) -> None:
    _application(parser)
    parser.option("--percent", help="Where the text names no rate", type=int, metavar="N")
    parser.option("--cap", help="Of the entity and year, in yuan", metavar="YUAN")
    parser.option("--unit", help="Sum for a unit, in yuan", metavar="YUAN")
    parser.option("--line", help="Line that the bank opens, in yuan", metavar="YUAN")
    parser.option("--expires", help="Last day", metavar="YYYY-MM-DD")
    parser.option("--remark", help="Words for the applicant", default="", metavar="TEXT")


def _grant(args: Args) -> int:
    made = client_of(args).programmes.grant(
        args.application,
        percent=args.percent,
        entity_year=args.cap,
        unit=args.unit,
        line=args.line,
        expires_on=args.expires,
        remark=args.remark,
    )
    if args.json:
        print_json(made)
    else:
        print(say("Granted {sum} yuan as {id}.", sum=figures.yuan(made["amount"]), id=made["id"]))
    return 0


def _refuse_options(parser: Parser) -> None:
    _application(parser)
    parser.option("--remark", help="Words for the applicant", required=True, metavar="TEXT")


def _refuse(args: Args) -> int:
    return _told_state(args, client_of(args).programmes.refuse(args.application, args.remark))


def _withdraw(args: Args) -> int:
    return _told_state(args, client_of(args).programmes.withdraw(args.application))


def _told_state(args: Args, made: Application | Voucher) -> int:
    if args.json:
        print_json(made)
    else:
        print(say("{id} is {state}.", id=made["id"], state=made["state"]))
    return 0


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")


def _ls(args: Args) -> int:
    found = client_of(args).vouchers.search(project=args.project)
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("There is no voucher."))
        return 0
    rows = [
        [
            one["id"],
            one["programme_id"],
            one["mode"],
            figures.yuan(one["left"]),
            figures.yuan(one["amount"]),
            f"{one['percent_domestic']}/{one['percent_other']} %",
            figures.local_time(one["expires_at"]),
            one["state"],
        ]
        for one in found
    ]
    headings = [
        say(h)
        for h in ("VOUCHER", "PROGRAMME", "MODE", "LEFT", "GRANTED", "RATE", "EXPIRES", "STATE")
    ]
    tables.show(headings, rows, right=(3, 4), states=7)
    return 0


def _voucher(parser: Parser) -> None:
    parser.option("voucher", help="Id; see `suan voucher ls`", metavar="VOUCHER")
    parser.common()


def _show(args: Args) -> int:
    found = client_of(args).vouchers.show(args.voucher)
    if args.json:
        print_json(found)
        return 0
    tables.show_fields(
        [
            (say("Programme"), f"{found['programme_id']} v{found['programme_version']}"),
            (say("State"), found["state"]),
            (say("Granted"), figures.yuan(found["amount"])),
            (say("Redeemed"), figures.yuan(found["redeemed"])),
            (say("Left"), figures.yuan(found["left"])),
            (say("Expires"), figures.local_time(found["expires_at"]) or "–"),
        ]
    )
    rows = [
        [figures.local_time(one["at"]), one["usage_id"], figures.yuan(one["amount"])]
        for one in found["redemptions"]
    ]
    if rows:
        print()
        headings = [say(h) for h in ("AT", "USAGE", "YUAN")]
        tables.show(headings, rows, right=(2,))
    return 0


def _pay_options(parser: Parser) -> None:
    _voucher(parser)
    parser.option("--amount", help="In yuan; all that is left if left out", metavar="YUAN")
    parser.option("--reference", help="Number of the payment", required=True, metavar="TEXT")


def _pay(args: Args) -> int:
    vouchers = client_of(args).vouchers
    paid = vouchers.pay_out(args.voucher, reference=args.reference, amount=args.amount)
    return told_booked(args, paid)


def _audit_options(parser: Parser) -> None:
    _voucher(parser)
    parser.option("finding", help="What was found", choices=("clean", "breach"))
    parser.option("--remark", help="For the record", default="", metavar="TEXT")


def _audit(args: Args) -> int:
    vouchers = client_of(args).vouchers
    return _told_state(args, vouchers.audit(args.voucher, args.finding, remark=args.remark))


def _claw_back_options(parser: Parser) -> None:
    _voucher(parser)
    parser.option("ground", help="Why", choices=GROUNDS)
    parser.option("--amount", help="In yuan; all that was paid if left out", metavar="YUAN")
    parser.option("--remark", help="For the record", required=True, metavar="TEXT")


def _claw_back(args: Args) -> int:
    made = client_of(args).vouchers.claw_back(
        args.voucher, args.ground, remark=args.remark, amount=args.amount
    )
    return _told_state(args, made)


def _profile_options(parser: Parser) -> None:
    parser.option("name", help="Short name or id", metavar="NAME")
    parser.common()
    parser.option("--full-name", help="As registered", metavar="TEXT")
    parser.option("--code", help="Unified social credit code", metavar="CODE")
    parser.option("--region", help="Where it is registered, such as henan/zhengzhou")
    parser.option("--kind", help="What it is", choices=("enterprise", "institute", "university"))
    parser.option("--size", help="Size class", choices=("micro", "small", "medium", "large"))
    parser.option("--sector", help="Sector", metavar="TEXT")
    parser.option("--founded", help="Day of founding", metavar="YYYY-MM-DD")
    parser.option(
        "--qualification", help="One that it has; may be repeated", action="append", metavar="TEXT"
    )
    parser.option(
        "--affiliate", help="Organisation or credit code; may be repeated", action="append"
    )
    parser.option(
        "--facility",
        help="As a provider: kind of centre",
        choices=("supercomputing", "ai", "data_centre"),
    )
    parser.option("--pflops", help="Its compute, FP16", type=int, metavar="N")
    parser.option("--racks", help="Its standard racks", type=int, metavar="N")


def _profile(args: Args) -> int:
    """Shows it; with something to state, keeps the rest and states that."""
    programmes = client_of(args).programmes
    stated = {
        "name": args.full_name,
        "uscc": args.code,
        "region": args.region,
        "kind": args.kind,
        "size": args.size,
        "sector": args.sector,
        "founded": args.founded,
        "qualifications": args.qualification,
        "affiliates": args.affiliate,
    }
    if args.facility:
        facility = {"kind": args.facility, "pflops": args.pflops or 0, "racks": args.racks or 0}
        stated["facility"] = {**facility, "metering_logs": True}
    stated = {name: value for name, value in stated.items() if value is not None}
    found = programmes.profile(args.name)
    if stated:
        before = (
            {k: v for k, v in found["profile"].items() if k != "organisation_id"} if found else {}
        )
        found = programmes.state_profile(args.name, {**before, **stated})
    if args.json:
        print_json(found)
    elif found is None:
        errors.tell(say("It has no profile yet."))
    else:
        fields = [(name, str(value)) for name, value in found["profile"].items() if value]
        verified = figures.local_time(found["verified_at"]) or say("not verified")
        tables.show_fields([*fields, (say("Verified"), verified)])
    return 0


COMMANDS = {
    "programme applications": Doing(_applications_options, _applications),
    "programme grant": Doing(_grant_options, _grant),
    "programme refuse": Doing(_refuse_options, _refuse),
    "programme withdraw": Doing(_application, _withdraw),
    "voucher ls": Doing(_ls_options, _ls),
    "voucher show": Doing(_voucher, _show),
    "voucher pay": Doing(_pay_options, _pay),
    "voucher audit": Doing(_audit_options, _audit),
    "voucher claw-back": Doing(_claw_back_options, _claw_back),
    "org profile": Doing(_profile_options, _profile),
}
