"""The fast play and the plain one give the same starts on random small snapshots."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.engine.plain_play import PlainPlay
from contract.engine.snapshots import NOW_MS, snapshots
from suanwang.engines.scheduling.forecast import explain
from suanwang.engines.scheduling.forecast_pace import CLOSE, WIDE, Pace
from suanwang.engines.scheduling.forecast_queue import Play, Scene
from suanwang.engines.scheduling.model import Snapshot
from suanwang.engines.scheduling.plan import Judgement, Round, plan

ROUNDS = 120
EAGER = Pace(1, 2)


@settings(max_examples=80, deadline=None)
@given(snapshots(), st.sampled_from((CLOSE, WIDE, EAGER)), st.integers(0, 8))
def test_same_start(snapshot: Snapshot, pace: Pace, number: int) -> None:
    agree(snapshot, pace, number)


@settings(max_examples=80, deadline=None)
@given(snapshots(plain=True), st.sampled_from((CLOSE, WIDE, EAGER)), st.integers(0, 8))
def test_same_start_where_most_demands_could_run(
    snapshot: Snapshot, pace: Pace, number: int
) -> None:
    agree(snapshot, pace, number)


def agree(snapshot: Snapshot, pace: Pace, number: int) -> None:
    snapshot = replace(snapshot, policy=replace(snapshot.policy, fragmentation_aware=False))
    made = plan(snapshot, NOW_MS)
    judgement = Judgement(snapshot)
    for refusal in made.refusals[:3]:
        scene = Scene(snapshot, made.placements, NOW_MS, pace, judgement)
        fast = Play(scene, number).first_start(refusal.group)
        plain = PlainPlay(snapshot, made.placements, NOW_MS, pace, number)
        assert fast == plain.first_start(refusal.group, ROUNDS)


@settings(max_examples=60, deadline=None)
@given(snapshots())
def test_the_end_of_a_round_needs_only_those_who_left_a_trace(snapshot: Snapshot) -> None:
    """`explain` replays the plan without the groups that nothing was done for."""
    made = plan(snapshot, NOW_MS)
    for refusal in made.refusals[:3]:
        said = explain(snapshot, made, refusal.group, NOW_MS)
        whole = Round(snapshot, NOW_MS, 0)
        whole.replay(made)
        assert (said.reason, said.waiting) == (refusal.reason, refusal.count)
        known = [v for v in refusal.verdicts if v.reason is not None]
        assert list(said.verdicts[: len(known)]) == known


def test_a_pace_looks_at_every_end_first_and_then_ever_more_seldom() -> None:
    assert [CLOSE.step_ms(rounds, 6_000) for rounds in (0, 24, 25)] == [0, 0, 600]
    assert WIDE.step_ms(25, 6_000) == 300
