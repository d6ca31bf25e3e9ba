"""`suan ledger …`: the books, for the operator: entries, corrections, the trial balance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.money import project_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.projects import reference_of
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.views_billing import Booked, LedgerEntry

FAULT = 1


def _trial_options(parser: Parser) -> None:
    parser.common()
    parser.flag("--verify", help="Recompute every balance from its postings, too")


def _trial(args: Args) -> int:
    """Exit code 1 where the books are wrong, so that a timer may run it."""
    found = client_of(args).billing.trial_balance(verify=args.verify)
    unbalanced = any(amount["micro_yuan"] for amount in found["sums"].values())
    wrong = unbalanced or bool(found["discrepancies"])
    if args.json:
        print_json(found)
        return FAULT if wrong else 0
    rows = [
        [one["currency"], one["kind"], str(one["accounts"]), figures.yuan(one["balance"])]
        for one in found["lines"]
    ]
    rows += [[currency, say("sum"), "", figures.yuan(m)] for currency, m in found["sums"].items()]
    headings = [say(h) for h in ("CURRENCY", "KIND", "ACCOUNTS", "BALANCE")]
    tables.show(headings, rows, right=(2, 3))
    for one in found["discrepancies"] or ():
        text = say(
            "Wrong {what} of {subject}: {found} instead of {expected}",
            what=one["what"],
            subject=one["subject_id"],
            found=one["found"],
            expected=one["expected"],
        )
        errors.tell(text)
    if args.verify and not wrong:
        errors.tell(say("Every balance agrees with its postings."))
    return FAULT if wrong else 0


def _entries_options(parser: Parser) -> None:
    parser.common()
    parser.option("-p", "--project", help="Of this project", metavar="NAME")
    parser.option("--month", help="Another month than this one", metavar="YYYY-MM")
    parser.option("--currency", help="Of its account in this currency", metavar="CODE")


def _entries(args: Args) -> int:
    client = client_of(args)
    project = reference_of(client, project_of(client, args.project))
    currency = args.currency or "CNY"
    found = list(client.billing.entries(project, month=args.month, currency=currency))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("Nothing was booked."))
        return 0
    headings = [say(h) for h in ("ENTRY", "AT", "KIND", "YUAN", "FOR")]
    tables.show(headings, [_row(one) for one in found], right=(3,))
    return 0


def _row(one: LedgerEntry) -> list[str]:
    undone = say("reversed: ") if one["reversed_by"] else ""
    return [
        one["entry_id"],
        figures.local_time(one["at"]),
        one["kind"],
        figures.yuan(one["amount"]),
        undone + (one["description"] or one["reference"]),
    ]


def _reverse_options(parser: Parser) -> None:
    parser.option("entry", help="Id of the entry; see `suan ledger entries`", metavar="ENTRY")
    parser.common()
    parser.option("--reason", help="For the statement", required=True, metavar="TEXT")


def _reverse(args: Args) -> int:
    return told_booked(args, client_of(args).billing.reverse(args.entry, args.reason))


def _adjust_options(parser: Parser) -> None:
    parser.option("name", help="Name or id; ORGANISATION/NAME for another's", metavar="NAME")
    parser.option("amount", help="Yuan; with a minus, against the project", metavar="YUAN")
    parser.common()
    parser.option(
        "--reference", help="Number of the case; booked once", required=True, metavar="TEXT"
    )
    parser.option("--reason", help="For the statement", required=True, metavar="TEXT")


def _adjust(args: Args) -> int:
    client = client_of(args)
    project = reference_of(client, args.name)
    answer = client.billing.adjust(
        project, args.amount, reference=args.reference, reason=args.reason
    )
    return told_booked(args, answer)


def told_booked(args: Args, answer: Booked) -> int:
    if args.json:
        print_json(answer)
    elif answer["repeated"]:
        print(say("This was booked before as {entry}; nothing changed.", entry=answer["entry_id"]))
    else:
        print(say("Booked as {entry}.", entry=answer["entry_id"]))
    return 0


COMMANDS = {
    "ledger trial": Doing(_trial_options, _trial),
    "ledger entries": Doing(_entries_options, _entries),
    "ledger reverse": Doing(_reverse_options, _reverse),
    "ledger adjust": Doing(_adjust_options, _adjust),
}
