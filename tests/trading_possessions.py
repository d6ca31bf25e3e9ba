"""What an organisation has once it trades, for the walk over foreign objects: capacity that it
lists, an order, a bid in a round, a contract, an alert about it, a payout, an invoice, a dispute.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from billing_world import PRICES, run_of, usage_of
from suanwang.edge.api.context import Context
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.platform.settings import Seller
from suanwang.protocol.messages import EnrolRequest
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import system_principal
from suanwang.trade.billing import rules as billing_rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecorded
from suanwang.trade.billing.store import insert_usage
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts.model import Party
from suanwang.trade.ledger import service as ledger
from suanwang.trade.market import auctions, listings, watch
from suanwang.trade.market.auctions import Timetable
from suanwang.trade.market.listings import ListingGiven
from suanwang.trade.market.model import Supply
from suanwang.trade.market.supply import pools_of
from suanwang.trade.market.surveillance import Alert, AlertKind
from suanwang.trade.settlement import closing, payouts
from trade_world import YUAN, card_pool

TAX_PARTY = {"name": "算网", "code": "91350100M000100Y43"}
SELLER = Seller(name=TAX_PARTY["name"], code=TAX_PARTY["code"])
ROUND_DAYS = {"east": 30, "west": 31}
"""Each bids in a round of its own: so many days ahead."""


async def trade(
    context: Context, client: httpx.AsyncClient, token: str, ids: dict[str, str]
) -> None:
    """Adds the ids by parameter name; `bid` is an order of the call auction."""
    name, headers = ids["organisation"], {"Authorization": f"Bearer {token}"}

    async def made(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status_code < 300, f"{path} {answer.text}"
        return dict(answer.json())

    def found_trade(tx: Tx) -> tuple[Supply, str, str, str]:
        ledger.top_up(tx, ids["project_id"], 1_000 * YUAN, key="for trade")
        supply = _cards(tx, context, ids["organisation_id"], f"{name}-cards")
        owner = tenancy.organisation(tx.conn, "operator").id
        of_operator = _cards(tx, context, owner, f"cards-for-{name}")
        day = datetime.now(UTC) + timedelta(days=ROUND_DAYS[name])
        round_id = auctions.open_round(tx, day.strftime("%Y-%m-%d"), Timetable()).id
        return supply, _listed(tx, owner, of_operator), round_id, _suspected(tx, ids, supply)

    supply, bought_from, ids["round"], ids["alert"] = await context.database.write(found_trade)
    begins = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=5)
    span = {"project": ids["project_id"], "starts_at": begins.isoformat(), "hours": 2, "lots": 1}
    price = {"micro_yuan": YUAN}
    offer = {**span, "source": supply.source_id, "price": price, "title": f"{name} cards"}
    ids["listing"] = (await made("POST", "/v1/market/listings", offer))["id"]
    ids["contract"] = (await made("POST", f"/v1/market/listings/{bought_from}/buy", span))["id"]
    ids["instrument"] = f"{supply.product.unit_class}:henan:{begins:%Y%m%d%H}:1"
    order = {"instrument": ids["instrument"], "side": "buy", "lots": 1, "price": price}
    placed = await made("POST", "/v1/market/orders", {**order, "project": ids["project_id"]})
    ids["order"] = placed["order"]["id"]
    step = {"product": str(supply.product), "hours": [8, 20], "lots": 1, "price": "1"}
    bid = {"project": ids["project_id"], "side": "buy", "curve": [step]}
    ids["bid"] = (await made("POST", f"/v1/auctions/{ids['round']}/orders", bid))["id"]


def _cards(tx: Tx, context: Context, organisation_id: str, name: str) -> Supply:
    """A site of one pool of cards that has reported in."""
    site, token = sites.invite(tx, organisation_id, SiteDescription(name, "henan"), context.random)
    sites.enrol(tx, EnrolRequest(token, site.site_id), context.random)
    sites.take_inventory(tx, site.site_id, [card_pool()])
    return next(one for one in pools_of(tx.conn, organisation_id) if one.site_id == site.site_id)


def _listed(tx: Tx, organisation_id: str, supply: Supply) -> str:
    """A listing of the operator's, to buy from."""
    system = system_principal()
    project = tenancy.create_project(
        tx, system, name=f"sales-{supply.site_id[-6:]}".lower(), organisation_id=organisation_id
    )
    ledger.top_up(tx, project.id, 1_000 * YUAN, key="for deposits")
    first = tx.now_ms // MS_PER_HOUR + 2
    given = ListingGiven(supply.source_id, Period(first, 48), 4, YUAN)
    return listings.post(tx, Party(organisation_id, project.id, system.user_id), given).id


def _suspected(tx: Tx, ids: dict[str, str], supply: Supply) -> str:
    key = f"suspect {ids['project_id']}"
    about = (ids["organisation_id"],)
    alert = Alert(AlertKind.SPOOFING, key, supply.product, about, (), "Cancelled at once.")
    watch.keep(tx, [alert])
    return next(one.id for one in watch.page(tx.conn) if one.alert.key == key)


# --- the books -----------------------------------------------------------------------------------


async def keep_books(context: Context, *all_ids: dict[str, str]) -> None:
    """The last day of last month was worked by each on its own pool; all days since are closed."""
    now_ms = context.clock.now_ms()
    end_ms = billing_rules.month_bounds(billing_rules.month_of(now_ms))[0]

    def work(tx: Tx) -> None:
        for ids in all_ids:
            then = Tx(tx.conn, end_ms - 6 * MS_PER_HOUR, tx.ids)
            ledger.top_up(then, ids["project_id"], 1_000 * YUAN, key="for work")
            prices = billing.publish_prices(then, f"pol_{ids['organisation']}", PRICES)
            run = run_of(
                prices,
                lease_id=f"lea_{ids['organisation']}",
                job_id=ids["job_id"],
                organisation_id=ids["organisation_id"],
                project_id=ids["project_id"],
                provider_organisation_id=ids["organisation_id"],
                pool_id=f"pol_{ids['organisation']}",
                granted_at_ms=end_ms - 5 * MS_PER_HOUR,
            )
            records = usage_of(run, run.granted_at_ms, end_ms - 2 * MS_PER_HOUR)
            insert_usage(tx.conn, records)
            facts = [UsageRecorded(one) for one in records]
            billing.charge(Tx(tx.conn, end_ms - MS_PER_HOUR, tx.ids), facts, fee_percent=5)

    def propose(tx: Tx) -> None:
        for one in payouts.propose(tx, by="system"):
            owner = next(ids for ids in all_ids if ids["organisation_id"] == one.organisation_id)
            owner["payout"] = one.id

    await context.database.write(work)
    await closing.close_due(context.database, now_ms, 0, by="system")
    await context.database.write(propose)


async def claim(client: httpx.AsyncClient, token: str, ids: dict[str, str], now_ms: int) -> None:
    """An invoice over what was worked, and a dispute about it."""
    headers = {"Authorization": f"Bearer {token}"}

    async def said(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status_code < 300, f"{path} {answer.text}"
        return dict(answer.json())

    buyer = {**TAX_PARTY, "name": f"{ids['organisation']} taxpayer"}
    await said("PUT", f"/v1/organisations/{ids['organisation']}/invoice-buyer", buyer)
    from_ms, _ = billing_rules.month_bounds(billing_rules.month_of(now_ms))
    month = billing_rules.month_of(from_ms - 1)
    asked = {"project": ids["project_id"], "month": month}
    ids["invoice"] = (await said("POST", "/v1/invoices", asked))["id"]
    entries = await said("GET", f"/v1/projects/{ids['project_id']}/entries?month={month}")
    charge = next(one for one in entries["items"] if one["kind"] == "charge")
    about = {"subject": charge["entry_id"], "reason": "faulty", "text": "It was slow."}
    ids["dispute"] = (await said("POST", "/v1/disputes", about))["id"]
    ids["day"] = billing_rules.date_text(billing_rules.day_of(from_ms - MS_PER_HOUR))
