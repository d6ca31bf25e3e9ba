"""Leases of silent sites, by each job's own settings."""

from __future__ import annotations

import pytest

from grid_world import GridWorld, PlayedSite
from suanwang.grid.jobs import sweeps
from suanwang.grid.jobs.model import LeaseState, Outcome, TaskState
from suanwang.grid.jobs.rules import MAX_LOSSES
from suanwang.protocol.messages import Desired, FailureClass


def test_a_fenced_lease_is_lost_when_its_time_is_over_and_not_before(
    world: GridWorld, site: PlayedSite
) -> None:
    job = world.submit()
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=60)
    assert world.sweep().lost == 0
    world.clock.advance(ms=1)
    assert world.sweep().lost == 1
    task = world.task(job)
    assert (task.state, task.attempt, task.losses) == (TaskState.QUEUED, 1, 1)
    assert world.last_lease(job).outcome is Outcome.LOST
    assert world.held() == 0
    assert world.sweep().lost == 0


def test_silence_while_nobody_listened_does_not_count(world: GridWorld, site: PlayedSite) -> None:
    """After an outage of the control plane every unfenced job was replaced at once."""
    job = world.submit(partition={"stop_on_client_after": None, "lost_after": 60})
    world.round()
    site.running(world.lease(job))
    world.clock.advance(s=600)
    started_ms = world.clock.now_ms()
    world.clock.advance(s=59)
    swept = world.write(lambda tx: sweeps.sweep_lost(tx, listening_since_ms=started_ms))
    assert swept.lost == 0
    world.clock.advance(s=2)
    swept = world.write(lambda tx: sweeps.sweep_lost(tx, listening_since_ms=started_ms))
    assert swept.lost == 1


def test_a_lease_that_never_reached_its_site_is_lost_too(
    world: GridWorld, site: PlayedSite
) -> None:
    world.clock.advance(s=20)
    world.submit()
    world.round()
    world.clock.advance(s=59)
    assert world.sweep().lost == 0
    world.clock.advance(s=2)
    assert world.sweep().lost == 1
    assert world.held() == 0


async def test_the_end_that_comes_after_the_loss_is_charged_once(
    world: GridWorld, site: PlayedSite
) -> None:
    job = world.submit()
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=61)
    world.sweep()
    for _ in range(3):
        taken = site.ended(lease, code=None, failure=FailureClass.LEASE_EXPIRED, ran_ms=40_000)
        assert [order.desired for order in taken.orders] == [Desired.FORGET]
    await world.settle()
    [record] = [row for row in world.usage(job) if row.final]
    assert record.billable_seconds <= 61
    assert world.wrong() == []


def test_a_run_still_alive_after_the_loss_is_stopped(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit()
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=61)
    world.sweep()
    assert [o.desired for o in site.running(lease).orders] == [Desired.STOP]


def test_without_replace_the_task_waits_for_its_site(world: GridWorld, site: PlayedSite) -> None:
    settings = {"stop_on_client_after": None, "lost_after": 60, "replace": False}
    job = world.submit(partition=settings, max_runtime=600)
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=61)
    world.sweep()
    assert world.task(job).state is TaskState.RUNNING
    site.running(lease, started_ago_ms=61_000)
    assert world.lease(job).lost_at_ms is None
    world.clock.advance(s=100)
    world.sweep()
    world.clock.advance(s=600)
    world.sweep()
    assert world.last_lease(job).state is LeaseState.ENDED
    assert world.task(job).state is TaskState.QUEUED


def test_a_task_that_sites_keep_losing_is_given_up(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit()
    for _ in range(MAX_LOSSES + 1):
        assert world.task(job).state is TaskState.QUEUED
        site.heard()
        world.round()
        site.running(world.lease(job))
        world.clock.advance(s=61)
        world.sweep()
        world.clock.advance(s=3_600)
    task = world.task(job)
    assert task.state is TaskState.FAILED
    assert f"{MAX_LOSSES + 1} attempts" in task.detail
    assert world.held() == 0


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_cancelled_job_of_a_silent_site_ends(
    world: GridWorld, site: PlayedSite, fenced: bool
) -> None:
    partition = {} if fenced else {"stop_on_client_after": None}
    job = world.submit(partition=partition, max_runtime=100)
    world.round()
    site.running(world.lease(job))
    world.clock.advance(s=30)
    world.cancel(job)
    world.clock.advance(s=200)
    world.sweep()
    world.clock.advance(s=200)
    world.sweep()
    await world.settle()
    assert world.task(job).state is TaskState.CANCELLED
    assert world.left_over() == []
