"""`suan rehearsal`: the clock of a platform that was started with `suan up --rehearsal`."""

from __future__ import annotations

from datetime import datetime

from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.hours import SHANGHAI, starts_at
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say


def _options(parser: Parser) -> None:
    parser.common()
    parser.option("--to", help="Put it forward to 2026-12-01 16:00 (Asia/Shanghai)", metavar="WHEN")


def _clock(args: Args) -> int:
    rehearsal = client_of(args).rehearsal
    found = rehearsal.clock() if args.to is None else rehearsal.advance(starts_at(args.to))
    if args.json:
        print_json(found)
        return 0
    now = datetime.fromisoformat(found["now"] or "").astimezone(SHANGHAI)
    text = f"{now:%Y-%m-%d %H:%M:%S}"
    if found["rehearsal"]:
        print(say("It is {now} here (Asia/Shanghai).", now=text))
    else:
        print(say("This platform keeps real time: {now} (Asia/Shanghai).", now=text))
    return 0


COMMANDS = {"rehearsal clock": Doing(_options, _clock)}
