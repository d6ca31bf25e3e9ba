"""Which cards leases hold: the planner names them, the site's word corrects it."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from grid_world import GridWorld, PlayedSite, pool_report, report_of
from suanwang.grid.jobs.cards import Holder, standing
from suanwang.grid.jobs.tables import leases
from suanwang.protocol.messages import (
    AcceleratorReport,
    NodeReport,
    Phase,
    Quantity,
    decode,
    encode,
)


def node(*cards: int, known: bool = True, foreign: int = 0) -> NodeReport:
    return NodeReport(
        "n0",
        Quantity(64_000, 65_536, 10_000, 1_000 * len(cards)),
        Quantity(accelerator_milli=foreign),
        cards=list(cards) if known else [],
    )


def site_with(world: GridWorld, report: NodeReport) -> PlayedSite:
    site = world.site()
    site.pools = [pool_report(nodes=[report], accelerator=AcceleratorReport("H100"))]
    site.reconcile()
    return site


def submit(world: GridWorld, share: float) -> str:
    return world.submit(resources={"cpus": 1, "accelerators": share})


def cards_of(world: GridWorld, job_id: str) -> list[list[int]] | None:
    return world.lease(job_id).cards


def test_a_share_is_promised_only_where_one_card_has_it(world: GridWorld) -> None:
    site = site_with(world, node(1_000, 1_000))
    first = [submit(world, 0.5), submit(world, 0.6)]
    world.round()
    assert sorted(str(cards_of(world, job)) for job in first) == ["[[0]]", "[[1]]"]
    late = [submit(world, 0.5), submit(world, 0.5)]
    world.round()
    held = [x.cards for job in late for x in world.leases(job)]
    assert held == [cards_of(world, first[0])], "0.9 cards are free, on two cards"
    told = [order.run.cards for order in site.orders() if order.run]
    assert sorted(told) == sorted([*held, *(cards_of(world, job) or [] for job in first)])
    assert sorted(world.gather().snapshot.pools[0].nodes[0].cards) == [0, 400]


def test_two_plans_at_once_do_not_promise_one_card_twice(world: GridWorld) -> None:
    site_with(world, node(1_000))
    jobs = [submit(world, 0.6)]
    world.round()
    stale = world.gather()
    jobs.append(submit(world, 0.6))
    assert stale.snapshot.pools[0].nodes[0].cards == (400,)
    assert world.round().placed == 0


def test_the_sites_own_choice_is_written_down(world: GridWorld) -> None:
    site = site_with(world, node(1_000, 1_000))
    job = submit(world, 0.5)
    world.round()
    lease = world.lease(job)
    site.says(report_of(lease, Phase.RUNNING, nodes=["n0"], cards=[[1]]))
    assert cards_of(world, job) == [[1]]
    assert world.gather().snapshot.pools[0].nodes[0].cards == (1_000, 500)
    for nonsense in ([[0, 1]], [[-1]], [[0], [1]], [[10**9]]):
        site.says(report_of(lease, Phase.RUNNING, nodes=["n0"], cards=nonsense))
        assert cards_of(world, job) == [[1]]


def test_leases_from_before_are_taken_to_lie_as_the_site_would_put_them(world: GridWorld) -> None:
    site_with(world, node(1_000, 1_000))
    job = submit(world, 0.5)
    world.round()
    world.write(lambda tx: tx.conn.execute(sa.update(leases).values(cards=None)))
    gathered = world.gather()
    assert gathered.snapshot.pools[0].nodes[0].cards == (500, 1_000)
    assert [r.cards for r in gathered.snapshot.running] == [((0,),)]
    assert cards_of(world, job) is None


def test_a_site_that_tells_totals_only_is_planned_with_nominal_cards(world: GridWorld) -> None:
    site_with(world, node(1_000, 1_000, known=False, foreign=1_000))
    submit(world, 0.6)
    submit(world, 0.6)
    assert world.round().placed == 1
    assert world.gather().snapshot.pools[0].nodes[0].cards == (400, 0)


def test_what_does_not_add_up_frees_nothing() -> None:
    twice = [Holder("a", 600, 1, (0,)), Holder("b", 600, 1, (0,))]
    assert standing(node(1_000, 1_000), twice).free == (0, 1_000)
    nowhere = [Holder("a", 600, 1, (0,)), Holder("b", 600, 1, (1,)), Holder("c", 600, 1, ())]
    now = standing(node(1_000, 1_000), nowhere)
    assert now == ((200, 0), {})


def test_an_older_peer_reads_a_report_with_cards() -> None:
    class OldNode(msgspec.Struct, omit_defaults=True):
        name: str
        capacity: Quantity

    report = node(1_000, 500)
    assert decode(encode(report), OldNode).capacity == report.capacity
    assert decode(encode(OldNode("n0", report.capacity)), NodeReport).cards == []
