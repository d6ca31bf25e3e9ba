"""Why does my work wait, until when, and what would help? (docs/mechanisms/explain.md)"""

from __future__ import annotations

from dataclasses import dataclass, replace

from suanwang.engines.scheduling.forecast_pace import CLOSE
from suanwang.engines.scheduling.forecast_queue import Key, Play, Scene
from suanwang.engines.scheduling.forecast_scene import scene
from suanwang.engines.scheduling.model import (
    Plan,
    PoolVerdict,
    RefusalReason,
    Snapshot,
)
from suanwang.engines.scheduling.plan import Round
from suanwang.engines.scheduling.refusals import RefusalBook
from suanwang.engines.scheduling.remedies import Remedies, Remedy
from suanwang.kernel.errors import NotFound

PLAYS = 9
"""With nine plays the real start falls behind the last of them in one case of ten."""

CONFIDENCE_PERCENT = 90
PLAYS_FIRST = 3

WORK_CLOSE = 120_000
"""Where there is little to play, nine plays are played to the end."""

WORK = 60_000
"""Looks at groups that all plays together may take: one to two seconds, which whoever asks of the
same work shares. Fewer rivals or longer steps would be quicker and wrong by several times."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """When the group's next task starts: as likely before as after `expected_start_ms`, and with
    `confidence_percent` not after `latest_start_ms`, if nobody overtakes it who is not here yet."""

    earliest_start_ms: int
    expected_start_ms: int
    latest_start_ms: int | None
    """None: further away than was looked."""
    confidence_percent: int = CONFIDENCE_PERCENT


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known about a group's wait."""

    group: Key
    waiting: int
    reason: RefusalReason | None
    """None: nothing of it waits any more."""
    detail: str
    verdicts: tuple[PoolVerdict, ...]
    """Every pool and alternative, the most hopeful first."""
    reserved_start_ms: int | None
    """Its reservation in this round, by declared run times: it starts by then."""
    estimate: Estimate | None
    remedies: tuple[Remedy, ...]


def explain(snapshot: Snapshot, plan: Plan, group: Key, now_ms: int) -> Explanation:
    """`plan` must have been made of this very snapshot. NotFound if the group is not in it."""
    round_ = _end_of_round(snapshot, plan, group, now_ms)
    waiting = round_.waiting[group]
    refusal = next((r for r in plan.refusals if r.group == group), None)
    if refusal is None:
        return Explanation(group, 0, None, "everything of it starts now", (), None, None, ())
    columns = round_.filters.columns
    book = RefusalBook(round_.standing())
    started = refusal.count < waiting.group.count
    most = max(1, len(columns.pools) * len(waiting.ranking.demand.alternatives))
    verdicts = (
        book.verdicts(waiting.group, waiting.ranking, started=started, most=most)
        if columns.pools
        else ()
    )
    reserved = next((r.start_at_ms for r in plan.reservations if r.group == group), None)
    return Explanation(
        group,
        refusal.count,
        refusal.reason,
        refusal.detail,
        verdicts,
        reserved,
        played(scene(round_, plan, group), group),
        Remedies(round_, waiting.group).all(),
    )


def estimate(snapshot: Snapshot, plan: Plan, group: Key, now_ms: int) -> Estimate | None:
    """Play the queue forward a few times. None if the group starts in no play."""
    return played(scene(_end_of_round(snapshot, plan, group, now_ms), plan, group), group)


def played(begin: Scene, group: Key) -> Estimate | None:
    """Three plays side by side in virtual time; when two have started, the other six with them.
    If they have not at a third of the work, one goes on alone: what is far away is told without a
    bound, and what takes more work than there is is not told."""
    if not begin.may_start(group):
        return None
    close = begin.pace == CLOSE
    limit = WORK_CLOSE if close else WORK
    to_come = PLAYS if close else PLAYS_FIRST
    under_way = [Play(begin, number) for number in range(to_come)]
    starts: list[int] = []
    middle: int | None = None
    work = 0
    while under_way and work < limit:
        if len(starts) > PLAYS_FIRST // 2 and to_come < PLAYS:
            middle = max(starts)
            under_way += [Play(begin, number) for number in range(to_come, PLAYS)]
            to_come = PLAYS
        if to_come < PLAYS and work > limit // 3:
            del under_way[1:]
        play = min(under_way, key=lambda one: one.now_ms)
        before = play.work
        started = not play.over and play.starts_in_next_round(group)
        work += play.work - before
        if started:
            starts.append(play.now_ms)
        if started or play.over:
            under_way.remove(play)
    return _estimate(starts, middle, alone=to_come < PLAYS and work > limit // 3)


def _estimate(starts: list[int], middle: int | None, *, alone: bool) -> Estimate | None:
    """`middle` of the first three plays, if it is known; `alone`: the last one went on alone, and
    stands for the later ones of the three."""
    starts = sorted(starts)
    if len(starts) == PLAYS:
        return Estimate(starts[0], starts[PLAYS // 2], starts[-1])
    if len(starts) > PLAYS // 2:
        return Estimate(starts[0], starts[PLAYS // 2], None)
    if middle is not None or len(starts) > PLAYS_FIRST // 2 or (alone and starts):
        return Estimate(starts[0], starts[-1] if middle is None else middle, None, 50)
    return None


def _end_of_round(snapshot: Snapshot, plan: Plan, group: Key, now_ms: int) -> Round:
    """The round of this plan at its end. Who neither started nor has a reservation nor is the
    group itself left no trace in it, and is not looked at."""
    traced = {p.group for p in plan.placements} | {r.group for r in plan.reservations} | {group}
    queue = tuple(g for g in snapshot.queue if g.key in traced)
    round_ = Round(replace(snapshot, queue=queue), now_ms, 0)
    if group not in round_.waiting:
        raise NotFound("UnknownGroup", f"There is no group {group} in this snapshot.")
    round_.replay(plan)
    round_.snapshot = snapshot
    return round_
