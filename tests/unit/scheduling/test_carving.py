"""Contracts cut out of a pool: what each has, what must be free for the next, who makes way."""

from __future__ import annotations

from dataclasses import replace

from world import NOW_MS, cards, demand, group, lease, node, pool, started, world

from suanwang.engines.scheduling.carving import Carved, Claim, carve
from suanwang.engines.scheduling.model import Node, Pool, Prices, RefusalReason, Running
from suanwang.engines.scheduling.plan import plan

HOUR_MS = 3_600_000
MINE = "project"
"""Of the groups that `group` makes."""


def claim(
    name: str, lots: int, *, begins: int = -1, hours: int = 4, project: str = "theirs"
) -> Claim:
    from_ms = NOW_MS + begins * HOUR_MS
    until_ms = from_ms + hours * HOUR_MS
    return Claim(f"p#{name}", name, project, lots, from_ms, until_ms, by_core=False)


def on_cards(name: str, free: list[int], up: bool = True) -> Node:
    """Eight cards, known one by one."""
    milli = sum(free)
    left = replace(cards(1) * (milli // 1_000), accelerator_milli=milli)
    return Node(name, cards(8), left, up, tuple(free))


def free_lots(one: Pool) -> dict[str, int]:
    return {n.node_id: n.free.accelerator_milli // 1_000 for n in one.nodes}


def part(carved: Carved, pool_id: str) -> Pool:
    [found] = [one for one in carved.pools if one.pool_id == pool_id]
    return found


def test_a_running_contract_has_its_free_lots_apart_at_no_price() -> None:
    whole = pool("p", [node("n1", free=3), node("n2")])
    carved = carve(whole, [claim("c", 6)], [], {}, NOW_MS)
    own, rest = part(carved, "p#c"), part(carved, "p")
    assert free_lots(own) == {"n2": 6}
    assert free_lots(rest) == {"n1": 3, "n2": 2}
    assert own.prices == Prices()
    assert own.max_runtime_s == 3 * 3_600
    assert own.part is not None
    assert own.part.project_id == "theirs"
    assert carved.there == {"p#c": (("n2", 6),)}
    assert carved.leave == ()


def test_what_its_leases_hold_counts_in_whole_lots_and_what_they_leave_is_its_own() -> None:
    small = replace(lease("l1", "p", "n1", 1), member_resources=replace(cards(1), cpu_milli=1_000))
    whole = pool("p", [Node("n1", cards(8), cards(8) - small.member_resources)])
    carved = carve(whole, [claim("c", 2)], [small], {"l1": "p#c"}, NOW_MS)
    own = part(carved, "p#c")
    assert own.nodes[0].capacity == cards(2)
    assert own.nodes[0].free == cards(2) - small.member_resources
    assert part(carved, "p").nodes[0].free == cards(6)
    assert carved.moved == {"l1": "p#c"}


def test_cards_stay_whole_and_are_named() -> None:
    half = replace(cards(1), accelerator_milli=500)
    held = replace(lease("l1", "p", "n1", 1), member_resources=half, cards=((2,),))
    free = [1_000, 1_000, 500, 1_000, 0, 0, 0, 0]
    seat = Node("n1", cards(8), replace(cards(3), accelerator_milli=3_500), True, tuple(free))
    carved = carve(pool("p", [seat]), [claim("c", 2)], [held], {"l1": "p#c"}, NOW_MS)
    own, rest = part(carved, "p#c").nodes[0], part(carved, "p").nodes[0]
    assert own.cards == (1_000, 0, 500, 0, 0, 0, 0, 0)
    assert rest.cards == (0, 1_000, 0, 1_000, 0, 0, 0, 0)
    assert own.free.accelerator_milli == 1_500
    assert rest.free.accelerator_milli == 2_000


def test_before_a_contract_begins_its_lots_are_open_to_work_that_ends_by_then() -> None:
    whole = pool("p", [node("n1")])
    carved = carve(whole, [claim("c", 5, begins=2)], [], {}, NOW_MS)
    begins = (NOW_MS + 2 * HOUR_MS) // 1_000
    early = part(carved, f"p<{begins}")
    assert free_lots(early) == {"n1": 5}
    assert free_lots(part(carved, "p")) == {"n1": 3}
    assert early.prices == whole.prices
    own = part(carved, "p#c")
    assert own.part is not None
    assert own.part.opens_at_ms == NOW_MS + 2 * HOUR_MS
    assert free_lots(own) == {"n1": 0}
    seen = world(
        carved.pools,
        [demand("short", 5, hours=2), demand("long", 3, hours=3)],
        [group("short"), group("long", 2)],
    )
    made = plan(seen, NOW_MS)
    assert sorted(started(made)) == [("long", "p"), ("short", f"p<{begins}")]
    [refused] = made.refusals
    assert refused.reason is RefusalReason.NO_FREE_CAPACITY
    assert RefusalReason.RUNS_INTO_CONTRACT in {v.reason for v in refused.verdicts}
    assert all("#c" not in verdict.pool_id for verdict in refused.verdicts)


def test_work_that_ends_in_time_is_counted_on_and_counted_once() -> None:
    ending = lease("l1", "p", "n1", 4, ends_in_s=3_600)
    staying = lease("l2", "p", "n1", 2, ends_in_s=9 * 3_600)
    whole = pool("p", [node("n1", free=2)])
    one = carve(whole, [claim("c", 4, begins=2)], [ending, staying], {}, NOW_MS)
    assert free_lots(part(one, "p")) == {"n1": 2}
    assert one.moved == {"l1": f"p<{(NOW_MS + 2 * HOUR_MS) // 1_000}"}
    claims = [claim("c", 4, begins=2), claim("d", 1, begins=3)]
    both = carve(whole, claims, [ending, staying], {}, NOW_MS)
    assert free_lots(part(both, "p")) == {"n1": 1}
    assert free_lots(part(both, f"p<{(NOW_MS + 3 * HOUR_MS) // 1_000}")) == {"n1": 1}


def test_a_contract_after_another_uses_the_same_lots() -> None:
    whole = pool("p", [node("n1")])
    claims = [claim("now", 8, begins=-1, hours=3), claim("next", 8, begins=2)]
    carved = carve(whole, claims, [], {}, NOW_MS)
    assert free_lots(part(carved, "p#now")) == {"n1": 8}
    assert free_lots(part(carved, "p")) == {"n1": 0}


def test_only_its_project_starts_there_and_likes_it_for_being_free() -> None:
    whole = pool("p", [node("n1"), node("n2")])
    carved = carve(whole, [claim("c", 2, project=MINE)], [], {}, NOW_MS)
    seen = world(
        carved.pools,
        [demand("small")],
        [group("small", 3), group("small", 2, project="another")],
    )
    made = plan(seen, NOW_MS)
    mine = [p.pool_id for p in made.placements if p.group[1] == MINE]
    others = [p.pool_id for p in made.placements if p.group[1] != MINE]
    assert sorted(mine) == ["p", "p#c", "p#c"]
    assert others == ["p", "p"]
    assert {p.score.rate_micro_yuan_per_hour for p in made.placements if p.pool_id == "p#c"} == {0}


def test_a_demand_may_insist_on_a_contract_or_refuse_all() -> None:
    whole = pool("p", [node("n1")])
    carved = carve(whole, [claim("c", 2, project=MINE)], [], {}, NOW_MS)
    classes = [
        replace(demand("only"), contract="c"),
        replace(demand("none"), contract="none"),
        replace(demand("gone"), contract="d"),
    ]
    made = plan(
        world(carved.pools, classes, [group("only", 3), group("none"), group("gone")]), NOW_MS
    )
    assert sorted(started(made)) == [("none", "p"), ("only", "p#c"), ("only", "p#c")]
    why = {refusal.group[3]: refusal.reason for refusal in made.refusals}
    assert why == {"only": RefusalReason.NO_FREE_CAPACITY, "gone": RefusalReason.NOT_ON_CONTRACT}


def test_one_that_has_not_begun_is_waited_for_and_one_that_is_too_short_is_not() -> None:
    whole = pool("p", [node("n1")])
    claims = [claim("soon", 2, begins=1, project=MINE), claim("now", 2, project=MINE)]
    carved = carve(whole, claims, [], {}, NOW_MS)
    classes = [
        replace(demand("early", hours=2), contract="soon"),
        replace(demand("long", hours=4), contract="now"),
    ]
    made = plan(world(carved.pools, classes, [group("early"), group("long")]), NOW_MS)
    why = {refusal.group[3]: refusal.reason for refusal in made.refusals}
    assert why == {
        "early": RefusalReason.CONTRACT_NOT_BEGUN,
        "long": RefusalReason.RUNTIME_OVER_LIMIT,
    }
    assert "begins in 60 min" in made.refusals[0].detail


def test_how_a_contract_lies_today_does_not_make_work_too_large_for_good() -> None:
    whole = pool("p", [node("n1", free=1), node("n2", free=1)])
    carved = carve(whole, [claim("c", 2, project=MINE)], [], {}, NOW_MS)
    wanted = replace(demand("pair", 2), contract="c")
    [refused] = plan(world(carved.pools, [wanted], [group("pair")]), NOW_MS).refusals
    assert refused.reason is RefusalReason.NO_FREE_CAPACITY


def guests(*, preemptible: bool = True, ran_s: tuple[int, int] = (600, 300)) -> list[Running]:
    return [
        lease("l1", "p", "n1", 4, ran_s=ran_s[0], preemptible=preemptible, ends_in_s=9 * 3_600),
        lease("l2", "p", "n1", 4, ran_s=ran_s[1], preemptible=preemptible, ends_in_s=9 * 3_600),
    ]


def test_preemptible_work_makes_way_the_youngest_first() -> None:
    whole = pool("p", [node("n1", free=0)])
    assert carve(whole, [claim("c", 3)], guests(), {}, NOW_MS).leave == ("l2",)
    assert carve(whole, [claim("c", 5)], guests(), {}, NOW_MS).leave == ("l1", "l2")
    assert carve(whole, [claim("c", 3)], guests(preemptible=False), {}, NOW_MS).leave == ()
    one_stopping = [replace(guests()[0], stopping=True), guests()[1]]
    assert carve(whole, [claim("c", 3)], one_stopping, {}, NOW_MS).leave == ()


def test_nobody_makes_way_long_before_a_contract_begins() -> None:
    whole = pool("p", [node("n1", free=0)])
    assert carve(whole, [claim("c", 3, begins=1)], guests(), {}, NOW_MS).leave == ()
    soon = replace(claim("c", 3), from_ms=NOW_MS + 30_000)
    assert carve(whole, [soon], guests(), {}, NOW_MS).leave == ("l2",)


def test_a_node_that_is_down_gives_no_lots() -> None:
    whole = pool("p", [on_cards("n1", [1_000] * 8, up=False), on_cards("n2", [1_000] * 8)])
    carved = carve(whole, [claim("c", 10)], [], {}, NOW_MS)
    assert carved.there == {"p#c": (("n2", 8),)}


def test_a_share_that_comes_free_on_another_card_is_not_counted_on_for_a_whole_one() -> None:
    half = replace(cards(1), accelerator_milli=500)
    held = replace(lease("l1", "p", "n1", 1), member_resources=half, cards=((0,),))
    free = replace(cards(2), accelerator_milli=1_000)
    seat = Node("n1", cards(3), free, True, (0, 0, 1_000))
    carved = carve(pool("p", [seat]), [claim("c", 1, begins=2)], [held], {}, NOW_MS)
    early = part(carved, f"p<{(NOW_MS + 2 * HOUR_MS) // 1_000}").nodes[0]
    assert early.cards == (0, 0, 1_000)
    assert early.free.accelerator_milli == 1_000
