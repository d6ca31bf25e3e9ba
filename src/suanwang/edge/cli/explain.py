"""`suan explain`: why a job waits, when it may start, what would help; or why it ran there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suanwang.edge.client.client import Client

MOST_VERDICTS = 8


def _options(parser: Parser) -> None:
    parser.option("id", help="Id of the job, or the end of it", metavar="ID")
    parser.common()


def _explain(args: Args) -> int:
    client = client_of(args)
    answer = client.explain(args.id)
    if args.json:
        print_json(answer)
        return 0
    print(f"{figures.short(answer['job_id'])}  {answer['state']}")
    if answer.get("waiting"):
        _show_waiting(client, answer["waiting"])
    if answer.get("backoff_s"):
        print(say("Tried again in {s} s at the earliest.", s=answer["backoff_s"]))
    if answer.get("depends_on"):
        print(say("Waits for: {jobs}", jobs=", ".join(map(figures.short, answer["depends_on"]))))
    if answer.get("refused"):
        from suanwang.edge.cli.candidates import named, names_in

        why = answer["refused"]
        print(say("Refused: {why}", why=named(why, names_in(client, [why]))))
    if answer.get("candidates"):
        from suanwang.edge.cli.candidates import show_candidates

        show_candidates(client, answer["candidates"])
    if answer.get("placements"):
        _show_placements(answer["placements"])
    return 0


def _show_waiting(client: Client, waiting: dict[str, Any]) -> None:
    from suanwang.edge.cli.candidates import named, names_in

    verdicts = waiting.get("verdicts") or []
    remedies = waiting.get("remedies") or []
    texts = [str(waiting.get("detail") or "")]
    texts += [f"{v.get('pool_id')} {v.get('detail')}" for v in verdicts]
    texts += [f"{r.get('pool_id')} {r.get('sentence')}" for r in remedies]
    names = names_in(client, texts)
    reason = waiting.get("reason")
    detail = named(str(waiting.get("detail") or ""), names)
    print(f"{say('Why')}: {reason}: {detail}" if reason else f"{say('Why')}: {detail}")
    estimate = waiting.get("estimate")
    if estimate:
        print(f"{say('Start')}: {_when(estimate)}")
    elif waiting.get("reserved_start_ms"):
        print(f"{say('Start')}: {_in(waiting['reserved_start_ms'])}")
    for remedy in remedies:
        where = names.get(remedy.get("pool_id"), remedy.get("pool_id") or "")
        sentence = named(str(remedy.get("sentence") or ""), names)
        started = _in(remedy["start_at_ms"]) if remedy.get("start_at_ms") else ""
        print(f"{say('Would help')}: {sentence}  ({where} {started})")
    if verdicts:
        print()
        _show_verdicts(verdicts[:MOST_VERDICTS], names)


def _when(estimate: dict[str, Any]) -> str:
    expected = _in(estimate["expected_start_ms"])
    if estimate.get("latest_start_ms") is None:
        return say("{expected} at the earliest guess; how late is open", expected=expected)
    return say(
        "{expected}; with {percent} % confidence not after {latest}",
        expected=expected,
        percent=estimate["confidence_percent"],
        latest=_in(estimate["latest_start_ms"]),
    )


def _in(at_ms: int) -> str:
    seconds = at_ms / 1000 - time.time()
    return say("now") if seconds <= 1 else say("in {time}", time=figures.duration(seconds))


def _show_verdicts(verdicts: list[dict[str, Any]], names: Mapping[str, str]) -> None:
    from suanwang.edge.cli.candidates import named

    rows = [
        [
            named(verdict["pool_id"].partition("<")[0], names),
            str(verdict.get("reason") or ""),
            named(str(verdict.get("detail") or ""), names),
        ]
        for verdict in verdicts
    ]
    tables.show([say(h) for h in ("WHERE", "REASON", "DETAIL")], rows)


def _show_placements(placements: list[dict[str, Any]]) -> None:
    rows = []
    for placed in placements:
        score = placed.get("score") or {}
        parts = [
            f"{name} {score[name] / 1_000_000:g}"
            for name in ("money", "wait", "transfer")
            if isinstance(score, dict) and isinstance(score.get(name), int) and score[name]
        ]
        where = f"{placed['site']}/{placed['pool']}"
        if placed.get("contract"):
            where = say("{where}, contract {contract}", where=where, contract=placed["contract"])
        rows.append([str(placed["task"]), str(placed["attempt"]), where, ", ".join(parts)])
    headings = [say(h) for h in ("TASK", "TRY", "WHERE", "SCORE IN YUAN")]
    tables.show(headings, rows, right=(0, 1))


COMMANDS = {"explain": Doing(_options, _explain)}
