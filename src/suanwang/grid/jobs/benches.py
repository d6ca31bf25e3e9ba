"""The micro-benchmark as a job: an ordinary run in one pool, whose output becomes a measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.grid.jobs import reading, submission
from suanwang.grid.jobs.estimates import RuntimeEstimates
from suanwang.grid.jobs.model import FINAL, Lease, TaskState
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import PoolRow
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.database import Tx
from suanwang.trade.catalogue import service as catalogue
from suanwang.trade.catalogue.bench import MAX_OUTPUT, Verdict, judge, program_text, refused
from suanwang.trade.catalogue.cards import class_of
from suanwang.trade.catalogue.model import CORE, Ticket
from suanwang.trade.catalogue.service import Where, Whom

JOB_NAME = "suan-bench"
MAX_RUNTIME_S = 600
MAX_CORES = 256
CARD_SECONDS, CORE_SECONDS = 3, 1
"""For each figure: a card gets warm first."""
OUTPUT_WAIT_MS = 60_000
"""Output may arrive so long after the end was reported."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Open = Callable[[bytes, str], dict[str, str]]
"""Opens what a `submission.Seal` sealed, under the same context."""


def pool_class(pool: PoolRow) -> str:
    card = pool.accelerator
    return class_of(card.model, card.memory_mib) if card else CORE


def spec_of(
    place: str, pool: PoolRow, project: str | None, cores: int, secrets: dict[str, str]
) -> JobSpec:
    """One card and what it needs beside it, or so many cores, of the pool written SITE/POOL."""
    card = pool.accelerator
    largest = max((node.capacity.memory_mib for node in pool.nodes), default=0)
    resources: dict[str, Any] = {
        "cpus": cores,
        "memory": f"{min(8192 if card else 2048, largest // 2) or 512}MiB",
    }
    if card is not None:
        resources["accelerators"] = {"count": 1, "model": [card.model]}
    return JobSpec.model_validate(
        {
            "name": JOB_NAME,
            "project": project,
            "argv": ["python3", "-c", program_text()],
            "resources": resources,
            "env": {
                **dict.fromkeys(_THREADS, str(cores)),
                "BENCH_CARDS": "yes" if card else "no",
                "BENCH_SECONDS": str(CARD_SECONDS if card else CORE_SECONDS),
                "BENCH_UNITS": str(1 if card else cores),
            },
            "secrets": secrets,
            "max_runtime": MAX_RUNTIME_S,
            "constraints": {"pools": [place]},
        }
    )


def start(
    tx: Tx,
    owner: submission.Owner,
    place: str,
    *,
    project: str | None,
    cores: int,
    key: str,
    seal: submission.Seal,
    estimates: RuntimeEstimates | None = None,
) -> Ticket:
    """Submit the run and open its ticket. `key` is a fresh secret that signs the result.

    The pool's price is paid like any job's.
    """
    if not 1 <= cores <= MAX_CORES:
        raise InvalidInput(
            "InvalidCores", f"A benchmark takes 1 to {MAX_CORES} cores.", field="cores"
        )
    site, pool = sites.find_pool(tx.conn, place)
    ticket_id = tx.ids.new("bench")
    secrets = {"BENCH_KEY": key, "BENCH_TICKET": ticket_id}
    spec = spec_of(f"{site.name}/{pool.name}", pool, project, cores, secrets)
    job_id = submission.submit(tx, [owner], [spec], seal, estimates=estimates)[0]
    return catalogue.open_ticket(
        tx,
        ticket_id,
        job_id,
        Where(site.site_id, pool.pool_id, pool_class(pool), 1 if pool.accelerator else cores),
        Whom(owner.organisation_id, owner.project_id, owner.user_id),
        seal({"key": key}, ticket_id),
    )


def due(conn: Connection) -> list[Ticket]:
    """Open tickets whose job has ended."""
    waiting = catalogue.open_tickets(conn)
    return [ticket for ticket in waiting if reading.require_job(conn, ticket.job_id).state in FINAL]


def take(tx: Tx, ticket: Ticket, unseal: Open) -> bool:
    """Judge what the run printed. False while its output may still be on its way."""
    job = reading.require_job(tx.conn, ticket.job_id)
    leases: Sequence[Lease] = ()
    if job.purged_at_ms is None:
        found = reading.tasks_with_leases(tx.conn, job.job_id, after_index=-1, limit=1)
        leases = found[0][1] if found else ()
    if not leases:
        return catalogue.close(tx, ticket.ticket_id, refused("NotRun", "It never started."))
    lease = leases[-1]
    verdict = _judged(tx, ticket, lease, unseal)
    ended_at_ms = job.ended_at_ms or tx.now_ms
    if verdict.reason == "NoResult":
        if tx.now_ms - ended_at_ms < OUTPUT_WAIT_MS:
            return False
        if job.state is not TaskState.SUCCEEDED:
            verdict = refused("NotRun", f"The job {job.state.value}: {lease.detail}"[:300])
    return catalogue.close(tx, ticket.ticket_id, verdict)


def _judged(tx: Tx, ticket: Ticket, lease: Lease, unseal: Open) -> Verdict:
    if (lease.site_id, lease.pool_id) != (ticket.site_id, ticket.pool_id):
        return refused("OtherPool", "It ran in another pool than it was meant for.")
    started_at_ms = lease.started_at_ms or lease.granted_at_ms
    ran_ms = (lease.ended_at_ms or tx.now_ms) - started_at_ms
    output, _ = reading.output(tx.conn, lease.lease_id, "stdout", 0, MAX_OUTPUT)
    key = unseal(ticket.sealed_key, ticket.ticket_id)["key"]
    return judge(ticket, key, output, ran_ms, tx.now_ms)
