"""Handing runs to Slurm: grouped into array jobs, written down first, tried again with care.

A refusal that waiting cannot mend ends the run. Anything else (controller down, submit limit,
no answer in time) keeps it waiting here: before the next try the queue is asked for the job's
name, for an `sbatch` without an answer may have worked all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm import commands, parse, script
from suanwang.agent.drivers.slurm.book import Book, Entry, Submission
from suanwang.agent.drivers.slurm.commands import Slurm
from suanwang.agent.drivers.slurm.inventory import Bounds
from suanwang.agent.port import Host, PreparedRun
from suanwang.protocol.messages import RunSpec

_PARALLEL = 4
_SBATCH_TIMEOUT_S = 60.0
_FIRST_DELAY_MS = 1_000
_LAST_DELAY_MS = 60_000
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"

_Key = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...], str]


@dataclass(slots=True)
class Waiting:
    """A submission that Slurm has not confirmed yet."""

    submission: Submission
    resources: tuple[str, ...]
    secrets: Mapping[str, str]
    specs: Mapping[str, str]
    tries: int = 0
    next_ms: int = 0
    unsure: bool = False
    """A try got no clear answer: the job may be in Slurm."""
    note: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of submissions: confirmed ones, and refused ones with Slurm's words."""

    confirmed: list[Submission] = field(default_factory=list)
    refused: list[tuple[Submission, str]] = field(default_factory=list)
    replaced: list[tuple[Submission, list[Submission]]] = field(default_factory=list)
    """Array jobs that were cut in two because a limit did not let them in whole."""
    down: str = ""
    """Slurm did not answer one of them: the others need not wait for the same."""


class Submitter:
    """Owns what is not in Slurm yet."""

    def __init__(self, book: Book, slurm: Slurm, host: Host) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.largest_array = 1
        self._book = book
        self._slurm = slurm
        self._host = host

    def plan(
        self,
        runs: Sequence[PreparedRun],
        pools: Mapping[str, PoolConfig],
        bounds: Mapping[str, Bounds],
    ) -> list[Waiting]:
        """Group runs that ask for the same into array jobs; written to disk, not submitted."""
        groups: dict[_Key, list[PreparedRun]] = {}
        for run in runs:
            pool = pools[run.spec.pool]
            limit = bounds.get(commands.partition_of(pool), Bounds()).limit_s
            resources = tuple(commands.resource_words(run.spec, pool, limit))
            alone = "" if commands.enabled(pool, "arrays", "yes") else run.spec.lease_id
            secrets = tuple(sorted(run.spec.secrets.items()))
            key = (pool.name, resources, secrets, alone)
            groups.setdefault(key, []).append(run)
        planned = []
        for (pool_name, resources, secrets, _), members in groups.items():
            for at in range(0, len(members), self.largest_array):
                part = members[at : at + self.largest_array]
                specs = {run.spec.lease_id: self._spec(run, pools) for run in part}
                entries = [_entry(run) for run in part]
                planned.append(self._prepare(pool_name, entries, resources, dict(secrets), specs))
        return planned

    async def submit(
        self, planned: Sequence[Waiting], pools: Mapping[str, PoolConfig], down: str = ""
    ) -> Outcome:
        """`down`: Slurm is known not to answer, and why; then everything waits at once."""
        outcome = Outcome(down=down)
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(waiting: Waiting) -> None:
            async with gate:
                await self._try(waiting, pools, outcome)

        await asyncio.gather(*(one(waiting) for waiting in planned))
        return outcome

    def due(self, now_ms: int) -> list[Waiting]:
        return [each for each in self.waiting.values() if each.next_ms <= now_ms]

    def confirm(self, waiting: Waiting, job_id: str) -> Submission:
        submission = waiting.submission
        submission.job_id = job_id
        self._book.save(submission)
        self.waiting.pop(submission.name, None)
        return submission

    def _prepare(
        self,
        pool: str,
        entries: Sequence[Entry],
        resources: tuple[str, ...],
        secrets: Mapping[str, str],
        specs: Mapping[str, str],
    ) -> Waiting:
        array = len(entries) > 1
        first = entries[0].lease_id
        name = f"{first}.{len(entries)}" if array else first
        submission = Submission(
            name, pool, self._host.wall_ms(), dict(enumerate(entries)), array=array
        )
        self._book.write_submission(submission, specs)
        waiting = Waiting(submission, resources, secrets, specs)
        self.waiting[name] = waiting
        return waiting

    def _spec(self, run: PreparedRun, pools: Mapping[str, PoolConfig]) -> str:
        folder = run.folder.resolve()
        return script.spec_text(run.spec, pools[run.spec.pool], folder, self._book.batch)

    async def _try(
        self, waiting: Waiting, pools: Mapping[str, PoolConfig], outcome: Outcome
    ) -> None:
        submission = waiting.submission
        if outcome.down:
            self._postpone(waiting, outcome.down)
            return
        argv, stdin = self._command(waiting, pools[submission.pool])
        waiting.unsure = True
        done = await self._host.run(argv, stdin=stdin, timeout_s=_SBATCH_TIMEOUT_S)
        job_id = parse.submitted(done.stdout) if done.returncode == 0 else None
        if job_id is not None:
            outcome.confirmed.append(self.confirm(waiting, job_id))
            return
        words = commands.reason_of(done.stderr) or f"sbatch returned {done.returncode}"
        limited = commands.over_limit(done.stderr)
        if limited or not commands.transient(done.returncode, done.stderr):
            waiting.unsure = False
        if submission.array and (limited or "array" in words.lower()):
            outcome.replaced.append((submission, self._cut(waiting)))
        elif limited or waiting.unsure:
            self._postpone(waiting, words)
            outcome.down = "" if limited else words
        else:
            self.waiting.pop(submission.name, None)
            outcome.refused.append((submission, words))

    def _postpone(self, waiting: Waiting, words: str) -> None:
        delay = min(_LAST_DELAY_MS, _FIRST_DELAY_MS << min(waiting.tries, 10))
        waiting.tries += 1
        waiting.next_ms = self._host.monotonic_ms() + delay
        waiting.note = f"Slurm does not take it yet: {words}"

    def _cut(self, waiting: Waiting) -> list[Submission]:
        """Two halves, written down before the whole is forgotten."""
        submission = waiting.submission
        entries = [submission.entries[index] for index in sorted(submission.entries)]
        middle = len(entries) // 2
        halves = []
        for part in (entries[middle:], entries[:middle]):
            specs = {entry.lease_id: waiting.specs[entry.lease_id] for entry in part}
            halves.append(
                self._prepare(
                    submission.pool, part, waiting.resources, waiting.secrets, specs
                ).submission
            )
        self.waiting.pop(submission.name, None)
        self._book.drop_submission(submission)
        return halves

    def _command(self, waiting: Waiting, pool: PoolConfig) -> tuple[list[str], str]:
        submission = waiting.submission
        only = submission.entries[min(submission.entries)]
        epoch = "array" if submission.array else str(only.epoch)
        words = commands.submission_words(
            submission.name,
            f"{mark(self._book.instance)}{submission.name}/{epoch}",
            waiting.resources,
            len(submission.entries),
            "/dev/null" if submission.array else _escaped(f"{only.folder}/stdout.log"),
            "/dev/null" if submission.array else _escaped(f"{only.folder}/stderr.log"),
        )
        words.append(f"--chdir={self._book.folder}")
        words += [str(self._book.batch), str(self._book.folder), submission.name]
        return self._slurm.sbatch(words, waiting.secrets, _base_env(pool, self._slurm.bin))


def mark(instance: str) -> str:
    """How the comment of every job of this driver begins."""
    return f"suan/{instance}/"


def refusal(spec: RunSpec, pools: Mapping[str, PoolConfig], bounds: Mapping[str, Bounds]) -> str:
    """Why a run cannot even be tried; "" when it can."""
    if spec.pool not in pools:
        return f"there is no pool {spec.pool} at this site"
    if not spec.command:
        return "the command is empty"
    odd = [name for name in spec.secrets if not script.proper_name(name)]
    if odd:
        return f"secret {odd[0]!r}: not a name that a shell can export"
    partition = commands.partition_of(pools[spec.pool])
    if partition not in bounds:
        return f"Slurm has no partition {partition}"
    # Slurm itself would take it and let it wait for ever, unless EnforcePartLimits is set
    return bounds[partition].refuses(spec.member_quantity, spec.members)


def _entry(run: PreparedRun) -> Entry:
    spec = run.spec
    return Entry(
        spec.lease_id,
        spec.epoch,
        str(run.folder.resolve()),
        spec.max_runtime_s + spec.grace_s,
        spec.members,
        spec.member_quantity,
        spec.stop_on_client_after_s,
    )


def _base_env(pool: PoolConfig, folder: str) -> dict[str, str]:
    """All of the agent's environment that a job gets; the commands of Slurm must be in its path."""
    path = pool.options.get("path") or os.environ.get("PATH", _DEFAULT_PATH)
    env = {"PATH": f"{folder}:{path}" if folder else path, "SHELL": "/bin/bash"}
    for name in ("HOME", "USER", "LOGNAME"):
        if name in os.environ:
            env[name] = os.environ[name]
    return env


def _escaped(path: str) -> str:
    """Slurm reads %j and the like in the names of output files."""
    return path.replace("%", "%%")
