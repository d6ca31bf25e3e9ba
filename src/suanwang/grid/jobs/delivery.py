"""What contracts bring about by themselves: they are looked at, make way, end and are settled.

A look counts the lots that are there for each running contract: those that its own work holds and
those kept free for it. Nothing is there while its site is silent or drained, its pool is gone or
its nodes are down. What is sold on is there for both: for whoever bought it and for the contract
that it comes from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from suanwang.engines.scheduling.carving import MAKE_WAY_MS
from suanwang.engines.scheduling.model import Prices
from suanwang.grid.jobs import leases_store
from suanwang.grid.jobs.contracted import Contracted, contracted, running
from suanwang.grid.jobs.grants import preemptible
from suanwang.grid.jobs.model import StopReason
from suanwang.grid.jobs.orders import stop_leases
from suanwang.grid.jobs.snapshot import Occupied, cut_out, pool_of, running_of_all
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import UNREACHABLE_AFTER_MS, SiteState, is_reachable
from suanwang.kernel.errors import Unavailable
from suanwang.kernel.time import MS_PER_MINUTE, Clock, hour_of
from suanwang.platform.database import Database, Tx
from suanwang.platform.outbox import Outbox
from suanwang.platform.signals import Signals
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState

LATE_END_MS = MS_PER_MINUTE
"""Work that began late may go on for so long after its contract's end."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the running contracts."""

    there: Mapping[str, int] = field(default_factory=dict)
    """Contract → lots."""
    leave: tuple[str, ...] = ()
    """Preemptible leases that stand in a contract's way."""


def look(conn: Connection, now_ms: int, listening_since_ms: int = 0) -> Look:
    """Of a site that is silent, but to which nobody has listened for long enough to say so, nothing
    is noted."""
    begun = running(conn, now_ms)
    leases = leases_store.occupying(conn)
    bound = contracted(conn, leases, now_ms, until_ms=now_ms + MAKE_WAY_MS, begun=begun)
    if not bound.claims and not begun:
        return Look()
    all_sites = {site.site_id: site for site in sites.sites(conn)}
    rows = {
        row.pool_id: row
        for row in sites.pools(conn)
        if row.pool_id in bound.claims and row.site_id in all_sites
    }
    mine = [lease for lease in leases if lease.pool_id in rows]
    occupied = Occupied.by(mine)
    pools = tuple(
        pool_of(all_sites[row.site_id], row, Prices(), occupied, now_ms) for row in rows.values()
    )
    cut = cut_out(pools, running_of_all(mine, occupied, now_ms), bound, now_ms)
    works = {
        site.site_id
        for site in all_sites.values()
        if site.state is SiteState.ACTIVE and is_reachable(site, now_ms)
    }
    up = {
        (row.pool_id, node.name)
        for row in rows.values()
        if row.site_id in works
        for node in row.nodes
        if node.up
    }
    there = delivered(begun, bound, cut.there, up, now_ms)
    if now_ms - listening_since_ms <= UNREACHABLE_AFTER_MS:
        heard = {one.site_id for one in all_sites.values() if is_reachable(one, now_ms)}
        there = {one.id: there[one.id] for one in begun if one.site_id in heard}
    return Look(there, cut.leave)


def delivered(
    begun: list[Contract],
    bound: Contracted,
    parts: Mapping[str, tuple[tuple[str, int], ...]],
    up: set[tuple[str, str]],
    now_ms: int,
) -> dict[str, int]:
    """Contract → lots that are there, of those that run. `up`: (pool, node) that can be used."""
    own: dict[str, int] = defaultdict(int)
    for pool_id, claims in bound.claims.items():
        for claim in claims:
            if claim.from_ms > now_ms:
                continue
            for node, lots in parts.get(claim.part_id, ()):
                own[claim.contract_id] += lots if (pool_id, node) in up else 0
    sold_on: dict[str, list[str]] = defaultdict(list)
    for one in begun:
        if one.backing_id is not None:
            sold_on[one.backing_id].append(one.id)
    lots_of = {one.id: one.lots for one in begun}

    def there(contract_id: str) -> int:
        found = own[contract_id] + sum(there(buyer) for buyer in sold_on[contract_id])
        return min(lots_of[contract_id], found)

    return {one.id: there(one.id) for one in begun}


class Deliveries:
    """The loop over contracts; where several processes run, the leader's."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        signals: Signals,
        outbox: Outbox,
        *,
        every_ms: int = MS_PER_MINUTE,
        preemption: bool = True,
        guard: Callable[[Tx], None] = lambda _tx: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._signals = signals
        self._outbox = outbox
        self._every_ms = every_ms
        self._preemption = preemption
        self._guard = guard
        self._listening_since_ms = clock.now_ms()
        self._looked_at_ms = 0

    async def step(self) -> None:
        """Look if it is time to; settle every hour that is over."""
        try:
            await self._look()
            while await self._database.write(self._settle):
                pass
        except Unavailable:
            # nobody heard the sites either: what they delivered meanwhile is not known
            self._listening_since_ms = self._clock.now_ms()
            raise

    async def _look(self) -> None:
        now_ms = self._clock.now_ms()
        if now_ms - self._looked_at_ms < self._every_ms:
            return
        self._looked_at_ms = now_ms
        since_ms = self._listening_since_ms
        seen = await self._database.read(lambda conn: look(conn, now_ms, since_ms))

        def note(tx: Tx) -> list[str]:
            self._guard(tx)
            contracts.note_samples(tx, _of_this_hour(tx, seen.there))
            leave = seen.leave if self._preemption else ()
            woken = stop_leases(tx, preemptible(tx, leave), StopReason.PREEMPTED)
            return woken + end_late_work(tx)

        woken = await self._database.write(note)
        self._signals.notify(*(f"site:{site}" for site in sorted(set(woken))))

    def _settle(self, tx: Tx) -> bool:
        self._guard(tx)
        return contracts.settle(tx, self._outbox)


def _of_this_hour(tx: Tx, there: Mapping[str, int]) -> dict[str, int]:
    """Without those that ended between the look and its record."""
    hour = hour_of(tx.now_ms)
    return {
        one.id: there[one.id]
        for one in contracts.by_ids(tx.conn, sorted(there))
        if one.state is ContractState.SIGNED and hour < one.period.end_hour
    }


def end_late_work(tx: Tx) -> list[str]:
    """Stop work on contracts that are over: it is queued again, without one. Sites to wake."""
    on = leases_store.on_contracts(tx.conn)
    if not on:
        return []
    found = {one.id: one for one in contracts.by_ids(tx.conn, sorted(set(on.values())))}
    late = [
        lease_id
        for lease_id, contract_id in sorted(on.items())
        if (one := found.get(contract_id)) is None
        or one.state in (ContractState.CANCELLED, ContractState.TERMINATED)
        or one.period.until_ms + LATE_END_MS < tx.now_ms
    ]
    leases = leases_store.leases_by_id(tx.conn, late, lock=True)
    return stop_leases(tx, leases.values(), StopReason.PREEMPTED)
