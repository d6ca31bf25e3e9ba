"""A task's output over HTTP: what is there, what comes within so many seconds, or all of it.

A reader names the attempt and the byte to go on from, and is told of each answer's place: with
that it survives any broken line without a gap or a line twice. Whoever waits holds no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api.auth import Caller
from suanwang.edge.api.context import Context
from suanwang.edge.api.routes_jobs import context_of, job_for
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.desk import log_signal
from suanwang.grid.jobs.reading import OutputPart, OutputState
from suanwang.grid.jobs.reconciler import job_signal
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Database
from suanwang.platform.signals import Signals, wait_for

router = APIRouter(prefix="/v1", tags=["jobs"])
CHUNK_BYTES = 256 * 1024
MAX_WAIT_S = 30
LOOK_EVERY_S = 2.0
"""Signals from other processes may be lost: one looks again by oneself."""


class Place(msgspec.Struct, frozen=True):
    """Where to read on. `attempt` None: the last one there is, or the first that comes."""

    job_id: str
    task: int
    attempt: int | None
    stream: str
    offset: int


@router.get("/jobs/{job_id}/logs")
async def read_logs(
    request: Request,
    job_id: str,
    principal: Caller,
    task: Annotated[int, Query(ge=0)] = 0,
    attempt: Annotated[int | None, Query(ge=1)] = None,
    stream: Annotated[str, Query(pattern="^(stdout|stderr)$")] = "stdout",
    offset: Annotated[int, Query(ge=0)] = 0,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0,
    follow: bool = False,
) -> Response:
    """Output of a task's attempt, the last one by default.

    `wait` answers as soon as there is more or none will come, after so many seconds at most. The
    headers tell where to go on: `Attempt`, `Next-Offset`, and `Output` is `open` (more may come),
    `over` (this attempt has ended and all of it was read) or `final` (and no other follows).
    `follow` is one answer that goes on, through retries, until it is final.
    """
    context = context_of(request)
    job = await context.database.read(lambda conn: job_for(conn, principal, job_id))
    place = Place(job.job_id, task, attempt, stream, offset)
    part = await part_within(context.database, context.signals, place, 0 if follow else wait)
    if follow:
        rest = _all(context, place, part)
        return StreamingResponse(rest, media_type="text/plain; charset=utf-8")
    if part.lease_id and not part.data:
        await _check_kept(context, part.lease_id)
    headers = {
        "Attempt": str(part.attempt),
        "Next-Offset": str(part.next_offset),
        "Output": part.state.value,
    }
    return Response(part.data, media_type="text/plain; charset=utf-8", headers=headers)


async def _check_kept(context: Context, lease_id: str) -> None:
    """NotFound where there is nothing because it was dropped."""
    days = context.settings.output_retention_days
    if days:
        before_ms = context.clock.now_ms() - days * MS_PER_DAY
        await context.database.read(
            lambda conn: reading.check_output_kept(conn, lease_id, before_ms)
        )


async def part_within(
    database: Database, signals: Signals, place: Place, wait_s: float
) -> OutputPart:
    """What is there, or the first that comes within so many seconds, or that none will."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    lease_id = ""
    while True:
        names = [job_signal(place.job_id), *([log_signal(lease_id)] if lease_id else [])]
        news = signals.listen(*names)
        part = await database.read(lambda conn: _look(conn, place))
        left_s = until - loop.time()
        if part.data or part.state is not OutputState.OPEN or left_s <= 0:
            news.cancel()
            return part
        if part.lease_id != lease_id:
            lease_id = part.lease_id  # look again, listening to its output as well
            news.cancel()
            continue
        await wait_for(news, min(left_s, LOOK_EVERY_S))


def _look(conn: Connection, place: Place) -> OutputPart:
    return reading.output_part(
        conn,
        place.job_id,
        place.task,
        place.attempt,
        place.stream,
        place.offset,
        CHUNK_BYTES,
    )


async def _all(context: Context, place: Place, part: OutputPart) -> AsyncIterator[bytes]:
    at = place
    while True:
        if part.data:
            yield part.data
        over = part.state is OutputState.OVER
        if part.state is OutputState.FINAL or (over and place.attempt is not None):
            return
        attempt, offset = (part.attempt + 1, 0) if over else (part.attempt, part.next_offset)
        at = msgspec.structs.replace(at, attempt=attempt, offset=offset)
        part = await part_within(context.database, context.signals, at, MAX_WAIT_S)
