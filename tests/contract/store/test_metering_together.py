"""Two processes take the same site's list and the end at once: each hour is recorded once."""

from __future__ import annotations

import random as stdlib_random
from typing import Any

import sqlalchemy as sa

from jobs_world import Grid, ended, running, spec, together, wanted
from manual_clock import ManualClock
from suanwang.protocol.messages import Phase, RunReport
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.store import usage


async def test_each_hour_is_recorded_once(any_database: Any, clock: ManualClock) -> None:
    one = await Grid(any_database, clock, dice=stdlib_random.Random(3)).found()
    other = one.beside()
    site = await one.site()
    await one.submit(spec(max_runtime=40 * 3_600, resources={"cpus": 2}, array=4))
    await one.dispatcher.round()
    orders = wanted(await site.poll())
    await site.poll([running(order) for order in orders])
    clock.advance(s=30 * 3_600 + 600)
    going = [
        RunReport(order.lease_id, order.epoch, Phase.RUNNING, started_ago_ms=30 * 3_600_000)
        for order in orders
    ]
    site_here, site_there = site, type(site)(other, site.site_id, site.pools, site.session)
    await together(
        site_here.poll(going),
        site_there.poll(going),
        site_there.poll([ended(order, seconds=30 * 3_600 + 600) for order in orders[:2]]),
        one.deliver(),
        other.deliver(),
    )
    await site.poll([ended(order, seconds=30 * 3_600 + 600) for order in orders[2:]])
    await one.deliver()
    query = sa.select(usage.c.lease_id, sa.func.count(), sa.func.sum(usage.c.billable_seconds))
    rows = await one.database.read(lambda c: c.execute(query.group_by(usage.c.lease_id)).all())
    assert [(count, int(seconds)) for _, count, seconds in rows] == [(31, 30 * 3_600 + 600)] * 4
    assert await one.balance() == (-4 * 2 * (30 * 3_600 + 600) * 1_000, 0)
    assert await one.violations(at_rest=True) == []
    assert await one.database.read(billing.troubles) == []
