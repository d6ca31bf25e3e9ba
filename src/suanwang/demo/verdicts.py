"""After the last job: outputs are fetched, answers and expected refusals are judged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from suanwang.demo import answers
from suanwang.demo.answers import Evidence, Wrong
from suanwang.demo.play import Act, Play
from suanwang.demo.reasons import refusal_of
from suanwang.kernel.errors import SuanwangError


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one job, or of the answers of several together."""

    name: str
    right: bool
    words: str


def judge(play: Play, folder: Path) -> tuple[dict[str, Verdict], list[Verdict]]:
    """(by job id, of the groups)."""
    groups: dict[str, list[Evidence]] = defaultdict(list)
    single: dict[str, Verdict] = {}
    for act in play.acts:
        found = None
        try:
            found = _gathered(play, act, folder)
            words = _judged(act, found)
            single[act.case.name] = Verdict(act.case.name, True, words)
        except (Wrong, SuanwangError, OSError, KeyError, ValueError) as error:
            single[act.case.name] = Verdict(act.case.name, False, str(error) or repr(error))
        if found is not None:
            groups[act.case.group].append(found)
    together = []
    for name, check in answers.COMBINED.items():
        try:
            together.append(Verdict(name, True, check(groups[name])))
        except (Wrong, KeyError, ValueError) as error:
            together.append(Verdict(name, False, str(error)))
    return single, together


def _gathered(play: Play, act: Act, folder: Path) -> Evidence:
    if not act.job_id:
        raise Wrong("it was not submitted: the step before it failed")
    client = play.client_of(act)
    act.job = dict(client.job(act.job_id))
    if act.state == "refused":
        act.job["refusal"] = client.explain(act.job_id).get("refused", "")
    to = folder / act.case.name
    if act.state == "succeeded" and act.case.spec.get("outputs"):
        to.mkdir(parents=True, exist_ok=True)
        client.download(act.job_id, to)
    printed = b""
    if act.case.secret:
        printed = b"".join(
            piece
            for stream in ("stdout", "stderr")
            for piece in client.logs(act.job_id, stream=stream)
        )
        answers.require(bool(printed), "it printed nothing to look for the secret in")
    return Evidence(act.job, to, printed, act.tasks)


def _judged(act: Act, found: Evidence) -> str:
    case = act.case
    if act.state != case.expected:
        detail = next((task["detail"] for task in act.tasks if task["detail"]), "")
        raise Wrong(f"{act.state}, was to be {case.expected}. {detail}".strip())
    if case.refusal:
        named = refusal_of(act)
        answers.require(named.startswith(case.refusal), f"refused for another reason: {named}")
        return "refused, as it must be"
    if case.cancelled:
        return "cancelled, as asked"
    return case.check(found)
