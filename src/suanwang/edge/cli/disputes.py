"""`suan dispute …`: contest a charge, answer, decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.disputes import DisputeReason

if TYPE_CHECKING:
    from suanwang.edge.client.views_settlement import Dispute

REASONS = get_args(DisputeReason)


def _open_options(parser: Parser) -> None:
    parser.option("subject", help="Id of the entry; see `suan ledger entries`", metavar="ENTRY")
    parser.common()
    parser.flag("--contract", help="The id is a contract's")
    parser.option("--reason", help="What is wrong with it", required=True, choices=REASONS)
    parser.option("--text", help="What happened, in words", required=True, metavar="TEXT")
    parser.option("--amount", help="Claim only so much of it", metavar="YUAN")


def _open(args: Args) -> int:
    opened = client_of(args).disputes.open(
        args.subject,
        args.reason,
        args.text,
        subject_kind="contract" if args.contract else "entry",
        amount=args.amount or None,
    )
    return _shown(args, opened)


def _shown(args: Args, found: Dispute) -> int:
    if args.json:
        print_json(found)
        return 0
    tables.show_fields(
        [
            (say("Dispute"), found["id"]),
            (say("About"), f"{found['subject_kind']} {found['subject']}"),
            (say("Reason"), found["reason"]),
            (say("State"), found["state"] + (say("  overdue") if found["overdue"] else "")),
            (say("Claimed"), f"{figures.yuan(found['claimed'])} {found['currency']}"),
            (say("Awarded"), figures.yuan(found["awarded"])),
            (say("Answer until"), figures.local_time(found["answer_by"])),
            (say("Decision until"), figures.local_time(found["decide_by"])),
        ]
    )
    rows = [
        [figures.local_time(one["at"]), one["state"], one["actor_user_id"], one["text"]]
        for one in found["history"] or ()
    ]
    print()
    headings = [say(h) for h in ("AT", "STATE", "BY", "WORDS")]
    tables.show(headings, rows, states=1)
    return 0


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.flag("--open", help="Only what waits for somebody")


def _ls(args: Args) -> int:
    found = list(client_of(args).disputes.search(open_only=args.open))
    if args.json:
        print_json(found)
        return 0
    if not found:
        errors.tell(say("No disputes."))
        return 0
    rows = [
        [
            one["id"],
            one["subject"],
            one["reason"],
            one["state"],
            figures.yuan(one["claimed"]),
            figures.yuan(one["awarded"]),
            figures.local_time(one["opened_at"]),
        ]
        for one in found
    ]
    headings = [
        say(h) for h in ("DISPUTE", "ABOUT", "REASON", "STATE", "CLAIMED", "AWARDED", "OPENED")
    ]
    tables.show(headings, rows, right=(4, 5), states=3)
    return 0


def _one_options(parser: Parser) -> None:
    parser.option("dispute", help="Id of the dispute; see `suan dispute ls`", metavar="DISPUTE")
    parser.common()


def _show(args: Args) -> int:
    return _shown(args, client_of(args).disputes.show(args.dispute))


def _said_options(parser: Parser) -> None:
    _one_options(parser)
    parser.option("--text", help="What you have to say", required=True, metavar="TEXT")


def _answer(args: Args) -> int:
    return _shown(args, client_of(args).disputes.answer(args.dispute, args.text))


def _withdraw(args: Args) -> int:
    return _shown(args, client_of(args).disputes.withdraw(args.dispute, args.text))


def _uphold_options(parser: Parser) -> None:
    _said_options(parser)
    parser.option("--amount", help="Give back only so much", metavar="YUAN")


def _decide(args: Args, upheld: bool) -> int:
    amount = getattr(args, "amount", None)
    disputes = client_of(args).disputes
    made = disputes.decide(args.dispute, upheld=upheld, text=args.text, amount=amount or None)
    return _shown(args, made)


COMMANDS = {
    "dispute open": Doing(_open_options, _open),
    "dispute ls": Doing(_ls_options, _ls),
    "dispute show": Doing(_one_options, _show),
    "dispute answer": Doing(_said_options, _answer),
    "dispute withdraw": Doing(_said_options, _withdraw),
    "dispute uphold": Doing(_uphold_options, lambda args: _decide(args, True)),
    "dispute reject": Doing(_said_options, lambda args: _decide(args, False)),
}
