"""A served platform whose last month was worked in: charges of three providers' pools."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import msgspec
from portal_world import PASSWORD, Plane

from billing_world import POOL, PRICES, run_of, usage_of
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.platform.settings import Seller
from suanwang.trade.billing import rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecorded
from suanwang.trade.billing.store import insert_usage
from suanwang.trade.ledger import service as ledger
from suanwang.trade.settlement import closing

BUYER = {"name": "河南大学", "code": "91350100M000100Y43", "bank": "工商银行开封分行"}
CODE = BUYER["code"]


def last_month(now_ms: int) -> tuple[str, int]:
    """(month, its first instant)."""
    from_ms, _ = rules.month_bounds(rules.month_of(now_ms))
    month = rules.month_of(from_ms - 1)
    return month, rules.month_bounds(month)[0]


def work(plane: Plane, project_id: str, provider_id: str) -> str:
    """Ten days of last month, charged as they were over; the month."""
    now_ms = plane.context.clock.now_ms()
    month, from_ms = last_month(now_ms)

    def use_case(tx: Tx) -> None:
        then = Tx(tx.conn, from_ms, tx.ids)
        ledger.top_up(then, project_id, 50_000_000_000, key="ICBC-1", description="充值")
        prices = billing.publish_prices(then, POOL, PRICES)
        for day in range(10):
            start_ms = from_ms + day * MS_PER_DAY + 3 * MS_PER_HOUR
            run = run_of(
                prices,
                lease_id=f"lea_{day}",
                job_id=f"job_{day}",
                project_id=project_id,
                provider_organisation_id=provider_id,
                resources=Resources(16_000, 65_536, 2_000),
                granted_at_ms=start_ms,
            )
            records = usage_of(run, start_ms, start_ms + 5 * MS_PER_HOUR + 1_234_000)
            insert_usage(tx.conn, records)
            facts = [UsageRecorded(one) for one in records]
            billing.charge(Tx(tx.conn, start_ms + MS_PER_DAY, tx.ids), facts, fee_percent=5)

    plane.write(use_case)
    return month


def people(plane: Plane) -> tuple[str, str]:
    """(the buyer's project, the provider): an organisation each, with an admin."""
    houses = (("henu", "河南大学", "li.hua", "consumer"), ("zzsc", "郑州超算", "wang", "provider"))
    made = {}
    for name, display, login, kind in houses:
        house = {"name": name, "display_name": display, "kinds": [kind]}
        made[name] = plane.call("POST", "/v1/organisations", house)["id"]
        user = {"login": login, "role": "admin", "password": PASSWORD, "organisation": name}
        plane.call("POST", "/v1/users", user)
    project = {"name": "physics", "display_name": "物理学院", "organisation": "henu"}
    return plane.call("POST", "/v1/projects", project)["id"], made["zzsc"]


def sells(plane: Plane) -> None:
    """Who the platform is to the tax office."""
    seller = Seller(name="算网科技（郑州）有限公司", code=CODE, address="郑州市郑东新区龙子湖 1 号")
    plane.context.settings = msgspec.structs.replace(plane.context.settings, seller=seller)


def close_all(plane: Plane) -> None:
    """Every day that is over."""
    plane.call("POST", "/v1/closes", {})

    async def rest() -> None:
        context = plane.context
        await closing.close_due(context.database, context.clock.now_ms(), 0, by="system")

    with ThreadPoolExecutor(1) as aside:
        aside.submit(asyncio.run, rest()).result()
