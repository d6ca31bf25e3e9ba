"""Sites and their sessions, unchanged on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jobs_world import AnyDatabase, Grid, pool, spec, wanted
from manual_clock import ManualClock
from suanwang.grid.jobs import reading
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.errors import Conflict, SuanwangError, Unauthenticated
from suanwang.protocol.messages import (
    AcceleratorReport,
    EnrolRequest,
    NodeReport,
    PoolReport,
    PriceReport,
    Quantity,
)


@pytest.fixture
async def grid(any_database: AnyDatabase, clock: ManualClock) -> Grid:
    return await Grid(any_database, clock).found()


async def _invite(grid: Grid, name: str) -> tuple[str, str]:
    description = SiteDescription(name, "henan", tariff=tuple(range(24)))
    site, token = await grid.database.write(
        lambda tx: sites.invite(tx, grid.owner.organisation_id, description, grid.dice)
    )
    return site.site_id, token


async def test_a_token_enrols_once_however_many_try(grid: Grid) -> None:
    site_id, token = await _invite(grid, "luoyang-1")
    attempts = [
        grid.database.write(lambda tx: sites.enrol(tx, EnrolRequest(token, "i"), grid.dice))
        for _ in range(6)
    ]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    enrolled = [one for one in answers if not isinstance(one, BaseException)]
    assert [one.site_id for one in enrolled] == [site_id]
    refused = [one for one in answers if isinstance(one, Unauthenticated)]
    assert {one.reason for one in refused} == {"TokenSpent"}
    assert len(refused) == 5
    found = await grid.database.read(
        lambda conn: sites.speaker_of_credential(conn, enrolled[0].credential)
    )
    assert found == sites.Speaker(site_id, succeeds=False)


async def test_a_name_is_taken_once(grid: Grid) -> None:
    answers = await asyncio.gather(
        *(_invite(grid, "kaifeng-1") for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in answers) == 1
    refused = [one for one in answers if isinstance(one, BaseException)]
    assert {one.reason for one in refused if isinstance(one, SuanwangError)} == {"SiteNameTaken"}
    assert all(isinstance(one, Conflict) for one in refused)


async def test_an_inventory_comes_back_as_it_was_reported(grid: Grid) -> None:
    big = PoolReport(
        name="卡",
        driver="slurm",
        architecture="aarch64",
        kind="ai",
        nodes=[
            NodeReport(f"n{i}", Quantity(1 << 40, 1 << 41, 1 << 42, 8_000), up=i % 2 == 0)
            for i in range(300)
        ],
        accelerator=AcceleratorReport("Ascend 910B", "huawei", 65_536),
        max_runtime_s=86_400,
        prices=PriceReport(1, 2, 3),
    )
    book = await grid.site("shangqiu", [big, pool()])
    found = await grid.database.read(lambda conn: sites.pools_of_site(conn, book.site_id))
    by_name = {one.name: one for one in found}
    assert set(by_name) == {"卡", "cpu"}
    assert by_name["卡"].nodes == sorted(big.nodes, key=lambda node: node.name)
    assert by_name["卡"].accelerator == big.accelerator
    assert by_name["cpu"].accelerator is None
    assert by_name["卡"].present is True
    book.pools = [pool()]
    await book.reconcile()
    left = await grid.database.read(lambda conn: sites.pools_of_site(conn, book.site_id))
    assert [one.name for one in left] == ["cpu"]
    site = await grid.database.read(lambda conn: sites.require_site(conn, book.site_id))
    assert site.session == 2


async def test_of_two_sessions_the_later_speaks(grid: Grid) -> None:
    book = await grid.site()
    old = book.session
    await book.reconcile()
    book.session = old
    with pytest.raises(Conflict) as refusal:
        await book.poll()
    assert refusal.value.reason == "SessionSuperseded"


async def test_revisions_of_many_takers_never_meet(grid: Grid) -> None:
    book = await grid.site()
    taken = await asyncio.gather(
        *(
            grid.database.write(lambda tx: sites.next_revisions(tx, book.site_id, 3))
            for _ in range(20)
        )
    )
    numbers = [first + offset for first in taken for offset in range(3)]
    assert len(set(numbers)) == 60


async def test_drained_cordoned_and_removed(grid: Grid) -> None:
    book = await grid.site(pools=[pool(nodes=2, cpus=1)])
    await grid.database.write(lambda tx: sites.cordon_node(tx, book.site_id, "cpu", "n0", True))
    await grid.submit(spec(), spec())
    assert (await grid.dispatcher.round()).placed == 1
    site = await grid.database.write(lambda tx: sites.set_draining(tx, book.site_id, True))
    assert site.state is SiteState.DRAINING
    with pytest.raises(Conflict) as refusal:
        await grid.database.write(lambda tx: sites.remove(tx, book.site_id, reading.open_leases_at))
    assert refusal.value.reason == "SiteBusy"
    await book.finish(wanted(await book.poll()), seconds=0)
    await grid.database.write(lambda tx: sites.remove(tx, book.site_id, reading.open_leases_at))

    def left(conn: Connection) -> list[str]:
        return [one.site_id for one in sites.sites(conn)]

    assert await grid.database.read(left) == []
    again, _ = await _invite(grid, "zhengzhou")  # the name is free
    assert again != book.site_id
    count = sa.text("SELECT count(*) FROM sites")
    assert await grid.database.read(lambda conn: conn.execute(count).scalar_one()) == 2
