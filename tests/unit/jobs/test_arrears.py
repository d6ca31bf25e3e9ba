"""A project that owes starts nothing; what it runs has a grace, then it is asked to stop."""

from __future__ import annotations

from grid_world import GridWorld, PlayedSite
from manual_clock import ManualClock
from suanwang.grid.jobs.arrears import owing_since, sweep_arrears
from suanwang.grid.jobs.model import StopReason
from suanwang.tenancy import service as tenancy
from suanwang.trade.ledger import service as ledger


def set_credit(world: GridWorld, micro_yuan: int) -> None:
    project_id = world.owner.project_id
    world.write(lambda tx: ledger.set_credit_limit(tx, project_id, micro_yuan))


def test_what_runs_is_stopped_only_after_the_grace(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job_id = world.submit()
    world.round()
    site.running(world.lease(job_id))
    set_credit(world, 0)
    assert world.write(sweep_arrears) == []
    assert world.read(owing_since).keys() == {world.owner.project_id}
    grace_s = world.read(lambda c: tenancy.project(c, world.owner.project_id)).arrears_grace_s
    clock.advance(ms=grace_s * 1_000 - 1)
    assert world.write(sweep_arrears) == []
    assert world.lease(job_id).stop is StopReason.NONE
    clock.advance(ms=1)
    assert world.write(sweep_arrears) == [site.site_id]
    assert world.lease(job_id).stop is StopReason.ARREARS


def test_who_pays_in_time_starts_a_new_grace(
    world: GridWorld, site: PlayedSite, clock: ManualClock
) -> None:
    job_id = world.submit()
    world.round()
    site.running(world.lease(job_id))
    set_credit(world, 0)
    world.write(sweep_arrears)
    clock.advance(s=10)
    set_credit(world, 10**12)
    world.write(sweep_arrears)
    assert world.read(owing_since) == {}
    set_credit(world, 0)
    world.write(sweep_arrears)
    assert list(world.read(owing_since).values()) == [clock.now_ms()]


def test_nothing_new_starts_in_arrears(world: GridWorld, site: PlayedSite) -> None:
    set_credit(world, 0)
    job_id = world.submit()
    world.round()
    assert world.job(job_id).queued == 1
