"""People at work: they submit, cancel, and in the end give up what can no longer come true."""

from __future__ import annotations

import asyncio

from suanwang.grid.jobs import submission
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, site_signal
from suanwang.grid.jobs.spec import JobSpec
from suanwang.kernel.errors import SuanwangError
from suanwang.sim.grid import Grid
from suanwang.sim.ground import Submitter, submitters
from suanwang.sim.workload import Arrival, arrivals
from suanwang.sim.world import Accepted


def _never(error: SuanwangError) -> bool:
    return error.reason in ("DependencyFailed", "DependencyUnknown", "ContractEnded")


class Users:
    """All users of a run."""

    def __init__(self, grid: Grid, jobs: int, span_s: float, start_ms: int) -> None:
        self._grid = grid
        self._people = grid.database.read_now(submitters)
        self._plan = arrivals(grid.dice, jobs, span_s, len(self._people), start_ms)

    async def work(self) -> None:
        grid = self._grid
        previous: str | None = None
        for number, arrival in enumerate(self._plan):
            await asyncio.sleep(max(0.0, arrival.at_s - grid.loop.time()))
            spec, needs = arrival.spec, []
            if arrival.needs_previous and previous is not None:
                needs = [previous]
                spec = spec.model_copy(update={"depends_on": needs})
            mine = self._contract(self._people[arrival.user], number)
            if mine is not None:
                spec = spec.model_copy(update={"contract": mine})
            previous = await self._submit(arrival, spec, needs, f"key-{number}")
            if previous is not None and arrival.cancel_after_s is not None:
                grid.spawn(self._cancel(previous, arrival.cancel_after_s))

    def _contract(self, person: Submitter, number: int) -> str | None:
        """Some insist on a contract that their project has, or want none."""
        project = person.owner.project_id
        mine = [c.id for c in self._grid.world.signed.values() if c.buyer.project_id == project]
        if not mine or number % 3:
            return None
        return [*sorted(mine), "none"][number // 3 % (len(mine) + 1)]

    async def _submit(
        self, arrival: Arrival, spec: JobSpec, needs: list[str], key: str
    ) -> str | None:
        grid = self._grid
        person: Submitter = self._people[arrival.user]
        estimates = grid.plane.estimates if grid.plane is not None else None
        made = await grid.persist(
            lambda tx: submission.submit(
                tx,
                [person.owner],
                [spec],
                lambda s, c: b"",
                idempotency_key=key,
                estimates=estimates,
            ),
            refused=_never,
        )
        if made is None:
            return None
        grid.world.accepted[made[0]] = Accepted(
            spec, person.owner.project_id, person.project.quota, needs
        )
        grid.notify(ROUND_SIGNAL)
        return made[0]

    async def _cancel(self, job_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        grid = self._grid
        woken = await grid.persist(lambda tx: submission.cancel(tx, job_id))
        if woken is not None:
            grid.world.accepted[job_id].cancelled_ms = grid.clock.now_ms()
            grid.notify(*(site_signal(site) for site in woken))

    async def give_up(self) -> None:
        """Cancel jobs with a deadline: they may wait for ever for one that has passed."""
        for job_id, asked in sorted(self._grid.world.accepted.items()):
            if asked.spec.deadline is not None:
                await self._cancel(job_id, 0.0)
