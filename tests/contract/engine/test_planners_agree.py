"""The fast planner and the plain reference give the same plan on random small snapshots."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.engine.reference_planner import reference_plan
from contract.engine.snapshots import NOW_MS, snapshots
from suanwang.engines.scheduling.model import Plan, Snapshot
from suanwang.engines.scheduling.plan import plan


def comparable(made: Plan) -> Plan:
    """Details are words, verdicts and preemptions have tests of their own."""
    refusals = tuple(replace(r, detail="", verdicts=()) for r in made.refusals)
    return replace(made, refusals=refusals, preemptions=())


@settings(max_examples=120, deadline=None)
@given(snapshots(), st.sampled_from((0, 0, 7)))
def test_same_plan(snapshot: Snapshot, seed: int) -> None:
    assert comparable(plan(snapshot, NOW_MS, seed)) == reference_plan(snapshot, NOW_MS, seed)


@settings(max_examples=100, deadline=None)
@given(snapshots(plain=True))
def test_same_plan_where_most_demands_could_run(snapshot: Snapshot) -> None:
    assert comparable(plan(snapshot, NOW_MS)) == reference_plan(snapshot, NOW_MS)
