"""Nodes, placement and cards of the process driver's pools."""

from __future__ import annotations

from typing import Any

import pytest

from suanwang.agent.config import AcceleratorConfig, PoolConfig
from suanwang.agent.drivers.process.link import Tag
from suanwang.agent.drivers.process.pools import (
    CardModel,
    MachineSize,
    Pool,
    Refused,
    cards_of_members,
    deal,
    find_pool,
)
from suanwang.protocol.messages import AcceleratorReport, FailureClass, Quantity, RunSpec

SIZE = MachineSize(cpu_milli=8000, memory_mib=32_000, disk_mib=100_000)


def _pool(found: CardModel | None = None, **fields: Any) -> Pool:
    config = PoolConfig(name="p", **fields)
    [hand] = deal([config], found)
    return Pool(config, SIZE, hand)


def _spec(lease: str = "l", **fields: Any) -> RunSpec:
    given: dict[str, Any] = {"member_quantity": Quantity(1000, 1000)} | fields
    return RunSpec(
        lease_id=lease,
        epoch=1,
        task_id="t",
        job_id="j",
        job_name="n",
        pool="p",
        command=["true"],
        **given,
    )


def test_the_machine_is_carved_into_equal_nodes() -> None:
    pool = _pool(nodes=4)
    assert list(pool.nodes) == ["p-0", "p-1", "p-2", "p-3"]
    assert {n.capacity for n in pool.nodes.values()} == {Quantity(2000, 8000, 25_000, 0)}


def test_what_the_config_declares_stands() -> None:
    pool = _pool(nodes=2, cpus=0.5, memory_gib=1.5, disk_gib=2)
    assert pool.nodes["p-1"].capacity == Quantity(500, 1536, 2048, 0)


def test_found_cards_are_shared_out_and_declared_ones_win() -> None:
    found = CardModel(AcceleratorReport("H100", "nvidia", 81_559), (0, 1, 3, 4, 5, 6, 7))
    pool = _pool(found, nodes=3)
    assert [list(node.cards) for node in pool.nodes.values()] == [[0, 1], [3, 4], [5, 6]]
    assert pool.accelerator == found.report
    declared = AcceleratorConfig("910B", 1, "ascend", 64, 320.0)
    pool = _pool(found, nodes=2, accelerator=declared)
    assert pool.accelerator == AcceleratorReport("910B", "ascend", 65_536, 320_000)
    assert pool.nodes["p-1"].capacity.accelerator_milli == 1000


H100 = CardModel(AcceleratorReport("H100", "nvidia", 81_559), tuple(range(8)), {7: 9})
TWO = AcceleratorConfig("A100", 2, "nvidia", 40)
NONE = AcceleratorConfig("none", 0)


def _dealt(found: CardModel | None, *cards: AcceleratorConfig | None) -> list[tuple[int, ...]]:
    configs = [PoolConfig(name=f"p{i}", accelerator=each) for i, each in enumerate(cards)]
    return [hand.cards if hand is not None else () for hand in deal(configs, found)]


def test_no_card_is_offered_by_two_pools() -> None:
    assert _dealt(H100, None, None) == [tuple(range(8)), ()]
    assert _dealt(H100, NONE, None) == [(), tuple(range(8))]
    assert _dealt(None, TWO, TWO) == [(0, 1), (2, 3)]
    assert _dealt(H100, TWO, None, TWO) == [(0, 1), (4, 5, 6, 7), (2, 3)]
    assert _dealt(None, None) == [()]


def test_a_pool_that_declares_no_cards_reports_no_accelerator() -> None:
    pool = _pool(H100, accelerator=NONE)
    assert pool.accelerator is None
    assert pool.nodes["p-0"].capacity.accelerator_milli == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"nodes": [("p-9", 1)]}, "no node p-9"),
        ({"nodes": [("p-0", 1)], "members": 2}, "2 members"),
        ({"nodes": [("p-0", 3)], "members": 3}, "p-0 has 2000 milli-cores, the order wants 3000"),
        ({"member_quantity": Quantity(memory_mib=9000)}, "MiB of memory"),
        ({"member_quantity": Quantity(disk_mib=30_000)}, "MiB of disk"),
        ({"member_quantity": Quantity(accelerator_milli=1)}, "milli-cards"),
    ],
)
def test_orders_over_a_nodes_capacity_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        _pool(nodes=4).place(_spec(**fields))
    assert refusal.value.failure is FailureClass.REJECTED


def test_unplaced_members_go_where_there_is_room() -> None:
    pool = _pool(nodes=3)
    pool.hold("other", Tag("p", [("p-1", 1)], cpu_milli=2000))
    tag = pool.place(_spec(members=3, nodes=[]))
    assert tag.nodes == [("p-0", 2), ("p-2", 1)]


def test_cards_are_exclusive_until_released() -> None:
    cards = AcceleratorConfig("A100", 2)
    pool = _pool(nodes=2, accelerator=cards)
    one = {"member_quantity": Quantity(accelerator_milli=1000), "nodes": [("p-1", 1)]}
    for lease, card in (("a", 2), ("b", 3)):
        tag = pool.place(_spec(lease, **one))
        assert tag.cards == {"p-1": [(card, 1000)]}
        pool.hold(lease, tag)
        pool.hold(lease, tag)
    with pytest.raises(Refused, match="no 1 free cards"):
        pool.place(_spec("c", **one))
    assert pool.place(_spec("a", **one)).cards == {"p-1": [(2, 1000)]}, "asked again: the same"
    pool.release("a")
    pool.release("a")
    assert pool.place(_spec("c", **one)).cards == {"p-1": [(2, 1000)]}


def test_shares_of_a_card_are_packed() -> None:
    pool = _pool(accelerator=AcceleratorConfig("A100", 2))
    for lease, milli, card in (("a", 300, 0), ("b", 500, 0), ("c", 500, 1), ("d", 200, 0)):
        spec = _spec(lease, member_quantity=Quantity(accelerator_milli=milli))
        tag = pool.place(spec)
        assert tag.cards == {"p-0": [(card, milli)]}, lease
        pool.hold(lease, tag)
    with pytest.raises(Refused, match="free cards"):
        pool.place(_spec("whole", member_quantity=Quantity(accelerator_milli=1000)))
    with pytest.raises(Refused, match="600/1000"):
        pool.place(_spec("share", member_quantity=Quantity(accelerator_milli=600)))
    with pytest.raises(Refused, match="whole cards"):
        pool.place(_spec("odd", member_quantity=Quantity(accelerator_milli=1500)))


def test_members_get_their_own_cards() -> None:
    pool = _pool(nodes=2, accelerator=AcceleratorConfig("A100", 4))
    spec = _spec(
        members=3,
        nodes=[("p-1", 2), ("p-0", 1)],
        member_quantity=Quantity(accelerator_milli=2000),
    )
    tag = pool.place(spec)
    assert cards_of_members(tag, 3) == [[4, 5], [6, 7], [0, 1]]
    assert cards_of_members(Tag("p", [("p-0", 2)]), 2) == [[], []]


def test_an_unknown_pool_is_refused() -> None:
    with pytest.raises(Refused, match="no pool q"):
        find_pool([_pool()], "q")


def test_cards_that_the_order_names_are_taken_and_told_by_their_position() -> None:
    pool = _pool(nodes=2, accelerator=AcceleratorConfig("A100", 2))
    share = {"member_quantity": Quantity(accelerator_milli=500)}
    tag = pool.place(_spec("a", nodes=[("p-1", 1)], cards=[[1]], **share))
    assert tag.cards == {"p-1": [(3, 500)]}
    assert pool.cards_of(tag) == ((1,),)
    pool.hold("a", tag)
    whole = {"member_quantity": Quantity(accelerator_milli=1000)}
    elsewhere = pool.place(_spec("b", nodes=[("p-1", 1)], cards=[[1]], **whole))
    assert pool.cards_of(elsewhere) == ((0,),), "it is not free, another is"
    assert pool.cards_of(pool.place(_spec("c", nodes=[("p-0", 1)]))) == ()


@pytest.mark.parametrize("cards", [[[7]], [[-1]], [[0, 1]], [[]], []])
def test_cards_that_make_no_sense_are_the_sites_to_choose(cards: list[list[int]]) -> None:
    pool = _pool(accelerator=AcceleratorConfig("A100", 2))
    need = Quantity(accelerator_milli=500)
    spec = _spec(nodes=[("p-0", 1)], cards=cards, member_quantity=need)
    assert pool.place(spec).cards == {"p-0": [(0, 500)]}
