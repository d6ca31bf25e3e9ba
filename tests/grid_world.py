"""What tests of jobs and sites start from: sites with one pool each, a project with credit.

Agents are played by the test: it says what the agent would report, and moves the clock itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from manual_clock import ManualClock
from suanwang.engines.scheduling.model import Policy
from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs import (
    agents,
    grants,
    leases_store,
    reading,
    shown_store,
    submission,
    sweeps,
)
from suanwang.grid.jobs.model import Job, Lease, LeaseState, Task
from suanwang.grid.jobs.orders import orders_for
from suanwang.grid.jobs.reports import Taken, take_reports
from suanwang.grid.jobs.snapshot import Gathered, gather
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.resources import Resources
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.platform.outbox import Outbox
from suanwang.protocol.messages import (
    EnrolRequest,
    FailureClass,
    LeaseOrder,
    Meters,
    NodeReport,
    Phase,
    PoolReport,
    PriceReport,
    Quantity,
    ReconcileRequest,
    RunReport,
)
from suanwang.sim.auditor import audit_always, unsettled
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import system_principal
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.store import charges, usage
from suanwang.trade.ledger import service as ledger

T = TypeVar("T")
TOTALS = Resources(cpu_milli=16_000, memory_mib=65_536)
CREDIT = 10**13


def pool_report(size: int = 2, name: str = "cpu", **changes: Any) -> PoolReport:
    """Nodes of four cores and 8 GiB."""
    report = PoolReport(
        name=name,
        driver="test",
        architecture="x86-64",
        kind="general",
        nodes=[NodeReport(f"n{i}", Quantity(4_000, 8_192, 10_000, 0)) for i in range(size)],
        prices=PriceReport(core_hour=100_000, memory_gib_hour=10_000),
    )
    return msgspec.structs.replace(report, **changes)


def spec_of(**fields: Any) -> JobSpec:
    given = {"name": "work", "argv": ["work"], "max_runtime": 600, **fields}
    return JobSpec.model_validate(given)


def no_secrets(_sealed: bytes, _job_id: str) -> dict[str, str]:
    return {}


@dataclass
class PlayedSite:
    """A site whose agent is the test."""

    world: GridWorld
    name: str
    site_id: str
    credential: str
    pools: list[PoolReport]
    instance: str = ""
    sequence: int = 0
    session: int = 0

    def reconcile(
        self,
        *runs: RunReport,
        instance: str | None = None,
        sequence: int | None = None,
        pools: list[PoolReport] | None = None,
    ) -> agents.Reconciled:
        self.sequence += 1
        request = ReconcileRequest(
            instance_id=instance or self.instance or f"{self.name}-agent",
            agent_version="test",
            sequence=self.sequence if sequence is None else sequence,
            pools=self.pools if pools is None else pools,
            runs=list(runs),
        )
        done = self.world.write(
            lambda tx: agents.reconcile(
                tx,
                self.world.outbox,
                self.site_id,
                request,
                unseal=no_secrets,
                totals=TOTALS,
                contact_every_ms=10_000,
            )
        )
        self.session = done.reply.session
        return done

    def heard(self) -> None:
        self.world.write(lambda tx: sites.contact(tx, self.site_id, self.session))

    def orders(self) -> list[LeaseOrder]:
        """Of every open lease, as a reconciliation would give them."""

        def query(conn: Connection) -> list[LeaseOrder]:
            leases = leases_store.open_leases_of_site(conn, self.site_id)
            return orders_for(conn, leases, no_secrets)

        return self.world.read(query)

    def says(self, *reports: RunReport) -> Taken:
        """Its agent is heard, with this news."""
        self.heard()
        return self.world.write(
            lambda tx: take_reports(tx, self.world.outbox, self.site_id, list(reports), TOTALS)
        )

    def accepted(self, lease: Lease) -> Taken:
        return self.says(report_of(lease, Phase.ACCEPTED))

    def running(self, lease: Lease, *, started_ago_ms: int = 0) -> Taken:
        return self.says(report_of(lease, Phase.RUNNING, started_ago_ms=started_ago_ms))

    def ended(
        self,
        lease: Lease,
        *,
        code: int | None = 0,
        failure: FailureClass = FailureClass.NONE,
        ran_ms: int = 1_000,
    ) -> Taken:
        return self.says(ended_report(lease, code=code, failure=failure, ran_ms=ran_ms))


def report_of(lease: Lease, phase: Phase, **fields: Any) -> RunReport:
    return RunReport(lease_id=lease.lease_id, epoch=lease.epoch, phase=phase, **fields)


def ended_report(
    lease: Lease,
    *,
    code: int | None = 0,
    failure: FailureClass = FailureClass.NONE,
    ran_ms: int = 1_000,
) -> RunReport:
    if failure is FailureClass.NONE and code:
        failure = FailureClass.EXIT
    return report_of(
        lease,
        Phase.ENDED,
        started_ago_ms=ran_ms,
        ended_ago_ms=0,
        exit_code=code,
        failure=failure,
        meters=Meters(duration_ms=ran_ms),
    )


@dataclass
class GridWorld:
    """One organisation, one project, one user; sites are added by name."""

    database: InlineDatabase
    clock: ManualClock
    outbox: Outbox = field(default_factory=Outbox)
    owner: submission.Owner = field(init=False)
    dice: random.Random = field(default_factory=lambda: random.Random(11))

    def __post_init__(self) -> None:
        billing.subscribe(self.outbox)
        self.owner = self.write(self._first_rows)

    def _first_rows(self, tx: Tx) -> submission.Owner:
        system = system_principal()
        organisation = tenancy.create_organisation(tx, system, name="henu", display_name="henu")
        project = tenancy.create_project(
            tx, system, name="default", organisation_id=organisation.id
        )
        user = people.create_user(tx, system, login="wang", organisation_id=organisation.id)
        people.set_membership(tx, system, project.id, "wang", people.Role.MEMBER)
        ledger.project_accounts(tx, [project.id])
        ledger.set_credit_limit(tx, project.id, CREDIT)
        return submission.Owner(organisation.id, project.id, user.id)

    def write(self, use_case: Callable[[Tx], T]) -> T:
        return self.database.write_now(use_case)

    def read(self, query: Callable[[Connection], T]) -> T:
        return self.database.read_now(query)

    # --- sites ----------------------------------------------------------------------------

    def site(self, name: str = "zhengzhou", *, nodes: int = 2) -> PlayedSite:
        """Invited, enrolled and in its first session."""

        def enrol(tx: Tx) -> PlayedSite:
            made, token = sites.invite(
                tx, self.owner.organisation_id, SiteDescription(name, "henan"), self.dice
            )
            reply = sites.enrol(tx, EnrolRequest(token, f"{name}-agent"), self.dice)
            pools = [pool_report(nodes)]
            return PlayedSite(self, name, made.site_id, reply.credential, pools)

        site = self.write(enrol)
        site.reconcile()
        return site

    # --- jobs -----------------------------------------------------------------------------

    def submit(self, *, key: str | None = None, **fields: Any) -> str:
        return self.submit_all([spec_of(**fields)], key=key)[0]

    def submit_all(self, specs: Sequence[JobSpec], *, key: str | None = None) -> list[str]:
        owners = [self.owner] * len(specs)
        return self.write(
            lambda tx: submission.submit(
                tx, owners, specs, lambda _secrets, _context: b"sealed", idempotency_key=key
            )
        )

    def cancel(self, job_id: str) -> list[str]:
        return self.write(lambda tx: submission.cancel(tx, job_id))

    def gather(self) -> Gathered:
        return self.read(lambda conn: gather(conn, self.clock.now_ms(), Policy()))

    def round(self) -> grants.Applied:
        """Snapshot, plan, apply."""
        gathered = self.gather()
        made = plan(gathered.snapshot, self.clock.now_ms(), 1)
        return self.write(
            lambda tx: grants.apply_plan(tx, gathered, made, took_ms=0, snapshot_digest="")
        )

    def sweep(self) -> sweeps.Swept:
        return self.write(sweeps.sweep_lost)

    async def settle(self) -> None:
        """Charge what is recorded."""
        while await self.outbox.deliver(self.database, billing.CHARGE_SUBSCRIBER):
            pass

    # --- looking --------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        return self.read(lambda conn: reading.require_job(conn, job_id))

    def tasks(self, job_id: str) -> list[Task]:
        return self.read(lambda conn: shown_store.tasks_of_job(conn, job_id))

    def task(self, job_id: str) -> Task:
        return self.tasks(job_id)[0]

    def leases(self, job_id: str) -> list[Lease]:
        """All attempts of all tasks, the oldest first."""
        found = self.read(lambda conn: reading.tasks_with_leases(conn, job_id, limit=1_000))
        return sorted((x for _, leases in found for x in leases), key=lambda x: x.lease_id)

    def lease(self, job_id: str) -> Lease:
        """The only open one."""
        [lease] = [x for x in self.leases(job_id) if x.state is not LeaseState.ENDED]
        return lease

    def last_lease(self, job_id: str) -> Lease:
        return self.leases(job_id)[-1]

    def usage(self, job_id: str) -> list[Any]:
        query = sa.select(usage).where(usage.c.job_id == job_id).order_by(usage.c.id)
        return self.read(lambda conn: list(conn.execute(query)))

    def charged(self, job_id: str) -> int:
        """Micro-yuan, so far."""
        query = (
            sa.select(sa.func.coalesce(sa.func.sum(charges.c.amount), 0))
            .join(usage, (usage.c.source == charges.c.source) & (usage.c.id == charges.c.usage_id))
            .where(usage.c.job_id == job_id)
        )
        return self.read(lambda conn: int(conn.execute(query).scalar_one()))

    def balance(self) -> int:
        account = self.read(lambda conn: ledger.project_account(conn, self.owner.project_id))
        assert account is not None
        return account.balance_micro_yuan

    def held(self) -> int:
        account = self.read(lambda conn: ledger.project_account(conn, self.owner.project_id))
        assert account is not None
        return account.held_micro_yuan

    def wrong(self) -> list[str]:
        """What the auditor objects to at any instant."""
        return self.read(audit_always)

    def left_over(self) -> list[str]:
        """What is still open, held or undelivered."""
        return [*self.read(unsettled), *self.wrong()]
