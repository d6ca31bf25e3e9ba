"""What would make it start sooner? Small changes of the demand, each one tried before it is told.

Trying means: judge the changed demand on every pool again, against the room, reservations, quotas
and funds that the round left. A change is told only if one task would then start at once, without
taking anything from anybody; for demand that could never start, also if it would at least have a
start in sight. Of each kind of change the smallest that helps is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from suanwang.engines.scheduling.capacity import Gang, Vector
from suanwang.engines.scheduling.filters import CODE
from suanwang.engines.scheduling.model import (
    DemandClass,
    Pool,
    QueueGroup,
    RefusalReason,
    Request,
)
from suanwang.engines.scheduling.plan import Round
from suanwang.engines.scheduling.pools import vector
from suanwang.engines.scheduling.scoring import declared_end_ms
from suanwang.engines.scheduling.wording import duration, quantity
from suanwang.kernel.money import format_yuan
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND

MOST_SIZES_TRIED = 16


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that was tried and helps: the changed demand, where and when it would start."""

    kind: str
    """PriceCap, Region, SiteKind, Architecture, Site, AcceleratorModel, Size, Members, Runtime,
    Deadline or TopUp."""
    sentence: str
    demand: DemandClass
    pool_id: str
    start_at_ms: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A change to try, and how to say it if it helps."""

    kind: str
    sentence: str
    demand: DemandClass
    extra_funds: int = 0


class Remedies:
    """Tries changes for one group at the end of a round."""

    def __init__(self, round_: Round, group: QueueGroup) -> None:
        self._round = round_
        self._group = group
        self._demand = round_.classes[group.class_id]
        self._ranking = round_.ranking(self._demand, group)
        self._tried = 0
        self._free_ms: dict[tuple[int, Vector, int], int | None] = {}

    def all(self) -> tuple[Remedy, ...]:
        """Those that start at once first, then by start; at most one of each kind."""
        hopeless = self._start(self._demand, 0, later=True) is None
        best: dict[str, Remedy] = {}
        for trial in self._trials():
            if trial.kind in best and best[trial.kind].start_at_ms <= self._round.now_ms:
                continue
            found = self._start(trial.demand, trial.extra_funds, later=hopeless)
            if found is None:
                continue
            start_ms, pool_id = found
            known = best.get(trial.kind)
            if known is None or start_ms < known.start_at_ms:
                best[trial.kind] = Remedy(
                    trial.kind, trial.sentence, trial.demand, pool_id, start_ms
                )
        return tuple(sorted(best.values(), key=lambda r: (r.start_at_ms, r.kind)))

    def _start(
        self, demand: DemandClass, extra_funds: int, *, later: bool
    ) -> tuple[int, str] | None:
        """(when, where) one task of it would start: at once, or if `later`, by declared ends."""
        at, group = self._round, self._group
        self._tried += 1
        renamed = replace(demand, class_id=f"{demand.class_id}*{self._tried}")
        ranking = at.ranking(renamed, group)
        pools = at.filters.columns.pools
        funds = at.limits.funds(group.project_id)
        end_ms = declared_end_ms(renamed, at.now_ms)
        needs = [vector(request.resources) for request in renamed.alternatives]
        open_now = [at.room.room_now(Gang(need, renamed.members, end_ms)) for need in needs]
        quota = [
            at.limits.quota_room(group, request.resources * renamed.members)
            for request in renamed.alternatives
        ]
        best: tuple[int, int, str] | None = None
        for order, flat in enumerate(ranking.order.tolist()):
            alternative, pool = ranking.at(flat)
            if funds is not None and not 0 <= ranking.hold(flat) <= funds + extra_funds:
                continue
            if quota[alternative] < 1:
                continue
            if open_now[alternative][pool]:
                return at.now_ms, pools[pool].pool_id
            if later:
                free_ms = self._free_at(pool, needs[alternative], renamed.members)
                if free_ms is not None and (best is None or (free_ms, order) < best[:2]):
                    best = (free_ms, order, pools[pool].pool_id)
        return None if best is None else (best[0], best[2])

    def _free_at(self, pool: int, need: Vector, members: int) -> int | None:
        """When a gang fits there by declared ends; many changes leave that as it was."""
        key = (pool, need, members)
        if key not in self._free_ms:
            self._free_ms[key] = self._round.room.pools[pool].earliest(need, members)
        return self._free_ms[key]

    def _trials(self) -> Iterator[Trial]:
        yield from self._money()
        yield from self._places()
        yield from self._sizes()
        yield from self._times()

    def _refused(self, reason: RefusalReason) -> list[tuple[int, int]]:
        """(alternative, pool) that this reason stops."""
        where = (self._ranking.codes == CODE[reason]).nonzero()
        return list(zip(where[0].tolist(), where[1].tolist(), strict=True))

    def _money(self) -> Iterator[Trial]:
        rates = sorted({int(self._ranking.rates[a]) for a in self._refused(_R.OVER_PRICE_CAP)})
        for rate in rates:
            text = f"raise the price cap to {format_yuan(_up_to_cent(rate))} yuan/h"
            yield Trial("PriceCap", text, replace(self._demand, max_rate_micro_yuan_per_hour=rate))
        funds = self._round.limits.funds(self._group.project_id)
        if funds is not None:
            holds = sorted({self._ranking.hold(f) for f in self._ranking.order.tolist()})
            for hold in holds:
                if hold > funds:
                    missing = _up_to_cent(hold - funds)
                    text = f"top up project {self._group.project_id} by {format_yuan(missing)} yuan"
                    yield Trial("TopUp", text, self._demand, hold - funds)

    def _places(self) -> Iterator[Trial]:
        demand = self._demand
        for pool in self._pools_refused(_R.REGION_NOT_ALLOWED):
            changed = replace(demand, regions=(*demand.regions, pool.region))
            yield Trial("Region", f"allow region {pool.region}", changed)
        for pool in self._pools_refused(_R.SITE_KIND_NOT_ALLOWED):
            changed = replace(demand, site_kinds=(*demand.site_kinds, pool.site_kind))
            yield Trial("SiteKind", f"allow sites of kind {pool.site_kind}", changed)
        for pool in self._pools_refused(_R.ARCHITECTURE):
            changed = replace(demand, architectures=(*demand.architectures, pool.architecture))
            yield Trial("Architecture", f"allow architecture {pool.architecture}", changed)
        for pool in self._pools_refused(_R.SITE_NOT_ALLOWED):
            changed = replace(
                demand,
                sites=(*demand.sites, pool.site_id) if demand.sites else (),
                excluded_sites=tuple(s for s in demand.excluded_sites if s != pool.site_id),
                pools=(*demand.pools, pool.pool_id) if demand.pools else (),
            )
            yield Trial("Site", f"allow site {pool.site_id}", changed)
        for pool in self._pools_refused(_R.ACCELERATOR_MODEL, _R.ACCELERATOR_TOO_SMALL):
            if pool.accelerator is not None:
                model = pool.accelerator.model
                changed = replace(
                    demand, alternatives=(*demand.alternatives, _on_model(demand, model))
                )
                yield Trial("AcceleratorModel", f"accept accelerators of model {model}", changed)

    def _pools_refused(self, *reasons: RefusalReason) -> list[Pool]:
        """The cheapest first."""
        pools = self._round.filters.columns.pools
        cheapest: dict[int, int] = {}
        for reason in reasons:
            for alternative, pool in self._refused(reason):
                rate = int(self._ranking.rates[alternative, pool])
                cheapest[pool] = min(rate, cheapest.get(pool, rate))
        return [pools[p] for p in sorted(cheapest, key=lambda p: (cheapest[p], p))]

    def _sizes(self) -> Iterator[Trial]:
        demand = self._demand
        members = range(demand.members - 1, 0, -1)
        for count in members[:MOST_SIZES_TRIED]:
            text = f"ask for at most {count} members instead of {demand.members}"
            yield Trial("Members", text, replace(demand, members=count))
        request = demand.alternatives[0]
        milli = request.resources.accelerator_milli or request.resources.cpu_milli
        unit = "cards" if request.resources.accelerator_milli else "cores"
        whole = milli // 1_000
        for count in range(whole - 1, 0, -1)[:MOST_SIZES_TRIED]:
            smaller = _part_of(request, count * 1_000, milli)
            text = f"ask for at most {count} {unit} instead of {quantity(milli)}"
            yield Trial("Size", text, replace(demand, alternatives=(smaller,)))

    def _times(self) -> Iterator[Trial]:
        demand, at = self._demand, self._round
        limits_s = {
            (kept.start_ms - at.now_ms) // MS_PER_SECOND
            for room in at.room.pools
            for kept in room.kept
        }
        limits_s |= {
            pool.max_runtime_s
            for pool in at.filters.columns.pools
            if pool.max_runtime_s is not None
        }
        limits_s |= {
            (pool.part.closes_at_ms - at.now_ms) // MS_PER_SECOND
            for pool in at.filters.columns.pools
            if pool.part is not None and pool.part.closes_at_ms is not None
        }
        for limit_s in sorted(limits_s, reverse=True):
            if 0 < limit_s < demand.max_runtime_s:
                shorter = replace(
                    demand,
                    max_runtime_s=limit_s,
                    expected_runtime_s=min(limit_s, demand.expected_runtime_s),
                )
                text = f"declare a run time of at most {duration(limit_s)}"
                yield Trial("Runtime", text, shorter)
        if demand.deadline_ms is not None:
            waits = sorted(
                {int(self._ranking.wait_s[p]) for _, p in self._refused(_R.PAST_DEADLINE)}
            )
            for wait_s in waits:
                end_ms = at.now_ms + (wait_s + demand.expected_runtime_s) * MS_PER_SECOND
                later_s = -(-(end_ms - demand.deadline_ms) // MS_PER_SECOND)
                text = f"move the deadline back by {duration(later_s)}"
                yield Trial("Deadline", text, replace(demand, deadline_ms=end_ms))


_R = RefusalReason


def _up_to_cent(micro: int) -> int:
    return -(-micro // 10_000) * 10_000


def _on_model(demand: DemandClass, model: str) -> Request:
    """The first alternative, on that model whatever its memory and speed."""
    return Request(demand.alternatives[0].resources, (model,))


def _part_of(request: Request, part_milli: int, whole_milli: int) -> Request:
    """The same request with everything in proportion."""
    r = request.resources
    smaller = Resources(
        r.cpu_milli * part_milli // whole_milli,
        r.memory_mib * part_milli // whole_milli,
        r.disk_mib * part_milli // whole_milli,
        r.accelerator_milli * part_milli // whole_milli,
    )
    return replace(request, resources=smaller)
