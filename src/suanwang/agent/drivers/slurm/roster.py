"""Every run the driver knows, kept in step with the node's records and Slurm's answers."""

from __future__ import annotations

from collections.abc import Sequence

from suanwang.agent.drivers.slurm.book import Book, Submission
from suanwang.agent.drivers.slurm.judge import Now, Tracked, booked, judge
from suanwang.agent.drivers.slurm.parse import JobLine
from suanwang.agent.drivers.slurm.states import meaning
from suanwang.agent.port import Host, Observation
from suanwang.protocol.messages import Phase, Quantity


class Roster:
    """Runs by lease, and what of them was told already."""

    def __init__(self, book: Book, host: Host, vanish_ms: int) -> None:
        self.runs: dict[str, Tracked] = {}
        self.by_name: dict[str, list[JobLine]] = {}
        """Our jobs in Slurm's last answer."""
        self._told: dict[str, Observation] = {}
        self._book = book
        self._host = host
        self._vanish_ms = vanish_ms

    def track(self, submission: Submission) -> None:
        """Know a submission's runs, or that they moved to it from another."""
        for index, entry in submission.entries.items():
            run = self.runs.get(entry.lease_id)
            if run is None:
                known = self._book.end_of(entry.lease_id)
                first = known or Observation(entry.lease_id, Phase.ACCEPTED)
                run = Tracked(entry, submission, index, first)
                run.stop = self._book.stop_of(entry.lease_id)
                self.runs[entry.lease_id] = run
            run.submission, run.index = submission, index

    def adopt(self, submission: Submission, lines: Sequence[JobLine]) -> None:
        """After a restart: what got no answer is found by its name, or was never submitted."""
        if not submission.job_id:
            known = {line.job_id for line in lines if line.name == submission.name}
            leases = [entry.lease_id for entry in submission.entries.values()]
            claims = [job for job in map(self._book.claimed_by, leases) if job]
            submission.job_id = min(known, key=int) if known else ""
            if not submission.job_id and not submission.array and claims:
                submission.job_id = claims[0]
            if not known and not claims and not any(map(self._book.exit_of, leases)):
                # the agent holds the order still: it starts it again, secrets and all
                self._book.drop_submission(submission)
                return
            self._book.save(submission)
        self.track(submission)

    def look(self) -> int:
        """Read new records of the nodes and judge every run again; how long the listing took."""
        begun_ms = self._host.monotonic_ms()
        names = self._book.names()
        took_ms = self._host.monotonic_ms() - begun_ms
        for lease_id, run in self.runs.items():
            if run.ended:
                continue
            if run.start is None and f"{lease_id}.start" in names:
                run.start, run.start_seen_ms = self._book.start_of(lease_id), begun_ms
            if run.exit is None and f"{lease_id}.exit" in names:
                run.exit, run.exit_seen_ms = self._book.exit_of(lease_id), begun_ms
        now = Now(self._host.monotonic_ms(), self._host.wall_ms(), self._vanish_ms)
        for run in self.runs.values():
            if not run.ended:
                run.observation = judge(run, now)
                if run.ended:
                    self._book.write_end(run.observation)
        return took_ms

    def book_answer(self, lines: Sequence[JobLine], begun_ms: int, mark: str) -> None:
        """Note the whole queue; `mark` begins the comment of our own jobs."""
        self.by_name = {}
        for line in lines:
            if line.comment.startswith(mark):
                self.by_name.setdefault(line.name, []).append(line)
        self._follow_claims()
        by_key = {(line.job_id, line.index): line for line in lines}
        for run in self.runs.values():
            if not run.ended:
                booked(run, by_key.get(run.key), begun_ms)

    def _follow_claims(self) -> None:
        """Of two jobs of one lease the one that came first on the nodes is the one."""
        for name, lines in self.by_name.items():
            run = self.runs.get(name)
            if run is None or run.submission.array or len(lines) < 2:
                continue
            claimed = self._book.claimed_by(name)
            if claimed and claimed != run.submission.job_id:
                run.submission.job_id = claimed
                self._book.save(run.submission)

    def news(self) -> list[Observation]:
        """What changed since it was told last; telling it is the caller's promise."""
        fresh = [
            run.observation
            for lease_id, run in self.runs.items()
            if self._told.get(lease_id) != run.observation
        ]
        self._told.update((each.lease_id, each) for each in fresh)
        return fresh

    def drop(self, lease_id: str) -> Tracked | None:
        self._told.pop(lease_id, None)
        return self.runs.pop(lease_id, None)

    def all_stopped(self, submission: Submission) -> bool:
        return all(self.runs[e.lease_id].stop is not None for e in submission.entries.values())

    def orphans(self, waiting: Sequence[str]) -> list[str]:
        """Live jobs of ours with no lease behind them: doubles, and leaks of a crash."""
        owners = {run.submission.name: run.submission.job_id for run in self.runs.values()}
        found: dict[str, None] = {}
        for name, lines in self.by_name.items():
            if name in waiting:
                continue
            for line in lines:
                live = meaning(line.state).phase is not Phase.ENDED and line.state != "COMPLETING"
                if live and line.job_id != owners.get(name, ""):
                    found[line.job_id] = None
        return list(found)

    def shortest_contact_ms(self) -> int | None:
        """The strictest stop_on_client_after of what is not over."""
        limits = [
            run.entry.stop_after_s * 1000
            for run in self.runs.values()
            if run.entry.stop_after_s is not None and not run.ended
        ]
        return min(limits, default=None)

    def use(self) -> dict[str, Quantity]:
        """What our running runs hold of each node, in Slurm's whole cores and cards."""
        held: dict[str, Quantity] = {}
        for run in self.runs.values():
            nodes = run.observation.nodes
            if run.observation.phase is not Phase.RUNNING or not nodes:
                continue
            even = -(-run.entry.members // len(nodes))
            tasks = run.start.tasks if run.start is not None else ()
            for position, node in enumerate(nodes):
                count = tasks[position] if position < len(tasks) else even
                held[node] = _plus(held.get(node, Quantity()), run.entry.quantity, count)
        return held


def _plus(held: Quantity, member: Quantity, count: int) -> Quantity:
    cores = -(-member.cpu_milli // 1000) or 1
    cards = -(-member.accelerator_milli // 1000)
    return Quantity(
        held.cpu_milli + cores * 1000 * count,
        held.memory_mib + member.memory_mib * count,
        held.disk_mib,
        held.accelerator_milli + cards * 1000 * count,
    )
