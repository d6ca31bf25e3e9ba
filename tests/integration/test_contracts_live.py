"""A contract with a real server, a real agent and real processes: work runs on it, its hour is
charged; with the agent gone nothing is delivered, and the seller pays the credit.

Nobody waits for hours to end: what is on the books of them is moved two hours back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from contract_world import PRICE, Place, sign
from rig import LiveGrid, telling, until
from suanwang.bootstrap import make_context
from suanwang.grid.jobs import reading
from suanwang.platform.database import Tx
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Role, system_principal
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Party
from suanwang.trade.contracts.store import contracts as contracts_table
from suanwang.trade.contracts.store import hours as hours_table
from suanwang.trade.ledger import service as ledger

LOTS = 2
MS_OF_SILENCE = 120_000


def write(grid: LiveGrid, use_case: Callable[[Tx], Any]) -> Any:
    """Beside the server, as another process of the platform would."""

    async def once() -> Any:
        context = make_context(grid.settings)
        try:
            return await context.database.write(use_case)
        finally:
            await context.database.close()

    return asyncio.run(once())


def seller(tx: Tx) -> Party:
    system = system_principal()
    organisation = tenancy.create_organisation(tx, system, name="provider", display_name="P")
    project = tenancy.create_project(tx, system, name="sales", organisation_id=organisation.id)
    user = people.create_user(tx, system, login="sales", organisation_id=organisation.id)
    people.set_membership(tx, system, project.id, user.id, Role.MEMBER)
    ledger.project_accounts(tx, [project.id])
    ledger.set_credit_limit(tx, project.id, 10**12)
    return Party(organisation.id, project.id, user.id)


def hours_earlier(one: Contract) -> Callable[[Tx], None]:
    def use_case(tx: Tx) -> None:
        contracts.give_back(tx, one.pool_id, one.period, one.lots)
        mine = contracts_table.c.id == one.id
        tx.conn.execute(
            sa.update(contracts_table)
            .where(mine)
            .values(first_hour=contracts_table.c.first_hour - 2)
        )
        tx.conn.execute(
            sa.update(hours_table)
            .where(hours_table.c.contract_id == one.id)
            .values(hour=hours_table.c.hour - 2)
        )

    return use_case


def hour_of_contract(grid: LiveGrid, contract_id: str) -> Any:
    found = grid.read(lambda c: contracts.hours_of(c, contract_id))
    return found[0] if found else None


def one_contract(grid: LiveGrid, place: Place, buyer: Party, by: Party) -> Contract:
    made: Contract = write(grid, lambda tx: sign(tx, place, buyer, by, lots=LOTS, hours=2))
    return made


def completed(grid: LiveGrid, contract_id: str) -> bool:
    one: Contract = grid.read(lambda c: contracts.get(c, contract_id))
    return one.state is ContractState.COMPLETED


def test_work_runs_on_a_contract_and_its_hours_are_paid_or_credited(tmp_path: Path) -> None:
    with LiveGrid(tmp_path, contract_look_every_s=1) as grid:
        site = grid.site("near", cpus=2)
        view = site.view()
        place = Place(view["id"], view["pools"][0]["id"], LOTS)
        by = write(grid, seller)
        buyer = grid.read(_owner_of(grid.submit("true")))
        signed = one_contract(grid, place, buyer, by)
        on_it = grid.submit(telling(tmp_path / "on"), contract=signed.id, max_runtime=60)
        cut = grid.submit("sleep 600", contract=signed.id, max_runtime=2, retries={"on": []})
        beside = grid.submit("true", contract="none")
        too_long = grid.submit("true", contract=signed.id, max_runtime=3 * 3_600)
        assert grid.until_state(on_it) == "succeeded"
        assert grid.until_state(cut) == "failed"
        assert grid.until_state(too_long) == "refused"
        for job_id in (on_it, cut):
            [lease] = grid.leases(job_id)
            assert lease["contract"] == signed.id
            assert lease["rate"]["micro_yuan"] == 0
        assert grid.leases(cut)[0]["failure"] == "timeout"
        assert grid.state(beside) == "queued"  # all cores are the contract's
        until(lambda: hour_of_contract(grid, signed.id), "the contract was looked at")
        write(grid, hours_earlier(signed))
        until(lambda: completed(grid, signed.id), "its hours are settled")
        first = grid.read(lambda c: contracts.hours_of(c, signed.id))[-1]
        assert first.delivered == LOTS * first.samples > 0
        assert (first.charged, first.credited) == (LOTS * PRICE, 0)
        assert grid.until_state(beside) == "succeeded"

        second = one_contract(grid, place, buyer, by)
        site.kill()
        write(grid, _not_heard(view["id"]))
        until(lambda: hour_of_contract(grid, second.id), "it was looked at with the agent gone")
        write(grid, hours_earlier(second))
        until(lambda: completed(grid, second.id), "the hours of the second are settled")
        lost = grid.read(lambda c: contracts.hours_of(c, second.id))[-1]
        assert lost.charged < LOTS * PRICE
        assert lost.credited == (LOTS * PRICE - lost.charged) * 20 // 100
        assert lost.credited > 0
        grid.check_books()


def _owner_of(job_id: str) -> Callable[[sa.Connection], Party]:
    def query(conn: sa.Connection) -> Party:
        job = reading.require_job(conn, job_id)
        return Party(job.organisation_id, job.project_id, job.user_id)

    return query


def _not_heard(site_id: str) -> Callable[[Tx], None]:
    def use_case(tx: Tx) -> None:
        tx.conn.execute(
            sa.text("UPDATE sites SET last_contact_ms = last_contact_ms - :ago WHERE id = :id"),
            {"ago": MS_OF_SILENCE, "id": site_id},
        )

    return use_case
