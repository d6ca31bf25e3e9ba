"""Runs of hours under faults: metered while they go on, and in the end the books are right."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from suanwang.sim import scenario, users
from suanwang.sim.scenario import Options, run_seed
from suanwang.sim.workload import Arrival, arrivals
from suanwang.trade.billing.store import usage

STRETCH = 100


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    yield
    logging.disable(before)


def stretched(
    dice: random.Random, jobs: int, span_s: float, people: int, start_ms: int
) -> list[Arrival]:
    """The usual work, a hundred times as long."""
    return [
        Arrival(
            arrival.at_s,
            arrival.user,
            arrival.spec.model_copy(
                update={
                    "env": {
                        "SECONDS_OF_WORK": str(float(arrival.spec.env["SECONDS_OF_WORK"]) * STRETCH)
                    },
                    "max_runtime": arrival.spec.max_runtime * STRETCH,
                }
            ),
            arrival.cancel_after_s,
            arrival.needs_previous,
        )
        for arrival in arrivals(dice, jobs, span_s, people, start_ms)
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [1, 2])
def test_hours_are_recorded_once_whatever_breaks(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "arrivals", stretched)
    monkeypatch.setattr(scenario, "LIVENESS_S", 72 * 3_600.0)
    on_the_way = []

    def audit_end(conn: sa.Connection, world: scenario.World) -> list[str]:
        query = sa.select(sa.func.count()).select_from(usage).where(~usage.c.final)
        on_the_way.append(conn.execute(query).scalar_one())
        return judge(conn, world)

    judge = scenario.audit_end
    monkeypatch.setattr(scenario, "audit_end", audit_end)
    outcome = run_seed(seed, Options(jobs=8, chaos_s=4_000.0))
    assert outcome.violations == []
    assert on_the_way[0] > 0
