"""Routes of quotations and deals: who may do what, who learns what and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.bootstrap import Loops, make_context
from suanwang.engines.matching.model import Side
from suanwang.platform.settings import load_settings
from suanwang.tenancy.model import Role
from suanwang.trade.market import deals, quotations
from suanwang.trade.market.deals_model import DealState
from suanwang.trade.market.model import Supply
from suanwang.trade.market.quotations_model import EnquiryState
from talks_world import HOUR_S, Talks
from trade_square import Square, iso
from trade_world import YUAN, card_pool


@pytest.fixture
async def talks(square: Square) -> Talks:
    assert isinstance(square.bazaar, Talks)
    return square.bazaar


async def _settled(square: Square, *names: str) -> dict[str, Supply]:
    """A buyer `firm`, and sellers with a site each."""
    await square.settle_in("firm")
    return {
        name: await square.bazaar.site(await square.settle_in(name), f"site-{name}")
        for name in names
    }


def _enquiry(talks: Talks, site: Supply, **changes: Any) -> dict[str, Any]:
    body = {
        "title": "Fine-tuning",
        "products": [{"unit_class": site.product.unit_class, "zone": site.product.zone}],
        "lots": 4,
        "starts_at": iso(talks.hour(5)),
        "hours": 2,
        "ceiling": {"yuan": "10"},
        "deadline": iso(talks.hour(1)),
    }
    return {**body, **changes}


def _quote(site: Supply, yuan: str = "7.654", **more: Any) -> dict[str, Any]:
    return {"source": site.source_id, "price": {"yuan": yuan}, **more}


async def _everything_told(square: Square, enquiry_id: str) -> str:
    """All that anybody's calls are answered, on the way to a price."""
    told = []
    for who in ("firm", "one", "two", "operator"):
        for path in (
            f"/v1/quotations/{enquiry_id}",
            "/v1/quotations?which=asked",
            "/v1/quotations",
            "/v1/contracts",
            "/v1/market/orders",
        ):
            told.append((await square.call(who, "GET", path)).text)
        project = square.parties["one"].project_id
        for path in (f"/v1/projects/{project}/account", "/v1/audit-log?limit=200"):
            told.append((await square.call(who, "GET", path)).text)
    return "\n".join(told)


async def test_a_sealed_price_is_told_to_nobody_and_then_to_those_whom_it_concerns(
    square: Square, talks: Talks
) -> None:
    sites = await _settled(square, "one", "two")
    await square.settle_in("stranger")
    asked = await square.post("firm", "/v1/quotations", _enquiry(talks, sites["one"]))
    path = f"/v1/quotations/{asked['id']}"
    assert asked["buyers"]["held"]["yuan"] == "80.00"
    given = await square.post("one", f"{path}/quotes", _quote(sites["one"], key="q1"))
    assert (given["price"], given["held"]["yuan"], given["state"]) == (None, "8.00", "sealed")
    again = await square.post("one", f"{path}/quotes", _quote(sites["one"], key="q1"))
    assert again["id"] == given["id"]
    await square.post("two", f"{path}/quotes", _quote(sites["two"], "9.876"))
    told = await _everything_told(square, asked["id"])
    assert "quote.give" in told  # the log was among it
    for figure in ("7.654", "7654000", "9.876", "9876000", "61.2", "6123"):
        assert figure not in told, figure

    seen = {who: await square.get(who, path) for who in ("firm", "one", "stranger", "operator")}
    assert seen["firm"]["buyers"]["quotes"] == 2
    assert [seen[who]["buyers"] for who in ("one", "stranger", "operator")] == [None] * 3
    assert [len(seen[who]["mine"]) for who in seen] == [0, 1, 0, 0]
    assert [seen[who]["opened"] for who in seen] == [[]] * 4

    await talks.to_deadline()
    seen = {who: await square.get(who, path) for who in ("firm", "two", "stranger", "operator")}
    assert [
        (one["seller_organisation_id"], one["price"]["yuan"], one["state"], one["why"])
        for one in seen["firm"]["opened"]
    ] == [
        (square.parties["one"].organisation_id, "7.654", "won", ""),
        (square.parties["two"].organisation_id, "9.876", "lost", "Outbid"),
    ]
    assert seen["operator"]["opened"] == seen["firm"]["opened"]
    (won,) = seen["two"]["opened"]
    assert (won["price"]["yuan"], won["seller_organisation_id"], won["contract_id"]) == (
        "7.654",
        None,
        None,
    )
    assert seen["stranger"]["opened"] == []
    (contract,) = (await square.get("firm", "/v1/contracts"))["items"]
    assert (contract["origin"], contract["reference"]) == ("quotation", asked["id"])
    await talks.check()


async def test_unlike_cards_are_compared_by_what_they_can_do(square: Square, talks: Talks) -> None:
    """The dearer card wins: for 100 TFLOPS it asks less, by the catalogue's figures."""
    sites = await _settled(square, "one")
    weak = await square.settle_in("weak")
    sites["weak"] = await square.bazaar.site(weak, "lanzhou", card_pool(model="MLU370-X8"))
    products = [
        {"unit_class": site.product.unit_class, "zone": site.product.zone}
        for site in sites.values()
    ]
    body = _enquiry(talks, sites["one"], products=products, rule="lowest_per_unit")
    asked = await square.post("firm", "/v1/quotations", body)
    path = f"/v1/quotations/{asked['id']}"
    await square.post("one", f"{path}/quotes", _quote(sites["one"], "7"))
    await square.post("weak", f"{path}/quotes", _quote(sites["weak"], "4"))
    await talks.to_deadline()
    opened = (await square.get("firm", path))["opened"]
    assert {one["price"]["yuan"]: one["state"] for one in opened} == {"7.00": "won", "4.00": "lost"}
    await talks.check()


async def test_a_secret_ceiling_is_the_buyers_own(square: Square, talks: Talks) -> None:
    sites = await _settled(square, "one")
    body = _enquiry(talks, sites["one"], ceiling_public=False, bond={"yuan": "0.5"})
    body["ceiling"] = {"yuan": "6.543"}
    asked = await square.post("firm", "/v1/quotations", body)
    path = f"/v1/quotations/{asked['id']}"
    assert asked["ceiling"] is None
    assert asked["buyers"]["ceiling"]["yuan"] == "6.543"
    for who in ("one", "operator"):
        assert "6.543" not in (await square.call(who, "GET", path)).text
    # above it: taken under seal as any other, or the ceiling could be found by trying
    await square.post("one", f"{path}/quotes", _quote(sites["one"], "7"))
    await talks.to_deadline()
    found = await square.get("one", path)
    assert (found["state"], found["why"], found["mine"][0]["why"]) == (
        "failed",
        "NoValidQuote",
        "AboveCeiling",
    )
    assert "6.543" not in str(found)
    await talks.check()


async def test_who_is_not_invited_does_not_learn_of_it(square: Square, talks: Talks) -> None:
    sites = await _settled(square, "one", "two")
    body = _enquiry(talks, sites["one"], invited=["one"])
    asked = await square.post("firm", "/v1/quotations", body)
    path = f"/v1/quotations/{asked['id']}"
    assert (await square.get("firm", path))["buyers"]["invited"] == [
        square.parties["one"].organisation_id
    ]
    assert (await square.call("two", "GET", path)).status_code == 404
    assert (await square.refused("two", f"{path}/quotes", _quote(sites["two"])))[0] == 404
    assert (await square.refused("two", f"{path}/cancel", None))[0] == 404
    assert (await square.call("", "GET", path)).status_code == 401
    for who, ids in (("one", [asked["id"]]), ("two", []), ("firm", [])):
        assert [one["id"] for one in (await square.get(who, "/v1/quotations"))["items"]] == ids
    mine = await square.get("firm", "/v1/quotations?which=asked&state=open")
    assert [one["id"] for one in mine["items"]] == [asked["id"]]
    assert (await square.refused("one", f"{path}/cancel", None))[0] == 404
    given = await square.post("one", f"{path}/quotes", _quote(sites["one"]))
    quote = f"{path}/quotes/{given['id']}/withdraw"
    assert (await square.refused("firm", quote, None))[0] == 404
    assert (await square.post("one", quote))["state"] == "withdrawn"
    ended = await square.post("firm", f"{path}/cancel")
    assert (ended["paid"]["micro_yuan"], ended["enquiry"]["state"]) == (0, "cancelled")


async def test_a_viewer_reads_and_does_not_trade(square: Square, talks: Talks) -> None:
    sites = await _settled(square, "one")
    asked = await square.post("firm", "/v1/quotations", _enquiry(talks, sites["one"]))
    await square.join("firm", "reader", Role.VIEWER)
    assert (await square.get("reader", f"/v1/quotations/{asked['id']}"))["buyers"] is not None
    body = _enquiry(talks, sites["one"], project=square.parties["firm"].project_id)
    assert (await square.refused("reader", "/v1/quotations", body))[0] == 403
    assert (await square.refused("reader", f"/v1/quotations/{asked['id']}/cancel", None))[0] == 403
    await square.join("firm", "outsider", Role.MEMBER, in_project=False)
    assert (await square.get("outsider", f"/v1/quotations/{asked['id']}"))["buyers"] is None


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"lots": 0}, "InvalidRequest", "lots"),
        ({"lots": 1.5}, "InvalidInput", "lots"),
        ({"hours": 0}, "InvalidInput", "hours"),
        ({"starts_at": "2026-01-01T05:30:00Z"}, "InvalidHour", "starts_at"),
        ({"starts_at": iso(0)}, "InvalidHour", "starts_at"),
        ({"deadline": "2026-01-01T01:00:00"}, "InvalidInstant", "deadline"),
        ({"deadline": "2025-01-01T01:00:00Z"}, "InvalidEnquiry", "deadline"),
        ({"products": []}, "InvalidEnquiry", "products"),
        ({"products": [{"unit_class": "x"}]}, "InvalidInput", "products.0.zone"),
        ({"ceiling": {"yuan": "NaN"}}, "InvalidAmount", "ceiling"),
        ({"ceiling": {"yuan": "-1"}}, "InvalidPrice", "ceiling"),
        ({"ceiling": None}, "InvalidEnquiry", "ceiling"),
        ({"ceiling_public": False}, "InvalidEnquiry", "bond"),
        ({"rule": "nicest"}, "InvalidInput", "rule"),
        ({"invited": ["nobody"]}, "OrganisationNotFound", "invited"),
        ({"colour": "red"}, "InvalidInput", "colour"),
    ],
)
async def test_a_bad_enquiry_names_its_field(
    square: Square, talks: Talks, changes: dict[str, Any], reason: str, field: str | None
) -> None:
    sites = await _settled(square, "one")
    body = _enquiry(talks, sites["one"], **changes)
    status, told, where = await square.refused("firm", "/v1/quotations", body)
    assert (told, where) == (reason, field)
    assert 400 <= status < 500
    assert await talks.account(square.parties["firm"]) == (10_000 * YUAN, 0)


def _proposal(talks: Talks, **changes: Any) -> dict[str, Any]:
    body = {
        "lots": 2,
        "starts_at": iso(talks.hour(5)),
        "hours": 2,
        "price": {"yuan": "6"},
        "valid_until": iso(talks.hour(1)),
    }
    return {**body, **changes}


async def test_a_deal_goes_to_and_fro_between_the_two_and_nobody_else(
    square: Square, talks: Talks
) -> None:
    sites = await _settled(square, "one", "two")
    site = sites["one"]
    product = {"unit_class": site.product.unit_class, "zone": site.product.zone}
    body = _proposal(talks, side="buy", to="one", product=product, key="d1", note="for a test")
    made = await square.post("firm", "/v1/deals", body)
    assert (await square.post("firm", "/v1/deals", body))["id"] == made["id"]
    path = f"/v1/deals/{made['id']}"
    assert (made["your_turn"], made["last"]["worth"]["yuan"]) == (False, "24.00")
    assert (await square.get("one", path))["your_turn"] is True
    assert (await square.call("two", "GET", path)).status_code == 404
    for verb in ("accept", "reject", "counter", "withdraw"):
        extra = _proposal(talks, number=1) if verb == "counter" else {"number": 1}
        answer = {} if verb == "withdraw" else extra
        assert (await square.refused("two", f"{path}/{verb}", answer))[0] == 404
        assert (await square.refused("", f"{path}/{verb}", answer))[0] == 401
    for who, box, ids in (
        ("one", "in", [made["id"]]),
        ("one", "out", []),
        ("firm", "out", [made["id"]]),
        ("firm", "in", []),
        ("two", "either", []),
    ):
        found = await square.get(who, f"/v1/deals?box={box}")
        assert [one["id"] for one in found["items"]] == ids

    higher = _proposal(talks, number=1, source=site.source_id, price={"yuan": "8"})
    assert (await square.post("one", f"{path}/counter", higher))["number"] == 2
    assert (await square.refused("firm", f"{path}/accept", {"number": 1}))[1] == "ProposalChanged"
    assert (await square.refused("one", f"{path}/accept", {"number": 2}))[1] == "OwnProposal"
    done = await square.post("firm", f"{path}/accept", {"number": 2})
    assert (done["state"], [one["state"] for one in done["history"]]) == (
        "accepted",
        ["countered", "accepted"],
    )
    contract = await square.get("one", f"/v1/contracts/{done['contract_id']}")
    assert (contract["origin"], contract["price"]["yuan"]) == ("bilateral", "8.00")
    log = (await square.call("operator", "GET", "/v1/audit-log?limit=200")).text
    for verb in ("propose", "counter", "accept"):
        assert f"deal.{verb}" in log
    await talks.check()


async def test_a_deal_is_turned_down_or_taken_back(square: Square, talks: Talks) -> None:
    sites = await _settled(square, "one")
    seller = square.parties["one"]
    offer = _proposal(talks, side="sell", to="firm", source=sites["one"].source_id)
    ids = [(await square.post("one", "/v1/deals", offer))["id"] for _ in range(2)]
    assert (await square.post("firm", f"/v1/deals/{ids[0]}/reject", {"number": 1}))[
        "state"
    ] == "rejected"
    assert (await square.post("one", f"/v1/deals/{ids[1]}/withdraw", {}))["state"] == "withdrawn"
    assert await talks.account(seller) == (10_000 * YUAN, 0)
    for changes, reason, field in (
        ({"to": "nobody"}, "OrganisationNotFound", "to"),
        ({"to": "one"}, "OwnDeal", "to"),
        ({"to_project": seller.project_id}, "OtherOrganisation", "to_project"),
        ({"source": None}, "SourceMissing", "source"),
        ({"valid_until": "2025-01-01T00:00:00Z"}, "InvalidProposal", "valid_until"),
        ({"side": "lend"}, "InvalidInput", "side"),
    ):
        told = await square.refused("one", "/v1/deals", {**offer, **changes})
        assert told[1:] == (reason, field)


async def test_the_leaders_loop_ends_what_is_due_and_no_failure_holds_up_the_others(
    tmp_path: Path, clock: ManualClock
) -> None:
    context = make_context(load_settings(environ={}, state=str(tmp_path)), clock)
    talks = Talks(context.database, clock, context.books, context.outbox, box=context.secrets)
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller, pool=card_pool(16))
    foreign = Talks(context.database, clock)  # seals with a key that is lost by then
    stuck = await talks.ask(buyer, talks.enquiry(site))
    await foreign.quote(seller, stuck, site, 7)
    good = await talks.ask(buyer, talks.enquiry(site))
    await talks.quote(seller, good, site, 7)
    made = await talks.propose(seller, Side.SELL, buyer, talks.offer(site))
    clock.advance(s=HOUR_S)
    await Loops(context)._end_what_is_due(clock.now_ms())
    assert (await talks.found(stuck)).state is EnquiryState.OPEN
    assert (await talks.found(good)).state is EnquiryState.AWARDED
    ended = await talks.read(lambda c: deals.get(c, made.id))
    assert ended.state is DealState.EXPIRED
    assert await talks.read(lambda c: quotations.due(c, clock.now_ms())) == [stuck.id]
    await context.database.close()
