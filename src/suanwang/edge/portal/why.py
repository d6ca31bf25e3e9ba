"""A job's state in plain words: why it waits and what would help, or why it ran where it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.edge.portal import catalogue, formats
from suanwang.edge.portal.reasons import sentence
from suanwang.edge.portal.rendering import Page
from suanwang.engines.scheduling.forecast import Explanation
from suanwang.engines.scheduling.model import PERMANENT_REASONS
from suanwang.grid.jobs import explaining
from suanwang.grid.jobs.model import Job, Task, TaskState
from suanwang.grid.jobs.planned import Planned
from suanwang.grid.jobs.snapshot import Gathered
from suanwang.kernel.money import scale
from suanwang.protocol.messages import FailureClass

MOST_CANDIDATES = 30


@dataclass
class Why:
    """What the panel shows: one headline, then what is behind it."""

    lead: str
    text: str = ""
    facts: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)
    candidates: list[dict[str, Any]] = field(default_factory=list)


def why(conn: Connection, page: Page, planned: Planned, job: Job, tasks: list[Task]) -> Why | None:
    """None for what needs no explanation."""
    now_ms = page.now_ms
    gathered = planned.gathered
    answer = explaining.explain_job(conn, planned, job, now_ms)
    names = names_of(gathered)
    waiting = answer.get("waiting")
    if isinstance(waiting, Explanation) and waiting.reason is not None:
        shown = _waiting(page, gathered, job, waiting, names)
    elif job.state is TaskState.WAITING:
        shown = Why(page.say("why.depends", count=len(job.depends_on)))
        shown.facts = [page.say("why.needs", job=one) for one in job.depends_on[:10]]
    elif job.state is TaskState.QUEUED:
        shown = Why(page.say("why.soon"), page.say("why.soon_text"))
    elif job.state is TaskState.REFUSED:
        said = sentence(page.language, str(answer.get("refused", "")), names)
        shown = Why(page.say("why.refused"), said)
        shown.facts = [page.say("why.refused_hint")]
        found = answer.get("candidates", [])
        shown.candidates = candidate_rows(page.language, found[:MOST_CANDIDATES], names)
    else:
        shown = _placed(page, job, answer, tasks)
    if "backoff_s" in answer:
        span = formats.duration(int(answer["backoff_s"]) * 1000, page.language)
        shown.facts.insert(0, page.say("why.backoff", span=span))
    return shown


def names_of(gathered: Gathered) -> dict[str, str]:
    """Ids → what people call them; a pool with its site."""
    names = {site_id: site.name for site_id, site in gathered.sites.items()}
    for pool_id, pool in gathered.pools.items():
        names[pool_id] = f"{names.get(pool.site_id, '')}/{pool.name}"
    return names


def _waiting(
    page: Page, gathered: Gathered, job: Job, found: Explanation, names: Mapping[str, str]
) -> Why:
    reason = found.reason.value if found.reason else ""
    shown = Why(
        page.say("why.waits", reason=catalogue.say_or(page.language, f"reason.{reason}", reason)),
        catalogue.say_or(page.language, f"reason_text.{reason}", ""),
    )
    if found.detail:
        shown.facts.append(sentence(page.language, found.detail, names))
    guess = found.estimate
    if guess is not None:
        expected = formats.ago(guess.expected_start_ms, page.now_ms, page.language)
        latest = (
            page.say("why.latest", at=formats.instant(guess.latest_start_ms, seconds=False))
            if guess.latest_start_ms
            else ""
        )
        shown.facts.append(page.say("why.expected", span=expected) + latest)
    if found.reserved_start_ms is not None:
        at = formats.instant(found.reserved_start_ms, seconds=False)
        shown.facts.append(page.say("why.reserved", at=at))
    shown.remedies = [sentence(page.language, one.sentence, names) for one in found.remedies]
    demand = gathered.classes.get(job.class_id)
    views = [
        explaining.verdict_view(verdict, gathered, demand.max_runtime_s, demand.expected_runtime_s)
        for verdict in found.verdicts[:MOST_CANDIDATES]
        if demand is not None
    ]
    shown.candidates = candidate_rows(page.language, views, names)
    return shown


def candidate_rows(
    language: str, views: list[dict[str, Any]], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Verdicts as the candidate table shows them."""
    return [_candidate_row(language, view, names) for view in views]


def _candidate_row(language: str, view: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A pool that can never run it has a price, but no wait and no cost: they would be lies."""
    permanent = view["reason"] in PERMANENT_REASONS
    known = {} if permanent else view
    return {
        **view,
        "permanent": permanent,
        "detail": sentence(language, view["detail"], names),
        "rate": view.get("rate_micro_yuan_per_hour"),
        "cost": known.get("cost_at_most_micro_yuan"),
        "expected_cost": known.get("expected_cost_micro_yuan"),
        "wait_s": known.get("expected_wait_s"),
        "score": known["score"]["total"] if known.get("score") else None,
    }


def _placed(page: Page, job: Job, answer: dict[str, Any], tasks: list[Task]) -> Why:
    key = "ends" if job.ended_at_ms is not None else "runs"
    shown = Why(
        page.say(f"why.{key}_{job.state.value}")
        if catalogue.has(f"why.{key}_{job.state.value}")
        else page.say("why.under_way")
    )
    failed = next((task for task in tasks if task.failure is not FailureClass.NONE), None)
    if failed is not None and job.state is TaskState.FAILED:
        shown.text = page.say(f"failure.{failed.failure.value}")
        if failed.exit_code is not None:
            shown.facts.append(page.say("why.exit_code", code=failed.exit_code))
        if failed.detail:
            shown.facts.append(sentence(page.language, failed.detail))
    for placed in answer["placements"][:3]:
        shown.facts.append(
            page.say("why.placed", task=placed["task"], site=placed["site"], pool=placed["pool"])
            + _paid_by(page, placed["contract"])
            + _score(page, placed["score"])
        )
    return shown


def _paid_by(page: Page, contract_id: str | None) -> str:
    return page.say("contracted.placed", contract=contract_id) if contract_id else ""


def _score(page: Page, score: Mapping[str, Any]) -> str:
    if "total" not in score:
        return ""
    return page.say(
        "why.score",
        money=formats.yuan(score["money"], 4),
        wait=formats.yuan(score["wait"], 4),
        transfer=formats.yuan(score["transfer"], 4),
    )


def cost_of_run(rate: int, lasted_ms: int) -> int:
    """What an hourly rate comes to so far."""
    return scale(rate, max(0, lasted_ms), 3_600_000)
