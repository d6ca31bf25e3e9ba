"""Contracts as the planner sees them: claims on pools, hour by hour what is the buyer's own.

Of a contract's lots some may be sold on for some of its hours (another contract has those) or on
offer (nobody's until they are sold or taken back). What is left is cut into layers: lots that are
the buyer's without a break from one hour until another, so that work on a layer is never in the
way of whoever bought the hours after it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from suanwang.engines.scheduling.carving import Claim
from suanwang.grid.jobs.model import OpenLease
from suanwang.kernel.time import MS_PER_HOUR, hour_of
from suanwang.trade.catalogue.model import CORE, Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState

HORIZON_MS = 7 * 24 * MS_PER_HOUR
"""Contracts that begin later bind no capacity yet: longer runs than that meet none of them."""


@dataclass(frozen=True, slots=True)
class Contracted:
    """Claims by pool, and the claims' parts that open leases on contracts hold."""

    claims: Mapping[str, Sequence[Claim]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)


def contracted(
    conn: Connection,
    leases: Iterable[OpenLease],
    now_ms: int,
    named: Collection[str] = (),
    *,
    until_ms: int | None = None,
    begun: Sequence[Contract] | None = None,
) -> Contracted:
    """Claims that begin by `until_ms`: of contracts that have begun and of those that waiting work
    names each by itself, of all others one for each time, as until then only their sum matters.
    What is sold on of those others is theirs already. `begun`: if they have been read."""
    begun = running(conn, now_ms) if begun is None else begun
    until_ms = now_ms + HORIZON_MS if until_ms is None else until_ms
    hour, until_hour = hour_of(now_ms), hour_of(until_ms) + 1
    apart = living(conn, now_ms, until_hour, named, begun)
    claims: dict[str, list[Claim]] = defaultdict(list)
    sums: Counter[tuple[str, int, int, bool]] = Counter()
    for pool_id, claim in _claims_apart(conn, apart, hour):
        if claim.from_ms <= now_ms or claim.contract_id in named:
            claims[pool_id].append(claim)
        elif claim.from_ms <= until_ms:
            sums[pool_id, claim.from_ms, claim.until_ms, claim.by_core] += claim.lots
    ahead = [one.id for one in apart.values() if one.period.first_hour > hour]
    for booked in contracts.booked(conn, hour + 1, until_hour, sorted(ahead)):
        first_ms, end_ms = booked.period.from_ms, booked.period.until_ms
        sums[booked.pool_id, first_ms, end_ms, booked.unit_class == CORE] += booked.lots
    for (pool_id, from_ms, end_ms, by_core), lots in sorted(sums.items()):
        unit = "cores" if by_core else "cards"
        part = f"{pool_id}#{unit}@{hour_of(from_ms)}-{hour_of(end_ms)}"
        claims[pool_id].append(Claim(part, "", "", lots, from_ms, end_ms, by_core))
    on_contract = [lease for lease in leases if lease.contract_id]
    return Contracted(claims, _held(on_contract, claims, now_ms))


def running(conn: Connection, now_ms: int) -> list[Contract]:
    """Signed contracts that have begun and are not over, in order of id."""
    found = contracts.signed(conn, hour_of(now_ms) + 1)
    return [one for one in found if one.period.until_ms > now_ms]


def living(
    conn: Connection,
    now_ms: int,
    until_hour: int,
    named: Collection[str],
    begun: Sequence[Contract],
) -> dict[str, Contract]:
    """By id the signed contracts that have begun, the named ones, what these come from, and what
    is sold on of any of them."""
    hour = hour_of(now_ms)
    found = {one.id: one for one in begun}
    missing = set(named) - set(found)
    while missing:
        more = contracts.by_ids(conn, sorted(missing))
        found |= {one.id: one for one in more if one.state is ContractState.SIGNED}
        missing = {one.backing_id for one in more if one.backing_id is not None} - set(found)
    found = {key: one for key, one in found.items() if one.period.until_ms > now_ms}
    sold_on: dict[str, list[Contract]] = defaultdict(list)
    for one in contracts.sold_on(conn, hour + 1, until_hour):
        sold_on[one.backing_id or ""].append(one)
    look_at = list(found)
    while look_at:
        more = [one for one in sold_on[look_at.pop()] if one.id not in found]
        found |= {one.id: one for one in more}
        look_at += [one.id for one in more]
    return {key: one for key, one in sorted(found.items()) if _is_backed(one, found)}


def _is_backed(contract: Contract, found: Mapping[str, Contract]) -> bool:
    """Up to the pool: what was sold on of a contract that was withdrawn is nobody's."""
    at: Contract | None = contract
    while at is not None and at.backing_id is not None:
        at = found.get(at.backing_id)
    return at is not None


def _claims_apart(
    conn: Connection, apart: Mapping[str, Contract], hour: int
) -> Iterable[tuple[str, Claim]]:
    """Each with its pool."""
    if not apart:
        return
    ahead = Period(hour, max(one.period.end_hour for one in apart.values()) - hour)
    pledged = contracts.pledged(conn, sorted(apart), ahead)
    sold: dict[tuple[str, int], int] = defaultdict(int)
    for one in apart.values():
        if one.backing_id is not None:
            for at in range(one.period.first_hour, one.period.end_hour):
                sold[one.backing_id, at] += one.lots
    for one in apart.values():
        for claim in claims_of(one, hour, pledged, sold):
            yield one.pool_id, claim


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
