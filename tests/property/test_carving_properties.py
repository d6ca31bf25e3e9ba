"""Whatever contracts, leases and demands meet in a pool: nothing is cut out twice, and nothing that
starts is in a contract's way."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.scheduling import carving
from suanwang.engines.scheduling.cards import pick
from suanwang.engines.scheduling.carving import Carved, Claim, carve
from suanwang.engines.scheduling.lots import Lot, Vector, added, taken, vector_of
from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    DemandClass,
    Node,
    Plan,
    Pool,
    Prices,
    QueueGroup,
    Request,
    Running,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.engines.scheduling.seats import Seat, Seats
from suanwang.kernel.resources import ZERO, Resources

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
CARDS = 4
UNIT = Resources(2_000, 4_096, 1_024, 1_000)
PROJECTS = ("mine", "theirs")
SIZES = (
    UNIT,
    UNIT * 2,
    Resources(500, 1_024, 0, 500),
    Resources(3_000, 512, 0, 0),
    Resources(1_000, 6_000, 0, 1_000),
)
WHOLE = (UNIT, UNIT * 2)


@dataclass(frozen=True)
class Case:
    pool: Pool
    claims: tuple[Claim, ...]
    running: tuple[Running, ...]
    held: dict[str, str]
    classes: tuple[DemandClass, ...]
    queue: tuple[QueueGroup, ...]


def _claim(name: str, begins: int, hours: int, lots: int, project: str, by_core: bool) -> Claim:
    from_ms = NOW_MS + begins * HOUR_MS
    until_ms = max(from_ms + hours * HOUR_MS, NOW_MS + HOUR_MS)
    return Claim(f"p#{name}", name, project, lots, from_ms, until_ms, by_core)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    by_core = draw(st.booleans())
    claims = tuple(
        _claim(f"c{i}", begins, hours, lots, project, by_core)
        for i, (begins, hours, lots, project) in enumerate(
            draw(
                st.lists(
                    st.tuples(
                        st.integers(-2, 4),
                        st.integers(1, 5),
                        st.integers(1, 6),
                        st.sampled_from((*PROJECTS, "")),
                    ),
                    max_size=4,
                )
            )
        )
    )
    nodes, running, held = [], [], {}
    open_claims = [c for c in claims if c.from_ms <= NOW_MS and c.project_id]
    for n in range(draw(st.integers(1, 3))):
        free, cards = UNIT * CARDS, (1_000,) * CARDS
        for i in range(draw(st.integers(0, 4))):
            need = draw(st.sampled_from(SIZES))
            taken_cards = pick(cards, need.accelerator_milli, 1) if need.accelerator_milli else ()
            if not need.fits_in(free) or taken_cards is None:
                continue
            free = free - need
            cards = tuple(
                has - min(need.accelerator_milli, 1_000) * (at in taken_cards)
                for at, has in enumerate(cards)
            )
            ends = draw(st.integers(1, 6)) * HOUR_MS
            name = f"l{n}-{i}"
            running.append(_lease(name, f"n{n}", need, taken_cards, NOW_MS + ends, draw))
            # as a plan leaves it: within the contract's time, and its lots were whole
            may = [c for c in open_claims if c.until_ms >= NOW_MS + ends and need in WHOLE]
            if may and draw(st.booleans()):
                held[name] = draw(st.sampled_from(may)).part_id
        up = draw(st.sampled_from((True, True, True, False)))
        nodes.append(Node(f"n{n}", UNIT * CARDS, free, up, cards))
    classes = tuple(
        DemandClass(f"d{i}", (Request(need),), 1, hours * 3_600, hours * 3_600)
        for i, (need, hours) in enumerate(
            draw(
                st.lists(
                    st.tuples(st.sampled_from(SIZES), st.integers(1, 6)), min_size=1, max_size=4
                )
            )
        )
    )
    queue = tuple(
        QueueGroup("org", project, "user", one.class_id, 0, draw(st.integers(1, 6)), NOW_MS)
        for one in classes
        for project in draw(st.lists(st.sampled_from(("mine", "others")), unique=True, max_size=2))
    )
    whole = Pool(
        "p",
        "s",
        "r",
        "ai",
        "x86_64",
        tuple(nodes),
        Prices(core_hour=1_000),
        AcceleratorSpec("H100", 80_000, 900_000),
    )
    return Case(whole, claims, tuple(running), held, classes, queue)


def _lease(
    name: str, node: str, need: Resources, cards: tuple[int, ...], ends_ms: int, draw: st.DrawFn
) -> Running:
    return Running(
        name,
        "org",
        "somebody",
        "user",
        "gone",
        "p",
        0,
        draw(st.booleans()),
        ((node, 1),),
        need,
        NOW_MS - HOUR_MS,
        ends_ms,
        ends_ms,
        NOW_MS - 1,
        cards=(cards,) if cards else (),
    )


def carved(case: Case) -> Carved:
    return carve(case.pool, case.claims, case.running, case.held, NOW_MS)


def planned(case: Case, cut: Carved) -> Plan:
    running = tuple(
        replace(lease, pool_id=cut.moved.get(lease.lease_id, "p")) for lease in case.running
    )
    return plan(Snapshot(cut.pools, case.classes, case.queue, running), NOW_MS)


def at_nodes(pools: tuple[Pool, ...]) -> dict[str, Vector]:
    sums: dict[str, Vector] = {}
    for pool in pools:
        for node in pool.nodes:
            free = vector_of(node.free, node.cards)
            sums[node.node_id] = added(sums.get(node.node_id, [0] * len(free)), free)
    return sums


@settings(max_examples=150, deadline=None)
@given(cases())
def test_parts_are_never_more_than_what_is_free(case: Case) -> None:
    cut = carved(case)
    before, after = at_nodes((case.pool,)), at_nodes(cut.pools)
    for node_id, free in after.items():
        assert all(has <= had for has, had in zip(free, before[node_id], strict=True))
    for pool in cut.pools:
        for node in pool.nodes:
            assert node.free.is_non_negative()
            assert min(node.cards) >= 0
            assert node.free.accelerator_milli == sum(node.cards)
    if all(claim.project_id for claim in case.claims):
        assert after == before
    assert cut == carved(replace(case, claims=case.claims[::-1], running=case.running[::-1]))


class PlainSeats(Seats):
    """Reckons every seat anew for every claim, from all that lies on it."""

    def move_to(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def roomiest(self, by_core: bool, most: int) -> list[tuple[int, Lot, int]]:
        for seat in self._seats:
            seat.back = None if self._at_ms is None else self._back(seat, self._at_ms)
        fits = sorted((-self._fit(at, by_core), at) for at in range(len(self._seats)))
        out = []
        for fit, at in fits:
            lot = self._lots[by_core][at]
            if lot is not None and fit < 0 < most:
                out.append((at, lot, min(-fit, most)))
                most += fit
        return out

    def _back(self, seat: Seat, at_ms: int) -> Vector:
        back = [0] * len(seat.free)
        for lease, amount in seat.leases:
            back = added(back, amount, sign=lease.ends_by_ms <= at_ms)
        for part_id, cut in seat.slices.items():
            if cut.until_ms <= at_ms:
                back = added(back, cut.guarded)
                continue
            mine = [
                amount
                for lease, amount in seat.leases
                if self._held.get(lease.lease_id) == part_id and lease.ends_by_ms > at_ms
            ]
            counted_on = added(cut.claimed, cut.guarded, *mine, sign=-1)
            back = added(back, [max(0, one) for one in counted_on], sign=-1)
        return back


@settings(max_examples=300, deadline=None)
@given(cases())
def test_rooms_kept_from_claim_to_claim_are_those_reckoned_anew(case: Case) -> None:
    quick = carved(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carving, "Seats", PlainSeats)
        assert carved(case) == quick


@settings(max_examples=150, deadline=None)
@given(cases())
def test_nobody_else_runs_in_a_contracts_time(case: Case) -> None:
    """At every instant at which a contract begins, and now: what it was dealt and what all others
    hold then lie beside each other on every node."""
    cut = carved(case)
    made = planned(case, cut)
    known = {one.class_id: one for one in case.classes}
    buyer = {claim.part_id: claim for claim in case.claims}
    on_node: dict[str, list[tuple[str, int, Resources]]] = defaultdict(list)
    for lease in case.running:
        part = case.held.get(lease.lease_id, "")
        on_node[lease.node_members[0][0]].append((part, lease.ends_by_ms, lease.member_resources))
    for placed in made.placements:
        demand = known[placed.group[3]]
        ends_ms = NOW_MS + demand.max_runtime_s * 1_000
        part = placed.pool_id if placed.pool_id in buyer else ""
        if part:
            assert placed.group[1] == buyer[part].project_id
            assert ends_ms <= buyer[part].until_ms
        need = demand.alternatives[0].resources
        on_node[placed.node_members[0][0]].append((part, ends_ms, need))
    for at_ms in {NOW_MS, *(max(NOW_MS, claim.from_ms) for claim in case.claims)}:
        active = [c for c in case.claims if max(NOW_MS, c.from_ms) <= at_ms < c.until_ms]
        parts = {claim.part_id for claim in active}
        for node in case.pool.nodes:
            used = ZERO
            for claim in active:
                lot = Lot.of(node.capacity, claim.by_core)
                assert lot is not None
                lots = dict(cut.there[claim.part_id]).get(node.node_id, 0)
                mine = ZERO
                for part, ends_ms, need in on_node[node.node_id]:
                    if part == claim.part_id and (ends_ms > at_ms or at_ms == NOW_MS):
                        mine = mine + need
                used = used + _at_least(Resources(*lot.amounts) * lots, mine)
            for part, ends_ms, need in on_node[node.node_id]:
                if part not in parts and (ends_ms > at_ms or at_ms == NOW_MS):
                    used = used + need
            assert used.fits_in(node.capacity), (at_ms, node.node_id, used)


def _at_least(one: Resources, other: Resources) -> Resources:
    pair = zip(vector_of(one, ()), vector_of(other, ()), strict=True)
    return Resources(*(max(both) for both in pair))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_a_contract_is_not_shorter_for_what_starts_beside_it(case: Case) -> None:
    """Of one contract: its lots can all be found again once the plan runs."""
    case = replace(case, claims=case.claims[:1], held={})
    if not case.claims:
        return
    cut = carved(case)
    made = planned(case, cut)
    known = {one.class_id: one for one in case.classes}
    left = {node.node_id: vector_of(node.free, node.cards) for node in case.pool.nodes}
    running, held = list(case.running), {}
    for number, placed in enumerate(made.placements):
        demand = known[placed.group[3]]
        need = demand.alternatives[0].resources
        [(node_id, _)] = placed.node_members
        cards = placed.cards[0] if placed.cards else ()
        if need.accelerator_milli and not cards:
            cards = pick(left[node_id][4:], need.accelerator_milli, 1) or ()
        left[node_id] = added(left[node_id], taken(need, 1, cards, CARDS), sign=-1)
        ends_ms = NOW_MS + demand.max_runtime_s * 1_000
        base = Running(
            f"x{number}",
            *placed.group[:4],
            "p",
            0,
            False,
            placed.node_members,
            need,
            NOW_MS,
            ends_ms,
            ends_ms,
            NOW_MS,
            cards=(cards,) if cards else (),
        )
        running.append(base)
        if placed.pool_id == case.claims[0].part_id:
            held[base.lease_id] = placed.pool_id
    nodes = tuple(
        replace(n, free=Resources(*left[n.node_id][:4]), cards=tuple(left[n.node_id][4:]))
        for n in case.pool.nodes
    )
    again = carve(replace(case.pool, nodes=nodes), case.claims, running, held, NOW_MS)
    [part] = cut.there
    assert sum(n for _, n in again.there[part]) >= sum(n for _, n in cut.there[part])
