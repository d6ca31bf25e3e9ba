"""Hard filters: may this class ever run in this pool, and if not, which named reason comes first?

The filters form a chain. A pool's reason is the first link that breaks, so a later link means the
pool came closer to starting the work: that order also picks the headline of a refusal.
Permanent reasons come first, then passing states of the pool, then limits of the owner, then room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.scheduling.arithmetic import Column, Ints, ceiling, column_of, scaled, widened
from suanwang.engines.scheduling.model import (
    NO_CONTRACT,
    DemandClass,
    Input,
    Prices,
    RefusalReason,
    Request,
    whole_of,
)
from suanwang.engines.scheduling.packing_model import CARD
from suanwang.engines.scheduling.pools import Bools, PoolColumns, copies, vector
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources

Codes = NDArray[np.int8]

CHAIN: tuple[RefusalReason, ...] = (
    RefusalReason.UNDER_CONTRACT,
    RefusalReason.SITE_NOT_ALLOWED,
    RefusalReason.NOT_ON_CONTRACT,
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
    RefusalReason.CONTRACT_NOT_BEGUN,
    RefusalReason.RUNS_INTO_CONTRACT,
    RefusalReason.SITE_UNREACHABLE,
    RefusalReason.SITE_DRAINING,
    RefusalReason.PAST_DEADLINE,
    RefusalReason.QUOTA_EXCEEDED,
    RefusalReason.INSUFFICIENT_FUNDS,
    RefusalReason.NO_FREE_CAPACITY,
    RefusalReason.FREE_SHARES_SPLIT,
    RefusalReason.RESERVED_FOR_EARLIER,
    RefusalReason.BEHIND_IN_FAIR_SHARE,
)
CODE = {reason: code for code, reason in enumerate(CHAIN, start=1)}
"""Code 0 means the pool passes."""

_PASSES = np.int8(127)
"""Stands for it while codes are put together: the first link that breaks is the smallest code."""

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
        self._place_codes: dict[tuple[object, ...], Codes] = {}
        self._size_codes: dict[tuple[Request, int], Codes] = {}

    def codes(
        self,
        demands: Sequence[DemandClass],
        projects: Sequence[str],
        rates: Column,
        wait_s: Column,
        now_ms: int,
    ) -> Codes:
        """Codes of the chain up to the deadline; owner and room come later.

        [row, pool]: a row is an alternative of a demand, in turn, as in `rates`; `wait_s` has one
        for each demand, `projects` too: who asks, where the snapshot has capacity for him alone.
        """
        shared = np.array([self._place(demand) for demand in demands])
        due = [i for i, d in enumerate(demands) if d.deadline_ms is not None]
        if due:
            expected = column_of([demands[i].expected_runtime_s for i in due])
            deadline = column_of([demands[i].deadline_ms or 0 for i in due])
            late = (wait_s[due] + expected) * 1_000 + now_ms > deadline
            shared[due] = np.minimum(shared[due], _refused(RefusalReason.PAST_DEADLINE, late))
        if self.columns.parted:
            np.minimum(shared, self._parts(demands, projects, wait_s, now_ms), out=shared)
        rows = [(i, request) for i, d in enumerate(demands) for request in d.alternatives]
        sizes = np.array([self._size_of(request, demands[i].members) for i, request in rows])
        out: Codes = np.minimum(shared[[i for i, _ in rows]], sizes)
        caps = [demands[i].max_rate_micro_yuan_per_hour for i, _ in rows]
        capped = [row for row, cap in enumerate(caps) if cap is not None]
        if capped:
            dear = rates[capped] > column_of([caps[row] or 0 for row in capped])
            out[capped] = np.minimum(out[capped], _refused(RefusalReason.OVER_PRICE_CAP, dear))
        out[out == _PASSES] = 0
        return out

    def _parts(
        self, demands: Sequence[DemandClass], projects: Sequence[str], wait_s: Column, now_ms: int
    ) -> Codes:
        """[demand, pool] the links of capacity under contract: whose, and from and until when."""
        out: Codes = np.full((len(demands), self._size), _PASSES, dtype=np.int8)
        end_ms = column_of([d.max_runtime_s * 1_000 + now_ms for d in demands])[:, 0]
        for index, pool in enumerate(self.columns.pools):
            part = pool.part
            if part is None:
                continue
            if part.closes_at_ms is not None:
                late = end_ms + wait_s[:, index] * 1_000 > part.closes_at_ms
                out[late, index] = CODE[RefusalReason.RUNS_INTO_CONTRACT]
            if part.opens_at_ms is not None and part.opens_at_ms > now_ms:
                out[:, index] = CODE[RefusalReason.CONTRACT_NOT_BEGUN]
            if part.project_id:
                others = np.array([project != part.project_id for project in projects])
                out[others, index] = CODE[RefusalReason.UNDER_CONTRACT]
        return out

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
            if 0 < resources.accelerator_milli < CARD:
                whole = columns.shapes[:, 3] // CARD
                each = np.minimum(each, whole * (CARD // resources.accelerator_milli))
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

    def staging(self, demands: Sequence[DemandClass]) -> tuple[Column, Column]:
        """[demand, pool] micro-yuan to bring every input there from its cheapest source, and
        seconds before the work runs if it starts now: the site's queue, then the data."""
        self._stage(dict.fromkeys(item for d in demands for item in d.inputs))
        money: list[Column] = []
        wait_s: list[Column] = []
        nothing: Column = np.zeros(self._size, dtype=np.int64)
        for demand in demands:
            parts = [self._staging[item] for item in demand.inputs]
            money.append(sum([m for m, _ in parts], start=nothing))
            ms = sum([t for _, t in parts], start=nothing)
            wait_s.append(
                self.columns.backlog_s + ceiling(ms, 1_000) if parts else self.columns.backlog_s
            )
        return np.array(money), np.array(wait_s)

    def _stage(self, items: Iterable[Input]) -> None:
        """Put price and time of bringing these inputs to each pool into the table."""
        new = [item for item in items if item not in self._staging]
        if not new:
            return
        links = [self._cheapest_source(item) for item in new]
        at, sizes = self.columns.site_index, column_of([item.size_mib for item in new])
        most = int(sizes.max())
        money = scaled(np.array([m for m, _ in links])[:, at], sizes, _MIB_PER_GIB)
        ms = widened(np.array([t for _, t in links])[:, at], most) * sizes
        self._staging.update(
            zip(new, zip(money, ceiling(ms, _MIB_PER_GIB), strict=True), strict=True)
        )

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

    def _size_of(self, request: Request, members: int) -> Codes:
        """The links that look at accelerators and at room when everything is empty."""
        found = self._size_codes.get((request, members))
        if found is None:
            columns = self.columns
            largest, pool_wide = self.fits(request.resources)
            found = np.minimum(
                _refused(RefusalReason.TOO_BIG_FOR_NODE, largest < 1),
                _refused(RefusalReason.TOO_BIG_FOR_POOL, pool_wide < members),
            )
            if request.resources.accelerator_milli > 0:
                small = (columns.accelerator_memory_mib < request.min_accelerator_memory_mib) | (
                    columns.accelerator_gflops < request.min_fp16_gflops
                )
                missing = _refused(RefusalReason.ACCELERATOR_MODEL, ~self._models(request))
                weak = _refused(RefusalReason.ACCELERATOR_TOO_SMALL, small)
                found = np.minimum(np.minimum(missing, weak), found)
            self._size_codes[(request, members)] = found
        return found

    def _place(self, demand: DemandClass) -> Codes:
        """The links that look only at what and where a pool is."""
        residencies = tuple(i.residency_regions for i in demand.inputs if i.residency_regions)
        key = (
            demand.sites,
            demand.excluded_sites,
            demand.pools,
            demand.regions,
            demand.site_kinds,
            demand.architectures,
            residencies,
            demand.max_runtime_s,
            demand.contract,
        )
        found = self._place_codes.get(key)
        if found is None:
            found = np.full(self._size, _PASSES, dtype=np.int8)
            for reason, refused in self._place_links(demand, residencies):
                np.minimum(found, _refused(reason, refused), out=found)
            self._place_codes[key] = found
        return found

    def _place_links(
        self, demand: DemandClass, residencies: tuple[tuple[str, ...], ...]
    ) -> Iterator[tuple[RefusalReason, Bools]]:
        columns, pools = self.columns, self.columns.pools

        def elsewhere(
            name: str, allowed: tuple[str, ...], read: Callable[[int], str | None]
        ) -> Bools:
            return ~self._any_of(name, allowed, read)

        yield (
            RefusalReason.SITE_NOT_ALLOWED,
            elsewhere("site", demand.sites, lambda i: columns.sites[i]),
        )
        if demand.excluded_sites:
            barred = self._any_of("site!", demand.excluded_sites, lambda i: columns.sites[i])
            yield RefusalReason.SITE_NOT_ALLOWED, barred
        if demand.contract:
            paid_by = np.array([p.part.contract_id if p.part else "" for p in pools])
            wanted = "" if demand.contract == NO_CONTRACT else demand.contract
            yield RefusalReason.NOT_ON_CONTRACT, paid_by != wanted
        yield (
            RefusalReason.SITE_NOT_ALLOWED,
            elsewhere("pool", demand.pools, lambda i: whole_of(pools[i])),
        )
        yield (
            RefusalReason.REGION_NOT_ALLOWED,
            elsewhere("region", demand.regions, lambda i: pools[i].region),
        )
        yield (
            RefusalReason.SITE_KIND_NOT_ALLOWED,
            elsewhere("kind", demand.site_kinds, lambda i: pools[i].site_kind),
        )
        yield (
            RefusalReason.ARCHITECTURE,
            elsewhere("architecture", demand.architectures, lambda i: pools[i].architecture),
        )
        for regions in residencies:
            yield (
                RefusalReason.DATA_RESIDENCY,
                elsewhere("region", regions, lambda i: pools[i].region),
            )
        yield RefusalReason.RUNTIME_OVER_LIMIT, columns.max_runtime_s < demand.max_runtime_s
        yield RefusalReason.SITE_UNREACHABLE, ~columns.reachable
        yield RefusalReason.SITE_DRAINING, columns.draining

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


def _refused(reason: RefusalReason, refused: Bools) -> Codes:
    return np.where(refused, np.int8(CODE[reason]), _PASSES)
