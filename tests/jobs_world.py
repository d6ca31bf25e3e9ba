"""A small grid over any database, through the real services: users submit, sites poll and report.

Sites here are plain books that keep no process: what a run does is what the test reports.
"""

from __future__ import annotations

import asyncio
import random as stdlib_random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from suanwang.engines.scheduling.model import Plan
from suanwang.grid.jobs import reading, submission
from suanwang.grid.jobs.desk import AgentDesk
from suanwang.grid.jobs.model import Job, Lease, Task, TaskState
from suanwang.grid.jobs.reconciler import Dispatcher
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.jobs.submission import Owner
from suanwang.grid.jobs.tables import jobs, tasks
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.time import Clock
from suanwang.platform.database import PostgresDatabase, SqliteDatabase, Tx
from suanwang.platform.migrations import load_tables
from suanwang.platform.outbox import Outbox
from suanwang.platform.signals import Signals
from suanwang.protocol.messages import (
    Desired,
    EnrolRequest,
    FailureClass,
    LeaseOrder,
    Meters,
    NodeReport,
    Phase,
    PollRequest,
    PoolReport,
    PriceReport,
    Quantity,
    ReconcileRequest,
    RunReport,
)
from suanwang.sim.auditor import audit_always, unsettled
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Role, system_principal
from suanwang.trade.billing import service as billing
from suanwang.trade.ledger import service as ledger

T = TypeVar("T")
AnyDatabase = SqliteDatabase | PostgresDatabase
CREDIT = 10**15

load_tables()  # before the fixture of the database makes them


@dataclass(frozen=True)
class Limits:
    contact_every_ms: int = 10_000
    max_log_mib: int = 1


async def at_once(work: Callable[[], Plan]) -> Plan:
    return work()


def spec(command: str = "true", **values: Any) -> JobSpec:
    return JobSpec.model_validate({"name": "job", "command": command, "max_runtime": 3600} | values)


def pool(nodes: int = 2, cpus: int = 4, name: str = "cpu") -> PoolReport:
    return PoolReport(
        name=name,
        driver="book",
        architecture="x86-64",
        kind="general",
        nodes=[
            NodeReport(f"n{i}", Quantity(cpus * 1000, cpus * 4096, 100_000, 0))
            for i in range(nodes)
        ],
        prices=PriceReport(core_hour=3_600_000, memory_gib_hour=0),
    )


def seal(secrets: dict[str, str], context: str) -> bytes:
    return repr((sorted(secrets.items()), context)).encode()


@dataclass
class SiteBook:
    """One site's agent as the desk sees it."""

    grid: Grid
    site_id: str
    pools: list[PoolReport]
    session: int = 0
    revision: int = 0
    sequence: int = 0

    async def reconcile(self, runs: Sequence[RunReport] = ()) -> list[LeaseOrder]:
        self.sequence += 1
        request = ReconcileRequest(
            instance_id=self.site_id,
            agent_version="1",
            sequence=self.sequence,
            pools=self.pools,
            runs=list(runs),
        )
        reply = await self.grid.desk.reconcile(self.site_id, request)
        self.session, self.revision = reply.session, reply.revision
        return reply.orders

    async def poll(self, reports: Sequence[RunReport] = (), wait_ms: int = 0) -> list[LeaseOrder]:
        """New orders, all of them."""
        orders: list[LeaseOrder] = []
        more = True
        while more:
            request = PollRequest(
                session=self.session, revision=self.revision, wait_ms=wait_ms, reports=list(reports)
            )
            reply = await self.grid.desk.poll(self.site_id, request)
            self.revision = reply.revision
            orders += reply.orders
            reports, more = (), reply.more
        return orders

    async def finish(self, orders: Sequence[LeaseOrder], seconds: int = 60) -> None:
        """Accept, run and end each: two batches of reports."""
        await self.poll([running(order) for order in orders])
        await self.poll([ended(order, seconds=seconds) for order in orders])


def running(order: LeaseOrder) -> RunReport:
    return RunReport(order.lease_id, order.epoch, Phase.RUNNING, started_ago_ms=0)


def ended(
    order: LeaseOrder,
    *,
    exit_code: int = 0,
    failure: FailureClass = FailureClass.NONE,
    seconds: int = 60,
) -> RunReport:
    return RunReport(
        order.lease_id,
        order.epoch,
        Phase.ENDED,
        started_ago_ms=seconds * 1000,
        ended_ago_ms=0,
        exit_code=exit_code,
        failure=failure,
        meters=Meters(duration_ms=seconds * 1000, cpu_ms=seconds * 900),
    )


def wanted(orders: Sequence[LeaseOrder]) -> list[LeaseOrder]:
    return [order for order in orders if order.desired is Desired.RUN]


@dataclass
class Grid:
    """One process of the control plane. Several may share a database."""

    database: AnyDatabase
    clock: Clock
    owner: Owner = field(default_factory=lambda: Owner("", "", ""))
    dice: stdlib_random.Random = field(default_factory=lambda: stdlib_random.Random(11))
    signals: Signals = field(default_factory=Signals)
    outbox: Outbox = field(default_factory=Outbox)
    guard: Callable[[Tx], None] = lambda _tx: None
    dispatcher: Dispatcher = field(init=False)
    desk: AgentDesk = field(init=False)

    def __post_init__(self) -> None:
        self.signals.bind(asyncio.get_running_loop())
        billing.subscribe(self.outbox)
        self.dispatcher = Dispatcher(
            self.database, self.clock, self.signals, offload=at_once, guard=self.guard
        )
        self.desk = AgentDesk(
            self.database,
            self.outbox,
            self.signals,
            self.dispatcher,
            lambda _sealed, _job: {},
            Limits(),
            single_process=False,
        )

    async def found(self) -> Grid:
        """The first organisation, project and user, with money to spend."""

        def use_case(tx: Tx) -> Owner:
            system = system_principal()
            organisation = tenancy.create_organisation(
                tx, system, name="henu", display_name="Henan University"
            )
            project = tenancy.create_project(
                tx, system, name="default", organisation_id=organisation.id
            )
            user = people.create_user(tx, system, login="li", organisation_id=organisation.id)
            people.set_membership(tx, system, project.id, user.id, Role.MEMBER)
            ledger.project_accounts(tx, [project.id])
            ledger.set_credit_limit(tx, project.id, CREDIT)
            return Owner(organisation.id, project.id, user.id)

        self.owner = await self.database.write(use_case)
        return self

    def beside(self) -> Grid:
        """Another process over the same database."""
        return Grid(self.database, self.clock, self.owner, self.dice)

    async def site(self, name: str = "zhengzhou", pools: Sequence[PoolReport] = ()) -> SiteBook:
        def use_case(tx: Tx) -> str:
            description = SiteDescription(name, "henan")
            site, token = sites.invite(tx, self.owner.organisation_id, description, self.dice)
            sites.enrol(tx, EnrolRequest(token, site.site_id), self.dice)
            return site.site_id

        book = SiteBook(self, await self.database.write(use_case), list(pools or [pool()]))
        await book.reconcile()
        return book

    async def submit(self, *specs: JobSpec, key: str | None = None) -> list[str]:
        owners = [self.owner] * len(specs)
        return await self.database.write(
            lambda tx: submission.submit(tx, owners, specs, seal, idempotency_key=key)
        )

    async def cancel(self, job_id: str) -> list[str]:
        return await self.database.write(lambda tx: submission.cancel(tx, job_id))

    async def deliver(self) -> int:
        """All facts to all subscribers."""
        taken, total = 1, 0
        while taken:
            taken = 0
            for name in self.outbox.subscribers:
                taken += await self.outbox.deliver(self.database, name)
            total += taken
        return total

    async def job(self, job_id: str) -> Job:
        return await self.database.read(lambda conn: reading.require_job(conn, job_id))

    async def tasks(self, job_id: str) -> list[tuple[Task, list[Lease]]]:
        return await self.database.read(
            lambda conn: reading.tasks_with_leases(conn, job_id, limit=1_000)
        )

    async def balance(self) -> tuple[int, int]:
        """(balance, held) of the project."""
        account = await self.database.read(
            lambda conn: ledger.project_account(conn, self.owner.project_id)
        )
        assert account is not None
        return account.balance_micro_yuan, account.held_micro_yuan

    async def violations(self, *, at_rest: bool = False) -> list[str]:
        """What an independent auditor finds wrong; `at_rest`: and nothing may be under way."""

        def query(conn: sa.Connection) -> list[str]:
            return audit_always(conn) + _counts(conn) + (unsettled(conn) if at_rest else [])

        return await self.database.read(query)


def _counts(conn: sa.Connection) -> list[str]:
    """Jobs count their tasks right."""
    counted: dict[str, dict[str, int]] = {}
    query = sa.select(tasks.c.job_id, tasks.c.state, sa.func.count())
    for job_id, state, count in conn.execute(query.group_by(tasks.c.job_id, tasks.c.state)):
        counted.setdefault(job_id, {})[state] = count
    found = []
    for row in conn.execute(sa.select(jobs)).mappings():
        told = {state.value: row[state.value] for state in TaskState if row[state.value]}
        if told != counted.get(row["id"], {}):
            found.append(f"CountsWrong: {row['id']} says {told}, has {counted.get(row['id'])}")
    return found


async def together(*works: Awaitable[T]) -> list[T]:
    return list(await asyncio.gather(*works))
