"""Node choice: never over capacity, reversible, deterministic, and equal to a plain computation.

`PlainPacker` is the mechanism page word by word: no tables, no memory of earlier scores, every
node and every card looked at for every choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.scheduling.packing import DemandMix, Need, NodePacker, PackNode, Spot
from suanwang.engines.scheduling.packing_measure import (
    KEPT_PERCENT,
    MIX_TOTAL,
    OFFERS,
    STAGES,
    UNIT,
)
from suanwang.engines.scheduling.packing_model import CARD

MODELS = ("big", "small")


class PlainPacker:
    """Free resources in a dictionary and the measure computed from its definition."""

    def __init__(self, nodes: Sequence[PackNode], mix: DemandMix) -> None:
        self.nodes = {node.node_id: node for node in sorted(nodes, key=lambda node: node.node_id)}
        self.with_cards = [(n, w) for n, w in mix.classes if n.cards]
        self.single = scaled([(n, w) for n, w in self.with_cards if n.cards == 1])
        self.several = [(n, w) for n, w in scaled(self.with_cards) if n.cards > 1]
        self.plain = [(n, w) for n, w in mix.classes if not n.cards and n.cpu_milli]
        shares = sum(w for n, w in self.single if n.card_milli < CARD) or MIX_TOTAL
        self.closing = max(1, shares * STAGES // OFFERS)
        asked = sum(n.accelerator_milli * w for n, w in self.with_cards)
        self.rates = [
            max(1, asked * UNIT // sum(amounts)) if any(amounts) else None
            for amounts in (
                [n.cpu_milli * w for n, w in self.with_cards],
                [n.memory_mib * w for n, w in self.with_cards],
                [n.disk_mib * w for n, w in self.with_cards],
            )
        ]
        self.claims = [(n, self.claim(n, w, asked)) for n, w in self.with_cards]
        self.idle = cache(self.idle_now)

    def claim(self, need: Need, weight: int, asked: int) -> int:
        cards = dict.fromkeys((*MODELS, *need.models), 0)
        for node in self.nodes.values():
            cards[node.model] += len(node.cards_milli)
        usable = sum(cards[model] for model in need.models)
        if usable in (0, sum(cards.values())):
            return 0
        demand = need.accelerator_milli * weight
        return KEPT_PERCENT * demand * sum(cards.values()) * UNIT // (100 * asked * usable)

    def idle_now(self, free: int, model: str, cpu: int, stage: int = STAGES) -> int:
        if stage == 0:
            return free * UNIT
        total, met = self.closing, self.closing * self.idle(free, model, cpu, stage - 1)
        for need, weight in self.single:
            if need.card_milli <= free and admitted(need, model, cpu):
                total += weight
                met += weight * self.idle(free - need.card_milli, model, cpu, stage)
        return met // total

    def value(self, node: PackNode) -> int:
        cpu = node.cpu_milli
        if not node.cards_milli:
            refused = sum(w for n, w in self.plain if n.cpu_milli > cpu)
            share = refused * UNIT // max(1, sum(w for _, w in self.plain))
            return cpu * share * (self.rates[0] or UNIT) // UNIT
        value = sum(self.idle(free, node.model, cpu) for free in node.cards_milli)
        whole = node.cards_milli.count(CARD)
        for need, weight in self.several + [(n, c) for n, c in self.claims if n.cards > 1]:
            if need.cards <= whole and admitted(need, node.model, cpu):
                value -= whole * CARD * weight
        for need, claim in self.claims:
            if need.cards == 1 and admitted(need, node.model, cpu):
                value -= sum(claim * free for free in node.cards_milli if free >= need.card_milli)
        total = sum(node.cards_milli) * UNIT
        free = (cpu, node.memory_mib, node.disk_mib)
        fed = [have * rate for have, rate in zip(free, self.rates, strict=True) if rate is not None]
        return value + total - min([total, *fed])

    def best(self, need: Need) -> Spot | None:
        found = []
        for node in self.nodes.values():
            if not fits(need, node):
                continue
            for cards in self.card_choices(need, node):
                spot = Spot(node.node_id, cards)
                growth = self.value(moved(node, need, spot, 1)) - self.value(node)
                fullness = [node.cards_milli[card] for card in cards]
                found.append((growth, node.node_id, fullness, cards, spot))
        return min(found)[-1] if found else None

    def card_choices(self, need: Need, node: PackNode) -> list[tuple[int, ...]]:
        enough = [i for i, free in enumerate(node.cards_milli) if free >= need.card_milli > 0]
        if need.cards != 1:
            return [tuple(enough[: need.cards])]
        return [(card,) for card in enough]

    def move(self, need: Need, spot: Spot, sign: int) -> None:
        self.nodes[spot.node_id] = moved(self.nodes[spot.node_id], need, spot, sign)


def scaled(needs: list[tuple[Need, int]]) -> list[tuple[Need, int]]:
    total = sum(weight for _, weight in needs)
    return [(need, weight * MIX_TOTAL // total) for need, weight in needs]


def admitted(need: Need, model: str, cpu: int) -> bool:
    return need.cpu_milli <= cpu and (not need.models or model in need.models)


def fits(need: Need, node: PackNode) -> bool:
    enough = [free for free in node.cards_milli if free >= need.card_milli > 0]
    return (
        admitted(need, node.model, node.cpu_milli)
        and need.memory_mib <= node.memory_mib
        and need.disk_mib <= node.disk_mib
        and need.cards <= len(enough)
    )


def moved(node: PackNode, need: Need, spot: Spot, sign: int) -> PackNode:
    cards = list(node.cards_milli)
    for card in spot.cards:
        cards[card] -= sign * need.card_milli
    return PackNode(
        node.node_id,
        node.cpu_milli - sign * need.cpu_milli,
        node.memory_mib - sign * need.memory_mib,
        node.disk_mib - sign * need.disk_mib,
        tuple(cards),
        node.model,
    )


SIZES = st.sampled_from([100, 160, 190, 333, 470, 500, 810])
RESOURCES = {
    "cpu_milli": st.integers(0, 12).map(lambda cores: cores * 1000),
    "memory_mib": st.integers(0, 6).map(lambda gib: gib * 1024),
    "disk_mib": st.sampled_from([0, 0, 0, 50]),
}
SOME_MODELS = st.sampled_from([(), (), ("big",), ("big", "small")])
SHARES = st.builds(Need, **RESOURCES, cards=st.just(1), card_milli=SIZES, models=SOME_MODELS)
WHOLE = st.builds(
    Need, **RESOURCES, cards=st.integers(1, 4), card_milli=st.just(CARD), models=SOME_MODELS
)
NEEDS = st.one_of(SHARES, SHARES, WHOLE, st.builds(Need, **RESOURCES))
MIXES = st.lists(st.tuples(NEEDS, st.integers(1, 50)), max_size=6).map(DemandMix.of)
NODE_KINDS = st.builds(
    PackNode,
    node_id=st.just(""),
    cpu_milli=st.integers(0, 40).map(lambda cores: cores * 1000),
    memory_mib=st.integers(0, 30).map(lambda gib: gib * 1024),
    disk_mib=st.sampled_from([0, 200]),
    cards_milli=st.one_of(
        st.integers(0, 4).map(lambda count: (CARD,) * count),
        st.lists(st.sampled_from([0, 190, 500, CARD]), max_size=3).map(tuple),
    ),
    model=st.sampled_from(MODELS),
)


@st.composite
def clusters(draw: st.DrawFn) -> list[PackNode]:
    """A few kinds of nodes, some of them several times, with ids in no particular order."""
    kinds = draw(st.lists(NODE_KINDS, min_size=1, max_size=3))
    picks = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=7))
    ids = draw(st.permutations([f"node-{i}" for i in range(len(picks))]))
    return [
        PackNode(i, k.cpu_milli, k.memory_mib, k.disk_mib, k.cards_milli, k.model)
        for i, k in zip(ids, picks, strict=True)
    ]


STEPS = st.lists(st.tuples(NEEDS, st.sampled_from([0, 0, 0, 1, 2])), max_size=25)
"""A need to place, and how many earlier placements to give back before."""


@given(clusters(), MIXES, STEPS)
@settings(max_examples=150, deadline=None)
def test_equal_to_the_plain_computation(
    nodes: list[PackNode], mix: DemandMix, steps: list[tuple[Need, int]]
) -> None:
    packer, plain = NodePacker(nodes, mix), PlainPacker(nodes, mix)
    placed: list[tuple[Need, Spot]] = []
    for need, leaving in steps:
        for _ in range(min(leaving, len(placed))):
            gone, spot = placed.pop(0)
            packer.release(gone, spot)
            plain.move(gone, spot, -1)
        expected = plain.best(need)
        assert packer.take(need) == (None if expected is None else (expected,))
        if expected is not None:
            plain.move(need, expected, 1)
            placed.append((need, expected))
        assert {i: packer.free(i) for i in plain.nodes} == plain.nodes


@given(clusters(), MIXES, STEPS, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_capacity_holds_and_everything_comes_back(
    nodes: list[PackNode], mix: DemandMix, steps: list[tuple[Need, int]], members: int
) -> None:
    packer = NodePacker(nodes, mix)
    placed: list[tuple[Need, Spot]] = []
    for need, _ in steps:
        spots = packer.take(need, members)
        assert spots is None or len(spots) == members
        placed += [(need, spot) for spot in spots or ()]
    for node in nodes:
        mine = [(need, spot) for need, spot in placed if spot.node_id == node.node_id]
        left = node
        for need, spot in mine:
            assert len(set(spot.cards)) == need.cards
            left = moved(left, need, spot, 1)
        assert packer.free(node.node_id) == left
        assert min(left.cpu_milli, left.memory_mib, left.disk_mib, *left.cards_milli, 0) == 0
    for need, spot in placed:
        packer.release(need, spot)
    assert [packer.free(node.node_id) for node in nodes] == nodes


@given(clusters(), MIXES, STEPS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_nodes_and_idle_questions_change_nothing(
    nodes: list[PackNode], mix: DemandMix, steps: list[tuple[Need, int]], rng: object
) -> None:
    shuffled = sorted(nodes, key=lambda _: rng.random())  # type: ignore[attr-defined]
    first, second = NodePacker(nodes, mix), NodePacker(shuffled, mix)
    for need, members in steps:
        assert first.choose(need, members + 1) == second.choose(need, members + 1)
        for other, _ in steps[:3]:
            second.choose(other, 2)
        assert first.take(need, members + 1) == second.take(need, members + 1)


@given(clusters(), MIXES, NEEDS, st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_a_gang_is_refused_only_when_it_does_not_fit(
    nodes: list[PackNode], mix: DemandMix, need: Need, members: int
) -> None:
    one_by_one = NodePacker(nodes, mix)
    room = 0
    while room < members and one_by_one.take(need) is not None:
        room += 1
    packer = NodePacker(nodes, mix)
    assert (packer.choose(need, members) is not None) == (room == members)
    assert [packer.free(node.node_id) for node in nodes] == nodes
