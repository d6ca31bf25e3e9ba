"""What lists of jobs say beside each job."""

from __future__ import annotations

import pytest

from billing_world import HOUR_0, PROJECT, World, usage_of
from suanwang.edge.portal.listing import spending
from suanwang.grid.jobs.model import Job, TaskState
from suanwang.platform.database import InlineDatabase
from suanwang.tenancy.model import Principal, Role, Scope
from suanwang.trade.billing import reports


def job_of(job_id: str) -> Job:
    return Job(
        job_id=job_id,
        organisation_id="org_user",
        project_id=PROJECT,
        user_id="usr_1",
        name="x",
        class_id="cls_1",
        priority=0,
        state=TaskState.FAILED,
        cancel_requested=False,
        created_at_ms=HOUR_0,
        ended_at_ms=HOUR_0 + 1_000,
        total=1,
        waiting=0,
        queued=0,
        leased=0,
        running=0,
        succeeded=0,
        failed=1,
        cancelled=0,
        refused=0,
        depends_on=[],
        is_array=False,
        purged_at_ms=None,
    )


OPERATOR = Principal(
    user_id="usr_1",
    user_name="admin",
    organisation_id="org_operator",
    role=Role.OPERATOR,
    projects=(),
    scopes=frozenset(Scope),
)


async def test_what_other_jobs_cost_hides_no_cost(
    inline_database: InlineDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of the failed ones: between two of them lie more jobs than a report's page has."""
    monkeypatch.setattr(reports, "PAGE_LIMIT", 3)
    world = World(inline_database)
    for number in range(1, 7):
        run = world.run(lease_id=f"lea_{number}", job_id=f"job_{number}")
        await world.settle(usage_of(run, HOUR_0, HOUR_0 + 1_000))
    shown = [job_of("job_6"), job_of("job_1")]
    found = inline_database.read_now(lambda conn: spending(conn, OPERATOR, shown, HOUR_0 + 9_999))
    assert found == {"job_1": 1_000, "job_6": 1_000}
