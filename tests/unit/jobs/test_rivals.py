"""An attempt that was replaced while its site was silent, and the site that comes back."""

from __future__ import annotations

import pytest

from grid_world import GridWorld, PlayedSite, ended_report
from suanwang.grid.jobs.model import LeaseState, Outcome, StopReason, TaskState
from suanwang.protocol.messages import Desired, FailureClass

UNFENCED = {"lost_after": 30, "stop_on_client_after": None}


class Split:
    """One unfenced job: its first site fell silent, its second has the replacement."""

    def __init__(self, world: GridWorld, reconcile: str, *, started: bool = True) -> None:
        self.world = world
        self.near = world.site("near", nodes=1)
        self.job = world.submit(partition={**UNFENCED, "reconcile": reconcile})
        world.round()
        self.original = world.lease(self.job)
        self.near.running(self.original)
        world.clock.advance(s=31)
        self.far = world.site("far", nodes=1)
        world.sweep()
        world.round()
        self.replacement = world.last_lease(self.job)
        assert self.replacement.site_id == self.far.site_id
        if started:
            self.far.running(self.replacement)

    def stops(self) -> dict[str, StopReason]:
        first, second = self.world.leases(self.job)[:2]
        return {"original": first.stop, "replacement": second.stop}

    def only(self, *, original: bool) -> None:
        """One is kept, the other is told to stop."""
        kept, left = ("original", "replacement") if original else ("replacement", "original")
        assert self.stops() == {kept: StopReason.NONE, left: StopReason.SUPERSEDED}

    def close(self, *, original: bool) -> None:
        """The one left behind ends as told, then the kept one succeeds; all is settled."""
        sites = [(self.near, self.original), (self.far, self.replacement)]
        kept, left = sites if original else reversed(sites)
        left[0].ended(left[1], code=None, failure=FailureClass.STOPPED)
        assert self.world.task(self.job).state is TaskState.RUNNING
        kept[0].ended(kept[1])
        assert self.world.task(self.job).state is TaskState.SUCCEEDED
        assert len(self.world.leases(self.job)) == 2


@pytest.mark.parametrize(
    ("reconcile", "original"),
    [("keep_original", True), ("keep_replacement", False), ("longest_running", True)],
)
async def test_when_both_run_the_job_says_which_is_kept(
    world: GridWorld, reconcile: str, original: bool
) -> None:
    split = Split(world, reconcile)
    world.clock.advance(s=5)
    split.near.running(split.original, started_ago_ms=36_000)
    split.only(original=original)
    split.close(original=original)
    await world.settle()
    assert world.left_over() == []


@pytest.mark.parametrize("reconcile", ["keep_original", "longest_running", "best_score"])
async def test_an_original_that_has_succeeded_is_the_result(
    world: GridWorld, reconcile: str
) -> None:
    split = Split(world, reconcile)
    split.near.ended(split.original)
    task = world.task(split.job)
    assert (task.state, task.lease_id) == (TaskState.SUCCEEDED, split.original.lease_id)
    assert world.lease(split.job).stop is StopReason.SUPERSEDED
    split.far.ended(split.replacement, code=None, failure=FailureClass.STOPPED)
    await world.settle()
    assert world.task(split.job).state is TaskState.SUCCEEDED
    assert world.left_over() == []


async def test_keep_replacement_ignores_even_a_success(world: GridWorld) -> None:
    split = Split(world, "keep_replacement")
    split.near.ended(split.original)
    assert world.task(split.job).state is TaskState.RUNNING
    assert world.lease(split.job).lease_id == split.replacement.lease_id
    split.far.ended(split.replacement)
    await world.settle()
    assert world.left_over() == []


async def test_an_original_that_failed_leaves_the_replacement_alone(world: GridWorld) -> None:
    split = Split(world, "keep_original")
    split.near.ended(split.original, code=1)
    assert world.task(split.job).state is TaskState.RUNNING
    assert world.lease(split.job).stop is StopReason.NONE
    split.far.ended(split.replacement)
    await world.settle()
    assert world.task(split.job).state is TaskState.SUCCEEDED
    assert world.left_over() == []


def test_a_replacement_that_has_not_started_yields_to_the_longest_running(
    world: GridWorld,
) -> None:
    split = Split(world, "longest_running", started=False)
    split.near.running(split.original, started_ago_ms=36_000)
    split.only(original=True)
    split.close(original=True)


def test_the_original_goes_on_when_its_replacement_has_ended_already(world: GridWorld) -> None:
    split = Split(world, "keep_original")
    split.far.ended(split.replacement, code=None, failure=FailureClass.NODE_FAILURE)
    assert world.task(split.job).state is TaskState.QUEUED
    split.near.running(split.original, started_ago_ms=36_000)
    assert world.task(split.job).state is TaskState.RUNNING
    assert world.lease(split.job).stop is StopReason.NONE
    split.near.ended(split.original)
    assert world.task(split.job).state is TaskState.SUCCEEDED


def test_before_a_replacement_is_placed_the_returning_original_is_the_task_again(
    world: GridWorld, site: PlayedSite
) -> None:
    job = world.submit(partition=UNFENCED)
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=31)
    world.sweep()
    assert world.task(job).state is TaskState.QUEUED
    site.running(lease, started_ago_ms=31_000)
    assert world.task(job).state is TaskState.RUNNING
    assert world.round().placed == 0
    site.ended(lease)
    assert world.task(job).state is TaskState.SUCCEEDED


async def test_a_job_cancelled_while_its_site_is_silent_is_stopped_when_it_returns(
    world: GridWorld, site: PlayedSite
) -> None:
    """Found by reading: the returning report moved a cancelled task back to running, which the
    rule forbids, so that every later report of that site was refused."""
    job = world.submit(partition=UNFENCED)
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=31)
    world.sweep()
    world.cancel(job)
    assert world.task(job).state is TaskState.CANCELLED
    site.running(lease, started_ago_ms=31_000)
    assert [order.desired for order in site.orders()] == [Desired.STOP]
    site.ended(lease, code=None, failure=FailureClass.STOPPED)
    await world.settle()
    assert world.task(job).state is TaskState.CANCELLED
    assert world.last_lease(job).outcome is Outcome.CANCELLED
    assert world.left_over() == []


async def test_both_attempts_at_one_site_in_one_batch(world: GridWorld, site: PlayedSite) -> None:
    """The end of one must not be overwritten by the order to stop it."""
    job = world.submit(partition=UNFENCED)
    world.round()
    original = world.lease(job)
    site.running(original)
    world.clock.advance(s=31)
    world.sweep()
    site.heard()
    world.round()
    replacement = world.last_lease(job)
    assert replacement.lease_id != original.lease_id
    site.says(ended_report(original), ended_report(replacement))
    assert [x.state for x in world.leases(job)] == [LeaseState.ENDED, LeaseState.ENDED]
    assert world.task(job).state is TaskState.SUCCEEDED
    await world.settle()
    assert world.left_over() == []
