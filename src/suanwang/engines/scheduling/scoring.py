"""The score of a candidate: money + waiting + data transfer, all in micro-yuan.

    money     = rate of the whole gang x expected run time            x money_percent
    wait      = seconds until the work runs (site's own queue + data) x what an hour is worth
    transfer  = links' price for the inputs that are not there yet    x transfer_percent

The smaller total wins; ties go to the earlier alternative, then to the smaller pool id.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from suanwang.engines.scheduling.arithmetic import Column, Ints, scaled
from suanwang.engines.scheduling.filters import Codes, Filters
from suanwang.engines.scheduling.model import DemandClass, Score, Weights
from suanwang.kernel.time import MS_PER_SECOND

_HOUR_S = 3_600


@dataclass(slots=True)
class Candidate:
    """A (pool, alternative) that passes the hard filters for a class, with its score."""

    pool: int
    alternative: int
    score: Score


@dataclass(slots=True)
class Ranking:
    """A class under one organisation's weights: every pool judged, the passing ones in order."""

    demand: DemandClass
    codes: Codes
    """[alternative, pool]; 0 passes."""
    rates: Column
    money: Column
    wait: Column
    transfer: Column
    wait_s: Column
    order: Ints
    """Flat indices (alternative x pools + pool) of the passing candidates, best first."""
    hold_percent: int
    _holds: Column | None = None
    _hold_list: list[int] | None = None
    _made: dict[int, Candidate] = field(default_factory=dict)

    def candidate(self, flat: int) -> Candidate:
        found = self._made.get(flat)
        if found is None:
            alternative, pool = divmod(flat, self.codes.shape[1])
            found = Candidate(pool, alternative, self.score(alternative, pool))
            self._made[flat] = found
        return found

    def hold(self, flat: int) -> int:
        """Micro-yuan that must be free in the project's account before a start."""
        if self._hold_list is None:
            self._hold_list = self.holds().reshape(-1).tolist()
        return self._hold_list[flat]

    def holds(self) -> Column:
        """[alternative, pool] rate x declared time x percent."""
        if self._holds is None:
            of_rate = self.demand.max_runtime_s * self.hold_percent
            self._holds = scaled(self.rates, of_rate, _HOUR_S * 100)
        return self._holds

    def score(self, alternative: int, pool: int) -> Score:
        money = int(self.money.item(alternative, pool))
        wait, transfer = int(self.wait.item(pool)), int(self.transfer.item(pool))
        return Score(
            total=money + wait + transfer,
            money=money,
            wait=wait,
            transfer=transfer,
            rate_micro_yuan_per_hour=int(self.rates.item(alternative, pool)),
            expected_wait_s=int(self.wait_s.item(pool)),
        )


def rank(
    filters: Filters, demand: DemandClass, weights: Weights, hold_percent: int, now_ms: int
) -> Ranking:
    codes = filters.codes(demand, now_ms)
    rates: Column = np.array([filters.rates(r, demand.members) for r in demand.alternatives])
    rates = rates.reshape(codes.shape)
    money = scaled(scaled(rates, demand.expected_runtime_s, _HOUR_S), weights.money_percent, 100)
    wait_s = filters.wait_s(demand)
    wait = scaled(wait_s, weights.wait_micro_yuan_per_hour, _HOUR_S)
    transfer = filters.transfer_money(demand)
    if demand.inputs:
        transfer = scaled(transfer, weights.transfer_percent, 100)
    totals = (money + (wait + transfer)).reshape(-1)
    passing = (codes.reshape(-1) == 0).nonzero()[0]
    # flat indices already rise by alternative, then by pool, and the sort is stable
    order = passing[totals[passing].argsort(kind="stable")]
    return Ranking(demand, codes, rates, money, wait, transfer, wait_s, order, hold_percent)


def declared_end_ms(demand: DemandClass, now_ms: int) -> int:
    return now_ms + demand.max_runtime_s * MS_PER_SECOND
