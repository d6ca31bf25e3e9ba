"""The score of a candidate: money + waiting + data transfer, all in micro-yuan.

    money     = rate of the whole gang x expected run time            x money_percent
    wait      = seconds until the work runs (site's own queue + data) x what an hour is worth
    transfer  = links' price for the inputs that are not there yet    x transfer_percent

The smaller total wins; ties go to the earlier alternative, then to the smaller pool id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from suanwang.engines.scheduling.arithmetic import Column, Ints, column_of, scaled
from suanwang.engines.scheduling.filters import Codes, Filters
from suanwang.engines.scheduling.model import DemandClass, Score, Weights
from suanwang.kernel.time import MS_PER_SECOND

_HOUR_S = 3_600

Asked = tuple[DemandClass, Weights, str]
"""A class, how its organisation weighs, and the project where there is capacity for it alone."""


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
    holds: Column
    """[alternative, pool] micro-yuan that must be free in the project's account before a start."""
    _hold_list: list[int] | None = None
    _scores: dict[int, Score] = field(default_factory=dict)

    def at(self, flat: int) -> tuple[int, int]:
        """(alternative, pool)"""
        pools: int = self.codes.shape[1]
        return divmod(flat, pools)

    def hold(self, flat: int) -> int:
        if self._hold_list is None:
            self._hold_list = self.holds.reshape(-1).tolist()
        return self._hold_list[flat]

    def score(self, flat: int) -> Score:
        found = self._scores.get(flat)
        if found is None:
            alternative, pool = self.at(flat)
            money = int(self.money.item(alternative, pool))
            wait, transfer = int(self.wait.item(pool)), int(self.transfer.item(pool))
            found = Score(
                total=money + wait + transfer,
                money=money,
                wait=wait,
                transfer=transfer,
                rate_micro_yuan_per_hour=int(self.rates.item(alternative, pool)),
                expected_wait_s=int(self.wait_s.item(pool)),
            )
            self._scores[flat] = found
        return found


def rank(
    filters: Filters,
    asked: Sequence[Asked],
    hold_percent: int,
    now_ms: int,
) -> list[Ranking]:
    """All of them in one pass: tables with a row for each alternative of each class."""
    if not asked:
        return []
    demands = [demand for demand, _, _ in asked]
    projects = [project for _, _, project in asked]
    rates: Column = np.array(
        [filters.rates(r, demand.members) for demand in demands for r in demand.alternatives]
    )
    transfer, wait_s = filters.staging(demands)
    codes = filters.codes(demands, projects, rates, wait_s, now_ms)
    of = [(d, w) for d, w, _ in asked for _ in d.alternatives]
    money = scaled(rates, column_of([d.expected_runtime_s for d, _ in of]), _HOUR_S)
    money = scaled(money, column_of([w.money_percent for _, w in of]), 100)
    wait = scaled(wait_s, column_of([w.wait_micro_yuan_per_hour for _, w, _ in asked]), _HOUR_S)
    transfer = scaled(transfer, column_of([w.transfer_percent for _, w, _ in asked]), 100)
    holds = scaled(rates, column_of([d.max_runtime_s * hold_percent for d, _ in of]), _HOUR_S * 100)
    out = []
    start = 0
    for i, demand in enumerate(demands):
        rows = slice(start, start + len(demand.alternatives))
        start = rows.stop
        totals = (money[rows] + (wait[i] + transfer[i])).reshape(-1)
        passing = (codes[rows].reshape(-1) == 0).nonzero()[0]
        # flat indices already rise by alternative, then by pool, and the sort is stable
        order = passing[totals[passing].argsort(kind="stable")]
        out.append(
            Ranking(
                demand,
                codes[rows],
                rates[rows],
                money[rows],
                wait[i],
                transfer[i],
                wait_s[i],
                order,
                holds[rows],
            )
        )
    return out


def declared_end_ms(demand: DemandClass, now_ms: int) -> int:
    return now_ms + demand.max_runtime_s * MS_PER_SECOND
