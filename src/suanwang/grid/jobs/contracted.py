"""Contracts as the planner sees them: claims on pools, hour by hour what is the buyer's own.

Of a contract's lots some may be sold on for some of its hours (another contract has those) or on
offer (nobody's until they are sold or taken back). What is left is cut into layers: lots that are
the buyer's without a break from one hour until another, so that work on a layer is never in the
way of whoever bought the hours after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from suanwang.engines.scheduling.carving import Claim
from suanwang.grid.jobs.model import OpenLease
from suanwang.kernel.time import MS_PER_HOUR, hour_of
from suanwang.trade.catalogue.model import CORE, Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState

HORIZON_HOURS = 7 * 24
"""Contracts that begin later bind no capacity yet: longer runs than that meet none of them."""


@dataclass(frozen=True, slots=True)
class Contracted:
    """Claims by pool, and the claims' parts that open leases on contracts hold."""

    claims: Mapping[str, Sequence[Claim]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    """Those alive, by id: signed, their backing signed, their time not over."""


def contracted(
    conn: Connection, leases: Iterable[OpenLease], now_ms: int, named: Collection[str] = ()
) -> Contracted:
    """`named`: contracts that waiting work asks for, looked at however late they begin."""
    alive = living(conn, now_ms, named)
    if not alive:
        return Contracted()
    hour = hour_of(now_ms)
    ahead = Period(hour, max(one.period.end_hour for one in alive.values()) - hour)
    pledged = contracts.pledged(conn, sorted(alive), ahead)
    sold: dict[tuple[str, int], int] = defaultdict(int)
    for one in alive.values():
        if one.backing_id is not None:
            for at in range(one.period.first_hour, one.period.end_hour):
                sold[one.backing_id, at] += one.lots
    claims: dict[str, list[Claim]] = defaultdict(list)
    for one in alive.values():
        claims[one.pool_id] += claims_of(one, hour, pledged, sold)
    on_contract = [lease for lease in leases if lease.contract_id]
    return Contracted(claims, _held(on_contract, claims, now_ms), alive)


def living(conn: Connection, now_ms: int, named: Collection[str] = ()) -> dict[str, Contract]:
    """Signed contracts that bind capacity now or soon, by id."""
    found = {one.id: one for one in contracts.signed(conn, hour_of(now_ms) + HORIZON_HOURS)}
    late = sorted(set(named) - set(found))
    if late:
        found |= {
            one.id: one for one in contracts.by_ids(conn, late) if one.state is ContractState.SIGNED
        }
    found = {key: one for key, one in found.items() if one.period.until_ms > now_ms}
    backing = {one.backing_id for one in found.values() if one.backing_id is not None}
    others = contracts.by_ids(conn, sorted(backing - set(found)))
    signed = set(found) | {one.id for one in others if one.state is ContractState.SIGNED}
    return {key: one for key, one in sorted(found.items()) if one.backing_id in (None, *signed)}


def claims_of(
    contract: Contract,
    hour: int,
    pledged: Mapping[tuple[str, int], int],
    sold: Mapping[tuple[str, int], int],
) -> list[Claim]:
    """From this hour on: what is the buyer's own, and what is on offer."""
    first, end = max(hour, contract.period.first_hour), contract.period.end_hour
    own, offered = [], []
    for at in range(first, end):
        gone = sold.get((contract.id, at), 0)
        out_of_hand = max(pledged.get((contract.id, at), 0), gone)
        own.append(max(0, contract.lots - out_of_hand))
        offered.append(out_of_hand - gone)
    whole = f"{contract.pool_id}#{contract.id}"
    out = []
    for begins, ends, lots in layers(own, first):
        since = f"{begins}-" if begins > first else ""
        part = whole if (begins, ends) == (first, end) else f"{whole}@{since}{ends}"
        out.append(_claim(contract, part, contract.buyer.project_id, lots, begins, ends))
    for begins, ends, lots in layers(offered, first):
        out.append(_claim(contract, f"{whole}~{begins}-{ends}", "", lots, begins, ends))
    return out


def _claim(
    contract: Contract, part: str, project_id: str, lots: int, begins: int, ends: int
) -> Claim:
    return Claim(
        part,
        contract.id,
        project_id,
        lots,
        begins * MS_PER_HOUR,
        ends * MS_PER_HOUR,
        contract.product.unit_class == CORE,
    )


def layers(lots: Sequence[int], first_hour: int) -> list[tuple[int, int, int]]:
    """(from, until, lots) whose sums are the given lots, hour by hour; each as long as can be."""
    out = []
    standing: list[tuple[int, int]] = []
    height = 0
    for hour, wanted in enumerate([*lots, 0], start=first_hour):
        if wanted > height:
            standing.append((hour, wanted - height))
            height = wanted
        while height > wanted:
            since, many = standing.pop()
            gone = min(many, height - wanted)
            out.append((since, hour, gone))
            height -= gone
            if gone < many:
                standing.append((since, many - gone))
    return sorted(out)


def _held(
    leases: Sequence[OpenLease], claims: Mapping[str, Sequence[Claim]], now_ms: int
) -> dict[str, str]:
    """Lease → part: the longest work in the layers that last; among those that last long enough
    the shortest."""
    open_parts: dict[str, list[Claim]] = defaultdict(list)
    for of_pool in claims.values():
        for claim in of_pool:
            if claim.from_ms <= now_ms and claim.project_id:
                open_parts[claim.contract_id].append(claim)
    left = {c.part_id: c.lots * 1_000 for parts in open_parts.values() for c in parts}
    out = {}
    for lease in sorted(leases, key=lambda one: (-one.ends_by_ms, one.lease_id)):
        parts = open_parts.get(lease.contract_id or "", [])
        if not parts:
            continue
        milli = lease.cpu_milli if parts[0].by_core else lease.accelerator_milli
        milli *= lease.members
        lasting = [c for c in parts if c.until_ms >= lease.ends_by_ms and left[c.part_id] >= milli]
        chosen = (
            min(lasting, key=lambda c: (c.until_ms, c.part_id))
            if lasting
            else max(parts, key=lambda c: (left[c.part_id], c.part_id))
        )
        left[chosen.part_id] -= milli
        out[lease.lease_id] = chosen.part_id
    return out
