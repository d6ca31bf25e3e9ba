"""What happened in a run, counted, so that nobody mistakes an empty run for a clean one."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.grid.jobs.tables import leases, rounds, tasks
from suanwang.sim.world import World
from suanwang.trade.contracts.store import contracts, hours


def census(conn: Connection, world: World) -> dict[str, int]:
    seen: Counter[str] = Counter()
    for state, count in conn.execute(
        sa.select(tasks.c.state, sa.func.count()).group_by(tasks.c.state)
    ):
        seen[f"tasks {state}"] += count
    for outcome, stop in conn.execute(sa.select(leases.c.outcome, leases.c.stop)):
        seen[f"leases {outcome}"] += 1
        if stop:
            seen[f"stops {stop}"] += 1
    attempts, losses, failures = conn.execute(
        sa.select(
            sa.func.sum(tasks.c.attempt), sa.func.sum(tasks.c.losses), sa.func.sum(tasks.c.failures)
        )
    ).one()
    seen["attempts beyond the first"] = int(attempts or 0)
    seen["attempts lost"] = int(losses or 0)
    seen["attempts failed"] = int(failures or 0)
    seen["placements stale"] = int(
        conn.execute(sa.select(sa.func.coalesce(sa.func.sum(rounds.c.stale), 0))).scalar_one()
    )
    details = conn.execute(sa.select(tasks.c.detail).where(tasks.c.state != "succeeded"))
    for detail in details.scalars():
        word = detail.split(":")[0]
        if word.isalpha() and word[:1].isupper():
            seen[f"tasks ended {word}"] += 1
    seen["gangs run"] = sum(run.spec.members > 1 for run in world.runs)
    seen["array elements run"] = sum(run.spec.array_index is not None for run in world.runs)
    seen["runs unfenced"] = sum(not run.fenced for run in world.runs)
    seen["jobs with dependencies"] = sum(bool(asked.needs) for asked in world.accepted.values())
    for (state,) in conn.execute(sa.select(contracts.c.state)):
        seen[f"contracts {state}"] += 1
    settled = sa.select(hours).where(hours.c.settled_at_ms > 0)
    for hour in conn.execute(settled):
        seen["hours charged"] += hour.charged > 0
        seen["hours credited"] += hour.credited > 0
    on = sa.select(sa.func.count()).where(leases.c.contract_id.is_not(None))
    seen["leases on contracts"] = int(conn.execute(on).scalar_one())
    return dict(sorted(seen.items()))
