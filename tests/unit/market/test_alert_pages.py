"""Surveillance over the pages: who sees it, what an alert rests on, how it is closed."""

from __future__ import annotations

import re

import httpx

from market_abuse import bait, look_over, suspects
from trade_square import Square

CHINESE = re.compile(r"[\u4e00-\u9fff]")


async def shown(square: Square, who: str, path: str, language: str = "zh") -> httpx.Response:
    headers = {
        "authorization": f"Bearer {square.tokens[who]}",
        "cookie": f"suan_language={language}",
    }
    return await square.client.get(path, headers=headers)


async def suspected(square: Square) -> dict[str, str]:
    """Pattern → address of its page."""
    hour = await suspects(square)
    for _ in range(3):
        await bait(square, hour)
    await look_over(square)
    found = (await square.get("operator", "/v1/market/alerts"))["items"]
    return {one["kind"]: f"/market/alerts/{one['id']}" for one in found}


async def test_the_operator_alone_sees_alerts(square: Square) -> None:
    pages = await suspected(square)
    for path in ("/market/alerts", *pages.values()):
        refused = await shown(square, "firm", path)
        assert refused.status_code == 403
        assert "幌骗" not in refused.text
        assert (await shown(square, "operator", path)).status_code == 200
    assert 'href="/market/alerts"' in (await shown(square, "operator", "/")).text
    assert 'href="/market/alerts"' not in (await shown(square, "firm", "/")).text


async def test_the_list_is_narrowed_by_pattern_product_and_state(square: Square) -> None:
    await suspected(square)
    for query, count in (
        ("", 2),
        ("?kind=Spoofing", 1),
        ("?kind=Nonsense", 2),
        ("?product=a100-80g:henan", 2),
        ("?product=a100-80g:gansu", 0),
        ("?state=all", 2),
    ):
        text = (await shown(square, "operator", f"/market/alerts{query}")).text
        assert text.count("<tr data-href") == count, query
    assert (
        "没有符合条件的告警" in (await shown(square, "operator", "/market/alerts?product=a:b")).text
    )


async def test_one_alert_says_what_it_rests_on_and_what_to_do(square: Square) -> None:
    pages = await suspected(square)
    spoof = (await shown(square, "operator", pages["Spoofing"])).text
    for words in ("3 笔委托共 1500 手", "0 / 500", "20 秒", "¥6.000", "大单可能只为让人看见"):
        assert words in spoof
    assert len(set(re.findall(r'href="/contracts/(con_\w+)"', spoof))) == 3
    assert "/admin/audit?target=alt_" in spoof
    trip = (await shown(square, "operator", pages["RoundTrip"])).text
    assert trip.count('<tr data-href="/contracts/') == 6
    assert trip.count('<span class="two-lines">firm</span>') == 6
    for path in pages.values():
        english = (await shown(square, "operator", path, "en")).text
        body = english.partition('<main id="main"')[2].partition("</main>")[0]
        assert not CHINESE.search(body)


async def test_an_alert_is_closed_with_what_it_was_once(square: Square) -> None:
    page = (await suspected(square))["Spoofing"]
    headers = {"authorization": f"Bearer {square.tokens['operator']}"}

    async def close(note: str) -> httpx.Response:
        return await square.client.post(f"{page}/close", data={"note": note}, headers=headers)

    empty = await close("")
    assert empty.status_code == 422
    assert 'id="note-error"' in empty.text
    closed = await close("程序出错 <b>已核实</b>")
    assert closed.headers["location"] == f"{page}?done=alert_closed"
    text = (await shown(square, "operator", page)).text
    assert "程序出错 &lt;b&gt;已核实" in text
    assert "data-dialog" not in text
    assert page not in (await shown(square, "operator", "/market/alerts")).text
    assert page in (await shown(square, "operator", "/market/alerts?state=all")).text
    again = await close("again")
    assert again.status_code == 409
    assert "这条告警已经关闭" in again.text
    log = (await shown(square, "operator", "/admin/audit?action=alert.")).text
    assert "关闭告警" in log
    assert "程序出错" in log
