"""The micro-benchmark's books: tickets out, results in, what pools were measured at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import NotFound
from suanwang.platform.database import Tx
from suanwang.trade.catalogue import rules, store
from suanwang.trade.catalogue.bench import Verdict, program_version
from suanwang.trade.catalogue.model import BenchState, Measurement, Ticket

DUE_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class PoolFigure:
    """What a pool was measured at: the median of its newest results of one precision."""

    site_id: str
    pool_id: str
    unit_class: str
    precision: str
    mega: int
    results: int
    last: Measurement


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose job the run is, and whose money."""

    organisation_id: str
    project_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Where:
    site_id: str
    pool_id: str
    unit_class: str
    units: int


def open_ticket(
    tx: Tx, ticket_id: str, job_id: str, where: Where, whom: Whom, sealed_key: bytes
) -> Ticket:
    ticket = Ticket(
        ticket_id=ticket_id,
        job_id=job_id,
        site_id=where.site_id,
        pool_id=where.pool_id,
        unit_class=where.unit_class,
        units=where.units,
        organisation_id=whom.organisation_id,
        project_id=whom.project_id,
        user_id=whom.user_id,
        sealed_key=sealed_key,
        program=program_version(),
        state=BenchState.OPEN,
        reason="",
        detail="",
        created_at_ms=tx.now_ms,
        ended_at_ms=None,
    )
    store.insert_ticket(tx, ticket)
    return ticket


def open_tickets(conn: Connection) -> list[Ticket]:
    return store.open_tickets(conn, DUE_AT_ONCE)


def tickets(conn: Connection, *, before_id: str | None, limit: int) -> list[Ticket]:
    """Newest first."""
    return store.newest_tickets(conn, before_id, limit)


def ticket(conn: Connection, ticket_id: str) -> Ticket:
    found = store.ticket_of(conn, ticket_id)
    if found is None:
        raise NotFound(
            "BenchNotFound", f"There is no benchmark {ticket_id!r}.", hint="See `suan bench ls`."
        )
    return found


def close(tx: Tx, ticket_id: str, verdict: Verdict) -> bool:
    """Take the result, or note why not; once. False when that was done before."""
    state = BenchState.REFUSED if verdict.reason else BenchState.TAKEN
    if not store.end_ticket(tx, ticket_id, state, verdict.reason, verdict.detail):
        return False
    store.insert_measurements(tx, verdict.measurements)
    return True


def measurements_of(conn: Connection, ticket_id: str) -> list[Measurement]:
    return store.of_ticket(conn, ticket_id)


def figures(conn: Connection, unit_class: str | None = None) -> list[PoolFigure]:
    """Of every pool (of the class), by class, pool and precision."""
    found: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for one in store.newest_by_pool(conn, rules.MEASURED_OF, unit_class):
        found[one.unit_class, one.pool_id, one.precision].append(one)
    return [_figure(found[key]) for key in sorted(found)]


def _figure(newest: Sequence[Measurement]) -> PoolFigure:
    last = newest[0]
    value = rules.measured([one.mega for one in newest]) or last.mega
    return PoolFigure(
        last.site_id,
        last.pool_id,
        last.unit_class,
        last.precision,
        value,
        len(newest),
        last,
    )


def by_pool(found: Sequence[PoolFigure]) -> Mapping[tuple[str, str], Mapping[str, PoolFigure]]:
    """(pool, class) → precision → figure: a pool that changed its cards starts anew."""
    sorted_out: dict[tuple[str, str], dict[str, PoolFigure]] = defaultdict(dict)
    for one in found:
        sorted_out[one.pool_id, one.unit_class][one.precision] = one
    return sorted_out
