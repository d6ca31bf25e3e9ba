"""Node choice on small clusters where the right answer is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from suanwang.engines.scheduling.model import Node, Request
from suanwang.engines.scheduling.packing import DemandMix, Need, NodePacker, PackNode, Spot
from suanwang.engines.scheduling.packing_measure import UNIT, Measure, idle_by_free
from suanwang.kernel.errors import InvalidInput, InvariantViolated
from suanwang.kernel.resources import Resources

CORE, GIB = 1000, 1024


def need(cores: int = 0, cards: int = 0, milli: int = 1000, models: tuple[str, ...] = ()) -> Need:
    return Need(cores * CORE, cores * GIB, 0, cards, milli if cards else 0, models)


def node(node_id: str, cores: int, *cards: int, model: str = "") -> PackNode:
    return PackNode(node_id, cores * CORE, 1000 * GIB, 0, cards, model)


LARGE, SMALL, WHOLE = need(4, 1, 810), need(4, 1, 190), need(4, 1)
SHARED_MIX = DemandMix.of([(LARGE, 5), (SMALL, 1), (WHOLE, 5)])


def test_a_share_goes_where_it_fills_a_hole() -> None:
    packer = NodePacker([node("a", 64, 1000, 1000), node("b", 64, 1000, 190)], SHARED_MIX)
    assert packer.choose(SMALL) == (Spot("b", (1,)),)


def test_the_first_card_of_equal_ones_is_taken() -> None:
    packer = NodePacker([node("a", 64, 0, 1000, 1000)], SHARED_MIX)
    assert packer.take(WHOLE) == (Spot("a", (1,)),)
    assert packer.take(WHOLE) == (Spot("a", (2,)),)
    assert packer.take(WHOLE) is None


@pytest.mark.parametrize("plain", [Need(8000), Need(0, 8000), Need(0, 0, 8000)])
def test_work_without_cards_keeps_off_what_cards_need(plain: Need) -> None:
    roomy = PackNode("b", 64_000, 64_000, 64_000, (1000, 1000))
    cpu, memory, disk = (
        8000 if wanted else 64_000 for wanted in (plain.cpu_milli, plain.memory_mib, plain.disk_mib)
    )
    tight = PackNode("a", cpu, memory, disk, (1000, 1000))
    packer = NodePacker([tight, roomy], DemandMix.of([(Need(4000, 4000, 4000, 1, 1000), 1)]))
    assert packer.choose(plain) == (Spot("b"),)


def test_work_without_cards_fills_a_started_node_without_cards() -> None:
    mix = DemandMix.of([(need(2), 1), (need(8), 1)])
    packer = NodePacker([node("a", 32), node("b", 6)], mix)
    assert packer.choose(need(2)) == (Spot("b"),)


def test_ties_go_to_the_smallest_id_in_any_order() -> None:
    nodes = [node(f"n{i}", 64, 1000) for i in (2, 0, 1)]
    assert NodePacker(nodes, SHARED_MIX).choose(WHOLE) == (Spot("n0", (0,)),)


def test_only_named_models_are_used() -> None:
    nodes = [node("a", 64, 1000, model="old"), node("b", 64, 1000, model="new")]
    packer = NodePacker(nodes, SHARED_MIX)
    assert packer.choose(need(4, 1, models=("new",))) == (Spot("b", (0,)),)
    assert packer.choose(need(4, 1, models=("other",))) is None


def test_a_scarce_model_is_kept_for_those_who_name_it() -> None:
    picky = need(4, 1, models=("a-scarce",))
    nodes = [node("a", 64, 1000, model="a-scarce"), node("b", 64, 1000, model="b-plain")]
    packer = NodePacker(nodes, DemandMix.of([(picky, 5), (LARGE, 5)]))
    assert packer.choose(LARGE) == (Spot("b", (0,)),)


def test_a_gang_stays_together_if_a_node_holds_it() -> None:
    nodes = [node("a", 64, *(1000,) * 2), node("b", 64, *(1000,) * 4), node("c", 64, *(1000,) * 4)]
    packer = NodePacker(nodes, SHARED_MIX)
    spots = packer.take(WHOLE, members=4)
    assert spots == tuple(Spot("b", (card,)) for card in range(4))
    assert packer.take(WHOLE, members=7) is None
    assert packer.free("c") == nodes[2]
    assert len(packer.take(WHOLE, members=6) or ()) == 6


def test_a_gang_of_nothing_special_spreads_when_no_node_is_wide_enough() -> None:
    packer = NodePacker([node(f"n{i}", 3) for i in range(4)], DemandMix())
    spots = packer.choose(need(2), members=3)
    assert spots is not None
    assert sorted(spot.node_id for spot in spots) == ["n0", "n1", "n2"]
    assert packer.choose(need(2), members=5) is None


def test_needs_beyond_every_node_are_refused() -> None:
    packer = NodePacker([node("a", 64, 1000)], SHARED_MIX)
    assert packer.choose(need(1, 2)) is None
    assert packer.choose(need(65)) is None
    assert NodePacker([], SHARED_MIX).choose(WHOLE) is None


def test_one_measure_serves_many_pools() -> None:
    pools = [[node("a", 64, 1000, 190)], [node("b", 64, 1000, 1000, 1000)]]
    shared = Measure.of([*pools[0], *pools[1]], SHARED_MIX)
    for pool in pools:
        assert NodePacker(pool, shared).take(SMALL) == NodePacker(pool, SHARED_MIX).take(SMALL)
    with pytest.raises(InvariantViolated):
        NodePacker([node("c", 64, *(1000,) * 4)], shared)


def test_score_says_what_a_choice_costs() -> None:
    packer = NodePacker([node("a", 64, 1000, 1000), node("b", 64, 190, 500)], SHARED_MIX)
    on_hole, on_fresh = packer.score(SMALL, "b"), packer.score(SMALL, "a")
    assert on_hole is not None
    assert on_fresh is not None
    assert on_hole < on_fresh
    assert packer.score(need(65), "a") is None


def test_the_book_refuses_what_is_not_free() -> None:
    packer = NodePacker([node("a", 8, 500)], SHARED_MIX)
    for wrong, spot in [
        (LARGE, Spot("a", (0,))),
        (SMALL, Spot("a", (1,))),
        (SMALL, Spot("a")),
        (need(9), Spot("a")),
        (need(4, 2), Spot("a", (0, 0))),
    ]:
        with pytest.raises(InvariantViolated):
            packer.place(wrong, spot)
    with pytest.raises(InvariantViolated):
        packer.release(WHOLE, Spot("a", (0,)))
    assert packer.free("a") == node("a", 8, 500)


def test_node_ids_are_unique() -> None:
    with pytest.raises(InvariantViolated):
        NodePacker([node("a", 1), node("a", 2)], SHARED_MIX)


@pytest.mark.parametrize(
    ("milli", "cards", "card_milli"), [(0, 0, 0), (250, 1, 250), (1000, 1, 1000), (4000, 4, 1000)]
)
def test_a_request_is_spelt_out_in_cards(milli: int, cards: int, card_milli: int) -> None:
    request = Request(Resources(2000, 4096, 10, milli), ("B", "A"))
    expected = Need(2000, 4096, 10, cards, card_milli, ("A", "B") if milli else ())
    assert Need.of(request) == expected


@pytest.mark.parametrize("milli", [1500, 2001])
def test_neither_a_share_nor_whole_cards_is_refused(milli: int) -> None:
    with pytest.raises(InvalidInput):
        Need.of(Request(Resources(accelerator_milli=milli)))


@pytest.mark.parametrize(("cards", "milli"), [(2, 500), (0, 100), (1, 0), (1, 1001), (-1, 1000)])
def test_a_need_is_one_share_or_whole_cards(cards: int, milli: int) -> None:
    with pytest.raises(InvalidInput):
        Need(0, 0, 0, cards, milli)


def test_a_pool_node_becomes_cards() -> None:
    capacity, free = Resources(64, 128, 256, 4000), Resources(32, 64, 128, 2300)
    made = PackNode.of(Node("n", capacity, free), "H")
    assert made == PackNode("n", 32, 64, 128, (1000, 1000, 300, 0), "H")
    assert PackNode.of(Node("n", Resources(1), Resources(1)), "H").model == ""


def test_idle_of_a_card_by_hand() -> None:
    """One size, 400, as likely as the end of a stage: each of the four stages halves the way."""
    (row,) = idle_by_free(np.array([[7]]), [400], closing=7)
    assert row[300] == 300 * UNIT
    assert row[500] == 125 * UNIT, "500 to 100: 300, 200, 150, 125"
    assert row[900] == 200 * UNIT, "900 to what 500 leaves: 600, 400, 275, 200"
    assert row[507] == row[500] + 7 * UNIT, "what is finer than every size stays idle"


def test_the_mix_merges_and_sorts() -> None:
    assert DemandMix.of([(WHOLE, 1), (SMALL, 0), (LARGE, 2), (WHOLE, 3)]) == DemandMix.of(
        [(LARGE, 2), (WHOLE, 4)]
    )
