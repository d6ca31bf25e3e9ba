"""The Slurm driver: one sbatch per lease or per array of equal leases, one squeue per poll.

A *round* is everything that is said to Slurm: submissions that are due, stops, the queue, the
details of ends that need them. It runs in the background and backs off while the controller is
slow or down; the nodes' own records are looked at in between, so most beginnings and ends are
seen without asking Slurm at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm import commands, inventory, parse
from suanwang.agent.drivers.slurm.book import Book, Entry, Stop, Submission
from suanwang.agent.drivers.slurm.commands import Slurm
from suanwang.agent.drivers.slurm.judge import Tracked, detailed, needs_details
from suanwang.agent.drivers.slurm.parse import JobLine
from suanwang.agent.drivers.slurm.roster import Roster
from suanwang.agent.drivers.slurm.states import hopeless, meaning
from suanwang.agent.drivers.slurm.submitter import Submitter, Waiting, mark, refusal
from suanwang.agent.port import Completed, Host, Observation, PreparedRun
from suanwang.kernel.errors import InvalidInput, Unavailable
from suanwang.protocol.messages import FailureClass, Phase, PoolReport

_QUERY_TIMEOUT_S = 30.0
_EAGER_MS = 200
_LONGEST_PAUSE_MS = 60_000
_FIRST_RETRY_MS = 1_000
_LOAD_SHARE = 20
"""A round that took t is followed by a pause of at least this many t."""
_TICK_MS = 200
_LISTING_SHARE = 50
_DETAILS_EVERY_MS = 3_000
_SHOWN_AT_ONCE = 16
_KILL_MARGIN_S = 15
_CONTACT_SHARE = 10
_CONTACT_MS = (500, 10_000)
_LARGEST_ARRAY = 1_000


class SlurmDriver:
    """One Slurm cluster, a pool per partition."""

    name = "slurm"
    outlives_machine = True

    def __init__(self, state_folder: Path, pools: Sequence[PoolConfig], host: Host) -> None:
        """`state_folder` must be on a file system that the nodes share. Raises InvalidInput."""
        self._pools = {pool.name: pool for pool in pools if pool.driver == self.name}
        self._slurm = _one_slurm(list(self._pools.values()))
        self._book = Book(state_folder.resolve() / self.name)
        self._host = host
        self._submitter = Submitter(self._book, self._slurm, host)
        options = [pool.options for pool in self._pools.values()]
        self._poll_ms = int(1000 * min([float(each.get("poll_s", 2)) for each in options] or [2.0]))
        vanish_s = max([int(each.get("vanish_s", 60)) for each in options] or [60])
        self._roster = Roster(self._book, host, vanish_s * 1000)
        self._config: dict[str, str] = {}
        self._bounds: dict[str, inventory.Bounds] = {}
        self._stops: set[str] = set()
        self._killed_ms: dict[str, int] = {}
        self._round_task: asyncio.Task[None] | None = None
        self._next_round_ms = 0
        self._hurried = False
        """Something came up while a round was under way: the next one shall not wait."""
        self._failures = 0
        self._details_ms = 0
        self._heard_ms: int | None = None
        self._written_ms: int | None = None
        """The instant of contact that the nodes can see."""
        self._tick_ms = _TICK_MS
        self._talking = asyncio.Lock()

    async def open(self) -> None:
        submissions = self._book.open()
        found = await self._query(self._slurm.show_config())
        self._config = parse.settings(found)
        largest = parse.whole(self._config.get("MaxArraySize", "1"))
        self._submitter.largest_array = max(1, min(largest, _LARGEST_ARRAY))
        nodes = await self._query(self._slurm.show_nodes())
        self._keep_bounds(nodes, await self._query(self._slurm.show_partitions()))
        begun_ms = self._host.monotonic_ms()
        lines = parse.squeue(await self._query(self._slurm.squeue(_user())))
        for submission in submissions:
            self._roster.adopt(submission, lines)
        self._roster.book_answer(lines, begun_ms, self._mark)
        self._look()

    async def close(self) -> None:
        task, self._round_task = self._round_task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def inventory(self) -> list[PoolReport]:
        partitions = sorted({commands.partition_of(pool) for pool in self._pools.values()})
        nodes, facts, pending = await asyncio.gather(
            self._query(self._slurm.show_nodes()),
            self._query(self._slurm.show_partitions()),
            self._query(self._slurm.pending(partitions)),
        )
        self._keep_bounds(nodes, facts)
        return inventory.reports(
            list(self._pools.values()),
            nodes,
            facts,
            pending,
            self._config,
            self._roster.use(),
            self._mark,
        )

    async def start(self, runs: Sequence[PreparedRun]) -> list[Observation]:
        async with self._talking:
            fresh = {
                run.spec.lease_id: run for run in runs if run.spec.lease_id not in self._roster.runs
            }
            good = []
            for run in fresh.values():
                why = refusal(run.spec, self._pools, self._bounds)
                if why:
                    self._refuse_unplanned(run, why)
                else:
                    good.append(run)
            if any(run.spec.stop_on_client_after_s is not None for run in good):
                self._keep_contact()
            planned = self._submitter.plan(good, self._pools, self._bounds)
            for waiting in planned:
                self._roster.track(waiting.submission)
            await self._submit(planned)
        self._hurry()
        self._look()
        return [self._roster.runs[run.spec.lease_id].observation for run in runs]

    async def stop(self, lease_id: str, grace_s: int, failure: FailureClass) -> None:
        run = self._roster.runs.get(lease_id)
        if run is None or run.ended:
            return
        if run.stop is None:
            run.stop = Stop(failure, grace_s, self._host.wall_ms())
            self._book.write_stop(lease_id, run.stop)
        self._stops.add(lease_id)
        if not self._talking.locked():  # else a round is on its way, and may take long
            async with self._talking:
                await self._flush_stops()
        self._hurry()

    async def observe(self) -> list[Observation]:
        self._look()
        self._start_round_if_due()
        return [run.observation for run in self._roster.runs.values()]

    async def changes(self, timeout_s: float) -> list[Observation]:
        until_ms = self._host.monotonic_ms() + int(timeout_s * 1000)
        while True:
            self._look()
            news = self._roster.news()
            left_ms = until_ms - self._host.monotonic_ms()
            if news or left_ms <= 0:
                return news
            self._start_round_if_due()
            await self._host.sleep(min(self._tick_ms, left_ms) / 1000)

    async def contact(self, at_ms: int) -> None:
        """Kept fresh at a tenth of the strictest limit, not at every word from the server."""
        self._heard_ms = at_ms
        low, high = _CONTACT_MS
        limit_ms = self._roster.shortest_contact_ms()
        pause_ms = high if limit_ms is None else max(low, min(high, limit_ms // _CONTACT_SHARE))
        if self._written_ms is None or not 0 <= at_ms - self._written_ms < pause_ms:
            self._book.touch_contact(self._host.monotonic_ms() - at_ms)
            self._written_ms = at_ms

    async def forget(self, lease_id: str) -> None:
        run = self._roster.drop(lease_id)
        self._stops.discard(lease_id)
        self._killed_ms.pop(lease_id, None)
        if run is None:
            return
        if not run.ended and run.engine_id:
            await self._say(self._slurm.cancel([run.engine_id]))
        submission = run.submission
        submission.entries.pop(run.index, None)
        if submission.entries:
            # lost in a crash, the lease is listed once more and forgotten once more
            self._book.save(submission, flush=False)
        else:
            self._submitter.waiting.pop(submission.name, None)
            self._book.drop_submission(submission)
        self._book.drop_lease(lease_id)

    def _look(self) -> None:
        self._tick_ms = max(_TICK_MS, self._roster.look() * _LISTING_SHARE)

    def _refuse_unplanned(self, run: PreparedRun, why: str) -> None:
        spec = run.spec
        entry = Entry(spec.lease_id, spec.epoch, str(run.folder))
        submission = Submission(spec.lease_id, spec.pool, self._host.wall_ms(), {0: entry})
        self._book.write_submission(submission, {})
        self._roster.track(submission)
        self._book.write_exit(spec.lease_id, "start_failed", why, self._host.wall_ms())

    def _keep_contact(self) -> None:
        """A run about to start shall find the last contact, even one that was not written yet."""
        now_ms = self._host.monotonic_ms()
        if self._heard_ms is not None:
            self._book.touch_contact(now_ms - self._heard_ms)
            self._written_ms = self._heard_ms
        elif not self._book.has_contact():
            self._book.touch_contact(0)

    # what is said to Slurm

    @property
    def _mark(self) -> str:
        return mark(self._book.instance)

    def _hurry(self) -> None:
        self._hurried = True
        self._next_round_ms = min(self._next_round_ms, self._host.monotonic_ms() + _EAGER_MS)

    def _start_round_if_due(self) -> None:
        task = self._round_task
        if task is not None and task.done():
            self._round_task = None
            task.result()
        due = self._host.monotonic_ms() >= self._next_round_ms
        if self._round_task is None and due and self._roster.runs:
            self._round_task = asyncio.ensure_future(self._round())

    async def _round(self) -> None:
        begun_ms = self._host.monotonic_ms()
        self._next_round_ms, self._hurried = begun_ms + _LONGEST_PAUSE_MS, False
        async with self._talking:
            await self._flush_stops()
            answered = await self._poll()
            self._failures = 0 if answered else self._failures + 1
            if answered:
                await self._submit(self._resolve_waiting(begun_ms))
                await self._act_on_answers()
        took_ms = self._host.monotonic_ms() - begun_ms
        pause_ms = max(self._poll_ms, took_ms * _LOAD_SHARE)
        if not answered:
            pause_ms = max(self._poll_ms, _FIRST_RETRY_MS) << min(self._failures - 1, 6)
        elif self._hurried:
            pause_ms = _EAGER_MS
        self._next_round_ms = self._host.monotonic_ms() + min(pause_ms, _LONGEST_PAUSE_MS)

    async def _poll(self) -> bool:
        begun_ms = self._host.monotonic_ms()
        done = await self._ask(self._slurm.squeue(_user()))
        if done.returncode != 0:
            return False
        self._roster.book_answer(parse.squeue(done.stdout), begun_ms, self._mark)
        await self._look_up_details()
        return True

    async def _look_up_details(self) -> None:
        """Ask about ends that the queue no longer, or never, tells in full."""
        now_ms = self._host.monotonic_ms()
        wanting = [run for run in self._roster.runs.values() if needs_details(run, now_ms)]
        if not wanting or now_ms - self._details_ms < _DETAILS_EVERY_MS:
            return
        self._details_ms = now_ms
        again = [run for run in wanting if run.waiting_again]
        over = [run for run in wanting if not run.waiting_again]
        accounted = "slurmdbd" in self._config.get("AccountingStorageType", "")
        lines = await (self._accounts(over) if accounted else self._show(over))
        if lines is None and accounted:
            for run in over:  # unknown, not vanished: the grace begins when it answers
                run.missing_since_ms = None
        for run in over if lines is not None else []:
            detailed(run, run.pick(lines or []), now_ms)
        for run in again:
            line = run.pick(await self._show([run]) or [])
            run.requeued = line is not None and line.restarts > 0

    async def _accounts(self, runs: Sequence[Tracked]) -> list[JobLine] | None:
        """What accounting keeps of jobs; None when it does not answer."""
        ids = dict.fromkeys(run.submission.job_id for run in runs)
        done = await self._ask(self._slurm.sacct(ids)) if ids else Completed(0, "", "")
        return parse.sacct(done.stdout) if done.returncode == 0 else None

    async def _show(self, runs: Sequence[Tracked]) -> list[JobLine] | None:
        """What the controller keeps of a few jobs; None when it does not answer."""
        lines: list[JobLine] = []
        for job_id in list(dict.fromkeys(run.submission.job_id for run in runs))[:_SHOWN_AT_ONCE]:
            done = await self._ask(self._slurm.show_job(job_id))
            if commands.transient(done.returncode, done.stderr):
                return None
            lines += parse.scontrol_jobs(done.stdout)
        return lines

    def _resolve_waiting(self, begun_ms: int) -> list[Waiting]:
        """Of what is due for another try, what the queue shows not to be in Slurm already."""
        again = []
        for waiting in self._submitter.due(self._host.monotonic_ms()):
            lines = self._roster.by_name.get(waiting.submission.name, [])
            if lines:
                job_id = min((line.job_id for line in lines), key=int)
                self._confirmed(self._submitter.confirm(waiting, job_id))
            elif self._roster.all_stopped(waiting.submission):
                self._end_unsubmitted(waiting.submission, "stopped", "")
            else:
                again.append(waiting)
        return again

    async def _submit(self, planned: Sequence[Waiting]) -> None:
        down = "its controller does not answer" if self._failures else ""
        outcome = await self._submitter.submit(planned, self._pools, down)
        for submission in outcome.confirmed:
            self._confirmed(submission)
        for _, halves in outcome.replaced:
            for half in halves:
                self._roster.track(half)
            self._hurry()
        for submission, words in outcome.refused:
            self._end_unsubmitted(submission, "start_failed", words)
        for waiting in planned:
            for entry in waiting.submission.entries.values():
                still = waiting.submission.name in self._submitter.waiting
                self._roster.runs[entry.lease_id].note = waiting.note if still else ""

    def _confirmed(self, submission: Submission) -> None:
        for entry in submission.entries.values():
            run = self._roster.runs[entry.lease_id]
            run.submitted_ms, run.note = self._host.monotonic_ms(), ""
            if run.stop is not None:
                self._stops.add(entry.lease_id)

    def _end_unsubmitted(self, submission: Submission, cause: str, words: str) -> None:
        self._submitter.waiting.pop(submission.name, None)
        for entry in submission.entries.values():
            self._book.write_exit(entry.lease_id, cause, words, self._host.wall_ms())

    async def _flush_stops(self) -> None:
        """One scancel for all stops that came together; what fails is tried next round."""
        leases = sorted(self._stops)
        runs = [self._roster.runs[each] for each in leases if not self._roster.runs[each].ended]
        for run in runs:
            waiting = self._submitter.waiting.get(run.submission.name)
            if (
                waiting is not None
                and not waiting.unsure
                and self._roster.all_stopped(run.submission)
            ):
                self._end_unsubmitted(run.submission, "stopped", "")
        known = [run for run in runs if run.engine_id]
        early = [run for run in known if run.start is None]
        # scancel --state on one element of an array cancels all its waiting elements (22.05)
        elements = [run.engine_id for run in early if run.submission.array]
        jobs = [run.engine_id for run in early if not run.submission.array]
        begun = [run.engine_id for run in known if run.start is not None]
        said = await self._say(
            [
                *self._slurm.cancel(elements),
                *self._slurm.cancel_pending(jobs),
                *self._slurm.terminate([*jobs, *begun]),
            ]
        )
        if said:
            self._stops.difference_update(leases)

    async def _act_on_answers(self) -> None:
        """Take back what can never start, kill what outlived its grace, cancel leaks."""
        now_ms, wall_ms = self._host.monotonic_ms(), self._host.wall_ms()
        cancel = []
        for lease_id, run in self._roster.runs.items():
            if run.job is None or meaning(run.job.state).phase is Phase.ENDED:
                continue
            why = hopeless(run.job.reason) if run.start is None else ""
            if why and run.exit is None:
                self._book.write_exit(lease_id, "start_failed", why, wall_ms)
                cancel.append(run.engine_id)
            elif run.requeued or (run.ended and run.job.state == "PENDING"):
                cancel.append(run.engine_id)
            elif run.stop is not None and not run.ended and lease_id not in self._stops:
                patience_ms = (run.stop.grace_s + _KILL_MARGIN_S) * 1000
                last_ms = self._killed_ms.get(lease_id, now_ms - patience_ms)
                if wall_ms - run.stop.wall_ms > patience_ms and now_ms - last_ms >= patience_ms:
                    self._killed_ms[lease_id] = now_ms
                    cancel.append(run.engine_id)
        cancel += self._roster.orphans(list(self._submitter.waiting))
        if cancel:
            await self._say(self._slurm.cancel(cancel))

    async def _say(self, words: Sequence[Sequence[str]]) -> bool:
        """Run commands that may find nothing to do; False when the controller did not answer."""
        answered = True
        for argv in words:
            done = await self._ask(argv)
            if done.returncode != 0 and commands.transient(done.returncode, done.stderr):
                answered = False
        return answered

    async def _ask(self, argv: Sequence[str]) -> Completed:
        return await self._host.run(argv, timeout_s=_QUERY_TIMEOUT_S)

    async def _query(self, argv: Sequence[str]) -> str:
        """Raises Unavailable."""
        done = await self._ask(argv)
        if done.returncode == 0:
            return done.stdout
        words = commands.reason_of(done.stderr) or f"it returned {done.returncode}"
        raise Unavailable(
            "SlurmUnavailable",
            f"Slurm does not answer: {words}.",
            hint="Does sinfo work for the agent's user? See the pool's options bin and conf.",
        )

    def _keep_bounds(self, nodes: str, partitions: str) -> None:
        pools = self._pools.values()
        gres = {commands.partition_of(pool): pool.options.get("gres", "gpu") for pool in pools}
        self._bounds = inventory.bounds(nodes, partitions, gres)


def _one_slurm(pools: Sequence[PoolConfig]) -> Slurm:
    for pool in pools:
        commands.check_options(pool)
    places = {(pool.options.get("bin", ""), pool.options.get("conf", "")) for pool in pools}
    if len(places) > 1:
        raise InvalidInput(
            "TwoClusters",
            "The Slurm pools name different `bin` or `conf`.",
            hint="Run one agent for each Slurm cluster.",
        )
    return Slurm(*places.pop()) if places else Slurm()


def _user() -> str:
    return str(os.getuid())
