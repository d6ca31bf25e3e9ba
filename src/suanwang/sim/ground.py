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
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import Clock
from suanwang.platform.database import InlineDatabase, Tx, peeking_connection
from suanwang.platform.migrations import load_tables
from suanwang.protocol.messages import NodeReport, PoolReport, PriceReport, Quantity
from suanwang.sim.plane import StoreFaults
from suanwang.sim.world import Place
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Role, system_principal
from suanwang.trade.ledger import service as ledger

START_MS = 1_790_000_000_000
PLENTY = 10**12
ARREARS_GRACE_S = 15


def _place(region: str, architecture: str, nodes: int) -> Place:
    return Place(
        region, architecture, {f"n{i}": Resources(4000, 8192, 10_000, 0) for i in range(nodes)}
    )


PLACES = {
    "zhengzhou": _place("henan", "x86-64", 2),
    "qingyang": _place("gansu", "x86-64", 3),
    "hami": _place("xinjiang", "aarch64", 4),
}


@dataclass(frozen=True, slots=True)
class Project:
    """What a project was given; credit in micro-yuan."""

    organisation: str
    name: str
    credit: int = PLENTY
    quota: Resources | None = None


ORGANISATIONS = ("henu", "firm")
LEAN = Project("firm", "lean", credit=80_000)
"""Its money does not last."""
PROJECTS = (
    Project("henu", "default", quota=Resources(12_000, 1 << 20, 1 << 20, 0)),
    Project("firm", "default"),
    LEAN,
)


@dataclass(frozen=True, slots=True)
class _Still:
    """A clock that stands."""

    def now_ms(self) -> int:
        return START_MS


def pool_of(site: str) -> PoolReport:
    place = PLACES[site]
    nodes = [
        NodeReport(name, Quantity(free.cpu_milli, free.memory_mib, free.disk_mib, 0))
        for name, free in place.nodes.items()
    ]
    return PoolReport(
        name="cpu",
        driver="sim",
        architecture=place.architecture,
        kind="general",
        nodes=nodes,
        prices=PriceReport(core_hour=50_000 * len(nodes), memory_gib_hour=10_000),
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
    for name in ORGANISATIONS:
        organisation = tenancy.create_organisation(tx, system, name=name, display_name=name)
        for login in (f"{name}-a", f"{name}-b"):
            people.create_user(tx, system, login=login, organisation_id=organisation.id)
        for project in (one for one in PROJECTS if one.organisation == name):
            made = tenancy.create_project(
                tx,
                system,
                name=project.name,
                organisation_id=organisation.id,
                quota=project.quota,
                arrears_grace_s=ARREARS_GRACE_S,
            )
            for login in (f"{name}-a", f"{name}-b"):
                people.set_membership(tx, system, made.id, login, Role.MEMBER)
            ledger.project_accounts(tx, [made.id])
            ledger.set_credit_limit(tx, made.id, project.credit)
    dice = random.Random(7)
    for name, place in PLACES.items():
        organisation = tenancy.organisation(tx.conn, ORGANISATIONS[0])
        site, _ = sites.invite(tx, organisation.id, SiteDescription(name, place.region), dice)
        sites_store.update_site(tx.conn, site.site_id, state="active")


@dataclass(frozen=True, slots=True)
class Submitter:
    """A member of a project, with what the project was given."""

    owner: submission.Owner
    project: Project


def submitters(conn: Any) -> list[Submitter]:
    system = system_principal()
    found = []
    for project in PROJECTS:
        row = tenancy.project_of(conn, system, f"{project.organisation}/{project.name}")
        for login in (f"{project.organisation}-a", f"{project.organisation}-b"):
            user = people.user(conn, login)
            owner = submission.Owner(row.organisation_id, row.id, user.id)
            found.append(Submitter(owner, project))
    return found
