"""The first page: the grid on a map, its load, the queue, money, what happened lately."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response, StreamingResponse

from suanwang.edge.api.routes_jobs import visible_projects
from suanwang.edge.portal import formats
from suanwang.edge.portal.catalogue import say_or
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.glance import change_text, glance_rows, own
from suanwang.edge.portal.listing import job_rows
from suanwang.edge.portal.map import site_map
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.trading import words
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.model import FINAL, Job, TaskState
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL
from suanwang.grid.jobs.snapshot import Gathered
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import is_reachable
from suanwang.kernel.errors import NotFound
from suanwang.kernel.resources import ZERO, Resources
from suanwang.platform.signals import wait_for
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit_log
from suanwang.tenancy.model import Action, Principal
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing.model import GroupBy

router = APIRouter(route_class=PortalRoute)
RECENT, RUNNING, EVENTS = 8, 8, 22
LOOK_EVERY_S = 2.0
BEAT_EVERY_S = 15.0
STREAM_MS = 600_000
"""Then the browser comes again, and is asked again who it is."""


@router.get("/")
async def overview(page: SignedIn) -> Response:
    return page.render("overview.html", **await _overview(page))


@router.get("/overview/live")
async def overview_live(page: SignedIn) -> Response:
    return page.render("overview_live.html", **await _overview(page))


async def _overview(page: Page) -> dict[str, Any]:
    context, now_ms = page.context, page.now_ms
    gathered = await context.dispatcher.gather()

    def query(conn: Connection) -> dict[str, Any]:
        newest = jobs_of(conn, page.principal, [], 40)
        active = jobs_of(conn, page.principal, ["running", "leased"], 200)
        queued = jobs_of(conn, page.principal, ["queued", "waiting"], 500)
        return {
            "running": job_rows(conn, page.principal, active[:RUNNING], now_ms),
            "recent": job_rows(conn, page.principal, newest[:RECENT], now_ms),
            "running_tasks": sum(job.running + job.leased for job in active),
            "waiting_tasks": sum(job.queued + job.waiting for job in [*queued, *active]),
            "money": spent_lately(conn, page.principal, now_ms),
            "events": _events(conn, page, newest),
            "reasons": _reasons(conn, page),
            "market": glance_rows(conn, now_ms),
            "own": own(conn, page),
        }

    shown = await context.database.read(query)
    found = site_map(page, gathered)
    return {
        **shown,
        **words(page),
        "change_text": change_text,
        "grid": _totals(gathered, now_ms),
        "kinds": _kinds(gathered),
        "map": found,
        "map_json": msgspec.json.encode(found).decode(),
    }


def jobs_of(conn: Connection, principal: Principal, states: list[str], limit: int) -> list[Job]:
    """The newest that he may see."""
    organisation_id, projects = visible_projects(conn, principal, None)
    return reading.job_page(
        conn,
        organisation_id=organisation_id,
        project_ids=projects,
        states=states,
        before_id=None,
        limit=limit,
    )


def _totals(gathered: Gathered, now_ms: int) -> dict[str, int]:
    capacity, used = ZERO, ZERO
    for pool in gathered.snapshot.pools:
        for node in pool.nodes:
            capacity = capacity + node.capacity
            used = used + (node.capacity - node.free)
    return {
        "sites": len(gathered.sites),
        "reachable": sum(is_reachable(site, now_ms) for site in gathered.sites.values()),
        "cores": capacity.cpu_milli,
        "cores_used": used.cpu_milli,
        "cards": capacity.accelerator_milli,
        "cards_used": used.accelerator_milli,
    }


def _kinds(gathered: Gathered) -> list[dict[str, Any]]:
    """Used and whole capacity of each kind of pool."""
    sums: dict[str, tuple[Resources, Resources]] = {}
    for pool in gathered.snapshot.pools:
        whole, used = sums.get(pool.site_kind, (ZERO, ZERO))
        for node in pool.nodes:
            whole, used = whole + node.capacity, used + (node.capacity - node.free)
        sums[pool.site_kind] = (whole, used)
    shown = []
    for kind in sorted(sums):
        whole, used = sums[kind]
        rows = [
            (
                "cores",
                used.cpu_milli,
                whole.cpu_milli,
                f"{formats.milli(used.cpu_milli)} / {formats.milli(whole.cpu_milli)}",
            ),
            (
                "memory",
                used.memory_mib,
                whole.memory_mib,
                f"{formats.memory(used.memory_mib)} / {formats.memory(whole.memory_mib)}",
            ),
        ]
        if whole.accelerator_milli:
            cards = used.accelerator_milli, whole.accelerator_milli
            text = f"{formats.milli(cards[0])} / {formats.milli(cards[1])}"
            rows.insert(0, ("cards", *cards, text))
        shown.append({"kind": kind, "rows": rows})
    return shown


def _reasons(conn: Connection, page: Page) -> list[tuple[str, int]]:
    """Why tasks wait, by the last round, of those that he may see."""
    principal = page.principal
    counts: Counter[str] = Counter()
    for one in reading.waiting(conn):
        if page.may(Action.READ_JOBS, one.organisation_id, one.project_id) or principal.is_operator:
            counts[one.reason] += one.count
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:8]


def spent_lately(conn: Connection, principal: Principal, now_ms: int) -> dict[str, int] | None:
    """Charged today and this month in all projects whose bills he may read."""
    projects = [one.id for one in tenancy.projects(conn, principal, limit=500)]
    if not projects:
        return None
    from_ms, _ = rules.month_bounds(rules.month_of(now_ms))
    report = reports.usage_summary(conn, projects, from_ms, now_ms + 1, by=GroupBy.DAY)
    today = formats.local(now_ms).date().isoformat()
    return {
        "today": sum(line.amount_micro_yuan for line in report.lines if line.key == today),
        "month": sum(line.amount_micro_yuan for line in report.lines),
    }


@dataclass(frozen=True)
class Event:
    at_ms: int
    before: str
    """Who did what, if a person did; then `subject` is what it was done to."""
    subject: str
    text: str
    url: str


def _events(conn: Connection, page: Page, newest: list[Job]) -> list[Event]:
    """Jobs that came and went, and what people did, the newest first."""
    found = []
    for job in newest:
        url = f"/jobs/{job.job_id}"
        found.append(Event(job.created_at_ms, "", job.name, page.say("event.submitted"), url))
        if job.ended_at_ms is not None and job.state in FINAL:
            said = page.say(f"event.{job.state.value}")
            found.append(Event(job.ended_at_ms, "", job.name, said, url))
    principal = page.principal
    if page.may(Action.READ_AUDIT, principal.organisation_id):
        names = sites.names(conn)
        for entry in audit_log(conn, principal, limit=30):
            if entry.action.startswith(("job.", "session.")):
                continue
            did = say_or(page.language, f"audit.{entry.action}", entry.action)
            name = names.get(entry.target_id, "")
            url = f"/sites/{name}" if name and entry.target_kind == "site" else ""
            actor = _actor(conn, page, entry.actor_user_id)
            before = page.say("event.acted_on" if name else "event.acted", actor=actor, did=did)
            found.append(Event(entry.at_ms, before, name, "", url))
    return sorted(found, key=lambda event: -event.at_ms)[:EVENTS]


def _actor(conn: Connection, page: Page, user_id: str) -> str:
    if user_id == "system":
        return page.say("audit.system")
    try:
        return people.user(conn, user_id).login
    except NotFound:
        return user_id


@router.get("/portal/events")
async def events(page: SignedIn, topic: str = Query(pattern="^(overview|jobs|sites)$")) -> Response:
    """Server-sent: `changed` whenever the page's picture of the grid is out of date."""
    return StreamingResponse(
        changes(page, partial(_picture, page=page)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def changes(
    page: Page, picture: Callable[[Connection], tuple[Any, ...]]
) -> AsyncIterator[bytes]:
    """News whenever what is looked at differs, every other second and after every round."""
    context = page.context
    last: tuple[Any, ...] | None = None
    quiet_s = 0.0
    until_ms = page.now_ms + STREAM_MS
    while page.now_ms < until_ms:
        news = context.signals.listen(ROUND_SIGNAL)
        seen = await context.database.read(picture)
        if last is not None and seen != last:
            yield b"event: changed\ndata: {}\n\n"
            quiet_s = 0.0
        elif last is None or quiet_s >= BEAT_EVERY_S:
            yield b": still here\n\n"
            quiet_s = 0.0
        last = seen
        if not await wait_for(news, LOOK_EVERY_S):
            quiet_s += LOOK_EVERY_S
        else:
            await asyncio.sleep(0.2)


def _picture(conn: Connection, page: Page) -> tuple[Any, ...]:
    """Jobs' counts and sites' states."""
    now_ms = page.now_ms
    jobs = jobs_of(conn, page.principal, [], 50)
    active = jobs_of(conn, page.principal, [TaskState.RUNNING.value, TaskState.LEASED.value], 200)
    return (
        [(job.job_id, job.state, job.succeeded, job.failed, job.running) for job in jobs],
        [(job.job_id, job.succeeded, job.running, job.leased) for job in active],
        [(s.site_id, s.state, is_reachable(s, now_ms)) for s in sites.sites(conn)],
        [(p.pool_id, p.cordoned, [n.up for n in p.nodes]) for p in sites.pools(conn)],
    )
