"""Why a group still waits: every pool's reason, and the one that stands in the headline.

Rule of the headline: the pool that came furthest down the chain of filters speaks (ties: the better
score, then the smaller pool id). Permanent reasons stand first in the chain, so the headline is a
permanent one only if every pool has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suanwang.engines.scheduling.arithmetic import Column
from suanwang.engines.scheduling.capacity import Gang, GridRoom, Vector
from suanwang.engines.scheduling.cards import KINDS
from suanwang.engines.scheduling.filters import CHAIN, CODE, Codes, Filters
from suanwang.engines.scheduling.limits import Limits
from suanwang.engines.scheduling.model import (
    PoolVerdict,
    QueueGroup,
    Refusal,
    RefusalReason,
)
from suanwang.engines.scheduling.pools import Bools, vector
from suanwang.engines.scheduling.scoring import Ranking, declared_end_ms
from suanwang.engines.scheduling.wording import called, detail, duration, resources
from suanwang.kernel.money import format_yuan
from suanwang.kernel.resources import Resources

VERDICTS_KEPT = 5
"""A refusal in a plan carries the best few pools; `candidates` gives them all."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The end of a round, against which refusals are worded."""

    filters: Filters
    room: GridRoom
    limits: Limits
    now_ms: int
    cut_short: bool
    """The round ended at its limit of placements, with room left."""


class RefusalBook:
    """Words refusals; groups of one class with the same limits share the work."""

    def __init__(self, standing: Standing) -> None:
        self._at = standing
        self._room_codes: dict[tuple[object, ...], Codes] = {}
        self._room_in: dict[tuple[bool, Vector, int], Bools] = {}
        self._asked: dict[tuple[Resources, int], str] = {}
        self._dearest: dict[int, int] = {}
        self._shared: dict[tuple[object, ...], tuple[PoolVerdict, ...]] = {}

    def refusal(self, group: QueueGroup, ranking: Ranking, count: int) -> Refusal:
        verdicts: tuple[PoolVerdict, ...] = ()
        if self._at.filters.columns.pools:
            started = count < group.count
            verdicts = self.verdicts(group, ranking, started=started, most=VERDICTS_KEPT)
        if not verdicts:
            text = "no pool is enrolled that your organisation may use"
            return Refusal(group.key, count, RefusalReason.NO_SITES, text)
        first = verdicts[0]
        reason = first.reason or RefusalReason.BEHIND_IN_FAIR_SHARE
        text = first.detail
        if reason is RefusalReason.OVER_PRICE_CAP:
            text = text.replace(first.pool_id, "cheapest match", 1)
        return Refusal(group.key, count, reason, text, verdicts)

    def verdicts(
        self, group: QueueGroup, ranking: Ranking, *, started: bool, most: int
    ) -> tuple[PoolVerdict, ...]:
        """Pools from the most to the least hopeful."""
        quota_full = tuple(self._quota_full(group, ranking))
        funds = self._funds_short(group, ranking)
        shares = self._at.limits.quota_shares(group) if any(quota_full) else ()
        key = (ranking.demand.class_id, id(ranking), started, quota_full, shares, funds, most)
        found = self._shared.get(key)
        if found is None:
            codes = self._codes(group, ranking, quota_full, started)
            found = self._worded(group, ranking, codes, most)
            self._shared[key] = found
        return found

    def _funds_short(self, group: QueueGroup, ranking: Ranking) -> tuple[str, int] | None:
        """The project and its funds where they matter: some passing pool may be too dear."""
        funds = self._at.limits.funds(group.project_id)
        if funds is None:
            return None
        dearest = self._dearest.get(id(ranking))
        if dearest is None:
            dearest = int(ranking.holds.max(initial=0))
            self._dearest[id(ranking)] = dearest
        return None if 0 <= funds >= dearest else (group.project_id, funds)

    def _quota_full(self, group: QueueGroup, ranking: Ranking) -> list[bool]:
        limits, demand = self._at.limits, ranking.demand
        if not limits.quota_shares(group):
            return [False] * len(demand.alternatives)
        return [
            limits.quota_room(group, r.resources * demand.members) < 1 for r in demand.alternatives
        ]

    def _codes(
        self, group: QueueGroup, ranking: Ranking, quota_full: tuple[bool, ...], started: bool
    ) -> Codes:
        at, demand = self._at, ranking.demand
        out = ranking.codes.copy()
        for alternative, full in enumerate(quota_full):
            if full:
                row = out[alternative]
                row[row == 0] = CODE[RefusalReason.QUOTA_EXCEEDED]
        funds = at.limits.funds(group.project_id)
        if funds is not None:
            short = (out == 0) & ((ranking.holds > funds) | (funds < 0))
            out[short] = CODE[RefusalReason.INSUFFICIENT_FUNDS]
        for alternative in range(len(demand.alternatives)):
            row = out[alternative]
            open_pools = row == 0
            if open_pools.any():
                row[open_pools] = self._room(ranking, alternative, started)[open_pools]
        return out

    def _room(self, ranking: Ranking, alternative: int, started: bool) -> Codes:
        """[pool] which kind of "no room": none at all, kept for another, or taken in this round."""
        demand = ranking.demand
        room, request = self._at.room, demand.alternatives[alternative]
        need = vector(request.resources)
        end_ms = declared_end_ms(demand, self._at.now_ms)
        key = (need, demand.members, end_ms, started)
        found = self._room_codes.get(key)
        if found is None:
            now_free = self._fits_free(need, demand.members, at_start=False)
            then_free = self._fits_free(need, demand.members, at_start=True)
            found = np.full(len(now_free), CODE[RefusalReason.NO_FREE_CAPACITY], dtype=np.int8)
            if room.width > KINDS:
                in_all = room.room_in(room.free[:, :KINDS], need, demand.members)
                found[in_all] = CODE[RefusalReason.FREE_SHARES_SPLIT]
            if not started:
                found[then_free] = CODE[RefusalReason.BEHIND_IN_FAIR_SHARE]
            found[now_free] = CODE[RefusalReason.RESERVED_FOR_EARLIER]
            if self._at.cut_short:
                beside = room.room_now(Gang(need, demand.members, end_ms))
                found[beside] = CODE[RefusalReason.BEHIND_IN_FAIR_SHARE]
            self._room_codes[key] = found
        return found

    def _fits_free(self, need: Vector, members: int, *, at_start: bool) -> Bools:
        """[pool] whether the gang fits in all that is free, or was when the round began."""
        key = (at_start, need, members)
        found = self._room_in.get(key)
        if found is None:
            room = self._at.room
            found = room.room_in(room.at_start if at_start else room.free, need, members)
            self._room_in[key] = found
        return found

    def _worded(
        self, group: QueueGroup, ranking: Ranking, codes: Codes, most: int
    ) -> tuple[PoolVerdict, ...]:
        at = self._at
        pools = codes.shape[1]
        out = []
        for flat in self._most_hopeful(ranking, codes, most):
            alternative, pool = divmod(flat, pools)
            code = int(codes[alternative, pool])
            reason = CHAIN[code - 1]
            if code in _OWN:
                text = self._owner_detail(group, ranking, alternative, pool, reason)
            else:
                text = detail(at.filters, ranking, alternative, pool, reason, at.now_ms)
            score = ranking.score(flat)
            pool_id = at.filters.columns.pools[pool].pool_id
            out.append(PoolVerdict(pool_id, alternative, score, reason, text))
        return tuple(out)

    def _most_hopeful(self, ranking: Ranking, codes: Codes, most: int) -> list[int]:
        """Flat indices of the candidates, those first that came furthest along the chain."""
        code = codes.reshape(-1)
        # what passes the filters comes before what does not, and is in order of score already
        passing = ranking.order[(-code[ranking.order]).argsort(kind="stable")][:most]
        if len(passing) == most:
            return [int(flat) for flat in passing]
        failing = (ranking.codes.reshape(-1) > CODE[RefusalReason.UNDER_CONTRACT]).nonzero()[0]
        near = self._nearness(ranking)[failing]
        failing = failing[np.lexsort((failing, near, -code[failing]))][: most - len(passing)]
        return [int(flat) for flat in (*passing, *failing)]

    def _nearness(self, ranking: Ranking) -> Column:
        """Among equal reasons: by how little it fails where that can be said, else by score."""
        filters = self._at.filters
        near = ranking.money + (ranking.wait + ranking.transfer)
        for alternative, request in enumerate(ranking.demand.alternatives):
            for reason, figure in (
                (RefusalReason.OVER_PRICE_CAP, ranking.rates[alternative]),
                (RefusalReason.RUNTIME_OVER_LIMIT, -filters.columns.max_runtime_s),
                (RefusalReason.TOO_BIG_FOR_POOL, -filters.fits(request.resources)[1]),
                (RefusalReason.TOO_BIG_FOR_NODE, -filters.largest(request.resources)),
            ):
                at = ranking.codes[alternative] == CODE[reason]
                near[alternative][at] = figure[at]
        out: Column = near.reshape(-1)
        return out

    def _owner_detail(
        self,
        group: QueueGroup,
        ranking: Ranking,
        alternative: int,
        pool: int,
        reason: RefusalReason,
    ) -> str:
        at, demand = self._at, ranking.demand
        request = demand.alternatives[alternative]
        whole = request.resources * demand.members
        if reason is RefusalReason.QUOTA_EXCEEDED:
            for share in at.limits.quota_shares(group):
                left = at.limits.quota_left(share)
                if not whole.fits_in(left):
                    return (
                        f"quota of {share} has {resources(left)} left, you asked {resources(whole)}"
                    )
        if reason is RefusalReason.INSUFFICIENT_FUNDS:
            rate = int(ranking.rates[alternative, pool])
            hold = ranking.hold(alternative * ranking.codes.shape[1] + pool)
            return (
                f"{duration(demand.max_runtime_s)} at {format_yuan(rate)} yuan/h needs "
                f"{format_yuan(hold)} yuan free, project {group.project_id} has "
                f"{format_yuan(at.limits.funds(group.project_id) or 0)}"
            )
        where = called(at.filters.columns.pools[pool])
        asked = self._in_words(request.resources, demand.members)
        if reason is RefusalReason.RESERVED_FOR_EARLIER:
            ends = duration((declared_end_ms(demand, at.now_ms) - at.now_ms) // 1_000)
            return (
                f"{asked} is free in {where} but kept for an earlier demand that would be delayed "
                f"by {ends} of your work"
            )
        if reason is RefusalReason.BEHIND_IN_FAIR_SHARE:
            return f"{where} had room for {asked}, work ahead of yours in the fair order took it"
        if reason is RefusalReason.FREE_SHARES_SPLIT:
            return f"{where} has {asked} free in all, but split over several cards"
        return f"{where} has no room for {asked} now"

    def _in_words(self, need: Resources, members: int) -> str:
        found = self._asked.get((need, members))
        if found is None:
            one = resources(need)
            found = f"{members} x ({one})" if members > 1 else one
            self._asked[(need, members)] = found
        return found


_OWN = range(CODE[RefusalReason.QUOTA_EXCEEDED], len(CHAIN) + 1)
"""Codes of the owner's limits and of room; before them stand the filters."""
