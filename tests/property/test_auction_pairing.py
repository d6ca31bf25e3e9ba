"""Pairing: exact by order and hour, along the flows, with oneself only where it must be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from suanwang.trade.market.auction_pairing import Flow, Pair, Position, pair

HOURS = 3
ZONES = 3
owners = st.sampled_from(["org_a", "org_b", "org_c", "org_d"])


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Position], list[Position], list[Flow]]:
    """Lots are moved along 0 → 1 → 2, and are bought and sold where that leaves them."""
    buys: dict[int, dict[int, int]] = {}
    sells: dict[int, dict[int, int]] = {}
    flows = []
    for hour in range(HOURS):
        sold = [draw(st.integers(0, 8)) for _ in range(ZONES)]
        first = draw(st.integers(0, sold[0]))
        second = draw(st.integers(0, sold[1] + first))
        bought = [sold[0] - first, sold[1] + first - second, sold[2] + second]
        flows += [Flow(hour, HOURS + hour, first), Flow(HOURS + hour, 2 * HOURS + hour, second)]
        for lots, side in ((bought, buys), (sold, sells)):
            for zone, left in enumerate(lots):
                while left:
                    part = draw(st.integers(1, left))
                    own = side.setdefault(draw(st.integers(0, 4)), {})
                    own[zone * HOURS + hour] = own.get(zone * HOURS + hour, 0) + part
                    left -= part

    def positions(side: dict[int, dict[int, int]], letter: str) -> list[Position]:
        return [Position(f"{letter}{at}", draw(owners), lots) for at, lots in side.items()]

    return positions(buys, "b"), positions(sells, "s"), flows


def _sums(pairs: list[Pair], side: str) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for one in pairs:
        key = (one.buy_id, one.bought) if side == "buy" else (one.sell_id, one.sold)
        found[key] += one.lots
    return found


def _given(orders: list[Position]) -> Counter[tuple[str, int]]:
    return Counter({(one.order_id, number): n for one in orders for number, n in one.lots.items()})


@given(markets())
def test_sums_of_every_order_and_hour_are_exact_in_any_order(
    market: tuple[list[Position], list[Position], list[Flow]],
) -> None:
    buys, sells, flows = market
    pairs = pair(buys, sells, flows, HOURS)
    assert _sums(pairs, "buy") == _given(buys)
    assert _sums(pairs, "sell") == _given(sells)
    assert all(one.lots > 0 for one in pairs)
    assert pair(buys[::-1], sells[::-1], flows[::-1], HOURS) == pairs


@given(markets())
def test_lots_go_only_where_the_flows_lead(
    market: tuple[list[Position], list[Position], list[Flow]],
) -> None:
    for one in pair(*market, HOURS):
        assert one.sold % HOURS == one.bought % HOURS
        assert one.sold // HOURS <= one.bought // HOURS


@given(markets())
def test_an_organisation_meets_itself_only_where_nobody_else_is_left(
    market: tuple[list[Position], list[Position], list[Flow]],
) -> None:
    buys, sells, _ = market
    owner = {one.order_id: one.owner for one in (*buys, *sells)}
    pairs = pair(*market, HOURS)
    for channel in {(one.sold, one.bought) for one in pairs}:
        within = [one for one in pairs if (one.sold, one.bought) == channel]
        total = sum(one.lots for one in within)
        for name in set(owner.values()):
            bought = sum(one.lots for one in within if owner[one.buy_id] == name)
            sold = sum(one.lots for one in within if owner[one.sell_id] == name)
            own = sum(one.lots for one in within if one.own and owner[one.buy_id] == name)
            assert own == max(0, bought + sold - total)


def test_equal_profiles_meet_whole() -> None:
    """Two large and two small: two pairs over all hours, not one for each hour and lot."""
    hours = range(24)
    buys = [
        Position("b1", "x", dict.fromkeys(hours, 2)),
        Position("b2", "y", dict.fromkeys(hours, 5)),
    ]
    sells = [
        Position("s1", "u", dict.fromkeys(hours, 5)),
        Position("s2", "v", dict.fromkeys(hours, 2)),
    ]
    pairs = pair(buys, sells, [], 24)
    assert {(one.buy_id, one.sell_id, one.lots) for one in pairs} == {
        ("b1", "s2", 2),
        ("b2", "s1", 5),
    }


def test_flows_in_a_ring_are_undone() -> None:
    ring = [Flow(0, 1, 2), Flow(1, 0, 2), Flow(1, 2, 3), Flow(0, 1, 3)]
    pairs = pair([Position("b", "x", {2: 3})], [Position("s", "y", {0: 3})], ring, 1)
    assert [(one.sold, one.bought, one.lots) for one in pairs] == [(0, 2, 3)]
