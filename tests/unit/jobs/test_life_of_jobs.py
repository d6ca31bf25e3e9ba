"""Jobs from submission to end: keys, dependencies, arrays, cancel in every state, reports."""

from __future__ import annotations

import msgspec
import pytest

from grid_world import GridWorld, PlayedSite, ended_report, report_of, spec_of
from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs import grants
from suanwang.grid.jobs.model import LeaseState, Outcome, StopReason, TaskState
from suanwang.grid.jobs.offers import offers
from suanwang.grid.jobs.reports import stepped
from suanwang.grid.jobs.submission import MAX_BATCH
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound
from suanwang.protocol.messages import Desired, FailureClass, Meters, Phase

# --- submission -------------------------------------------------------------------------------


def test_a_repeated_key_gives_the_first_answer(world: GridWorld) -> None:
    first = world.submit(key="k")
    assert world.submit(key="k") == first
    assert world.submit(key="other") != first
    assert world.submit() != first
    with pytest.raises(Conflict) as caught:
        world.submit(key="k", name="else")
    assert caught.value.reason == "IdempotencyKeyReused"


def test_all_or_none(world: GridWorld) -> None:
    specs = [spec_of(name="good"), spec_of(name="bad", depends_on=["job_unknown"])]
    with pytest.raises(InvalidInput):
        world.submit_all(specs, key="k")
    assert world.round().placed == 0
    made = world.submit_all([spec_of(name="good")], key="k")
    assert len(made) == 1


def test_batches_are_bounded(world: GridWorld) -> None:
    with pytest.raises(LimitExceeded):
        world.submit_all([spec_of()] * (MAX_BATCH + 1))
    with pytest.raises(LimitExceeded):
        world.submit_all([spec_of(array=100_000)] * 3)


def test_unknown_sites_and_blobs_are_named(world: GridWorld, site: PlayedSite) -> None:
    with pytest.raises(NotFound):
        world.submit(constraints={"sites": ["atlantis"]})
    with pytest.raises(InvalidInput) as caught:
        world.submit(workdir="sha256:" + "a" * 64)
    assert caught.value.reason == "BlobMissing"


def test_equal_demands_meet_in_one_class(world: GridWorld) -> None:
    classes = [
        world.task(world.submit(**fields)).class_id
        for fields in (
            {},
            {"name": "other", "argv": ["else"], "env": {"A": "1"}, "priority": 5},
            {"resources": {"cpus": 2}},
            {"max_runtime": 601},
            {"count": 2},
            {"preemptible": True},
            {"constraints": {"regions": ["henan"]}},
            {"max_price": 3},
        )
    ]
    assert classes[0] == classes[1]
    assert len(set(classes)) == len(classes) - 1


# --- dependencies -----------------------------------------------------------------------------


def test_a_job_waits_for_all_that_it_needs(world: GridWorld, site: PlayedSite) -> None:
    first, second = world.submit(), world.submit()
    job = world.submit(depends_on=[first, second])
    world.round()
    assert world.task(job).state is TaskState.WAITING
    site.ended(world.lease(first))
    assert world.task(job).state is TaskState.WAITING
    site.ended(world.lease(second))
    assert world.task(job).state is TaskState.QUEUED


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_broken_need_ends_the_whole_chain(world: GridWorld, site: PlayedSite, how: str) -> None:
    first = world.submit()
    second = world.submit(depends_on=[first], array=3)
    third = world.submit(depends_on=[second])
    world.round()
    if how == "failed":
        site.ended(world.lease(first), code=1)
    else:
        world.cancel(first)
        site.ended(world.lease(first), code=None, failure=FailureClass.STOPPED)
    assert {task.state for task in world.tasks(second)} == {TaskState.CANCELLED}
    assert world.job(third).state is TaskState.CANCELLED
    assert f"DependencyFailed: a job it needs ended as {how}" in world.tasks(second)[0].detail
    with pytest.raises(Conflict):
        world.submit(depends_on=[first])


def test_a_need_already_met_does_not_hold(world: GridWorld, site: PlayedSite) -> None:
    first = world.submit()
    world.round()
    site.ended(world.lease(first))
    assert world.task(world.submit(depends_on=[first])).state is TaskState.QUEUED


# --- arrays -----------------------------------------------------------------------------------


async def test_an_array_is_as_far_as_its_tasks(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit(array=4, resources={"cpus": 4})
    world.round()
    view = world.job(job)
    assert (view.total, view.leased, view.queued) == (4, 2, 2)
    orders = site.orders()
    assert [(o.run.array_index, o.run.array_count) for o in orders if o.run] == [(0, 4), (1, 4)]
    for _ in range(2):
        for lease in world.leases(job):
            if lease.state is not LeaseState.ENDED:
                site.ended(lease)
        world.round()
    view = world.job(job)
    assert (view.state, view.succeeded) == (TaskState.SUCCEEDED, 4)
    await world.settle()
    assert world.left_over() == []


# --- cancel -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["waiting", "queued", "backing off", "granted"])
async def test_cancelled_before_its_site_has_it(
    world: GridWorld, site: PlayedSite, state: str
) -> None:
    needs = [world.submit(resources={"cpus": 4})] if state == "waiting" else []
    job = world.submit(depends_on=needs, retries={"max": 1, "backoff": 60})
    if state == "backing off":
        world.round()
        site.ended(world.lease(job), code=1)
        assert world.task(job).not_before_ms > world.clock.now_ms()
    if state == "granted":
        world.round()
    woken = world.cancel(job)
    if state != "granted":
        assert (woken, world.job(job).state) == ([], TaskState.CANCELLED)
    else:
        assert woken == [site.site_id]
        [order] = site.orders()
        assert (order.desired, order.reason) == (Desired.STOP, "cancelled")
        site.ended(world.lease(job), code=None, failure=FailureClass.STOPPED)
        assert world.job(job).state is TaskState.CANCELLED
    for other in needs:
        world.cancel(other)
    world.round()
    await world.settle()
    assert world.left_over() == []


@pytest.mark.parametrize("state", ["accepted", "running"])
@pytest.mark.parametrize("success", [True, False], ids=["finished first", "stopped"])
async def test_cancelled_at_its_site(
    world: GridWorld, site: PlayedSite, state: str, success: bool
) -> None:
    job = world.submit()
    world.round()
    lease = world.lease(job)
    (site.accepted if state == "accepted" else site.running)(lease)
    revision = lease.revision
    world.cancel(job)
    assert world.lease(job).revision > revision
    world.cancel(job)
    assert world.lease(job).revision == revision + 1
    if success:
        site.ended(lease)
    else:
        site.ended(lease, code=None, failure=FailureClass.STOPPED)
    expected = TaskState.SUCCEEDED if success else TaskState.CANCELLED
    assert world.job(job).state is expected
    world.cancel(job)
    assert world.job(job).state is expected
    await world.settle()
    assert world.left_over() == []


def test_a_failure_after_a_cancel_is_not_tried_again(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit(retries={"max": 5})
    world.round()
    world.cancel(job)
    site.ended(world.lease(job), code=1)
    assert world.job(job).state is TaskState.CANCELLED


def test_the_first_reason_to_stop_stays(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit()
    world.round()
    world.cancel(job)
    world.cancel(job)
    assert world.lease(job).stop is StopReason.CANCELLED


# --- reports ----------------------------------------------------------------------------------


async def test_reports_late_twice_and_out_of_order(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit()
    world.round()
    lease = world.lease(job)
    site.ended(lease, ran_ms=1_500)
    for _ in range(2):
        assert [o.desired for o in site.running(lease).orders] == [Desired.STOP]
        assert [o.desired for o in site.accepted(lease).orders] == [Desired.STOP]
        assert [o.desired for o in site.ended(lease, ran_ms=9_000).orders] == [Desired.FORGET]
    await world.settle()
    assert world.job(job).state is TaskState.SUCCEEDED
    [record] = world.usage(job)
    assert record.billable_seconds <= 2
    assert world.left_over() == []


def test_reports_of_others_runs_change_nothing(world: GridWorld, site: PlayedSite) -> None:
    other = world.site("qingyang")
    job = world.submit(constraints={"sites": ["zhengzhou"]})
    world.round()
    lease = world.lease(job)
    assert [o.desired for o in other.ended(lease).orders] == [Desired.FORGET]
    stale = msgspec.structs.replace(lease, epoch=lease.epoch + 1)
    assert [o.desired for o in site.running(stale).orders] == [Desired.STOP]
    unknown = msgspec.structs.replace(lease, lease_id="lease_made_up")
    assert [o.desired for o in site.ended(unknown).orders] == [Desired.FORGET]
    assert world.lease(job).state is LeaseState.GRANTED


def test_what_a_restarted_site_does_not_list_has_vanished(
    world: GridWorld, site: PlayedSite
) -> None:
    jobs = [world.submit() for _ in range(3)]
    world.round()
    granted, running, listed = (world.lease(job) for job in jobs)
    site.running(running)
    site.running(listed)
    done = site.reconcile(report_of(listed, Phase.RUNNING, started_ago_ms=5))
    assert {o.lease_id for o in done.reply.orders} == {granted.lease_id, listed.lease_id}
    assert world.task(jobs[1]).state is TaskState.QUEUED
    assert world.last_lease(jobs[1]).failure is FailureClass.VANISHED


NOW_AGES = [
    (None, None, None, 0),
    (5_000, 1_000, -5_000, -1_000),
    (-9_999, -9_999, 0, 0),
    (10**15, 0, -10_000, 0),
    (1_000, 9_000, -1_000, -1_000),
    (10**15, 10**15, -10_000, -10_000),
]


@pytest.mark.parametrize(("started", "ended", "start", "end"), NOW_AGES)
def test_ages_are_placed_within_the_leases_life(
    world: GridWorld,
    site: PlayedSite,
    started: int | None,
    ended: int | None,
    start: int | None,
    end: int,
) -> None:
    """Whatever a site's clock says: between the grant and now, the end after the start."""
    job = world.submit()
    world.round()
    lease = world.lease(job)
    now = world.clock.now_ms() + 10_000
    report = msgspec.structs.replace(
        ended_report(lease), started_ago_ms=started, ended_ago_ms=ended
    )
    after = stepped(lease, report, now)
    assert after.started_at_ms == (None if start is None else now + start)
    assert after.ended_at_ms == now + end


async def test_preemption_by_the_site_bills_what_ran_and_the_run_comes_back(
    world: GridWorld, site: PlayedSite
) -> None:
    job = world.submit(retries={"max": 0})
    world.round()
    lease = world.lease(job)
    site.running(lease)
    world.clock.advance(s=60)
    for _ in range(2):
        site.ended(lease, code=143, failure=FailureClass.PREEMPTED_BY_SITE, ran_ms=45_000)
    task, ended = world.task(job), world.last_lease(job)
    assert (task.state, task.preemptions) == (TaskState.QUEUED, 1)
    assert (task.failures, task.losses) == (0, 0)
    assert task.not_before_ms == world.clock.now_ms() + 10_000
    assert (ended.outcome, ended.failure) == (Outcome.PREEMPTED, FailureClass.PREEMPTED_BY_SITE)
    world.clock.advance(s=10)
    world.round()
    again = world.lease(job)
    site.running(again)
    world.clock.advance(s=5)
    site.ended(again)
    await world.settle()
    assert world.job(job).state is TaskState.SUCCEEDED
    assert [row.billable_seconds for row in world.usage(job)] == [45, 1]
    assert world.left_over() == []


async def test_a_site_cannot_bill_more_than_the_lease_allows(
    world: GridWorld, site: PlayedSite
) -> None:
    job = world.submit(max_runtime=60)
    world.round()
    lease = world.lease(job)
    world.clock.advance(s=30)
    report = msgspec.structs.replace(
        ended_report(lease), started_ago_ms=10**12, meters=Meters(duration_ms=10**12, cpu_ms=10**12)
    )
    site.says(report)
    await world.settle()
    assert sum(row.billable_seconds for row in world.usage(job)) <= 30
    assert world.left_over() == []


def test_a_run_that_never_started_costs_nothing(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit()
    world.round()
    lease = world.lease(job)
    assert world.held() > 0
    report = report_of(lease, Phase.ENDED, ended_ago_ms=0, failure=FailureClass.START_FAILED)
    site.says(report)
    assert world.held() == 0
    assert world.usage(job) == []
    assert world.task(job).state is TaskState.QUEUED


# --- grants -----------------------------------------------------------------------------------


def test_a_stale_plan_is_dropped_and_planned_again(world: GridWorld, site: PlayedSite) -> None:
    job = world.submit(resources={"cpus": 4}, array=2)
    gathered = world.gather()
    made = plan(gathered.snapshot, world.clock.now_ms(), 1)
    assert len(made.placements) == 2

    def apply() -> grants.Applied:
        return world.write(
            lambda tx: grants.apply_plan(tx, gathered, made, took_ms=0, snapshot_digest="")
        )

    first, second = apply(), apply()
    assert (first.placed, first.stale) == (2, 0)
    assert (second.placed, second.stale) == (0, 2)
    assert len(world.leases(job)) == 2
    assert world.wrong() == []


@pytest.mark.parametrize("change", ["drained", "silent", "cancelled", "removed"])
def test_what_changed_since_the_plan_is_looked_at_again(
    world: GridWorld, site: PlayedSite, change: str
) -> None:
    job = world.submit()
    gathered = world.gather()
    made = plan(gathered.snapshot, world.clock.now_ms(), 1)
    match change:
        case "drained":
            world.write(lambda tx: sites.set_draining(tx, site.site_id, True))
        case "silent":
            world.clock.advance(s=31)
        case "cancelled":
            world.cancel(job)
        case _:
            world.write(lambda tx: sites.remove(tx, site.site_id, lambda *_: 0))
    applied = world.write(
        lambda tx: grants.apply_plan(tx, gathered, made, took_ms=0, snapshot_digest="")
    )
    assert (applied.placed, applied.stale) == (0, 1)
    assert world.leases(job) == []
    assert world.held() == 0


def test_preemption_makes_room_and_the_run_comes_back(world: GridWorld) -> None:
    site = world.site("small", nodes=1)
    low = world.submit(resources={"cpus": 4}, preemptible=True, priority=-10)
    world.round()
    site.running(world.lease(low))
    world.clock.advance(s=61)
    site.heard()
    high = world.submit(resources={"cpus": 4}, priority=10)
    world.round()
    lease = world.lease(low)
    assert lease.stop is StopReason.PREEMPTED
    site.ended(lease, code=None, failure=FailureClass.STOPPED)
    assert world.last_lease(low).outcome is Outcome.PREEMPTED
    assert world.task(low).state is TaskState.QUEUED
    assert world.task(low).losses == 0
    world.round()
    assert world.task(high).state is TaskState.LEASED


# --- offers -----------------------------------------------------------------------------------


def test_offers_say_what_is_free_where_and_at_which_price(
    world: GridWorld, site: PlayedSite
) -> None:
    world.site("qingyang", nodes=1)
    world.submit(resources={"cpus": 3}, constraints={"sites": ["zhengzhou"]})
    world.round()
    near, far = offers(world.gather())[::-1]
    assert (near["site"], near["state"], near["nodes"]) == ("zhengzhou", "open", 2)
    assert near["capacity"]["cpu_milli"] == 8_000
    assert near["free"]["cpu_milli"] == 5_000
    assert near["largest_free_node"]["cpu_milli"] == 4_000
    assert near["prices"]["core_hour"] == 100_000
    assert far["free"]["cpu_milli"] == 4_000
    world.clock.advance(s=31)
    assert {offer["state"] for offer in offers(world.gather())} == {"unreachable"}
    site.heard()
    world.write(lambda tx: sites.set_draining(tx, site.site_id, True))
    states = {offer["site"]: offer["state"] for offer in offers(world.gather())}
    assert states == {"zhengzhou": "draining", "qingyang": "unreachable"}
