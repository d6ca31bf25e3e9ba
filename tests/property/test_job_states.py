"""Jobs under any sequence of what users, sites and time do: states move forward, counts and books
are right after every step, and in the end everything is settled."""

from __future__ import annotations

import asyncio
import random as stdlib_random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from grid_world import GridWorld, PlayedSite, ended_report, report_of
from manual_clock import ManualClock
from suanwang.grid.jobs import leases_store, reading, shown_store
from suanwang.grid.jobs.model import (
    FINAL,
    LEASE_RANK,
    TASK_RANK,
    Lease,
    LeaseState,
    Task,
    TaskState,
)
from suanwang.kernel.errors import Conflict
from suanwang.platform.database import InlineDatabase
from suanwang.protocol.messages import FailureClass, Phase, RunReport
from tables import fill

FIELDS = [
    {},
    {"array": 3},
    {"retries": {"max": 2}, "resources": {"cpus": 3}},
    {"partition": {"stop_on_client_after": None, "lost_after": 30}},
    {
        "partition": {
            "stop_on_client_after": None,
            "lost_after": 30,
            "reconcile": "keep_replacement",
        }
    },
    {"partition": {"stop_on_client_after": None, "lost_after": 30, "replace": False}},
    {"preemptible": True, "priority": 5},
]
ENDS = [
    (0, FailureClass.NONE),
    (1, FailureClass.EXIT),
    (None, FailureClass.STOPPED),
    (None, FailureClass.LEASE_EXPIRED),
    (None, FailureClass.NODE_FAILURE),
    (None, FailureClass.VANISHED),
]
ACTS = ["submit", "needs", "round", "accept", "run", "end", "end", "again", "sweep", "wait"]
ACTS += ["long wait", "cancel", "reconcile", "empty reconcile", "deliver", "heard"]
ACTS += ["silence", "silence", "run", "round"]
steps = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 10**6)), min_size=5, max_size=45)
begun = st.lists(st.integers(0, len(FIELDS) - 1), min_size=1, max_size=4)


class Story:
    """Two sites, some jobs, and what was last seen of every task and lease."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        database = InlineDatabase(self.clock, stdlib_random.Random(1))
        fill(database.engine)
        self.world = GridWorld(database, self.clock)
        self.sites = [self.world.site("near", nodes=1), self.world.site("far", nodes=1)]
        self.jobs: list[str] = []
        self.tasks: dict[str, Task] = {}
        self.leases: dict[str, Lease] = {}

    def act(self, what: str, pick: int) -> None:
        world, site = self.world, self.sites[pick % 2]
        lease = self._pick(site, pick)
        match what:
            case "submit":
                self.jobs.append(world.submit(**FIELDS[pick % len(FIELDS)]))
            case "needs" if self.jobs:
                self._need(self.jobs[pick % len(self.jobs)])
            case "round":
                world.round()
            case "accept" if lease is not None:
                site.accepted(lease)
            case "run" if lease is not None:
                site.running(lease, started_ago_ms=pick % 5_000)
            case "end" | "again" if lease is not None:
                site.says(self._end(lease, pick))
            case "sweep":
                world.sweep()
            case "silence":
                self.clock.advance(s=31)
                world.sweep()
            case "wait" | "long wait":
                self.clock.advance(s=pick % 20 if what == "wait" else 70 + pick % 900)
            case "cancel" if self.jobs:
                world.cancel(self.jobs[pick % len(self.jobs)])
            case "reconcile" | "empty reconcile":
                site.reconcile(*(self._running(site) if what == "reconcile" else []))
            case "deliver":
                self.deliver()
            case "heard":
                site.heard()

    def _need(self, job: str) -> None:
        state = self.world.job(job).state
        try:
            self.jobs.append(self.world.submit(depends_on=[job]))
        except Conflict:
            if state not in FINAL or state is TaskState.SUCCEEDED:
                raise

    def _pick(self, site: PlayedSite, pick: int) -> Lease | None:
        """Any lease the site ever had: what is over may be told of again."""
        had = [x for x in self.leases.values() if x.site_id == site.site_id]
        return had[pick % len(had)] if had else None

    def _end(self, lease: Lease, pick: int) -> RunReport:
        code, failure = ENDS[pick % len(ENDS)]
        return ended_report(lease, code=code, failure=failure, ran_ms=pick % 90_000)

    def _running(self, site: PlayedSite) -> list[RunReport]:
        held = self.world.read(lambda c: leases_store.open_leases_of_site(c, site.site_id))
        return [report_of(lease, Phase.RUNNING, started_ago_ms=1) for lease in held]

    def deliver(self) -> None:
        asyncio.run(self.world.settle())

    def look(self) -> None:
        """Compare with what was seen before."""
        tasks, leases = self.world.read(self._all)
        for task in tasks:
            before = self.tasks.get(task.task_id)
            if before is not None:
                rank = (task.attempt, TASK_RANK[task.state])
                assert rank >= (before.attempt, TASK_RANK[before.state])
                assert before.state not in FINAL or task.state is before.state
            self.tasks[task.task_id] = task
        for lease in leases:
            known = self.leases.get(lease.lease_id)
            assert known is None or LEASE_RANK[lease.state] >= LEASE_RANK[known.state]
            assert known is None or lease.revision >= known.revision
            assert lease.started_at_ms is None or lease.started_at_ms >= lease.granted_at_ms
            self.leases[lease.lease_id] = lease
        assert self.world.wrong() == []

    def _all(self, conn: Connection) -> tuple[list[Task], list[Lease]]:
        tasks = [task for job in self.jobs for task in shown_store.tasks_of_job(conn, job)]
        leases = [
            lease
            for job in self.jobs
            for _, leases in reading.tasks_with_leases(conn, job, limit=1000)
            for lease in leases
        ]
        return tasks, leases

    def finish(self) -> None:
        """Both sites come back and do as they are told."""
        for _ in range(200):
            for site in self.sites:
                site.heard()
                held = self.world.read(
                    lambda c, s=site: leases_store.open_leases_of_site(c, s.site_id)
                )
                for lease in held:
                    code = None if lease.stop else 0
                    failure = FailureClass.STOPPED if lease.stop else FailureClass.NONE
                    site.says(ended_report(lease, code=code, failure=failure))
            self.world.round()
            self.look()
            if all(self.world.job(job).state in FINAL for job in self.jobs):
                break
            self.clock.advance(s=3_600)
        self.deliver()
        assert self.world.left_over() == []
        assert all(x.state is LeaseState.ENDED for x in self.leases.values())


@settings(max_examples=60, deadline=None)
@given(begun, steps)
@example(  # cancelled while its site was silent, and the site comes back
    jobs=[3],
    acts=[(what, pick) for what in ("run", "silence", "cancel", "run", "end") for pick in (0, 1)],
)
def test_whatever_happens_states_move_forward_and_the_books_are_right(
    jobs: list[int], acts: list[tuple[str, int]]
) -> None:
    story = Story()
    for kind in jobs:
        story.act("submit", kind)
    story.act("round", 0)
    story.look()
    for what, pick in acts:
        story.act(what, pick)
        story.look()
    story.finish()
