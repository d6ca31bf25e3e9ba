"""Tickets and measurements of the micro-benchmark, unchanged on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from jobs_world import AnyDatabase
from manual_clock import ManualClock
from suanwang.kernel.errors import NotFound
from suanwang.platform.database import Tx
from suanwang.trade.catalogue import service
from suanwang.trade.catalogue.bench import Verdict, refused
from suanwang.trade.catalogue.model import BenchState, Measurement, Ticket
from suanwang.trade.catalogue.service import Where, Whom

WHOM = Whom("org_1", "prj_1", "usr_1")


async def opened(
    database: AnyDatabase, number: int, pool: str = "pool_a", unit_class: str = "a800-80g"
) -> Ticket:
    where = Where("site_1", pool, unit_class, 1)
    name = f"bench_{number:04}"
    return await database.write(
        lambda tx: service.open_ticket(tx, name, f"job_{number}", where, WHOM, b"sealed")
    )


def measured(ticket: Ticket, at_ms: int, **figures: int) -> Verdict:
    return Verdict(
        tuple(
            Measurement(
                ticket.ticket_id,
                ticket.job_id,
                ticket.site_id,
                ticket.pool_id,
                ticket.unit_class,
                what,
                mega,
                "torch.cuda",
                "A800",
                ticket.program,
                at_ms,
            )
            for what, mega in figures.items()
        )
    )


async def close(database: AnyDatabase, ticket: Ticket, verdict: Verdict) -> bool:
    return await database.write(lambda tx: service.close(tx, ticket.ticket_id, verdict))


async def test_a_ticket_is_closed_once_whoever_comes_first(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    ticket = await opened(any_database, 1)
    assert await any_database.read(service.open_tickets) == [ticket]
    good, bad = measured(ticket, 5, FP16=100), refused("BadSignature", "It is not signed.")
    done = await asyncio.gather(*(close(any_database, ticket, one) for one in (good, bad, good)))
    assert sorted(done) == [False, False, True]
    found = await any_database.read(lambda c: service.ticket(c, ticket.ticket_id))
    kept = await any_database.read(lambda c: service.measurements_of(c, ticket.ticket_id))
    assert found.ended_at_ms == clock.now_ms()
    assert (found.state is BenchState.TAKEN) == bool(kept)
    assert (found.state is BenchState.REFUSED) == bool(found.reason)
    assert await any_database.read(service.open_tickets) == []


async def test_a_pools_figure_is_the_median_of_its_five_newest(any_database: AnyDatabase) -> None:
    for number, mega in enumerate([500, 500, 90, 100, 110, 100, 3]):
        ticket = await opened(any_database, number)
        assert await close(any_database, ticket, measured(ticket, number, FP16=mega, INT8=mega * 2))
    for number, pool, unit_class in ((10, "pool_b", "a800-80g"), (11, "pool_a", "h100-80g")):
        ticket = await opened(any_database, number, pool, unit_class)
        assert await close(any_database, ticket, measured(ticket, number, FP16=7))
    found = await any_database.read(service.figures)
    told = {(one.unit_class, one.pool_id, one.precision): one for one in found}
    assert list(told) == sorted(told)
    mine = told["a800-80g", "pool_a", "FP16"]
    assert (mine.mega, mine.results, mine.last.mega, mine.last.at_ms) == (100, 5, 3, 6)
    assert told["a800-80g", "pool_a", "INT8"].mega == 200
    assert told["a800-80g", "pool_b", "FP16"].results == 1
    assert told["h100-80g", "pool_a", "FP16"].mega == 7
    of_class = await any_database.read(lambda c: service.figures(c, "h100-80g"))
    assert [one.unit_class for one in of_class] == ["h100-80g"]


async def test_pages_of_tickets_newest_first(any_database: AnyDatabase) -> None:
    made = [await opened(any_database, number) for number in range(5)]
    first = await any_database.read(lambda c: service.tickets(c, before_id=None, limit=3))
    rest = await any_database.read(
        lambda c: service.tickets(c, before_id=first[-1].ticket_id, limit=3)
    )
    assert [*first, *rest] == made[::-1]
    with pytest.raises(NotFound):
        await any_database.read(lambda c: service.ticket(c, "bench_9999"))


async def test_a_measurement_of_nothing_is_refused_by_the_database(
    any_database: AnyDatabase,
) -> None:
    ticket = await opened(any_database, 1)
    nothing = measured(ticket, 1, FP16=0)

    def both(tx: Tx) -> None:
        service.close(tx, ticket.ticket_id, nothing)

    with pytest.raises(Exception, match=r"(?i)mega_positive|check"):
        await any_database.write(both)
    kept = await any_database.read(lambda c: service.ticket(c, ticket.ticket_id))
    assert kept == msgspec.structs.replace(ticket), "the transaction took everything back"
