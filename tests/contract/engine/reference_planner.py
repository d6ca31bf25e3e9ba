"""The oracle: the scheduling round written plainly, one task at a time, from the rules alone.

Slow on purpose. It shares the model and the kernel with the fast planner and nothing else, and
looks everything up afresh. The two must give the same plan, word for word except for details.
"""

from __future__ import annotations

import zlib

from contract.engine.reference_room import (
    CARD,
    Four,
    Kept,
    Room,
    add,
    copies,
    four,
    plus,
    space,
    spread_gang,
    taken,
)
from suanwang.engines.scheduling.model import (
    NO_CONTRACT,
    DemandClass,
    Link,
    Placement,
    Plan,
    Pool,
    Prices,
    QueueGroup,
    Refusal,
    RefusalReason,
    Request,
    Reservation,
    Score,
    Share,
    Snapshot,
    Weights,
    whole_of,
)
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources

R = RefusalReason

ORDER = (
    R.UNDER_CONTRACT,
    R.SITE_NOT_ALLOWED,
    R.NOT_ON_CONTRACT,
    R.REGION_NOT_ALLOWED,
    R.SITE_KIND_NOT_ALLOWED,
    R.ARCHITECTURE,
    R.DATA_RESIDENCY,
    R.ACCELERATOR_MODEL,
    R.ACCELERATOR_TOO_SMALL,
    R.TOO_BIG_FOR_NODE,
    R.TOO_BIG_FOR_POOL,
    R.RUNTIME_OVER_LIMIT,
    R.OVER_PRICE_CAP,
    R.CONTRACT_NOT_BEGUN,
    R.RUNS_INTO_CONTRACT,
    R.SITE_UNREACHABLE,
    R.SITE_DRAINING,
    R.PAST_DEADLINE,
    R.QUOTA_EXCEEDED,
    R.INSUFFICIENT_FUNDS,
    R.NO_FREE_CAPACITY,
    R.FREE_SHARES_SPLIT,
    R.RESERVED_FOR_EARLIER,
    R.BEHIND_IN_FAIR_SHARE,
)


def rate_of(need: Resources, members: int, prices: Prices) -> int:
    exact = (
        need.cpu_milli * prices.core_hour * 1024
        + need.memory_mib * prices.memory_gib_hour * 1000
        + need.accelerator_milli * prices.accelerator_hour * 1024
    )
    return scale(exact * members, 1, 1000 * 1024)


class Reference:
    def __init__(self, snapshot: Snapshot, now_ms: int, seed: int) -> None:
        self.s = snapshot
        self.now = now_ms
        self.seed = seed
        self.policy = snapshot.policy
        self.classes = {c.class_id: c for c in snapshot.classes}
        self.weights = dict(snapshot.weights)
        self.links = {(k.from_site, k.to_site): k for k in snapshot.links}
        pools = sorted(snapshot.pools, key=lambda p: p.pool_id)
        self.rooms = {
            p.pool_id: Room(
                p,
                {n.node_id: space(n) for n in p.nodes},
                {n.node_id: space(n) for n in p.nodes},
            )
            for p in pools
        }
        for lease in sorted(snapshot.running, key=lambda r: r.lease_id):
            room = self.rooms.get(lease.pool_id)
            held = lease.cards or ((),) * len(lease.node_members)
            for (name, members), cards in zip(lease.node_members, held, strict=True):
                if room and name in room.free:
                    known = len(room.free[name]) - 4
                    amount = taken(four(lease.member_resources), members, cards, known)
                    room.releases.append((max(now_ms, lease.ends_by_ms), name, amount))
        self.totals: Four = (0, 0, 0, 0)
        for p in pools:
            for n in p.nodes:
                if p.part is None:
                    self.totals = add(self.totals, four(n.capacity))
        self.used: dict[tuple[str, ...], list[int]] = {}
        self.quota = {q.share_id: four(q.limit - q.used) for q in snapshot.quotas}
        self.funds = {f.project_id: f.available_micro_yuan for f in snapshot.funds}
        self.left = {g.key: g.count for g in snapshot.queue if g.count > 0}
        self.groups = {g.key: g for g in snapshot.queue}
        self.by_card = any(n.cards for p in pools for n in p.nodes) and (
            any(
                r.resources.accelerator_milli % CARD
                for c in snapshot.classes
                for r in c.alternatives
            )
            or any(r.member_resources.accelerator_milli % CARD for r in snapshot.running)
            or any(card % CARD for p in pools for n in p.nodes for card in n.cards)
        )
        """Otherwise any free cards do, and a placement names none."""
        self.placements: list[Placement] = []
        self.reservations: list[Reservation] = []
        self.blocked: list[QueueGroup] = []

    # judging a pool

    def permanent(self, d: DemandClass, r: Request, p: Pool, project: str) -> RefusalReason | None:
        spec = p.accelerator
        wants_cards = r.resources.accelerator_milli > 0
        empty = [
            (*four(n.capacity), *(CARD,) * (n.capacity.accelerator_milli // CARD))
            if r.resources.accelerator_milli < CARD
            else four(n.capacity)
            for n in p.nodes
        ]
        fits = [copies(four(r.resources), each) for each in empty]
        cap = d.max_rate_micro_yuan_per_hour
        residency = [i.residency_regions for i in d.inputs if i.residency_regions]
        contract = p.part.contract_id if p.part else ""
        owner = p.part.project_id if p.part else ""
        asked = "" if d.contract == NO_CONTRACT else d.contract
        checks = (
            (R.UNDER_CONTRACT, bool(owner) and owner != project),
            (R.SITE_NOT_ALLOWED, bool(d.sites) and p.site_id not in d.sites),
            (R.SITE_NOT_ALLOWED, p.site_id in d.excluded_sites),
            (
                R.SITE_NOT_ALLOWED,
                bool(d.pools) and whole_of(p) not in d.pools,
            ),
            (R.NOT_ON_CONTRACT, bool(d.contract) and asked != contract),
            (R.REGION_NOT_ALLOWED, bool(d.regions) and p.region not in d.regions),
            (R.SITE_KIND_NOT_ALLOWED, bool(d.site_kinds) and p.site_kind not in d.site_kinds),
            (R.ARCHITECTURE, bool(d.architectures) and p.architecture not in d.architectures),
            (R.DATA_RESIDENCY, any(p.region not in regions for regions in residency)),
            (R.ACCELERATOR_MODEL, wants_cards and spec is None),
            (
                R.ACCELERATOR_MODEL,
                wants_cards
                and bool(r.accelerator_models)
                and (spec is None or spec.model not in r.accelerator_models),
            ),
            (
                R.ACCELERATOR_TOO_SMALL,
                wants_cards
                and spec is not None
                and (
                    spec.memory_mib < r.min_accelerator_memory_mib
                    or spec.fp16_gflops < r.min_fp16_gflops
                ),
            ),
            (R.TOO_BIG_FOR_NODE, max(fits, default=0) < 1),
            (R.TOO_BIG_FOR_POOL, sum(fits) < d.members),
            (
                R.RUNTIME_OVER_LIMIT,
                p.max_runtime_s is not None and p.max_runtime_s < d.max_runtime_s,
            ),
            (
                R.OVER_PRICE_CAP,
                cap is not None and rate_of(r.resources, d.members, p.prices) > cap,
            ),
        )
        return next((reason for reason, bad in checks if bad), None)

    def passing(self, d: DemandClass, p: Pool) -> RefusalReason | None:
        part = p.part
        if part is not None and part.opens_at_ms is not None and part.opens_at_ms > self.now:
            return R.CONTRACT_NOT_BEGUN
        if part is not None and part.closes_at_ms is not None:
            longest_s = d.max_runtime_s + self.wait_s(d, p)
            if self.now + longest_s * 1000 > part.closes_at_ms:
                return R.RUNS_INTO_CONTRACT
        if not p.reachable:
            return R.SITE_UNREACHABLE
        if p.draining:
            return R.SITE_DRAINING
        if d.deadline_ms is not None:
            end = self.now + (self.wait_s(d, p) + d.expected_runtime_s) * 1000
            if end > d.deadline_ms:
                return R.PAST_DEADLINE
        return None

    def sources(self, d: DemandClass, p: Pool) -> list[tuple[int, Link]]:
        """(size, cheapest link) of each input that is not at the pool's site."""
        out = []
        for item in d.inputs:
            if p.site_id in item.at_sites:
                continue
            links = [
                self.links.get((site, p.site_id), self.s.default_link)
                for site in sorted(item.at_sites)
            ] or [self.s.default_link]
            out.append(
                (item.size_mib, min(links, key=lambda k: (k.micro_yuan_per_gib, k.ms_per_gib)))
            )
        return out

    def wait_s(self, d: DemandClass, p: Pool) -> int:
        ms = sum(-(-link.ms_per_gib * size // 1024) for size, link in self.sources(d, p))
        return p.backlog_s + -(-ms // 1000)

    def score(self, d: DemandClass, r: Request, p: Pool, w: Weights) -> Score:
        rate = rate_of(r.resources, d.members, p.prices)
        money = scale(scale(rate, d.expected_runtime_s, 3600), w.money_percent, 100)
        wait_s = self.wait_s(d, p)
        wait = scale(wait_s, w.wait_micro_yuan_per_hour, 3600)
        moved = sum(scale(k.micro_yuan_per_gib, size, 1024) for size, k in self.sources(d, p))
        transfer = scale(moved, w.transfer_percent, 100)
        return Score(money + wait + transfer, money, wait, transfer, rate, wait_s)

    def candidates(self, g: QueueGroup) -> list[tuple[Score, int, str]]:
        """Passing (score, alternative, pool id), best first."""
        d = self.classes[g.class_id]
        w = self.weights.get(g.organisation_id, Weights())
        out = [
            (self.score(d, r, room.pool, w), i, name)
            for i, r in enumerate(d.alternatives)
            for name, room in self.rooms.items()
            if self.permanent(d, r, room.pool, g.project_id) is None
            and self.passing(d, room.pool) is None
        ]
        return sorted(out, key=lambda c: (c[0].total, c[1], c[2]))

    # whose turn

    def usage(self, parent: str | None, share: str, path: tuple[str, ...]) -> tuple[list[int], int]:
        known = [s for s in self.s.shares if (s.parent_id, s.share_id) == (parent, share)]
        at = known[-1] if known else Share(share, parent, 1)
        extra = self.used.get(path, [0, 0, 0, 0])
        base = [(at.usage + kind) * 1_000_000 for kind in at.usage_by_kind]
        return [b + e for b, e in zip(base, extra, strict=True)], at.weight

    def standing(
        self, parent: str | None, share: str, path: tuple[str, ...]
    ) -> tuple[int, int, str]:
        used, weight = self.usage(parent, share, path)
        tie = zlib.crc32(f"{self.seed}:{share}".encode()) if self.seed else 0
        return (max(used) * 2**20 // weight, tie, share)

    def next(self) -> QueueGroup | None:
        active = [g for g in self.groups.values() if self.left.get(g.key) and g not in self.blocked]
        if not active:
            return None
        organisations = sorted({g.organisation_id for g in active})
        o = min(organisations, key=lambda o: self.standing(None, o, (o,)))
        projects = sorted({g.project_id for g in active if g.organisation_id == o})
        p = min(projects, key=lambda p: self.standing(o, p, (o, p)))
        mine = [g for g in active if (g.organisation_id, g.project_id) == (o, p)]
        first = {
            u: min(
                (g for g in mine if g.user_id == u),
                key=lambda g: (-g.priority, g.oldest_submitted_at_ms, g.class_id),
            )
            for u in sorted({g.user_id for g in mine})
        }
        u = min(first, key=lambda u: (-first[u].priority, self.standing(p, u, (o, p, u))))
        return first[u]

    def charge(self, path: tuple[str, str, str], amount: list[int]) -> None:
        for depth in (1, 2, 3):
            at = self.used.setdefault(path[:depth], [0, 0, 0, 0])
            for kind in range(4):
                at[kind] += amount[kind]

    def amount(self, need: Resources, seconds: int) -> list[int]:
        return [
            part * seconds * 10**9 // max(1, whole)
            for part, whole in zip(four(need), self.totals, strict=True)
        ]

    def turn(self, d: DemandClass) -> int:
        whole = four(d.alternatives[0].resources * d.members)
        parts = [
            self.policy.turn_share_ppm * max(1, total) // (10**6 * need)
            for need, total in zip(whole, self.totals, strict=True)
            if need > 0
        ]
        return max(1, min(parts)) if parts else 1

    # limits

    def hold(self, d: DemandClass, rate: int) -> int:
        return scale(rate, d.max_runtime_s * self.policy.runtime_hold_percent, 360_000)

    def limited(self, g: QueueGroup, need: Resources, hold: int) -> RefusalReason | None:
        for share in (g.organisation_id, g.project_id, g.user_id):
            if share in self.quota and copies(four(need), self.quota[share]) < 1:
                return R.QUOTA_EXCEEDED
        available = self.funds.get(g.project_id)
        if available is not None and (available < 0 or available < hold):
            return R.INSUFFICIENT_FUNDS
        return None

    # starting

    def start(self, g: QueueGroup, score: Score, alternative: int, name: str) -> bool:
        d = self.classes[g.class_id]
        r = d.alternatives[alternative]
        whole = r.resources * d.members
        room = self.rooms[name]
        if room.closed or self.limited(g, whole, self.hold(d, score.rate_micro_yuan_per_hour)):
            return False
        end = self.now + d.max_runtime_s * 1000
        need = four(r.resources)
        available = room.available(end)
        spread = spread_gang(room.fits(available, need), room.free, d.members)
        if spread is None:
            return False
        dealt = []
        for node, members in sorted(spread.items()):
            amount, cards = room.amount(node, need, members, available)
            dealt.append(cards)
            room.free[node] = plus(room.free[node], amount, -1)
            for kept in room.kept:
                if kept.start_ms < end:
                    kept.spare[node] = plus(kept.spare[node], amount, -1)
            room.releases.append((end, node, amount))
        self.commit(g, whole, self.hold(d, score.rate_micro_yuan_per_hour))
        path = (g.organisation_id, g.project_id, g.user_id)
        self.charge(path, self.amount(whole, d.expected_runtime_s))
        self.left[g.key] -= 1
        where = tuple(sorted(spread.items()))
        named = tuple(dealt) if self.by_card and need[3] else ()
        self.placements.append(Placement(g.key, name, alternative, where, score, named))
        return True

    def commit(self, g: QueueGroup, whole: Resources, hold: int) -> None:
        for share in (g.organisation_id, g.project_id, g.user_id):
            if share in self.quota:
                self.quota[share] = add(self.quota[share], four(whole), -1)
        if g.project_id in self.funds:
            self.funds[g.project_id] -= hold

    def promises(self) -> None:
        for promise in sorted(self.s.promises, key=lambda p: (p.group, p.pool_id)):
            if self.left.get(promise.group):
                g = self.groups[promise.group]
                for score, alternative, name in self.candidates(g):
                    if name == promise.pool_id and self.start(g, score, alternative, name):
                        break

    def take_turns(self) -> None:
        self.promises()
        while (g := self.next()) is not None:
            room_in_plan = self.policy.max_placements - len(self.placements)
            if room_in_plan == 0:
                self.blocked.append(g)
                continue
            turn = min(self.turn(self.classes[g.class_id]), self.left[g.key], room_in_plan)
            for _ in range(turn):
                if not any(self.start(g, *c) for c in self.candidates(g)):
                    self.blocked.append(g)
                    self.reserve(g)
                    break

    # reservations

    def reserve(self, g: QueueGroup) -> None:
        d = self.classes[g.class_id]
        layers = self.policy.reservations_per_pool if self.policy.backfill else 1
        open_candidates = [
            (order, alternative, self.rooms[name])
            for order, (score, alternative, name) in enumerate(self.candidates(g))
            if len(self.rooms[name].kept) < layers
            and not self.rooms[name].closed
            and not self.limited(
                g,
                d.alternatives[alternative].resources * d.members,
                self.hold(d, score.rate_micro_yuan_per_hour),
            )
        ]
        found: list[tuple[int, int, int, Room]] = []
        for order, alternative, room in open_candidates:
            need = four(d.alternatives[alternative].resources)
            for at in sorted({end for end, _, _ in room.releases}):
                beside = room.beside_reserved(room.free_at(at))
                if sum(room.fits(beside, need).values()) >= d.members:
                    found.append((at, order, alternative, room))
                    break
            if len(found) == 4:
                break
        if found:
            at, _, alternative, room = min(found, key=lambda f: f[:2])
            self.reservations.append(Reservation(g.key, room.pool.pool_id, at))
            if self.policy.backfill:
                self.keep(g, d, alternative, room, at)
        if not self.policy.backfill:
            for _, _, room in open_candidates:
                room.closed = True

    def keep(self, g: QueueGroup, d: DemandClass, alternative: int, room: Room, at: int) -> None:
        need = four(d.alternatives[alternative].resources)
        beside = room.beside_reserved(room.free_at(at))
        spread = spread_gang(room.fits(beside, need), beside, d.members)
        assert spread is not None
        amounts = {n: room.amount(n, need, members, beside)[0] for n, members in spread.items()}
        for other in room.kept:
            for node, amount in amounts.items():
                other.spare[node] = plus(other.spare[node], amount, -1)
        room.kept.append(Kept(g.key, at, spread, amounts, {}))
        room.kept[-1].spare = room.beside_reserved(room.free_at(at))

    # refusals

    def reason(self, g: QueueGroup) -> RefusalReason:
        """The reason of the pool that came furthest."""
        if not self.rooms:
            return R.NO_SITES
        d = self.classes[g.class_id]
        started = self.left[g.key] < g.count
        end = self.now + d.max_runtime_s * 1000
        reasons = []
        for r in d.alternatives:
            for room in self.rooms.values():
                rate = rate_of(r.resources, d.members, room.pool.prices)
                reason = (
                    self.permanent(d, r, room.pool, g.project_id)
                    or self.passing(d, room.pool)
                    or self.limited(g, r.resources * d.members, self.hold(d, rate))
                )
                need = four(r.resources)
                if reason is None:
                    beside = {} if room.closed else room.fits(room.available(end), need)
                    if sum(beside.values()) >= d.members:
                        reason = R.BEHIND_IN_FAIR_SHARE
                    elif sum(room.fits(room.free, need).values()) >= d.members:
                        reason = R.RESERVED_FOR_EARLIER
                    elif (
                        not started and sum(room.fits(room.first_free, need).values()) >= d.members
                    ):
                        reason = R.BEHIND_IN_FAIR_SHARE
                    elif self.in_all(room, need) >= d.members:
                        reason = R.FREE_SHARES_SPLIT
                    else:
                        reason = R.NO_FREE_CAPACITY
                reasons.append(reason)
        told = [reason for reason in reasons if reason is not R.UNDER_CONTRACT]
        return max(told, key=ORDER.index, default=R.NO_SITES)

    def in_all(self, room: Room, need: Four) -> int:
        """Members that would fit if a card's free shares could be added to another's."""
        return sum(room.fits({name: free[:4] for name, free in room.free.items()}, need).values())


def reference_plan(snapshot: Snapshot, now_ms: int, seed: int = 0) -> Plan:
    """Everything but preemptions, which have their own properties."""
    round_ = Reference(snapshot, now_ms, seed)
    round_.take_turns()
    refusals = tuple(
        Refusal(g.key, round_.left[g.key], round_.reason(g), "") for g in round_.blocked
    )
    return Plan(tuple(round_.placements), refusals, (), tuple(round_.reservations))
