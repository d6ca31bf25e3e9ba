"""Login requests and pages of the ledger, unchanged on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from jobs_world import AnyDatabase
from manual_clock import ManualClock
from suanwang.kernel.errors import Conflict, NotFound
from suanwang.platform.database import Tx
from suanwang.tenancy import access, login_requests, people
from suanwang.tenancy.login_requests import Begun, Polled
from suanwang.tenancy.model import Principal
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import project_key


def _prepared(tx: Tx) -> tuple[Principal, Begun]:
    operator = access.bootstrap_platform(tx)
    known = access.know_token(tx.conn, operator.token or "", tx.now_ms)
    begun = login_requests.begin(tx, machine="m", scopes=None, days=1, address=None)
    return known.principal, begun


async def test_of_many_polls_at_once_one_gets_the_token(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    token_holder, begun = await any_database.write(_prepared)

    def confirm(tx: Tx) -> None:
        person = access.principal_of(tx.conn, people.user(tx.conn, token_holder.user_id))
        login_requests.decide(tx, person, begun.user_code, confirmed=True)

    await any_database.write(confirm)

    async def poll() -> Polled | None:
        try:
            return await any_database.write(lambda tx: login_requests.poll(tx, begun.device_code))
        except (Conflict, NotFound):
            return None

    polls = await asyncio.gather(*(poll() for _ in range(8)))
    assert sum(one is not None and one.made is not None for one in polls) == 1


async def test_of_two_browsers_one_decides(any_database: AnyDatabase, clock: ManualClock) -> None:
    token_holder, begun = await any_database.write(_prepared)

    def decide(tx: Tx, confirmed: bool) -> None:
        person = access.principal_of(tx.conn, people.user(tx.conn, token_holder.user_id))
        login_requests.decide(tx, person, begun.user_code, confirmed=confirmed)

    async def one(confirmed: bool) -> bool:
        try:
            await any_database.write(lambda tx: decide(tx, confirmed))
        except (Conflict, NotFound):
            return False
        return True

    assert sorted(await asyncio.gather(one(True), one(False))) == [False, True]


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_entries_of_one_instant_are_paged_by_their_ids(
    any_database: AnyDatabase, clock: ManualClock, size: int
) -> None:
    def prepare(tx: Tx) -> str:
        for number in range(7):
            ledger.top_up(tx, "prj_a", 1 + number, key=str(number))
        return ledger.ensure_account(tx, project_key("prj_a"))

    account_id = await any_database.write(prepare)
    seen: list[int] = []
    after: tuple[int, str] | None = None
    while True:
        place = after
        rows = await any_database.read(
            lambda conn, place=place: ledger.account_lines(
                conn, account_id, 0, 1 << 60, after=place, limit=size
            )
        )
        if not rows:
            break
        seen += [row.amount_micro_yuan for row in rows]
        after = (rows[-1].at_ms, rows[-1].entry_id)
    assert sorted(seen) == list(range(1, 8))
