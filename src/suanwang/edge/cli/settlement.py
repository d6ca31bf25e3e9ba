"""`suan close …` and `suan payout …`: closed days of the books, and what providers are paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.views_settlement import Close, Payout

FAULT = 1


def _only(parser: Parser) -> None:
    parser.common()


# --- closes ------------------------------------------------------------------------------------


def _close_options(parser: Parser) -> None:
    parser.option("day", help="The next in turn if absent", metavar="YYYY-MM-DD", nargs="?")
    parser.common()


def _close(args: Args) -> int:
    return _shown(args, client_of(args).settlement.close_day(args.day))


def _shown(args: Args, found: Close) -> int:
    wrong = found["recounted"] is False
    if args.json:
        print_json(found)
        return FAULT if wrong else 0
    tables.show_fields(
        [
            (say("Day"), found["day"]),
            (say("Postings"), f"{found['postings']:,}"),
            (say("Digest"), found["digest"]),
            (say("Closed"), figures.local_time(found["closed_at"])),
        ]
    )
    print()
    rows = [
        [
            line["currency"],
            line["kind"],
            figures.yuan(line["opening"]),
            figures.yuan(line["debit"]),
            figures.yuan(line["credit"]),
            figures.yuan(line["closing"]),
        ]
        for line in found["lines"]
    ]
    headings = ("CURRENCY", "KIND", "OPENING", "DEBIT", "CREDIT", "CLOSING")
    tables.show([say(h) for h in headings], rows, right=(2, 3, 4, 5))
    if wrong:
        errors.tell(say("The postings of this day no longer say what was closed."))
    elif found["recounted"]:
        errors.tell(say("Counted anew, the day is as it was closed."))
    return FAULT if wrong else 0


def _closes(args: Args) -> int:
    found = list(client_of(args).settlement.closes())
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("No day is closed yet. `suan close run` closes the first."))
        return 0
    rows = [
        [
            one["day"],
            f"{one['postings']:,}",
            figures.local_time(one["closed_at"]),
            one["closed_by"],
            one["digest"][:16],
        ]
        for one in found
    ]
    headings = [say(h) for h in ("DAY", "POSTINGS", "CLOSED", "BY", "DIGEST")]
    tables.show(headings, rows, right=(1,))
    return 0


def _show_options(parser: Parser) -> None:
    parser.option("day", help="A closed day", metavar="YYYY-MM-DD")
    parser.common()
    parser.flag("--recount", help="Count the day anew and compare; exit code 1 if it differs")


def _show(args: Args) -> int:
    return _shown(args, client_of(args).settlement.close(args.day, recount=args.recount))


# --- payouts -----------------------------------------------------------------------------------


def _propose_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Only this provider; may be repeated", action="append")
    parser.option("--minimum", help="Leave less than that for the next run", metavar="YUAN")


def _propose(args: Args) -> int:
    settlement = client_of(args).settlement
    made = settlement.propose_payouts(organisations=args.org, minimum=args.minimum or None)
    if args.json:
        print_json(made)
        return 0
    if not made:
        errors.tell(say("Nothing is there to be paid out."))
        return 0
    _table(made)
    return 0


def _table(found: list[Payout]) -> None:
    rows = [
        [
            one["id"],
            one["organisation_id"],
            one["state"],
            figures.yuan(one["amount"]),
            one["currency"],
            figures.local_time(one["until"]),
            one["bank_reference"],
        ]
        for one in found
    ]
    headings = [
        say(h) for h in ("PAYOUT", "PROVIDER", "STATE", "AMOUNT", "CURRENCY", "UNTIL", "REFERENCE")
    ]
    tables.show(headings, rows, right=(3,), states=2)


def _payouts_options(parser: Parser) -> None:
    parser.common()
    parser.option("--org", help="Of this organisation", metavar="NAME")


def _payouts(args: Args) -> int:
    found = list(client_of(args).settlement.payouts(organisation=args.org))
    if args.json:
        print_json(found)
    elif found:
        _table(found)
    else:
        errors.tell(say("No payouts yet."))
    return 0


def _one_options(parser: Parser) -> None:
    parser.option("payout", help="Id of the payout; see `suan payout ls`", metavar="PAYOUT")
    parser.common()


def _payout(args: Args) -> int:
    found = client_of(args).settlement.payout(args.payout)
    if args.json:
        print_json(found)
        return 0
    _table([found])
    print()
    rows = [[one["what"], one["key"], figures.yuan(one["amount"])] for one in found["lines"] or ()]
    tables.show([say(h) for h in ("WHAT", "OF", "AMOUNT")], rows, right=(2,))
    return 0


def _approve(args: Args) -> int:
    return _moved(args, client_of(args).settlement.approve_payout(args.payout))


def _paid(args: Args) -> int:
    return _moved(args, client_of(args).settlement.confirm_payout(args.payout, args.reference))


def _failed(args: Args) -> int:
    return _moved(args, client_of(args).settlement.fail_payout(args.payout, args.reason))


def _cancel(args: Args) -> int:
    return _moved(args, client_of(args).settlement.cancel_payout(args.payout, args.reason))


def _moved(args: Args, found: Payout) -> int:
    if args.json:
        print_json(found)
    else:
        _table([found])
    return 0


def _paid_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--reference", help="The bank's number of it", required=True, metavar="TEXT")


def _rule_options(parser: Parser) -> None:
    parser.common()
    parser.flag("--alone", help="Let the only operator release alone")
    parser.flag("--four-eyes", help="Ask for two again")
    parser.option("--reason", help="Why; it stands in the audit log", metavar="TEXT")


def _rule(args: Args) -> int:
    settlement = client_of(args).settlement
    if args.alone and args.four_eyes:
        raise InvalidInput(
            "UsageWrong",
            say("--alone and --four-eyes are each other's opposite."),
            hint=say("Give one of them."),
        )
    if args.alone or args.four_eyes:
        if not args.reason:
            raise InvalidInput(
                "UsageWrong",
                say("A change of this rule has its reason."),
                hint=say("Say why: --reason TEXT; it stands in the audit log."),
            )
        found = settlement.set_payout_rule(alone=args.alone, reason=args.reason)
    else:
        found = settlement.payout_rule()
    if args.json:
        print_json(found)
        return 0
    in_force = say("asked for") if found["in_force"] else say("not asked for: one operator")
    tables.show_fields(
        [
            (say("Four eyes over payouts"), in_force),
            (say("Operators"), str(found["operators"])),
            (say("The only one may release alone"), say("yes") if found["alone"] else say("no")),
            (say("Why"), found["reason"]),
            (say("Since"), figures.local_time(found["changed_at"]) if found["changed_at"] else ""),
        ]
    )
    return 0


def _why_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--reason", help="Why, for its provider", required=True, metavar="TEXT")


COMMANDS = {
    "close run": Doing(_close_options, _close),
    "close ls": Doing(_only, _closes),
    "close show": Doing(_show_options, _show),
    "payout run": Doing(_propose_options, _propose),
    "payout ls": Doing(_payouts_options, _payouts),
    "payout show": Doing(_one_options, _payout),
    "payout approve": Doing(_one_options, _approve),
    "payout paid": Doing(_paid_options, _paid),
    "payout rule": Doing(_rule_options, _rule),
    "payout failed": Doing(_why_options, _failed),
    "payout cancel": Doing(_why_options, _cancel),
}
