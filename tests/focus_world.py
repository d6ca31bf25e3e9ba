"""A month with every kind of row that an export has: two pools, a gang, a reversal, a credit."""

from __future__ import annotations

import random as stdlib_random
from collections.abc import Iterator

from billing_world import HOUR_0, OTHER_PROJECT, PROJECT, PROVIDER, World
from manual_clock import ManualClock
from suanwang.engines.scheduling.model import Prices
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.database import InlineDatabase
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.ledger import service as ledger
from suanwang.trade.settlement import focus
from tables import fill

MONTH = "2026-01"
CARDS = "pol_2"


def month_of_work(clock: ManualClock | None = None) -> World:
    """Charges of forty leases by two projects, one of them reversed, and a correction."""
    clock = clock or ManualClock(HOUR_0)
    database = InlineDatabase(clock, stdlib_random.Random(7))
    fill(database.engine)
    world = World(database)
    cards = world.write(
        lambda tx: billing.publish_prices(tx, CARDS, Prices(1_234_567, 98_765, 35_999_999))
    )
    world.top_up(10_000_000_000)
    world.top_up(1_000_000_000, OTHER_PROJECT, "2")
    dice = stdlib_random.Random(3)
    for number in range(40):
        on_cards = number % 3 == 0
        run = world.run(
            lease_id=f"lea_{number}",
            job_id=f"job_{number // 4}",
            project_id=OTHER_PROJECT if number % 7 == 0 else PROJECT,
            pool_id=CARDS if on_cards else "pol_1",
            price_list_id=cards if on_cards else world.price_list_id,
            members=1 + number % 2,
            resources=Resources(
                cpu_milli=1_500 + 10 * number,
                memory_mib=1_000 + 77 * number,
                accelerator_milli=500 * on_cards,
            ),
        )
        start_ms = HOUR_0 + number * 13 * MS_PER_HOUR + dice.randrange(MS_PER_HOUR)
        clock.at_ms = start_ms + dice.randrange(3 * MS_PER_HOUR)
        world.charge_fully(run, start_ms, clock.at_ms)
    lines = world.database.read_now(
        lambda conn: ledger.account_lines(
            conn,
            ledger.project_account(conn, PROJECT).id,  # type: ignore[union-attr]
            HOUR_0,
            clock.at_ms,
        )
    )
    charged = [line for line in lines if line.kind.value == "charge"]
    world.write(lambda tx: ledger.reverse(tx, charged[2].entry_id, reason="not delivered"))
    world.write(lambda tx: ledger.adjust(tx, PROJECT, 1_234_567, key="case-1", description="bonus"))
    return world


def account(world: World, invoice: str = "", *, as_provider: bool = False) -> focus.Account:
    del world
    return focus.Account(
        month=MONTH,
        organisation_id=PROVIDER if as_provider else "org_user",
        organisation="郑州大学",
        issuer="Suanwang",
        projects={PROJECT: "physics", OTHER_PROJECT: "chemistry"},
        providers={PROVIDER: "Zhengzhou Supercomputing"},
        places={
            "pol_1": focus.Place("cpu", "zz-1", "zhengzhou"),
            CARDS: focus.Place("a100", "zz-1", "zhengzhou"),
        },
        invoice=invoice,
        as_provider=as_provider,
    )


def rows(world: World, told: focus.Account, project_ids: list[str]) -> Iterator[dict[str, str]]:
    """As the API writes them."""
    found = world.database.read_now(
        lambda conn: reports.priced_usage(
            conn,
            told.month,
            project_ids=project_ids,
            provider_organisation_id=PROVIDER if told.as_provider else None,
        )
    )
    for one in found:
        yield from focus.usage_rows(one, told)
    for project_id in [] if told.as_provider else project_ids:
        lines = world.database.read_now(
            lambda conn, of=project_id: reports.adjustments(conn, of, told.month)
        )
        for line in lines:
            yield focus.adjustment_row(line, project_id, told)
