"""From what Slurm and the node's records say of one run to an `Observation`. No I/O.

Unknown is not vanished: while the controller does not answer nothing changes, except that
exit records still count, for they are facts. A run has vanished only when the controller
answered, does not know the job, there is no exit record, and a grace has passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from suanwang.agent.drivers.slurm import parse
from suanwang.agent.drivers.slurm.book import Entry, Exit, Start, Stop, Submission
from suanwang.agent.drivers.slurm.parse import JobLine
from suanwang.agent.drivers.slurm.states import DUPLICATE_CODE, End, classify, meaning
from suanwang.agent.port import Observation
from suanwang.protocol.messages import FailureClass, Meters, Phase

RECORD_WAIT_MS = 3_000
"""From Slurm's final state until the exit record is seen on a shared file system."""
WORD_WAIT_MS = 60_000
"""How long after an unclear exit record Slurm's final state is waited for."""
DETAILS_PATIENCE_MS = 30_000
"""How long Slurm's details of an end that the queue has shown are asked for."""
_AGAIN = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED")
_ESTIMATE_STEP_S = 600
_ESTIMATE_HORIZON_S = 300 * 86_400


@dataclass(slots=True)
class Tracked:
    """One run and what is known of it. `_ms` fields are on Host.monotonic_ms()."""

    entry: Entry
    submission: Submission
    index: int
    observation: Observation
    job: JobLine | None = None
    start: Start | None = None
    start_seen_ms: int = 0
    exit: Exit | None = None
    exit_seen_ms: int = 0
    stop: Stop | None = None
    submitted_ms: int = 0
    missing_since_ms: int | None = None
    over_since_ms: int | None = None
    """Since when Slurm has called it ended while there is no exit record."""
    waiting_again: bool = False
    """Slurm calls it pending although it has begun: requeued, or a controller's lost memory."""
    requeued: bool = False
    """Slurm counts a restart of it."""
    looked_up: bool = False
    """Slurm was asked for the details of its end, or cannot be."""
    note: str = ""
    """Why it is not in Slurm yet."""

    @property
    def ended(self) -> bool:
        return self.observation.phase is Phase.ENDED

    @property
    def engine_id(self) -> str:
        job_id = self.submission.job_id
        return f"{job_id}_{self.index}" if job_id and self.submission.array else job_id

    @property
    def key(self) -> tuple[str, int | None]:
        """How squeue and sacct number it."""
        return self.submission.job_id, self.index if self.submission.array else None

    def pick(self, lines: Sequence[JobLine]) -> JobLine | None:
        """Its line, or the one that stands for all of its array that never started."""
        mine = [line for line in lines if line.name == self.submission.name]
        by_key = {(line.job_id, line.index): line for line in mine}
        return by_key.get(self.key) or by_key.get((self.submission.job_id, -1))


@dataclass(frozen=True, slots=True)
class Now:
    """One instant on both clocks of the machine, and the patience of the site's operator."""

    mono_ms: int
    wall_ms: int
    vanish_ms: int

    def mono_of(self, wall_ms: int) -> int:
        """A wall instant on the monotonic clock; never in the future, however clocks differ."""
        return min(self.mono_ms, self.mono_ms - (self.wall_ms - wall_ms))


def booked(run: Tracked, line: JobLine | None, begun_ms: int) -> None:
    """Note what an answer of the controller to a question begun at `begun_ms` says of a run."""
    if line is None:
        if run.submission.job_id and run.submitted_ms < begun_ms and run.missing_since_ms is None:
            run.missing_since_ms = begun_ms
        return
    run.missing_since_ms = None
    if run.job is not None and line.exit_code is None:
        line = replace(line, exit_code=run.job.exit_code, end_s=run.job.end_s)
    run.job = line
    phase = meaning(line.state).phase
    begun_before = run.start is not None and run.start_seen_ms < begun_ms
    run.waiting_again = begun_before and line.state in _AGAIN
    if phase is Phase.ENDED and run.over_since_ms is None:
        run.over_since_ms = begun_ms


def needs_details(run: Tracked, now_ms: int) -> bool:
    """Whether Slurm should be asked how the run ended: it is gone, or left no record."""
    if run.ended or run.exit is not None or not run.submission.job_id:
        return False
    if run.missing_since_ms is not None or run.waiting_again:
        return True
    late = run.over_since_ms is not None and now_ms - run.over_since_ms > RECORD_WAIT_MS // 2
    return late and not run.looked_up


def detailed(run: Tracked, line: JobLine | None, now_ms: int) -> None:
    """Note what accounting or the controller, asked about this run alone, said of its end."""
    over = line is not None and meaning(line.state).phase is Phase.ENDED
    if line is not None and over:
        run.job, run.over_since_ms = line, run.over_since_ms or now_ms
    # accounting lags behind the queue: an end it has not heard of yet is asked for again
    patient = now_ms - (run.over_since_ms or now_ms) < DETAILS_PATIENCE_MS
    run.looked_up = over or not patient


def judge(run: Tracked, now: Now) -> Observation:
    """The run as the platform shall see it now; phases only move forward."""
    before = run.observation
    if before.phase is Phase.ENDED:
        return before
    started = before.started_at_ms
    if started is None:
        started = _started(run, now)
    end = _end(run, now)
    if end is not None:
        return _ended(run, end, started, now)
    phase, detail = Phase.ACCEPTED, run.note
    if run.job is not None:
        says = meaning(run.job.state)
        phase, detail = says.phase, says.words
        if phase is Phase.ACCEPTED:
            detail = "; ".join(filter(None, [detail, _waiting(run.job, now)]))
    begun = run.start is not None or before.phase is Phase.RUNNING
    if begun and phase is Phase.ACCEPTED:
        phase, detail = Phase.RUNNING, ""
    elif phase is Phase.ENDED:
        phase = Phase.RUNNING
    return Observation(
        run.entry.lease_id,
        phase,
        started_at_ms=started if phase is Phase.RUNNING else None,
        detail=detail,
        engine_id=run.engine_id,
        nodes=_nodes(run),
    )


def _end(run: Tracked, now: Now) -> End | None:
    state = run.job.state if run.job is not None else ""
    over = state if state and meaning(state).phase is Phase.ENDED else ""
    stop = run.stop.failure if run.stop is not None else None
    code = run.job.exit_code if run.job is not None else None
    terminated = run.exit is not None and run.exit.cause == "term"
    again = run.requeued if run.exit is None else run.waiting_again and terminated
    if again and stop is None:
        return classify("requeued", None, "", "", None)
    if run.exit is not None:
        facts = (run.exit.cause, run.exit.code, run.exit.detail)
        if run.exit.oom:
            over = "OUT_OF_MEMORY"
        waited = now.mono_ms - run.exit_seen_ms > WORD_WAIT_MS
        return classify(*facts, over or ("FAILED" if waited else ""), stop)
    if over and code == DUPLICATE_CODE and _may_live(run, now):
        return None
    if over and run.over_since_ms is not None:
        waited_ms = now.mono_ms - run.over_since_ms
        never_began = run.start is None and over.startswith("CANCELLED")
        if never_began or (waited_ms > RECORD_WAIT_MS and run.looked_up):
            return classify("", code, "", over, stop)
        return None
    if run.missing_since_ms is None:
        return None
    if stop is not None and run.start is None:
        return End(stop)
    if now.mono_ms - run.missing_since_ms > now.vanish_ms:
        if stop is not None:
            return End(stop)
        return End(FailureClass.VANISHED, None, "Slurm does not know it and it left no record")
    return None


def _may_live(run: Tracked, now: Now) -> bool:
    """A controller that lost its latest state started the job again, and the second copy left.

    The first copy may run on: until its own time limit, nobody else may have the lease.
    """
    if run.start is None:
        return False
    return (
        now.mono_ms < now.mono_of(run.start.wall_ms) + run.entry.longest_s * 1000 + RECORD_WAIT_MS
    )


def _ended(run: Tracked, end: End, started: int | None, now: Now) -> Observation:
    meters = Meters()
    ended = now.mono_ms
    if run.exit is not None:
        meters = Meters(run.exit.duration_ms, run.exit.cpu_ms, run.exit.rss_mib)
        ended = now.mono_of(run.exit.wall_ms)
    elif run.job is not None and run.job.end_s is not None:
        ended = now.mono_of(run.job.end_s * 1000)
    if started is not None:
        ended = max(started, ended)
        if meters.duration_ms:
            ended = min(now.mono_ms, started + meters.duration_ms)
        else:
            meters = Meters(ended - started, meters.cpu_ms, meters.max_rss_mib)
    return Observation(
        run.entry.lease_id,
        Phase.ENDED,
        started_at_ms=started,
        ended_at_ms=ended,
        exit_code=end.exit_code,
        failure=end.failure,
        detail=end.detail,
        engine_id=run.engine_id,
        nodes=_nodes(run),
        meters=meters,
    )


def _started(run: Tracked, now: Now) -> int | None:
    """The node's record says it best; Slurm's start includes the prolog and the launch."""
    if run.start is not None:
        return now.mono_of(run.start.wall_ms)
    if run.job is None or run.job.start_s is None or not run.job.nodes:
        return None
    if run.exit is not None or meaning(run.job.state).phase is Phase.ACCEPTED:
        return None
    return now.mono_of(run.job.start_s * 1000)


def _nodes(run: Tracked) -> tuple[str, ...]:
    if run.start is not None:
        return run.start.nodes
    if run.job is not None:
        return tuple(parse.host_list(run.job.nodes))
    return ()


def _waiting(job: JobLine, now: Now) -> str:
    """Slurm's reason, and its own estimate of the start, coarse enough not to change all day."""
    words = f"waiting in Slurm: {job.reason}" if job.reason else "waiting in Slurm"
    if job.start_s is None or not 0 < job.start_s - now.wall_ms // 1000 < _ESTIMATE_HORIZON_S:
        return words
    coarse = job.start_s - job.start_s % _ESTIMATE_STEP_S
    return f"{words}; expected to start {datetime.fromtimestamp(coarse, UTC):%Y-%m-%d %H:%M} UTC"
