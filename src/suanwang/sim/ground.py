"""What every run begins with: the schema, organisations, projects, people, sites. No seed in it."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.grid.jobs import submission
from suanwang.grid.sites import service as sites
from suanwang.grid.sites import store as sites_store
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.time import Clock
from suanwang.platform.database import InlineDatabase, Tx, peeking_connection
from suanwang.platform.migrations import load_tables
from suanwang.protocol.messages import NodeReport, PoolReport, PriceReport, Quantity
from suanwang.sim.plane import StoreFaults
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Role, system_principal
from suanwang.trade.ledger import service as ledger

START_MS = 1_790_000_000_000
SITES = ("zhengzhou", "qingyang", "hami")


@dataclass(frozen=True, slots=True)
class _Still:
    """A clock that stands."""

    def now_ms(self) -> int:
        return START_MS


def pool_of(number: int) -> PoolReport:
    nodes = [NodeReport(f"n{i}", Quantity(4000, 8192, 10_000, 0)) for i in range(2 + number)]
    return PoolReport(
        name="cpu",
        driver="sim",
        architecture="x86-64",
        kind="general",
        nodes=nodes,
        prices=PriceReport(core_hour=100_000 * (1 + number), memory_gib_hour=10_000),
    )


@cache
def _used_again() -> tuple[Connection, sqlite3.Connection]:
    """One database for all the runs of a process, and what it is filled with before each:
    schema and fixed rows, of no seed, so that a run does not depend on those before it."""
    connection = peeking_connection("sqlite://")
    load_tables().create_all(connection.engine)
    InlineDatabase(_Still(), random.Random(0), connection=connection).write_now(_fixed_rows)
    template = sqlite3.connect(":memory:")
    _raw(connection).backup(template)
    return connection, template


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def fresh_database(clock: Clock, dice: random.Random, faults: StoreFaults) -> InlineDatabase:
    connection, template = _used_again()
    template.backup(_raw(connection))
    return InlineDatabase(clock, dice, connection=connection, faults=faults)


def _fixed_rows(tx: Tx) -> None:
    system = system_principal()
    for name in ("henu", "firm"):
        organisation = tenancy.create_organisation(tx, system, name=name, display_name=name)
        project = tenancy.create_project(
            tx, system, name="default", organisation_id=organisation.id
        )
        for login in (f"{name}-a", f"{name}-b"):
            people.create_user(tx, system, login=login, organisation_id=organisation.id)
            people.set_membership(tx, system, project.id, login, Role.MEMBER)
        ledger.project_accounts(tx, [project.id])
        ledger.set_credit_limit(tx, project.id, 10**12)
    dice = random.Random(7)
    for name in SITES:
        organisation = tenancy.organisation(tx.conn, "henu")
        site, _ = sites.invite(tx, organisation.id, SiteDescription(name, "henan"), dice)
        sites_store.update_site(tx.conn, site.site_id, state="active")


def owners(conn: Any) -> list[submission.Owner]:
    system = system_principal()
    found = []
    for name in ("henu", "firm"):
        project = tenancy.project_of(conn, system, f"{name}/default")
        for login in (f"{name}-a", f"{name}-b"):
            user = people.user(conn, login)
            found.append(submission.Owner(project.organisation_id, project.id, user.id))
    return found
