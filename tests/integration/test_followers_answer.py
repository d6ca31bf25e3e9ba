"""Two processes over one database, one of which leads: both say the same of what waits."""

from __future__ import annotations

import random as stdlib_random
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs_world import Grid, spec
from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.app import create_app
from suanwang.edge.api.context import Context
from suanwang.edge.portal.listing import job_rows
from suanwang.edge.portal.pages import install
from suanwang.grid.jobs import reading
from suanwang.kernel.errors import StaleWrite
from suanwang.platform.settings import load_settings
from suanwang.tenancy.model import system_principal

pytestmark = pytest.mark.postgres


def process(url: str, folder: Path) -> Context:
    return make_context(load_settings(environ={}, state=str(folder), database=url))


async def ask(context: Context, token: str, path: str) -> Any:
    app = create_app(context)
    install(app)
    headers = {"Authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_who_does_not_lead_knows_as_well_why_work_waits(
    postgres_url: str, tmp_path: Path
) -> None:
    leader, follower = (process(postgres_url, tmp_path) for _ in range(2))
    assert leader.leader is not None
    assert follower.leader is not None
    made = await first_start(leader)
    assert made.token is not None
    assert await leader.leader.campaign()
    assert not await follower.leader.campaign()
    database: Any = leader.database
    grid = await Grid(database, leader.clock, dice=stdlib_random.Random(1)).found()
    await grid.site()
    jobs = await grid.submit(*(spec(resources={"cpus": 4}) for _ in range(5)))
    await leader.dispatcher.round()

    queues = [await ask(one, made.token, "/v1/queue") for one in (leader, follower)]
    assert queues[0] == queues[1]
    [item] = queues[1]["items"]
    assert (item["count"], item["reason"]) == (3, "NoFreeCapacityNow")
    assert item["organisation_id"] == grid.owner.organisation_id

    for context in (leader, follower):
        shown = await context.database.read(
            lambda conn: job_rows(
                conn,
                system_principal(),
                [reading.require_job(conn, job) for job in jobs],
                leader.clock.now_ms(),
            )
        )
        assert sorted(row.reason for row in shown) == ["", "", *["NoFreeCapacityNow"] * 3]

    explained = [
        await ask(one, made.token, f"/v1/jobs/{jobs[-1]}/explain") for one in (leader, follower)
    ]
    reasons = [answer["waiting"]["reason"] for answer in explained]
    assert reasons == ["NoFreeCapacityNow"] * 2

    with pytest.raises(StaleWrite):
        await follower.dispatcher.round()
    for job in jobs:
        await grid.cancel(job)
    await leader.dispatcher.round()
    assert (await ask(follower, made.token, "/v1/queue")) == {"items": [], "at": None}
    for context in (leader, follower):
        await context.database.close()
