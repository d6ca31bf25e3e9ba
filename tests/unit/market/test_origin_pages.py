"""A contract leads to what it came of, and that leads back, for both of its parties."""

from __future__ import annotations

from typing import Any

import pytest

from suanwang.edge.portal.form_fields import field_time
from suanwang.engines.matching.model import Side
from suanwang.tenancy.model import Role
from suanwang.trade.contracts.model import Contract, Origin
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.instruments import name_of
from talks_world import Talks
from trade_square import Square
from trade_world import buy, sell

PARTIES = ("centre", "firm")


@pytest.fixture
async def site(square: Square) -> Any:
    seller = await square.settle_in("centre")
    await square.settle_in("firm")
    return await square.bazaar.site(seller)


async def only(square: Square, origin: Origin) -> Contract:
    (made,) = await square.bazaar.contracts()
    assert made.origin is origin
    return made


async def there_and_back(square: Square, contract: Contract, url: str, name: str = "") -> None:
    for who in PARTIES:
        text = await page(square, who, f"/contracts/{contract.id}")
        assert f'href="{url}"' in text
        assert name in text
        assert ">centre<" in text, "the parties stand by name"
        assert ">firm<" in text
        back = await page(square, who, url)
        by_reference = f"/contracts?reference={contract.reference}"
        direct = f'href="/contracts/{contract.id}"' in back
        assert direct or by_reference in back, f"{url} does not lead back"
        assert contract.id in await page(square, who, by_reference)
    assert contract.id not in await page(square, "firm", "/contracts?reference=deal_none")


async def page(square: Square, who: str, path: str) -> str:
    answer = await square.call(who, "GET", path)
    assert answer.status_code == 200, answer.text[:300]
    return answer.text


async def test_of_a_listing(square: Square, site: Any) -> None:
    body = {"source": site.source_id, "hours": 24, "lots": 8, "price": {"yuan": "2"}}
    begins = f"{field_time(square.bazaar.hour(30))}:00+08:00"
    listed = await square.post(
        "centre", "/v1/market/listings", {**body, "starts_at": begins, "title": "整机"}
    )
    url = f"/market/listings/{listed['id']}"
    assert "由此签订的合同" not in await page(square, "centre", url)
    await square.post("firm", f"/v1{url}/buy", {"starts_at": begins, "hours": 2, "lots": 1})
    await there_and_back(square, await only(square, Origin.LISTING), url, "整机")
    assert "由此签订的合同" not in await page(square, "", url)


async def test_of_a_book(square: Square, site: Any) -> None:
    instrument = square.bazaar.instrument(site, 5)
    await square.bazaar.place(square.parties["centre"], instrument, sell(site, 3, 8))
    await square.bazaar.place(square.parties["firm"], instrument, buy(3, 8))
    url = f"/market/{name_of(instrument)}"
    await there_and_back(square, await only(square, Origin.BOOK), url)


async def test_of_a_deal(square: Square, site: Any) -> None:
    talks = square.bazaar
    assert isinstance(talks, Talks)
    seller, buyer = (square.parties[who] for who in PARTIES)
    deal = await talks.propose(seller, Side.SELL, buyer, talks.offer(site))
    accepted = {"number": 1}
    await square.post("firm", f"/v1/deals/{deal.id}/accept", accepted)
    await there_and_back(square, await only(square, Origin.BILATERAL), f"/deals/{deal.id}")


async def test_of_a_quotation(square: Square, site: Any) -> None:
    talks = square.bazaar
    assert isinstance(talks, Talks)
    enquiry = await talks.ask(square.parties["firm"], talks.enquiry(site, title="微调"))
    await talks.quote(square.parties["centre"], enquiry, site, 7)
    await talks.to_deadline()
    made = await only(square, Origin.QUOTATION)
    await there_and_back(square, made, f"/quotations/{enquiry.id}", "微调")


async def test_of_an_auction(square: Square, site: Any) -> None:
    bazaar = square.bazaar
    day = auctions.day_text(bazaar.clock.now_ms() // 86_400_000 + 3)
    await square.post("operator", "/v1/auctions", {"day": day})
    step = {"product": str(site.product), "hours": [0, 2], "lots": 2, "price": 5}
    for who, document in (
        ("centre", {"side": "sell", "source": site.source_id, "curve": [step]}),
        ("firm", {"side": "buy", "curve": [{**step, "price": 9}]}),
    ):
        bid = parse(document)
        party = square.parties[who]
        await bazaar.write(lambda tx, of=party, bid=bid: auctions.place(tx, of, day, bid))
    await square.post("operator", f"/v1/auctions/{day}/close")
    await square.post("operator", f"/v1/auctions/{day}/clear")
    await there_and_back(square, await only(square, Origin.AUCTION), f"/auctions/{day}", day)


async def test_a_delivered_contract_is_contested_from_its_page(square: Square, site: Any) -> None:
    instrument = square.bazaar.instrument(site, 1)
    await square.bazaar.place(square.parties["centre"], instrument, sell(site, 1, 8))
    await square.bazaar.place(square.parties["firm"], instrument, buy(1, 8))
    made = await only(square, Origin.BOOK)
    to = f"/finance/disputes?entry={made.id}"
    assert to not in await page(square, "firm", f"/contracts/{made.id}")
    square.bazaar.to_hour(instrument.period.first_hour, past_s=5)
    await square.bazaar.deliver({made.id: 1})
    square.bazaar.to_hour(instrument.period.end_hour, past_s=120)
    await square.bazaar.settle()
    await square.join("firm", "boss", Role.ADMIN, in_project=False)
    await square.join("centre", "chief", Role.ADMIN, in_project=False)
    assert to in await page(square, "boss", f"/contracts/{made.id}")
    for who in ("firm", "chief"):
        assert to not in await page(square, who, f"/contracts/{made.id}")
    assert f'value="{made.id}"' in await page(square, "boss", to)
    headers = {"authorization": f"Bearer {square.tokens['boss']}"}
    form = {"subject": made.id, "reason": "faulty", "text": "断了两次"}
    sent = await square.client.post("/finance/disputes", data=form, headers=headers)
    assert sent.headers.get("location") == "/finance/disputes?done=disputed", sent.text[-3000:]
    (dispute,) = (await square.get("boss", "/v1/disputes"))["items"]
    shown = await page(square, "boss", f"/finance/disputes/{dispute['id']}")
    assert f'href="/contracts/{made.id}"' in shown
