"""The micro-benchmark as a job: submitted to one pool, its output judged, its figures kept."""

from __future__ import annotations

import pytest

from bench_results import result_line
from grid_world import GridWorld, PlayedSite, pool_report
from suanwang.grid.jobs import benches, leases_store, reading
from suanwang.grid.jobs.model import Lease, TaskState
from suanwang.grid.jobs.offers import offers
from suanwang.kernel.errors import InvalidInput, NotFound
from suanwang.protocol.messages import AcceleratorReport, NodeReport, PriceReport, Quantity
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.trade.catalogue import service as catalogue
from suanwang.trade.catalogue.bench import program_text
from suanwang.trade.catalogue.model import BenchState, Ticket

BOX = SecretsBox.in_memory()
KEY = "the key of this run"
YUAN = 1_000_000


@pytest.fixture
def cards_site(world: GridWorld) -> PlayedSite:
    """With a pool of A800 beside one of cores, and another such pool elsewhere."""
    site = world.site("qingyang")
    report = pool_report(
        1,
        "a800",
        nodes=[NodeReport("g0", Quantity(16_000, 65_536, 10_000, 2_000))],
        accelerator=AcceleratorReport("A800", "nvidia", 81_920, 312_000),
        prices=PriceReport(core_hour=0, memory_gib_hour=0, accelerator_hour=6 * YUAN),
    )
    site.pools = [pool_report(1), report]
    site.reconcile()
    return site


def start(world: GridWorld, place: str, cores: int = 1) -> Ticket:
    return world.write(
        lambda tx: benches.start(
            tx, world.owner, place, project=None, cores=cores, key=KEY, seal=BOX.seal
        )
    )


def run(world: GridWorld, site: PlayedSite, ticket: Ticket, output: bytes, code: int = 0) -> Lease:
    """The site runs it and prints this."""
    world.round()
    lease = world.lease(ticket.job_id)
    site.running(lease)
    world.clock.advance(s=30)
    if output:
        world.write(lambda tx: leases_store.append_log(tx, lease.lease_id, "stdout", 0, output))
    site.ended(lease, code=code, ran_ms=30_000)
    return lease


def take(world: GridWorld) -> list[bool]:
    return [
        world.write(lambda tx, one=one: benches.take(tx, one, BOX.open))
        for one in world.read(benches.due)
    ]


def test_a_pool_is_measured_and_its_offer_says_so(world: GridWorld, cards_site: PlayedSite) -> None:
    ticket = start(world, "qingyang/a800")
    assert world.read(benches.due) == [], "its job has not ended"
    figures = {"FP16": 240_000_000, "memory": 1_600_000}
    lease = run(world, cards_site, ticket, result_line(ticket, KEY, figures))
    assert lease.accelerator_milli == 1_000
    assert take(world) == [True]
    assert world.read(lambda c: catalogue.ticket(c, ticket.ticket_id)).state is BenchState.TAKEN
    measured = world.read(catalogue.figures)
    assert {one.precision: one.mega for one in measured} == figures
    assert {one.unit_class for one in measured} == {"a800-80g"}
    rows = {row["pool"]: row for row in offers(world.gather(), catalogue.by_pool(measured))}
    price = rows["a800"]["unit_price"]
    assert (price.by_peak, price.by_measured) == (1_923_077, 2_500_000)
    assert rows["cpu"]["unit_class"] == "core"
    assert world.read(benches.due) == []


def test_it_runs_in_the_pool_that_was_meant_and_in_no_other(world: GridWorld) -> None:
    site = world.site("zhengzhou")
    site.pools = [pool_report(2, "a"), pool_report(2, "b")]
    site.reconcile()
    for name in ("b", "a", "b"):
        ticket = start(world, f"zhengzhou/{name}")
        world.round()
        lease = world.lease(ticket.job_id)
        assert lease.pool_id == ticket.pool_id
        assert world.gather().pools[lease.pool_id].name == name


def test_the_key_is_told_to_the_run_alone(world: GridWorld, site: PlayedSite) -> None:
    ticket = start(world, "zhengzhou/cpu")
    spec = dict(world.read(lambda c: reading.job_spec(c, ticket.job_id)))
    assert KEY not in repr(spec)
    assert spec["secrets"] == {"BENCH_KEY": "***", "BENCH_TICKET": "***"}
    assert spec["argv"] == ["python3", "-c", program_text()]
    assert KEY.encode() not in ticket.sealed_key
    assert BOX.open(ticket.sealed_key, ticket.ticket_id) == {"key": KEY}


def test_a_forged_result_is_refused_and_says_why(world: GridWorld, site: PlayedSite) -> None:
    ticket = start(world, "zhengzhou/cpu")
    run(world, site, ticket, result_line(ticket, "a guess", {"FP64": 40_000}))
    assert take(world) == [True]
    closed = world.read(lambda c: catalogue.ticket(c, ticket.ticket_id))
    assert (closed.state, closed.reason) == (BenchState.REFUSED, "BadSignature")
    assert world.read(catalogue.figures) == []


def test_a_result_of_one_run_is_not_taken_for_another(world: GridWorld, site: PlayedSite) -> None:
    first = start(world, "zhengzhou/cpu")
    line = result_line(first, KEY, {"FP64": 40_000})
    run(world, site, first, line)
    assert take(world) == [True]
    second = start(world, "zhengzhou/cpu")
    run(world, site, second, line)
    assert take(world) == [True]
    closed = world.read(lambda c: catalogue.ticket(c, second.ticket_id))
    assert closed.reason == "OtherTicket"


def test_output_may_come_after_the_end_but_not_for_ever(world: GridWorld, site: PlayedSite) -> None:
    late, never = start(world, "zhengzhou/cpu"), start(world, "zhengzhou/cpu")
    lease = run(world, site, late, b"")
    run(world, site, never, b"hello\n")
    assert take(world) == [False, False]
    line = result_line(late, KEY, {"FP64": 40_000})
    world.write(lambda tx: leases_store.append_log(tx, lease.lease_id, "stdout", 0, line))
    assert take(world) == [True, False]
    world.clock.advance(ms=benches.OUTPUT_WAIT_MS)
    assert take(world) == [True]
    closed = world.read(lambda c: catalogue.ticket(c, never.ticket_id))
    assert closed.reason == "NoResult"


def test_a_run_that_fails_or_never_starts_leaves_no_ticket_open(
    world: GridWorld, site: PlayedSite
) -> None:
    failed, cancelled = start(world, "zhengzhou/cpu"), start(world, "zhengzhou/cpu")
    world.cancel(cancelled.job_id)
    run(world, site, failed, b"", code=127)
    world.clock.advance(ms=benches.OUTPUT_WAIT_MS)
    assert world.job(cancelled.job_id).state is TaskState.CANCELLED
    assert take(world) == [True, True]
    for ticket in (failed, cancelled):
        closed = world.read(lambda c, one=ticket: catalogue.ticket(c, one.ticket_id))
        assert closed.reason == "NotRun"


def test_places_and_cores_are_checked(world: GridWorld, site: PlayedSite) -> None:
    for place, error in (
        ("zhengzhou", InvalidInput),
        ("zhengzhou/gpu", NotFound),
        ("nowhere/cpu", NotFound),
    ):
        with pytest.raises(error):
            start(world, place)
    with pytest.raises(InvalidInput):
        start(world, "zhengzhou/cpu", cores=0)
    ticket = start(world, "zhengzhou/cpu", cores=2)
    assert ticket.units == 2
    world.round()
    assert world.lease(ticket.job_id).cpu_milli == 2_000
