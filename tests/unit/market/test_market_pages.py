"""The market's pages over the real application: trades through forms, refusals at their fields."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from suanwang.edge.portal.form_fields import field_time
from suanwang.trade.contracts.model import ContractState
from suanwang.trade.market.instruments import name_of
from suanwang.trade.market.model import Instrument, Supply
from trade_square import Square
from trade_world import buy, sell

CHINESE = re.compile(r"[\u4e00-\u9fff]")


async def opened(square: Square, ahead: int = 5) -> tuple[Supply, Instrument, str]:
    seller = await square.settle_in("centre")
    await square.settle_in("firm")
    site = await square.bazaar.site(seller)
    instrument = square.bazaar.instrument(site, ahead)
    return site, instrument, f"/market/{quote(name_of(instrument), safe=':')}"


async def look(square: Square, who: str, path: str, status: int = 200) -> str:
    answer = await square.call(who, "GET", path)
    assert answer.status_code == status, answer.text[:400]
    return answer.text


async def send(square: Square, who: str, path: str, **form: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {square.tokens[who]}"}
    return await square.client.post(path, data=form, headers=headers)


async def done(square: Square, who: str, path: str, **form: Any) -> str:
    """Where a form that is taken leads."""
    answer = await send(square, who, path, **form)
    assert answer.status_code == 303, re.sub(r"\s+", " ", answer.text)[:2_000]
    return answer.headers["location"]


def error_at(text: str, field: str) -> str:
    found = re.search(rf'id="{field}-error">([^<]*)<', text)
    assert found, f"nothing is said at {field}"
    return found.group(1)


async def test_a_trade_through_the_pages_from_order_to_statement(square: Square) -> None:
    site, instrument, url = await opened(square, 1)
    offer = {"side": "sell", "price": "8", "lots": "6", "stay": "rest", "key": "k1"}
    rested = await done(square, "centre", url, source=site.source_id, **offer)
    assert "盘口等待" in await look(square, "centre", rested)
    assert await done(square, "centre", url, source=site.source_id, **offer) == rested

    taken = await done(square, "firm", url, side="buy", price="9.5", lots="4", key="k2")
    text = await look(square, "firm", taken)
    assert "已成交 4 手" in text
    (contract,) = set(re.findall(r"/contracts/(con_\w+)", text))
    order = parse_qs(urlsplit(taken).query)["order"][0]
    await look(square, "centre", f"{url}?order={order}", 404)
    assert contract in await look(square, "firm", "/contracts?role=buyer")
    assert contract not in await look(square, "firm", "/contracts?role=seller")

    (standing,) = re.findall(r"orders/(ord_\w+)/cancel", await look(square, "centre", url))
    back = await done(square, "centre", f"{url}/orders/{standing}/cancel")
    assert "orders/" not in await look(square, "centre", back)

    square.bazaar.to_hour(instrument.period.first_hour, past_s=5)
    await square.bazaar.deliver({contract: 4})
    await square.bazaar.deliver({contract: 2})
    square.bazaar.to_hour(instrument.period.end_hour, past_s=120)
    await square.bazaar.settle()
    for who in ("firm", "centre"):
        shown = await look(square, who, f"/contracts/{contract}")
        assert "75 %" in shown
        assert "¥24.00" in shown
        assert "¥1.60" in shown  # a fifth of what was missing
        assert f"/market/{name_of(instrument)}" in shown
    statement = await look(square, "firm", "/statement")
    assert statement.count(f'<a href="/contracts/{contract}">') == 2
    assert "合同 a100-80g · henan" in statement
    assert f"合同 {contract} 未交付部分的赔付" in statement
    export = await square.call("firm", "GET", "/statement.csv")
    assert "合同 a100-80g · henan" in export.text


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"price": ""}, "price", "市价委托"),
        ({"price": "cheap"}, "price", "不是金额"),
        ({"price": "0.0001"}, "price", "限价"),
        ({"price": "20000"}, "price", "10,000"),
        ({"lots": "0"}, "lots", "手数应为"),
        ({"lots": "two"}, "lots", "整数"),
        ({"lots": "9"}, "lots", "没有这么多"),
        ({"source": ""}, "source", "选择来源"),
        ({"source": "pool_of_others"}, "source", "不能从 pool_of_others 卖出"),
    ],
)
async def test_a_refused_order_says_so_at_its_field_and_keeps_what_was_typed(
    square: Square, changes: dict[str, str], field: str, said: str
) -> None:
    site, _, url = await opened(square)
    form = {"side": "sell", "price": "8", "lots": "2", "source": site.source_id, **changes}
    answer = await send(square, "centre", url, **form)
    assert 400 <= answer.status_code < 500
    assert said in error_at(answer.text, field)
    typed = changes.get("price") or changes.get("lots")
    if typed:
        assert f'value="{typed}"' in answer.text
    assert (await square.get("centre", "/v1/market/orders"))["items"] == []


async def test_money_that_is_not_there_and_a_closed_book_are_told_in_words(square: Square) -> None:
    _, _, url = await opened(square)
    poor = await send(square, "firm", url, side="buy", price="9000", lots="8")
    assert poor.status_code == 409
    assert "账户可用金额不足" in poor.text
    halted = await done(square, "operator", f"{url}/steer", halted="yes", reason="核查")
    assert "停牌" in await look(square, "firm", halted)
    late = await send(square, "firm", url, side="buy", price="9", lots="1")
    assert "该品种已停牌" in late.text


async def test_the_ticket_says_what_it_takes_before_it_is_placed(square: Square) -> None:
    site, instrument, url = await opened(square)
    await square.bazaar.place(square.parties["centre"], instrument, sell(site, 3, 8))
    said = await look(square, "firm", f"{url}/ticket?side=buy&price=9&lots=5")
    assert "将冻结 ¥45.00" in said
    assert "立即成交 3 手，共 ¥24.00" in said
    assert "2 手会留在盘口" in said
    assert "可用金额只有 ¥10,000.00" in await look(
        square, "firm", f"{url}/ticket?side=buy&price=9&lots=5000"
    )
    said = await look(
        square, "centre", f"{url}/ticket?side=sell&price=9&lots=5&source={site.source_id}"
    )
    assert "将冻结 ¥4.50" in said
    untouched = await look(square, "firm", f"{url}/ticket?side=buy&lots=1")
    assert "error-text" not in untouched, "what was not typed yet is a hint, no mistake"
    assert "限价" in untouched
    for query in ("side=buy&lots=x&price=1", "lots=1&price=1"):
        said = await look(square, "firm", f"{url}/ticket?{query}")
        assert "error-text" in said
        assert CHINESE.search(said)


async def test_prices_are_public_and_people_and_places_are_not(square: Square) -> None:
    site, instrument, url = await opened(square)
    await square.bazaar.place(square.parties["centre"], instrument, sell(site, 3, 8))
    await square.bazaar.place(square.parties["firm"], instrument, buy(2, 8))
    listing = await _listed(square, site)
    for path in ("/market", url, "/market/listings", listing):
        text = await look(square, "", path)
        assert "a100-80g" in text
        assert "/login?next=" in text
        for hidden in ("zhengzhou", "firm", "centre", 'method="post"', "con_", "data-live"):
            assert hidden not in text, f"{path} tells {hidden}"
    assert "¥8.000" in await look(square, "", "/login")
    for path in ("/contracts", "/market/orders", "/market/listings/new", "/market/events"):
        answer = await square.call("", "GET", path)
        assert answer.headers["location"].startswith("/login")


async def test_any_standard_period_is_reached_and_nothing_else(square: Square) -> None:
    _, instrument, url = await opened(square)
    board = await look(square, "firm", "/market")
    suffix = name_of(instrument).split(":", 2)[2]
    assert f'value="{suffix}"' in board
    to = f"/market/go?product=a100-80g:henan&period={suffix}"
    answer = await square.call("firm", "GET", f"{to}&side=sell&source=con_1&lots=2")
    assert answer.headers["location"] == f"{url}?side=sell&lots=2&source=con_1"
    assert "盘口为空" in await look(square, "firm", url)
    text = await look(square, "firm", "/market/nonsense", 422)
    assert "没有这样的品种" in await look(square, "", "/market/nonsense", 422)
    assert "没有这样的品种" in text
    for path in ("/market/a100-80g:henan:2099010116:24", "/market/a100-80g:henan:2001010116:24"):
        text = await look(square, "firm", path)
        assert "notice warn" in text
        assert re.search(r'class="button primary wide" disabled', text)


async def test_a_band_is_set_and_taken_away_by_the_operator_alone(square: Square) -> None:
    _, instrument, url = await opened(square)
    name = name_of(instrument)
    form = {"low": "2", "high": "4.5", "reason": "试行"}
    await done(square, "operator", f"{url}/steer", **form)
    assert (await square.get("", f"/v1/market/books/{name}"))["high"]["yuan"] == "4.50"
    page = await look(square, "operator", url)
    assert 'name="high" inputmode="decimal" value="4.50"' in page
    bad = await send(square, "operator", f"{url}/steer", low="much", high="", reason="x")
    assert "不是金额" in error_at(bad.text, "low")
    await done(square, "operator", f"{url}/steer", low="", high="", reason="恢复")
    assert (await square.get("", f"/v1/market/books/{name}"))["low"]["yuan"] == "0.001"
    assert "/steer" not in await look(square, "firm", url)
    assert (await send(square, "firm", f"{url}/steer", **form)).status_code == 403


async def _listed(square: Square, site: Supply, **more: str) -> str:
    form = {
        "source": site.source_id,
        "title": "整机",
        "starts_at": field_time(square.bazaar.hour(30)),
        "hours": "24",
        "lots": "8",
        "price": "2.5",
        "min_lots": "2",
        "min_hours": "1",
        "cancel_hours": "2",
        **more,
    }
    return (await done(square, "centre", "/market/listings/new", **form)).partition("?")[0]


async def test_a_listing_is_posted_bought_from_and_taken_back(square: Square) -> None:
    site, _, _ = await opened(square)
    url = await _listed(square, site)
    assert "整机" in await look(square, "firm", "/market/listings?q=A100&sort=price")
    assert "没有符合条件" in await look(square, "firm", "/market/listings?q=dcu")
    by_site = "/market/listings?q=ZHENGZHOU%20%E6%95%B4%E6%9C%BA&unit_class=a100-80g&zone=henan"
    assert "整机" in await look(square, "firm", by_site)
    assert "没有符合条件" in await look(square, "", by_site)  # no account, no names of sites
    when = quote(field_time(square.bazaar.hour(32)))
    said = await look(square, "firm", f"{url}/total?starts_at={when}&hours=3&lots=4")
    assert "共 ¥30.00" in said
    for query, words in (
        (f"starts_at={when}&hours=3&lots=1", "每次可买 2 至 8 手"),
        (f"starts_at={when}&hours=90&lots=2", "每次可买 1 至 24 小时"),
        ("starts_at=soon&hours=3&lots=2", "请选择日期和时间"),
        (f"starts_at={when}&hours=3&lots=", "整数"),
    ):
        assert words in await look(square, "firm", f"{url}/total?{query}")
    form = {"starts_at": field_time(square.bazaar.hour(32)), "hours": "3", "lots": "4"}
    bought = await done(square, "firm", f"{url}/buy", key="k", **form)
    assert await done(square, "firm", f"{url}/buy", key="k", **form) == bought
    text = await look(square, "firm", bought)
    assert url in text
    assert "买方 · 4 手 × 3 小时" in text
    refused = await send(square, "firm", f"{url}/buy", **{**form, "lots": "6"})
    assert "没有这么多余量" in error_at(refused.text, "lots")
    assert "您的租户" not in refused.text
    own = await send(square, "centre", f"{url}/buy", **form)
    assert "自己的挂牌" in own.text
    assert (await send(square, "firm", f"{url}/close")).status_code == 404
    await done(square, "centre", f"{url}/close")
    assert "已不再出售" in await look(square, "firm", url)
    assert "整机" in await look(square, "centre", "/market/listings?mine=yes")
    bad = await send(square, "centre", "/market/listings/new", source=site.source_id, lots="x")
    assert "请选择日期和时间" in error_at(bad.text, "starts_at")


async def test_listings_have_pages_in_the_order_that_was_asked_for(square: Square) -> None:
    site, _, _ = await opened(square)
    for at in range(52):
        await _listed(
            square,
            site,
            lots="1",
            min_lots="1",
            price=f"{5 + at % 7}",
            starts_at=(field_time(square.bazaar.hour(30 + 24 * at))),
        )
    first = await look(square, "firm", "/market/listings?sort=price")
    assert first.count("<tr data-href") == 50
    (more,) = re.findall(r'href="(\?[^"]*cursor=[^"]*)"', first)
    second = await look(square, "firm", f"/market/listings{more.replace('&amp;', '&')}")
    assert second.count("<tr data-href") == 2
    assert second.count("¥11.000") == 2
    told = await square.get("firm", "/v1/market/listings?sort=price&limit=20&q=%E6%95%B4%E6%9C%BA")
    prices = [one["price"]["micro_yuan"] for one in told["items"]]
    assert prices == sorted(prices)
    rest = f"/v1/market/listings?sort=starts&limit=20&cursor={told['next_cursor']}"
    answer = await square.call("firm", "GET", rest)
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")
    await square.post("centre", f"/v1/market/listings/{told['items'][0]['id']}/close")
    open_ones = await square.get("firm", "/v1/market/listings?limit=500")
    every_one = await square.get("firm", "/v1/market/listings?limit=500&state=any")
    assert [len(one["items"]) for one in (open_ones, every_one)] == [51, 52]


async def test_stepping_back_costs_what_the_page_said(square: Square) -> None:
    site, _, _ = await opened(square)
    url = await _listed(square, site)
    form = {"starts_at": field_time(square.bazaar.hour(32)), "hours": "4", "lots": "4"}
    first, second = [
        (await done(square, "firm", f"{url}/buy", **{**form, "lots": lots})).partition("?")[0]
        for lots in ("4", "2")
    ]
    await square.settle_in("stranger")
    await look(square, "stranger", first, 404)
    assert "支付 ¥2.00 并取消" in await look(square, "firm", first)
    assert "赔付 ¥4.00 并放弃" in await look(square, "centre", second)
    assert (await send(square, "centre", f"{first}/cancel")).status_code == 404
    before = [await square.bazaar.account(square.parties[who]) for who in ("firm", "centre")]
    await done(square, "firm", f"{first}/cancel")
    await done(square, "centre", f"{second}/withdraw")
    after = [await square.bazaar.account(square.parties[who]) for who in ("firm", "centre")]
    assert after[0][0] - before[0][0] == (4 - 2) * 1_000_000
    assert after[1][0] - before[1][0] == -4_000_000
    ended = {one.state for one in await square.bazaar.contracts()}
    assert ended == {ContractState.CANCELLED}
    again = await send(square, "firm", f"{first}/cancel")
    assert "不能取消这份合同" in again.text
    assert "合同取消费" in await look(square, "firm", "/statement")


async def test_capacity_held_by_contract_is_offered_again(square: Square) -> None:
    site, instrument, url = await opened(square)
    await square.bazaar.place(square.parties["centre"], instrument, sell(site, 3, 8))
    await square.bazaar.place(square.parties["firm"], instrument, buy(3, 8))
    (contract,) = await square.bazaar.contracts()
    page = await look(square, "firm", f"/contracts/{contract.id}")
    assert f"/market/listings/new?source={contract.id}" in page
    assert f'value="{contract.id}"' in await look(square, "firm", f"{url}?side=sell")
    assert f'value="{contract.id}"' not in await look(square, "centre", f"{url}?side=sell")
    form = {"side": "sell", "price": "9", "lots": "2", "source": contract.id}
    await done(square, "firm", url, **form)
    page = await look(square, "firm", f"/contracts/{contract.id}")
    assert "至多 2 手，共 1 小时" in page
    assert "其中一部分已再出售" in page


async def test_the_overview_counts_ones_own(square: Square) -> None:
    site, instrument, _ = await opened(square)
    await square.bazaar.place(square.parties["centre"], instrument, sell(site, 3, 8))
    await square.bazaar.place(square.parties["firm"], instrument, buy(1, 8), buy(1, 6))
    text = await look(square, "firm", "/")
    assert "1 笔委托在盘口" in text
    assert "0 份合同交付中，1 份待交付" in text
    assert "¥8.000" in text
    assert "1 笔委托" not in await look(square, "operator", "/")
    orders = await look(square, "firm", "/market/orders")
    assert orders.count("<tr data-href") == 2
    assert (await look(square, "firm", "/market/orders?state=open")).count("<tr data-href") == 1
