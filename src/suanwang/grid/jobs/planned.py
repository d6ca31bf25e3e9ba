"""A snapshot with its plan, kept for those who ask why their work waits.

A forecast costs as much as a few rounds and is the same for everybody who asks of one group: it is
worked out once for a snapshot and goes when the snapshot goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from suanwang.engines.scheduling.forecast import Explanation, explain
from suanwang.engines.scheduling.model import Plan
from suanwang.grid.jobs.snapshot import Gathered

Key = tuple[str, str, str, str, int]

ROUND_KEPT_MS = 5_000
"""Somebody waits, so the leader plans about every second: the last round is older only while the
leader is in trouble."""

PLANNED_KEPT_MS = 2_000
"""Where no rounds are planned, a plan made for an answer serves the answers of as long."""

MOST_EXPLAINED = 1_000


@dataclass(slots=True)
class Planned:
    """What was seen at `now_ms`, and what was decided."""

    gathered: Gathered
    plan: Plan
    now_ms: int
    applied: bool = False
    """By a round: what it placed waits no more, though the snapshot says so."""
    _explained: dict[Key, Explanation] = field(default_factory=dict)
    _one_at_a_time: Lock = field(default_factory=Lock)

    def knows(self, group: Key | None, now_ms: int) -> bool:
        """Whether it may still be asked, of a group that waits at its end."""
        if now_ms - self.now_ms > (ROUND_KEPT_MS if self.applied else PLANNED_KEPT_MS):
            return False
        if group is None:
            return True
        if self.applied:
            return any(refusal.group == group for refusal in self.plan.refusals)
        return any(known.key == group for known in self.gathered.snapshot.queue)

    def explanation(self, group: Key) -> Explanation | None:
        """None if it has no such group. Takes up to a second or two at first: not on a loop."""
        snapshot = self.gathered.snapshot
        if not any(known.key == group for known in snapshot.queue):
            return None
        with self._one_at_a_time:
            found = self._explained.get(group)
            if found is None:
                found = explain(snapshot, self.plan, group, self.now_ms)
                if len(self._explained) == MOST_EXPLAINED:
                    del self._explained[next(iter(self._explained))]
                self._explained[group] = found
        return found
