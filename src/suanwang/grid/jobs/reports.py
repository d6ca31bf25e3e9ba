"""Take what an agent reports of its runs: lease and task steps, usage, stale attempts.

An answered report is durable: the agent may drop what it kept of an ended run. Reports are
idempotent and may come late, twice or out of order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from suanwang.engines.scheduling.fairness import decayed
from suanwang.grid.data import service as data
from suanwang.grid.jobs import leases_store, metering, rules, store
from suanwang.grid.jobs.cards import cards_make_sense
from suanwang.grid.jobs.estimates import RunEnded
from suanwang.grid.jobs.model import (
    FINAL,
    Lease,
    LeaseState,
    StopReason,
    Task,
    TaskState,
    Terms,
)
from suanwang.grid.jobs.orders import stop_leases
from suanwang.grid.jobs.progress import Steps, settle
from suanwang.grid.jobs.rivals import Settled, settle_rivals
from suanwang.grid.jobs.snapshot import HALF_LIFE_S, share_amounts
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.protocol.messages import Desired, FailureClass, LeaseOrder, Phase, RunReport
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Trouble, UsageRecord, UsageTrouble
from suanwang.trade.billing.rules import end_of_run, usage_of_run
from suanwang.trade.ledger import service as ledger


@dataclass(slots=True)
class Taken:
    """What came of a batch of reports."""

    orders: list[LeaseOrder] = field(default_factory=list)
    """Answers to reports of runs that the control plane has no use for."""
    jobs: set[str] = field(default_factory=set)
    freed: bool = False
    """Capacity came free or a task was queued again: plan soon."""
    sites: set[str] = field(default_factory=set)
    """Other sites that got new orders (a superseded replacement)."""


def take_reports(
    tx: Tx, outbox: Outbox, site_id: str, reports: Sequence[RunReport], totals: Resources
) -> Taken:
    """One transaction for a batch; `totals` is the grid's capacity, for fair-share accounts."""
    taken = Taken()
    latest = {report.lease_id: report for report in reports}
    leases = leases_store.leases_by_id(tx.conn, latest, lock=True)
    intake = _Intake(tx, outbox, taken, totals)
    for lease_id in sorted(latest):
        report, lease = latest[lease_id], leases.get(lease_id)
        if lease is None or lease.site_id != site_id or lease.epoch != report.epoch:
            taken.orders.append(_unwanted(report))
        else:
            intake.take(lease, report)
    intake.write()
    return taken


def _unwanted(report: RunReport) -> LeaseOrder:
    """An order for a run that is not on the books: stop it, then forget it."""
    ended = report.phase is Phase.ENDED
    return LeaseOrder(
        lease_id=report.lease_id,
        epoch=report.epoch,
        revision=0,
        desired=Desired.FORGET if ended else Desired.STOP,
        reason="unknown",
    )


class _Intake:
    """The steps of one batch, gathered and written together."""

    def __init__(self, tx: Tx, outbox: Outbox, taken: Taken, totals: Resources) -> None:
        self._tx = tx
        self._outbox = outbox
        self._taken = taken
        self._totals = totals
        self._pairs: list[tuple[Lease, Lease, RunReport]] = []
        self._late: list[tuple[Lease, RunReport]] = []

    def take(self, lease: Lease, report: RunReport) -> None:
        if lease.state is LeaseState.ENDED:
            if report.phase is Phase.ENDED:
                self._late.append((lease, report))
            self._taken.orders.append(_unwanted(report))
            return
        after = stepped(lease, report, self._tx.now_ms)
        if after != lease or metering.is_due(after, report, self._tx.now_ms):
            self._pairs.append((lease, after, report))

    def write(self) -> None:
        tx = self._tx
        self._meter()
        ended = [(b, a, r) for b, a, r in self._pairs if a.state is LeaseState.ENDED]
        tasks = store.tasks_by_id(tx.conn, [a.task_id for _, a, _ in self._pairs], lock=True)
        terms = store.terms_of(tx.conn, [a.job_id for _, a, _ in ended])
        cancelled = {
            job_id
            for job_id, job in store.jobs_by_id(tx.conn, [a.job_id for _, a, _ in ended]).items()
            if job.cancel_requested
        }
        steps = Steps(tx)
        superseded: list[str] = []
        for before, after, _ in self._pairs:
            task = tasks[after.task_id]
            if task.lease_id != after.lease_id or task.state in FINAL:
                settled = self._settle_rivals(task, after)
                moved = settled.task
                superseded.extend([settled.leave.lease_id] if settled.leave else [])
            else:
                cancel = after.job_id in cancelled
                moved = task_after(task, after, terms.get(after.job_id), cancel, tx)
            if moved != task:
                steps.move(task, moved)
                tasks[task.task_id] = moved
                self._taken.jobs.add(task.job_id)
            elif before.state is not after.state:
                self._taken.jobs.add(task.job_id)
        charge_runs(tx, self._outbox, [(a, r) for _, a, r in ended] + self._late)
        leases_store.update_leases(tx, [self._without_hold(a) for _, a, _ in self._pairs])
        _note_outputs(tx, [(a, r) for _, a, r in ended])
        account_shares(tx, [a for _, a, _ in ended], self._totals)
        self._release_unused([a for _, a, _ in ended])
        self._taken.jobs.update(job.job_id for job in settle(tx, steps))
        self._stop(superseded)
        teach(tx, self._outbox, [a for _, a, _ in ended], terms)
        self._taken.freed = self._taken.freed or bool(ended)

    def _meter(self) -> None:
        """Before anything else: what follows writes the leases as this leaves them."""
        runs = [(after, report) for _, after, report in self._pairs]
        metered = metering.meter(self._tx, self._outbox, runs)
        self._pairs = [(b, metered.get(a.lease_id, a), r) for b, a, r in self._pairs]

    def _without_hold(self, lease: Lease) -> Lease:
        ended = lease.state is LeaseState.ENDED
        return msgspec.structs.replace(lease, hold=0) if ended else lease

    def _release_unused(self, leases: list[Lease]) -> None:
        """A lease that never ran has no usage record to release its hold."""
        release_holds(self._tx, [lease for lease in leases if lease.started_at_ms is None])

    def _settle_rivals(self, task: Task, lease: Lease) -> Settled:
        updated = next((a for _, a, _ in self._pairs if a.lease_id == task.lease_id), None)
        if updated is None and task.lease_id is not None:
            found = leases_store.leases_by_id(self._tx.conn, [task.lease_id], lock=True)
            updated = found.get(task.lease_id)
        return settle_rivals(task, lease, updated)

    def _stop(self, lease_ids: Sequence[str]) -> None:
        """As they are now, this batch's own news included."""
        leases = leases_store.leases_by_id(self._tx.conn, lease_ids, lock=True)
        self._taken.sites.update(stop_leases(self._tx, leases.values(), StopReason.SUPERSEDED))


def stepped(lease: Lease, report: RunReport, now_ms: int) -> Lease:
    """The lease after a report; ages are placed on our clock and kept within the lease's life."""
    state = rules.next_lease_state(lease.state, report.phase)
    started = lease.started_at_ms
    if started is None and report.started_ago_ms is not None:
        started = min(now_ms, max(lease.granted_at_ms, now_ms - max(0, report.started_ago_ms)))
    changes: dict[str, object] = {
        "state": state,
        "started_at_ms": started,
        "engine_id": report.engine_id or lease.engine_id,
        "nodes": report.nodes or lease.nodes,
        "cards": report.cards if cards_make_sense(lease, report.cards) else lease.cards,
        "lost_at_ms": None,
    }
    if started is not None and lease.started_at_ms is None:
        shift = started - lease.granted_at_ms
        changes["ends_by_ms"] = lease.ends_by_ms + shift
        changes["expected_end_ms"] = lease.expected_end_ms + shift
        changes["protected_until_ms"] = lease.protected_until_ms + shift
    if state is not LeaseState.ENDED:
        changes["detail"] = report.detail or lease.detail
    else:
        floor = started if started is not None else lease.granted_at_ms
        changes.update(
            ended_at_ms=min(now_ms, max(floor, now_ms - max(0, report.ended_ago_ms or 0))),
            outcome=rules.outcome_of_end(lease.stop, report.cause, report.exit_code),
            exit_code=report.exit_code,
            failure=report.cause,
            detail=report.detail,
            meters=report.meters,
            outputs=report.outputs,
        )
    return msgspec.structs.replace(lease, **changes)


def task_after(task: Task, lease: Lease, terms: Terms | None, cancelled: bool, tx: Tx) -> Task:
    """The task after its current lease's step."""
    if lease.state is LeaseState.ACCEPTED:
        return msgspec.structs.replace(task, detail=lease.detail)
    if lease.state is LeaseState.RUNNING:
        return msgspec.structs.replace(task, state=TaskState.RUNNING, detail=lease.detail)
    if terms is None:
        return task
    verdict = rules.verdict_of_end(
        outcome=lease.outcome,
        failure=lease.failure,
        exit_code=lease.exit_code,
        terms=terms,
        failures=task.failures,
        losses=task.losses,
        preemptions=task.preemptions,
        cancel_requested=cancelled,
        now_ms=tx.now_ms,
    )
    final = verdict.state in FINAL
    return msgspec.structs.replace(
        task,
        state=verdict.state,
        attempt=task.attempt if final else task.attempt + 1,
        failures=task.failures + verdict.counts_as_failure,
        losses=task.losses + verdict.counts_as_loss,
        preemptions=task.preemptions + verdict.counts_as_preemption,
        not_before_ms=verdict.not_before_ms,
        ended_at_ms=(lease.ended_at_ms or tx.now_ms) if final else None,
        exit_code=lease.exit_code,
        failure=lease.failure,
        detail=verdict.detail or lease.detail,
    )


def charge_runs(tx: Tx, outbox: Outbox, runs: Sequence[tuple[Lease, RunReport]]) -> None:
    """Usage of ended runs: a record for each hour touched, once whatever is delivered twice."""
    records: list[UsageRecord] = []
    troubles: list[UsageTrouble] = []
    for lease, report in runs:
        found = _usage_left(lease, report, tx.now_ms)
        records.extend(found)
        if found and _takes_back_hours(lease, report, tx.now_ms):
            final = found[-1]
            troubles.append(
                UsageTrouble(final.source, final.id, Trouble.ENDED_BEFORE_METERED, tx.now_ms)
            )
    if records:
        billing.record_usage(tx, outbox, records)
    billing.note_troubles(tx, troubles)


def _usage_left(lease: Lease, report: RunReport, now_ms: int) -> list[UsageRecord]:
    started = lease.started_at_ms
    if started is None and report.started_ago_ms is not None:
        started = max(lease.granted_at_ms, now_ms - max(0, report.started_ago_ms))
    if started is None:
        return []
    metered_ms = lease.metered_until_ms or 0
    if report.cause is FailureClass.VANISHED:
        # the site lost its records: nobody can say how long it ran on after its last full hour
        # that the site vouched for, and the project does not pay for that
        return usage_of_run(
            metering.run_of(lease),
            started_at_ms=started if metered_ms else None,
            ended_at_ms=metered_ms or now_ms,
            known_at_ms=now_ms,
            metered_until_ms=metered_ms,
        )
    return usage_of_run(
        metering.run_of(lease),
        started_at_ms=started,
        ended_at_ms=lease.ended_at_ms or now_ms,
        known_at_ms=now_ms,
        measured_ms=_measured_ms(report),
        cpu_ms=report.meters.cpu_ms,
        metered_until_ms=metered_ms,
    )


def _measured_ms(report: RunReport) -> int | None:
    return max(0, report.meters.duration_ms) or None


def _takes_back_hours(lease: Lease, report: RunReport, now_ms: int) -> bool:
    """Whether the site now puts the end before hours that it had vouched for."""
    if not lease.metered_until_ms or lease.started_at_ms is None:
        return False
    if report.cause is FailureClass.VANISHED:
        return False
    end_ms = end_of_run(
        metering.run_of(lease),
        started_at_ms=lease.started_at_ms,
        ended_at_ms=lease.ended_at_ms or now_ms,
        known_at_ms=now_ms,
        measured_ms=_measured_ms(report),
    )
    return end_ms < lease.metered_until_ms


def release_holds(tx: Tx, leases: Sequence[Lease]) -> None:
    """Give back what was set aside for leases that will have no usage."""
    held: dict[str, int] = defaultdict(int)
    for lease in leases:
        held[lease.project_id] += lease.hold
    accounts = ledger.project_accounts(tx, sorted(held))
    amounts = {accounts[project]: amount for project, amount in sorted(held.items()) if amount}
    if amounts:
        ledger.release(tx, amounts)


def _note_outputs(tx: Tx, runs: Sequence[tuple[Lease, RunReport]]) -> None:
    """Outputs lie at the site that made them: the next job over them is cheaper there."""
    for lease, report in runs:
        if report.outputs:
            digests = {record.digest: record.size_bytes for record in report.outputs}
            data.note_at_site(tx, lease.site_id, digests)


TELLING = frozenset({FailureClass.NONE, FailureClass.EXIT, FailureClass.TIMEOUT})
"""Ends that say something about how long such a program runs."""


def teach(tx: Tx, outbox: Outbox, leases: Sequence[Lease], terms: Mapping[str, Terms]) -> None:
    """Tell the run-time estimates how long programs took that ran to their own end."""
    facts = []
    for lease in leases:
        known = terms.get(lease.job_id)
        if known is None or known.facts is None or lease.failure not in TELLING:
            continue
        if lease.started_at_ms is not None and lease.ended_at_ms is not None:
            seconds = -(-(lease.ended_at_ms - lease.started_at_ms) // MS_PER_SECOND)
            facts.append(RunEnded(known.facts, seconds, known.estimate))
    outbox.emit(tx, facts)


def account_shares(tx: Tx, leases: Sequence[Lease], totals: Resources) -> None:
    """Add what ended leases used to the decayed accounts of their three shares."""
    amounts: dict[str, int] = defaultdict(int)
    for lease in leases:
        if lease.started_at_ms is None:
            continue
        for share, amount in share_amounts(lease, totals, lease.ended_at_ms or tx.now_ms).items():
            amounts[share] += amount
    amounts = {share: amount for share, amount in amounts.items() if amount}
    if not amounts:
        return
    known = leases_store.locked_shares(tx, sorted(amounts))
    values = {}
    for share, amount in sorted(amounts.items()):
        value, at_ms = known.get(share, (0, tx.now_ms))
        values[share] = decayed(value, tx.now_ms - at_ms, HALF_LIFE_S) + amount
    leases_store.write_share_usage(tx, values)
