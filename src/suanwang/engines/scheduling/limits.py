"""Quotas and funds during a round: what shares may still start and projects still commit."""

from __future__ import annotations

from collections.abc import Iterable

from suanwang.engines.scheduling.arithmetic import UNBOUNDED
from suanwang.engines.scheduling.model import Funds, QueueGroup, Quota
from suanwang.kernel.resources import Resources


class Limits:
    """Room only shrinks within a round."""

    def __init__(self, quotas: Iterable[Quota], funds: Iterable[Funds]) -> None:
        self._quotas = {q.share_id: q.limit - q.used for q in quotas}
        self._funds = {f.project_id: f.available_micro_yuan for f in funds}

    def quota_shares(self, group: QueueGroup) -> tuple[str, ...]:
        if not self._quotas:
            return ()
        path = (group.organisation_id, group.project_id, group.user_id)
        return tuple([share for share in path if share in self._quotas])

    def quota_left(self, share_id: str) -> Resources:
        return self._quotas[share_id]

    def quota_room(self, group: QueueGroup, need: Resources) -> int:
        """How many more tasks of `need` the quotas on the group's path allow."""
        room = UNBOUNDED
        for share in self.quota_shares(group):
            room = min(room, _times(need, self._quotas[share]))
        return room

    def funds(self, project_id: str) -> int | None:
        return self._funds.get(project_id)

    def funds_room(self, project_id: str, hold: int) -> int:
        available = self._funds.get(project_id)
        if available is None:
            return UNBOUNDED
        if available < 0:
            return 0
        return available // hold if hold > 0 else UNBOUNDED

    def spend(self, group: QueueGroup, need: Resources, hold: int, times: int) -> None:
        for share in self.quota_shares(group):
            self._quotas[share] = self._quotas[share] - need * times
        if group.project_id in self._funds:
            self._funds[group.project_id] -= hold * times


def _times(need: Resources, left: Resources) -> int:
    room = UNBOUNDED
    for part, have in (
        (need.cpu_milli, left.cpu_milli),
        (need.memory_mib, left.memory_mib),
        (need.disk_mib, left.disk_mib),
        (need.accelerator_milli, left.accelerator_milli),
    ):
        if part > 0:
            room = min(room, have // part)
    return max(0, room)
