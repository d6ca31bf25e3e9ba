"""Apply a plan: re-check what it touches, then lease, hold money and refuse, in one transaction."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

import suanwang
from suanwang.engines.scheduling.cards import Cards, changed, pick
from suanwang.engines.scheduling.model import (
    PERMANENT_REASONS,
    Placement,
    Plan,
    PoolVerdict,
    Refusal,
)
from suanwang.grid.jobs import leases_store, store
from suanwang.grid.jobs.cards import Holder, holders_by_node, standing
from suanwang.grid.jobs.model import Lease, LeaseState, Outcome, StopReason, TaskState, Terms
from suanwang.grid.jobs.orders import stop_leases
from suanwang.grid.jobs.progress import Steps, settle
from suanwang.grid.jobs.snapshot import Gathered, resources_of, used_by_node
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState, is_reachable
from suanwang.kernel.money import scale
from suanwang.kernel.resources import ZERO, Resources
from suanwang.kernel.time import MS_PER_SECOND
from suanwang.platform.database import Tx
from suanwang.protocol.messages import FailureClass, Meters
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Rates
from suanwang.trade.ledger import service as ledger

SECONDS_PER_HOUR = 3600
MAX_PLAN_BYTES = 1 << 20
"""A stored plan is cut to this; the digest is over all of it."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a plan came to."""

    placed: int
    stale: int
    refused: int
    sites: tuple[str, ...]
    """Sites that have new orders."""
    jobs: tuple[str, ...]
    """Jobs whose state changed."""


NO_HOLDERS: Sequence[Holder] = ()
SPENT = "contract:spent"
"""In place of a pool's id: the price list of capacity that contracts have paid for."""
NOTHING = Applied(placed=0, stale=0, refused=0, sites=(), jobs=())


class _Capacity:
    """Free resources per node as the database has them now, less what this plan takes."""

    def __init__(self, tx: Tx, gathered: Gathered, plan: Plan) -> None:
        wanted = {gathered.pools[placement.pool_id].pool_id for placement in plan.placements}
        # most rounds place nothing
        self._now = {site.site_id: site for site in sites.sites(tx.conn)} if wanted else {}
        self._now_ms = tx.now_ms
        self._gathered = gathered
        leases = leases_store.occupying(tx.conn, wanted)
        used, holders = used_by_node(leases), holders_by_node(leases)
        self._cards: dict[tuple[str, str], tuple[int, ...]] = {}
        self._free: dict[tuple[str, str], Resources] = {}
        for pool_id in sorted(wanted):
            for report in gathered.pools[pool_id].nodes:
                key = (pool_id, report.name)
                taken = resources_of(report.foreign) + used.get(key, ZERO)
                self._free[key] = resources_of(report.capacity) - taken
                if report.capacity.accelerator_milli:
                    self._cards[key] = standing(report, holders.get(key, NO_HOLDERS)).free

    def take(self, placement: Placement, member: Resources) -> Cards | None:
        """The cards it gets. None (and nothing taken) when the site went away or a node no longer
        has the room."""
        pool = self._gathered.pools[placement.pool_id]
        site = self._now.get(pool.site_id)
        if site is None or site.state is not SiteState.ACTIVE:
            return None
        if not is_reachable(site, self._now_ms):
            return None
        wants = [((pool.pool_id, n), member * m) for n, m in placement.node_members]
        if not all(need.fits_in(self._free.get(key, ZERO)) for key, need in wants):
            return None
        dealt = self._deal(pool.pool_id, placement, member.accelerator_milli)
        if dealt is None:
            return None
        for key, need in wants:
            self._free[key] = self._free[key] - need
        for (key, _), cards in zip(wants, dealt, strict=False):
            self._cards[key] = changed(self._cards[key], cards, member.accelerator_milli, -1)
        return dealt

    def _deal(self, pool_id: str, placement: Placement, milli: int) -> Cards | None:
        """The cards that the plan names while they are free, or others; None if there are none."""
        if not milli:
            return ()
        out: list[tuple[int, ...]] = []
        for i, (node, members) in enumerate(placement.node_members):
            free = self._cards[(pool_id, node)]
            wish = placement.cards[i] if placement.cards else ()
            if not wish or min(changed(free, wish, milli, -1)) < 0:
                found = pick(free, milli, members)
                if found is None:
                    return None
                wish = found
            out.append(wish)
        return tuple(out)


def apply_plan(
    tx: Tx, gathered: Gathered, plan: Plan, *, took_ms: int, snapshot_digest: str
) -> Applied:
    """Whatever is stale is dropped and planned again next round.

    Plans are applied one after another, so that free capacity is what the one before has left.
    """
    tx.serialise("apply_plan")
    leaving = preemptible(tx, [*(p.lease_id for p in plan.preemptions), *gathered.leave])
    grants = _Grants(tx, gathered, plan)
    by_group: dict[tuple[str, str, str, str, int], list[Placement]] = defaultdict(list)
    for placement in plan.placements:
        by_group[placement.group].append(placement)
    for group in sorted(by_group):
        grants.add_group(group, by_group[group])
    store.mark_leased(tx, grants.marks)
    refused = _refuse(tx, plan.refusals, grants.steps)
    grants.write()
    preempted = stop_leases(tx, leaving, StopReason.PREEMPTED)
    _record_round(tx, plan, grants, took_ms, snapshot_digest)
    return Applied(
        placed=grants.placed,
        stale=grants.stale,
        refused=sum(refusal.count for refusal in plan.refusals),
        sites=tuple(sorted(set(grants.by_site) | set(preempted))),
        jobs=tuple(sorted(set(grants.jobs) | set(refused))),
    )


_UNTOUCHED: dict[str, Any] = {
    "state": LeaseState.GRANTED.value,
    "stop": StopReason.NONE.value,
    "started_at_ms": None,
    "ended_at_ms": None,
    "lost_at_ms": None,
    "outcome": Outcome.NONE.value,
    "exit_code": None,
    "failure": FailureClass.NONE.value,
    "detail": "",
    "engine_id": "",
    "nodes": [],
    "meters": Meters(),
    "outputs": [],
    "metered_until_ms": None,
}
"""What a lease is before its site has been heard of it."""


class _Grants:
    """Leases of one plan, gathered per site and written in batches."""

    def __init__(self, tx: Tx, gathered: Gathered, plan: Plan) -> None:
        self._tx = tx
        self._gathered = gathered
        self._capacity = _Capacity(tx, gathered, plan)
        self._holds: dict[str, int] = defaultdict(int)
        self.marks: list[tuple[int, str, str]] = []
        self.steps = Steps(tx)
        self.by_site: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.jobs: set[str] = set()
        self.placed = 0
        self.stale = 0
        self._parts = {p.pool_id: p.part for p in gathered.snapshot.pools if p.part is not None}
        self._spent = self._prices_of_contracts(plan)

    def _prices_of_contracts(self, plan: Plan) -> str:
        """The price list under which a contract's capacity is metered: its hours are paid."""
        if not any(self._contract(placement) for placement in plan.placements):
            return ""
        return billing.publish_prices(self._tx, SPENT, Rates())

    def _contract(self, placement: Placement) -> str:
        part = self._parts.get(placement.pool_id)
        return part.contract_id if part is not None else ""

    def add_group(
        self, group: tuple[str, str, str, str, int], placements: Sequence[Placement]
    ) -> None:
        """Bind the group's oldest queued tasks to its placements."""
        tx = self._tx
        heads = store.heads(tx.conn, group, len(placements), tx.now_ms)
        terms = store.terms_of(tx.conn, [head.job_id for head in heads])
        demand = self._gathered.classes[group[3]]
        self.stale += len(placements) - len(heads)
        for head, placement in zip(heads, placements, strict=False):
            if self._runs_into_contract(placement, terms[head.job_id]):
                self.stale += 1
                continue
            request = demand.alternatives[placement.alternative]
            cards = self._capacity.take(placement, request.resources)
            if cards is None:
                self.stale += 1
                continue
            terms_of_job = terms[head.job_id]
            self._grant(group, head, terms_of_job, placement, request.resources, cards)

    def _runs_into_contract(self, placement: Placement, terms: Terms) -> bool:
        """Time has gone by since the plan was made."""
        part = self._parts.get(placement.pool_id)
        closes_ms = part.closes_at_ms if part is not None else None
        ends_ms = self._tx.now_ms + terms.max_runtime_s * MS_PER_SECOND
        return closes_ms is not None and ends_ms > closes_ms

    def _grant(
        self,
        group: tuple[str, str, str, str, int],
        head: Any,
        terms: Terms,
        placement: Placement,
        member: Resources,
        cards: Cards,
    ) -> None:
        organisation_id, project_id, user_id, class_id, priority = group
        now_ms = self._tx.now_ms
        pool = self._gathered.pools[placement.pool_id]
        demand = self._gathered.classes[class_id]
        lease_id = self._tx.ids.new("lease")
        contract_id = self._contract(placement)
        rate = placement.score.rate_micro_yuan_per_hour
        hold = scale(rate, terms.max_runtime_s, SECONDS_PER_HOUR)
        self._holds[project_id] += hold
        run_ms = terms.max_runtime_s * MS_PER_SECOND
        expected_ms = min(demand.expected_runtime_s, terms.max_runtime_s) * MS_PER_SECOND
        self.marks.append((head.attempt, lease_id, head.id))
        self.steps.count(head.job_id, TaskState.QUEUED, TaskState.LEASED)
        self.jobs.add(head.job_id)
        self.placed += 1
        self.by_site[pool.site_id].append(
            {
                "id": lease_id,
                "task_id": head.id,
                "job_id": head.job_id,
                "epoch": head.attempt + 1,
                "organisation_id": organisation_id,
                "project_id": project_id,
                "user_id": user_id,
                "class_id": class_id,
                "site_id": pool.site_id,
                "pool_id": pool.pool_id,
                "alternative": placement.alternative,
                "node_members": list(placement.node_members),
                "members": sum(members for _, members in placement.node_members),
                "cpu_milli": member.cpu_milli,
                "memory_mib": member.memory_mib,
                "disk_mib": member.disk_mib,
                "accelerator_milli": member.accelerator_milli,
                "priority": priority,
                "preemptible": terms.preemptible,
                "granted_at_ms": now_ms,
                "ends_by_ms": now_ms + run_ms,
                "expected_end_ms": now_ms + expected_ms,
                "protected_until_ms": now_ms + terms.min_run_s * MS_PER_SECOND,
                "lost_after_s": terms.lost_after_s,
                "stop_after_s": terms.stop_after_s,
                "replace": terms.replace,
                "reconcile": terms.reconcile,
                "price_list_id": self._spent if contract_id else pool.price_list_id,
                "provider_id": self._gathered.sites[pool.site_id].organisation_id,
                "rate": rate,
                "hold": hold,
                "score": placement.score,
                "cards": [list(each) for each in cards],
                "contract_id": contract_id or None,
                **_UNTOUCHED,
            }
        )

    def write(self) -> None:
        tx = self._tx
        accounts = ledger.project_accounts(tx, sorted(self._holds))
        ledger.hold(
            tx,
            {
                accounts[project]: amount
                for project, amount in sorted(self._holds.items())
                if amount
            },
        )
        settle(tx, self.steps)
        for site_id in sorted(self.by_site):
            rows = self.by_site[site_id]
            revision = sites.next_revisions(tx, site_id, len(rows))
            for offset, row in enumerate(rows):
                row["revision"] = revision + offset
            leases_store.insert_leases(tx, rows)


def _refuse(tx: Tx, refused: Sequence[Refusal], steps: Steps) -> list[str]:
    """Write what each waiting group is told; end the tasks that no pool could ever run."""
    said = store.refusal_keys(tx.conn)
    keep: set[tuple[str, str, str, int]] = set()
    gone: list[tuple[str, str, str, int]] = []
    rows: list[dict[str, Any]] = []
    jobs: list[str] = []
    for refusal in refused:
        key = refusal.group[1:]
        keep.add(key)
        news = (refusal.reason.value, refusal.detail[:500], refusal.count)
        if refusal.reason in PERMANENT_REASONS and refusal.verdicts:
            jobs.extend(_end_impossible(tx, refusal, steps))
        if said.get(key) == news:
            continue
        if key in said:
            gone.append(key)
        rows.append(_refusal_row(refusal, tx.now_ms))
    gone.extend(key for key in said if key not in keep)
    store.replace_refusals(tx, sorted(gone), rows)
    return jobs


def _refusal_row(refusal: Refusal, now_ms: int) -> dict[str, Any]:
    organisation_id, project_id, user_id, class_id, priority = refusal.group
    return {
        "organisation_id": organisation_id,
        "project_id": project_id,
        "user_id": user_id,
        "class_id": class_id,
        "priority": priority,
        "reason": refusal.reason.value,
        "detail": refusal.detail[:500],
        "count": refusal.count,
        "verdicts": _verdicts(refusal.verdicts),
        "at_ms": now_ms,
    }


def _verdicts(verdicts: Iterable[PoolVerdict]) -> list[dict[str, Any]]:
    return [
        {
            "pool_id": verdict.pool_id,
            "alternative": verdict.alternative,
            "reason": verdict.reason.value if verdict.reason else "",
            "detail": verdict.detail,
        }
        for verdict in verdicts
    ]


def _end_impossible(tx: Tx, refusal: Refusal, steps: Steps) -> list[str]:
    heads = store.heads(tx.conn, refusal.group, refusal.count, tx.now_ms)
    terms = store.terms_of(tx.conn, [head.job_id for head in heads])
    hopeless = [head.id for head in heads if not terms[head.job_id].wait_if_impossible]
    for task in store.tasks_by_id(tx.conn, hopeless, lock=True).values():
        after = msgspec.structs.replace(
            task,
            state=TaskState.REFUSED,
            ended_at_ms=tx.now_ms,
            detail=f"{refusal.reason.value}: {refusal.detail}",
        )
        steps.move(task, after)
    return sorted({head.job_id for head in heads if head.id in set(hopeless)})


def preemptible(tx: Tx, lease_ids: Sequence[str]) -> list[Lease]:
    """Those of them that may still be asked to leave, locked."""
    if not lease_ids:
        return []
    leases = leases_store.leases_by_id(tx.conn, sorted(set(lease_ids)), lock=True)
    return [
        lease
        for lease in leases.values()
        if lease.preemptible and lease.protected_until_ms <= tx.now_ms
    ]


def _record_round(tx: Tx, plan: Plan, grants: _Grants, took_ms: int, snapshot_digest: str) -> None:
    if not (plan.placements or plan.preemptions):
        return
    body = msgspec.msgpack.encode(plan)
    leases_store.insert_round(
        tx,
        {
            "id": tx.ids.new("rnd"),
            "at_ms": tx.now_ms,
            "snapshot_digest": snapshot_digest,
            "code_version": suanwang.__version__,
            "placed": grants.placed,
            "refused": sum(refusal.count for refusal in plan.refusals),
            "stale": grants.stale,
            "took_ms": took_ms,
            "plan": body[:MAX_PLAN_BYTES],
        },
    )


def digest_of(gathered: Gathered) -> str:
    """Digest of the snapshot: with the code version it names what the plan was made from."""
    return hashlib.sha256(msgspec.msgpack.encode(gathered.snapshot)).hexdigest()
