"""Signals between processes over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from suanwang.platform.signal_relay import MAX_PAYLOAD, MAX_WAITING, SignalRelay, payloads
from suanwang.platform.signals import Signals, wait_for

LONG_S = 30.0


@asynccontextmanager
async def _process(url: str, origin: str) -> AsyncIterator[tuple[Signals, SignalRelay]]:
    signals = Signals()
    signals.bind(asyncio.get_running_loop())
    relay = SignalRelay(url, signals, origin)
    running = asyncio.create_task(relay.run())
    await asyncio.wait_for(relay.connected.wait(), LONG_S)
    yield signals, relay
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.postgres
async def test_a_name_notified_here_wakes_there(postgres_url: str) -> None:
    async with _process(postgres_url, "a") as (here, _), _process(postgres_url, "b") as (there, _):
        waiter, other = there.listen("site:1"), there.listen("site:2")
        here.notify("site:1", "job:1")
        assert await wait_for(waiter, LONG_S)
        assert not other.done()
        back = here.listen("round")
        there.notify("round")
        assert await wait_for(back, LONG_S)


@pytest.mark.postgres
async def test_many_names_arrive_in_several_messages(postgres_url: str) -> None:
    async with _process(postgres_url, "a") as (here, _), _process(postgres_url, "b") as (there, _):
        names = [f"job:job_{number:030}" for number in range(2_000)]
        waiters = [there.listen(name) for name in names]
        here.notify(*names)
        assert await asyncio.wait_for(asyncio.gather(*waiters), LONG_S)


@pytest.mark.postgres
async def test_after_a_cut_line_everybody_looks_and_names_travel_again(postgres_url: str) -> None:
    async with (
        _process(postgres_url, "a") as (here, relay),
        _process(postgres_url, "b") as (
            there,
            _,
        ),
    ):
        waiter = there.listen("anything")
        engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        engine.dispose()
        assert await wait_for(waiter, LONG_S)
        for _ in range(100):  # the other side may take longer to come back
            waiter = there.listen("again")
            here.notify("again")
            if await wait_for(waiter, 0.5):
                break
        else:
            pytest.fail("no name came through")
        assert relay.dropped == 0


def test_messages_are_cut_to_what_the_database_takes() -> None:
    names = [f"job:{'界' * (number % 50)}{number}" for number in range(3_000)]
    made = list(payloads("origin", names))
    assert max(len(one.encode()) for one in made) <= MAX_PAYLOAD
    assert [name for one in made for name in one.split("\n")[1:]] == names
    assert {one.split("\n")[0] for one in made} == {"origin"}
    assert list(payloads("origin", [])) == []


async def test_what_waits_is_bounded() -> None:
    relay = SignalRelay("postgresql+psycopg://nobody@/none", Signals(), "a")
    relay.take([f"job:{number}" for number in range(MAX_WAITING + 5)])
    relay.take(["job:1"])
    assert relay.dropped == 5
