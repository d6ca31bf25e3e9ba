"""Hard filters: may this class ever run in this pool, and if not, which named reason comes first?

The filters form a chain. A pool's reason is the first link that breaks, so a later link means the
pool came closer to starting the work: that order also picks the headline of a refusal.
Permanent reasons come first, then passing states of the pool, then limits of the owner, then room.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.scheduling.arithmetic import Column, Ints, ceiling, scaled, widened
from suanwang.engines.scheduling.model import DemandClass, Input, Prices, RefusalReason, Request
from suanwang.engines.scheduling.pools import Bools, PoolColumns, copies, vector
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources

Codes = NDArray[np.int8]

CHAIN: tuple[RefusalReason, ...] = (
    RefusalReason.SITE_NOT_ALLOWED,
    RefusalReason.REGION_NOT_ALLOWED,
    RefusalReason.SITE_KIND_NOT_ALLOWED,
    RefusalReason.ARCHITECTURE,
    RefusalReason.DATA_RESIDENCY,
    RefusalReason.ACCELERATOR_MODEL,
    RefusalReason.ACCELERATOR_TOO_SMALL,
    RefusalReason.TOO_BIG_FOR_NODE,
    RefusalReason.TOO_BIG_FOR_POOL,
    RefusalReason.RUNTIME_OVER_LIMIT,
    RefusalReason.OVER_PRICE_CAP,
    RefusalReason.SITE_UNREACHABLE,
    RefusalReason.SITE_DRAINING,
    RefusalReason.PAST_DEADLINE,
    RefusalReason.QUOTA_EXCEEDED,
    RefusalReason.INSUFFICIENT_FUNDS,
    RefusalReason.NO_FREE_CAPACITY,
    RefusalReason.RESERVED_FOR_EARLIER,
    RefusalReason.BEHIND_IN_FAIR_SHARE,
)
CODE = {reason: code for code, reason in enumerate(CHAIN, start=1)}
"""Code 0 means the pool passes."""

_MILLI = 1_000
_MIB_PER_GIB = 1_024


def gang_rate(resources: Resources, members: int, prices: Prices) -> int:
    """Micro-yuan per hour of the whole gang, rounded once."""
    per_member = (
        resources.cpu_milli * prices.core_hour * _MIB_PER_GIB
        + resources.memory_mib * prices.memory_gib_hour * _MILLI
        + resources.accelerator_milli * prices.accelerator_hour * _MIB_PER_GIB
    )
    return scale(per_member * members, 1, _MILLI * _MIB_PER_GIB)


class Filters:
    """Judges classes over all pools; parts that classes share are computed once."""

    def __init__(self, columns: PoolColumns) -> None:
        self.columns = columns
        self._size = len(columns.pools)
        self._site_position = {site: i for i, site in enumerate(columns.site_ids)}
        self._text_masks: dict[tuple[str, tuple[str, ...]], Bools] = {}
        self._fits: dict[Resources, tuple[Ints, Ints]] = {}
        self._rates: dict[tuple[Resources, int], Column] = {}
        self._staging: dict[Input, tuple[Column, Column]] = {}

    def codes(self, demand: DemandClass, now_ms: int) -> Codes:
        """[alternative, pool] codes of the chain up to the deadline; owner and room come later."""
        shared = self._place_codes(demand)
        wait_s = self.wait_s(demand)
        rows = [
            self._row(demand, request, shared, wait_s, now_ms) for request in demand.alternatives
        ]
        return np.array(rows, dtype=np.int8).reshape(len(rows), self._size)

    def rates(self, request: Request, members: int) -> Column:
        """[pool] micro-yuan per hour of the whole gang."""
        key = (request.resources, members)
        found = self._rates.get(key)
        if found is None:
            lists = [gang_rate(request.resources, members, p) for p in self.columns.price_lists]
            wide = any(abs(rate) >= 1 << 62 for rate in lists)
            prices: Column = np.array(lists, dtype=object if wide else np.int64)
            found = prices[self.columns.price_index]
            self._rates[key] = found
        return found

    def fits(self, resources: Resources) -> tuple[Ints, Ints]:
        """[pool] copies on the largest node, and on all nodes of the pool, when empty."""
        found = self._fits.get(resources)
        if found is None:
            columns = self.columns
            each = np.where(columns.shape_count > 0, copies(columns.shapes, vector(resources)), 0)
            found = (
                np.maximum.reduceat(each, columns.shape_start),
                np.add.reduceat(each * columns.shape_count, columns.shape_start),
            )
            self._fits[resources] = found
        return found

    def largest(self, resources: Resources) -> Ints:
        """[pool] the largest node's accelerators, or cores if none are asked."""
        columns = self.columns
        kind = 3 if resources.accelerator_milli else 0
        return np.maximum.reduceat(columns.shapes[:, kind], columns.shape_start)

    def transfer_money(self, demand: DemandClass) -> Column:
        """[pool] micro-yuan to bring every input there from its cheapest source."""
        total: Column = np.zeros(self._size, dtype=np.int64)
        for item in demand.inputs:
            total = total + self._staged(item)[0]
        return total

    def wait_s(self, demand: DemandClass) -> Column:
        """[pool] seconds before the work runs if it starts now: the site's queue, then the data."""
        ms: Column = np.zeros(self._size, dtype=np.int64)
        for item in demand.inputs:
            ms = ms + self._staged(item)[1]
        return self.columns.backlog_s + ceiling(ms, 1_000)

    def _staged(self, item: Input) -> tuple[Column, Column]:
        found = self._staging.get(item)
        if found is None:
            money, ms = self._cheapest_source(item)
            at = self.columns.site_index
            found = (
                scaled(money[at], item.size_mib, _MIB_PER_GIB),
                ceiling(widened(ms[at], item.size_mib) * item.size_mib, _MIB_PER_GIB),
            )
            self._staging[item] = found
        return found

    def _cheapest_source(self, item: Input) -> tuple[Ints, Ints]:
        """[site] price and time per GiB; the cheaper link, then the faster, then the first id."""
        columns = self.columns
        sources = [
            self._site_position[s] for s in sorted(item.at_sites) if s in self._site_position
        ]
        if not sources:
            size = len(columns.site_ids)
            default = columns.default_link
            return (
                np.full(size, default.micro_yuan_per_gib, dtype=np.int64),
                np.full(size, default.ms_per_gib, dtype=np.int64),
            )
        money, ms = columns.links_money[sources[0]], columns.links_ms[sources[0]]
        for source in sources[1:]:
            other_money, other_ms = columns.links_money[source], columns.links_ms[source]
            better = (other_money < money) | ((other_money == money) & (other_ms < ms))
            money = np.where(better, other_money, money)
            ms = np.where(better, other_ms, ms)
        return money, ms

    def _row(
        self, demand: DemandClass, request: Request, shared: Codes, wait_s: Column, now_ms: int
    ) -> Codes:
        columns = self.columns
        out = shared.copy()
        if request.resources.accelerator_milli > 0:
            _refuse(out, RefusalReason.ACCELERATOR_MODEL, ~self._models(request))
            small = (columns.accelerator_memory_mib < request.min_accelerator_memory_mib) | (
                columns.accelerator_gflops < request.min_fp16_gflops
            )
            _refuse(out, RefusalReason.ACCELERATOR_TOO_SMALL, small)
        largest, pool_wide = self.fits(request.resources)
        _refuse(out, RefusalReason.TOO_BIG_FOR_NODE, largest < 1)
        _refuse(out, RefusalReason.TOO_BIG_FOR_POOL, pool_wide < demand.members)
        _refuse(out, RefusalReason.RUNTIME_OVER_LIMIT, columns.max_runtime_s < demand.max_runtime_s)
        cap = demand.max_rate_micro_yuan_per_hour
        if cap is not None:
            _refuse(out, RefusalReason.OVER_PRICE_CAP, self.rates(request, demand.members) > cap)
        _refuse(out, RefusalReason.SITE_UNREACHABLE, ~columns.reachable)
        _refuse(out, RefusalReason.SITE_DRAINING, columns.draining)
        if demand.deadline_ms is not None:
            done = (wait_s + demand.expected_runtime_s) * 1_000 + now_ms
            _refuse(out, RefusalReason.PAST_DEADLINE, done > demand.deadline_ms)
        return out

    def _place_codes(self, demand: DemandClass) -> Codes:
        """The links that look only at where a pool is, the same for every alternative."""
        out: Codes = np.zeros(self._size, dtype=np.int8)
        if demand.sites or demand.excluded_sites:
            allowed = self._any_of("site", demand.sites, lambda i: self.columns.sites[i])
            barred = self._any_of("site!", demand.excluded_sites, lambda i: self.columns.sites[i])
            refused = ~allowed | (barred if demand.excluded_sites else False)
            _refuse(out, RefusalReason.SITE_NOT_ALLOWED, refused)
        pools = self.columns.pools
        for reason, name, allowed_texts, read in (
            (RefusalReason.REGION_NOT_ALLOWED, "region", demand.regions, lambda i: pools[i].region),
            (
                RefusalReason.SITE_KIND_NOT_ALLOWED,
                "kind",
                demand.site_kinds,
                lambda i: pools[i].site_kind,
            ),
            (
                RefusalReason.ARCHITECTURE,
                "architecture",
                demand.architectures,
                lambda i: pools[i].architecture,
            ),
        ):
            if allowed_texts:
                _refuse(out, reason, ~self._any_of(name, allowed_texts, read))
        for item in demand.inputs:
            if item.residency_regions:
                inside = self._any_of("region", item.residency_regions, lambda i: pools[i].region)
                _refuse(out, RefusalReason.DATA_RESIDENCY, ~inside)
        return out

    def _models(self, request: Request) -> Bools:
        def model(i: int) -> str | None:
            spec = self.columns.pools[i].accelerator
            return spec.model if spec else None

        if request.accelerator_models:
            return self._any_of("model", request.accelerator_models, model)
        return self._where("has accelerator", (), lambda i: model(i) is not None)

    def _any_of(
        self, name: str, allowed: tuple[str, ...], read: Callable[[int], str | None]
    ) -> Bools:
        """[pool] whether the pool's text is allowed; any is, if nothing is named."""
        if not allowed:
            return self._where("any", (), lambda _: True)
        return self._where(name, allowed, lambda i: read(i) in allowed)

    def _where(self, name: str, values: tuple[str, ...], test: Callable[[int], bool]) -> Bools:
        found = self._text_masks.get((name, values))
        if found is None:
            found = np.array([test(i) for i in range(self._size)], dtype=bool)
            self._text_masks[(name, values)] = found
        return found


def _refuse(codes: Codes, reason: RefusalReason, refused: Bools) -> None:
    codes[(codes == 0) & refused] = CODE[reason]
