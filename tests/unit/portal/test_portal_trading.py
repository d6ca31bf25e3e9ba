"""What market pages reckon and say: periods, ladders, tickets, strips of hours. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from suanwang.edge.portal import catalogue, ticket
from suanwang.edge.portal.form_fields import field_time, local, moment, whole
from suanwang.edge.portal.glance import change_text
from suanwang.edge.portal.reasons import problem
from suanwang.edge.portal.routes_contracts import cells
from suanwang.edge.portal.trading import bars, period_text
from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Refusal, Rest, Stay
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Contract, ContractState, Hour, Origin, Party, Terms
from suanwang.trade.contracts.rules import Phase
from suanwang.trade.market.listings import ListingGiven, check
from suanwang.trade.market.model import Instrument, ListingState, OrderGiven, OrderState
from suanwang.trade.market.reading import Depth, Level

YUAN = 1_000_000
NOW_MS = int(datetime(2026, 11, 24, 1, tzinfo=UTC).timestamp() * 1000)
CARDS = Product("a100-80g", "henan")


def hour(text: str) -> int:
    """Of a time in Shanghai."""
    return int(datetime.fromisoformat(f"{text}+08:00").timestamp() * 1000) // MS_PER_HOUR


@pytest.mark.parametrize(
    ("begins", "hours", "chinese", "english"),
    [
        ("2026-11-25T08:00", 1, "11-25 08:00–09:00", "11-25 08:00–09:00"),
        ("2026-11-25T23:00", 1, "11-25 23:00–24:00", "11-25 23:00–24:00"),
        ("2026-11-25T00:00", 24, "11-25 周三 全天", "Wed 11-25, all day"),
        ("2026-11-25T08:00", 24, "11-25 08:00 – 11-26 08:00", "11-25 08:00 – 11-26 08:00"),
        ("2026-11-30T00:00", 168, "11-30 起一周", "Week from 11-30"),
        ("2027-01-01T00:00", 24, "2027-01-01 周五 全天", "Fri 2027-01-01, all day"),
    ],
)
def test_periods_in_words(begins: str, hours: int, chinese: str, english: str) -> None:
    period = Period(hour(begins), hours)
    assert period_text("zh", NOW_MS, period) == chinese
    assert period_text("en", NOW_MS, period) == english


def test_a_field_of_time_comes_back_as_the_hour_that_it_showed() -> None:
    first = hour("2026-12-01T16:00")
    assert field_time(first) == "2026-12-01T16:00"
    sent = moment(field_time(first))
    assert sent is not None
    assert datetime.fromisoformat(sent).timestamp() == first * 3_600
    assert local(sent) == field_time(first)
    assert (moment(" "), local(None)) == (None, "")


def test_numbers_go_on_as_they_were_typed() -> None:
    assert [whole(text) for text in (" 12 ", "-3", "two", "1.5", "")] == [
        12,
        -3,
        "two",
        "1.5",
        None,
    ]


def book(**more: int) -> Depth:
    return Depth(
        instrument=Instrument(CARDS, Period(hour("2026-11-25T00:00"), 24)),
        bids=(Level(5 * YUAN, 3, 1), Level(4 * YUAN, 5, 2)),
        asks=(Level(6 * YUAN, 2, 1), Level(7 * YUAN, 4, 1)),
        last_price=6 * YUAN,
        low=more.get("low", 3 * YUAN),
        high=more.get("high", 9 * YUAN),
        halted=False,
        closed=False,
    )


def test_a_buyer_is_told_what_is_set_aside_and_what_trades_at_once() -> None:
    found = ticket.weigh(OrderGiven(Side.BUY, 5, 7 * YUAN), book())
    assert found == ticket.Weighed(
        held=5 * 7 * 24 * YUAN,
        worth=5 * 7 * 24 * YUAN,
        lots_now=5,
        worth_now=(2 * 6 + 3 * 7) * 24 * YUAN,
        lots_left=0,
    )
    patient = ticket.weigh(OrderGiven(Side.BUY, 5, 6 * YUAN), book())
    assert (patient.lots_now, patient.lots_left) == (2, 3)
    assert ticket.weigh(OrderGiven(Side.BUY, 5, 5 * YUAN), book()).lots_now == 0


def test_a_seller_sets_a_deposit_aside_and_without_a_limit_the_band_bounds_both() -> None:
    found = ticket.weigh(OrderGiven(Side.SELL, 4, 4 * YUAN), book())
    assert found.held == 4 * 4 * 24 * YUAN // 10
    assert found.worth_now == (3 * 5 + 1 * 4) * 24 * YUAN
    given = OrderGiven(Side.BUY, 10, None, Stay.IMMEDIATE)
    assert ticket.weigh(given, book(high=6 * YUAN)).lots_now == 2
    assert ticket.weigh(given, book(high=6 * YUAN)).worth == 10 * 6 * 24 * YUAN


def test_a_ladder_sums_from_the_best_price_on_and_marks_ones_own() -> None:
    bids, asks = ticket.ladder(book(), frozenset({(Side.BUY, 4 * YUAN)}))
    assert [(one.lots, one.sum_lots, one.share, one.mine) for one in bids] == [
        (3, 3, 37, False),
        (5, 8, 100, True),
    ]
    assert [(one.sum_lots, one.share) for one in asks] == [(2, 25), (6, 75)]


def test_a_form_becomes_an_order() -> None:
    form = {"side": "buy", "price": " 6.5 ", "lots": " 4 ", "source": "pool_1", "stay": ""}
    body = ticket.body_of("x", form)
    assert body == {
        "instrument": "x",
        "side": "buy",
        "lots": 4,
        "price": {"yuan": "6.5"},
        "stay": "rest",
    }
    assert ticket.body_of("x", {**form, "side": "sell"})["source"] == "pool_1"
    assert "price" not in ticket.body_of("x", {**form, "price": " "})


def test_a_long_window_is_drawn_in_few_bars_of_its_least_hours() -> None:
    hourly = [(at, 8 - at % 2) for at in range(10)]
    assert bars(hourly, 10) == [(at, 1, lots) for at, lots in hourly]
    assert bars(hourly, 4) == [(0, 3, 7), (3, 3, 7), (6, 3, 7), (9, 1, 7)]
    assert bars([], 4) == []


def contract(hours: int = 6) -> Contract:
    party = Party("org_1", "proj_1")
    return Contract(
        id="con_1",
        origin=Origin.BOOK,
        reference="ord_1",
        buyer=party,
        seller=Party("org_2", "proj_2"),
        site_id="site_1",
        pool_id="pool_1",
        product=CARDS,
        period=Period(NOW_MS // MS_PER_HOUR - 4, hours),
        lots=4,
        price=YUAN,
        terms=Terms(),
        state=ContractState.SIGNED,
        signed_at_ms=0,
        ended_at_ms=None,
        settled_hours=3,
        buyer_held=0,
        seller_held=0,
    )


def test_the_strip_tells_what_was_delivered_what_was_not_seen_and_what_is_to_come() -> None:
    one = contract()
    first = one.period.first_hour
    hours = [
        Hour("con_1", first, 60, 240, 4 * YUAN, 0, 1),
        Hour("con_1", first + 1, 60, 120, 2 * YUAN, 400_000, 1),
    ]
    found = cells(one, hours, NOW_MS)
    assert [(each.percent, each.is_past) for each in found] == [
        (100, True),
        (50, True),
        (None, True),
        (None, True),
        (None, False),
        (None, False),
    ]
    assert [each.tone for each in found[:2]] == ["ok", "bad"]
    (halves, *_) = cells(one, hours, NOW_MS, most=3)
    assert (halves.hours, halves.percent, halves.charged) == (2, 75, 6 * YUAN)


def test_a_change_has_a_shape_beside_its_figure() -> None:
    assert change_text(1_240) == "▲ 1.2 %"
    assert change_text(-500) == "▼ 0.5 %"
    assert change_text(None) == ""


def test_what_the_market_may_answer_has_words_in_both_languages() -> None:
    families = {
        "error": [one.value for one in Refusal],
        "order_state": [one.value for one in OrderState],
        "listing_state": [one.value for one in ListingState],
        "contract_state": [one.value for one in (*Phase, *ContractState)],
        "origin": [one.value for one in Origin],
        "market_why": [*(one.value for one in Rest), "Cancelled", "DeliveryBegun"],
        "market": [*(f"stay_{one.value}" for one in Stay), *(one.value for one in Side)],
        "movement": ["sla_credit", "cancellation"],
    }
    for section, names in families.items():
        for name in names:
            assert catalogue.has(f"{section}.{name}"), f"{section}.{name}"


@pytest.mark.parametrize(
    ("changes", "field", "chinese"),
    [
        ({"lots": 0}, "lots", "挂牌为 1 至 1000000 手"),
        ({"min_lots": 9}, "min_lots", "最少手数应在 1 手与全部手数之间"),
        ({"min_hours": 30}, "min_hours", "最短小时数至少为 1，且不超过最长小时数与可买时段"),
        ({"window": Period(1, 24)}, "starts_at", "可买时段应从尚未开始的整点起"),
        ({"price": 0}, "price", "单价在 0.001 至 10,000 元之间，最多三位小数。"),
        ({"terms": Terms(credit_percent=101)}, "credit_percent", "百分比应在 0 到 100 之间"),
    ],
)
def test_a_bad_listing_is_told_in_the_readers_language_at_its_field(
    changes: dict[str, object], field: str, chinese: str
) -> None:
    good = {"source_id": "pool_1", "window": Period(hour("2026-11-25T00:00"), 24), "lots": 8}
    with pytest.raises(SuanwangError) as refused:
        check(ListingGiven(**{**good, "price": YUAN, **changes}), NOW_MS)  # type: ignore[arg-type]
    assert problem("zh", refused.value).fields == {field: chinese}
