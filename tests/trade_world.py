"""What tests of trade start from: a seller with a site, buyers with money, books and listings."""

from __future__ import annotations

import random as stdlib_random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from manual_clock import ManualClock
from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Stay
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.time import MS_PER_HOUR, hour_of
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.protocol.messages import (
    AcceleratorReport,
    EnrolRequest,
    NodeReport,
    PoolReport,
    PriceReport,
    Quantity,
)
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import OrganisationKind, Role, system_principal
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Party
from suanwang.trade.contracts.store import capacity
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.store import accounts
from suanwang.trade.market import reading
from suanwang.trade.market.books import Books
from suanwang.trade.market.model import Answer, Instrument, OrderGiven, Supply
from suanwang.trade.market.supply import pools_of

T = TypeVar("T")
YUAN = 1_000_000
CARDS = 8


def card_pool(cards: int = CARDS, model: str = "A100", nodes: int = 1) -> PoolReport:
    """So many cards on each node."""
    return PoolReport(
        name="gpu",
        driver="book",
        architecture="x86-64",
        kind="ai",
        nodes=[
            NodeReport(f"g{at}", Quantity(64_000, 262_144, 100_000, cards * 1_000))
            for at in range(1, nodes + 1)
        ],
        accelerator=AcceleratorReport(model, "nvidia", 81_920, 312_000),
        prices=PriceReport(core_hour=0, accelerator_hour=10 * YUAN),
    )


@dataclass
class Bazaar:
    """One process of the platform's trade, without its HTTP."""

    database: Any
    clock: ManualClock
    books: Books = field(default_factory=Books)
    outbox: Outbox = field(default_factory=Outbox)
    dice: stdlib_random.Random = field(default_factory=lambda: stdlib_random.Random(7))

    def __post_init__(self) -> None:
        if not self.outbox.subscribers:
            billing.subscribe(self.outbox)

    async def write(self, use_case: Callable[[Tx], T]) -> T:
        found: T = await self.database.write(use_case)
        return found

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        found: T = await self.database.read(query)
        return found

    async def party(self, name: str, yuan: int = 10_000) -> Party:
        def use_case(tx: Tx) -> Party:
            system = system_principal()
            kinds = (OrganisationKind.CONSUMER, OrganisationKind.PROVIDER)
            owner = tenancy.create_organisation(
                tx, system, name=name, display_name=name, kinds=kinds
            )
            project = tenancy.create_project(tx, system, name="default", organisation_id=owner.id)
            user = people.create_user(tx, system, login=f"{name}-1", organisation_id=owner.id)
            people.set_membership(tx, system, project.id, user.id, Role.MEMBER)
            if yuan:
                ledger.top_up(tx, project.id, yuan * YUAN, key="first")
            else:
                ledger.project_accounts(tx, [project.id])
            return Party(owner.id, project.id, user.id)

        return await self.write(use_case)

    async def site(
        self,
        owner: Party,
        name: str = "zhengzhou",
        pool: PoolReport | None = None,
        zone: str = "henan",
    ) -> Supply:
        """A site of one pool; what its owner may sell of it."""

        def use_case(tx: Tx) -> Supply:
            site, token = sites.invite(
                tx, owner.organisation_id, SiteDescription(name, zone), self.dice
            )
            sites.enrol(tx, EnrolRequest(token, site.site_id), self.dice)
            sites.take_inventory(tx, site.site_id, [pool or card_pool()])
            return next(
                one
                for one in pools_of(tx.conn, owner.organisation_id)
                if one.site_id == site.site_id
            )

        return await self.write(use_case)

    def hour(self, ahead: int = 5) -> int:
        return hour_of(self.clock.now_ms()) + ahead

    def instrument(self, of: Supply, ahead: int = 5) -> Instrument:
        return Instrument(of.product, Period(self.hour(ahead), 1))

    async def place(self, party: Party, instrument: Instrument, *given: OrderGiven) -> list[Answer]:
        return await self.write(
            lambda tx: self.books.place(tx, party, [(instrument, one) for one in given])
        )

    async def expire_books(self) -> None:
        """What the leader does as deliveries begin."""
        now_ms = self.clock.now_ms()
        for name in await self.read(lambda c: reading.begun(c, now_ms)):
            await self.write(lambda tx, of=name: self.books.expire(tx, of))

    async def account(self, party: Party) -> tuple[int, int]:
        """(balance, held) in micro-yuan."""
        found = await self.read(lambda c: ledger.project_account(c, party.project_id))
        return (found.balance_micro_yuan, found.held_micro_yuan) if found else (0, 0)

    async def contracts(self) -> list[Contract]:
        found = await self.read(contracts.page)
        return sorted(found, key=lambda one: one.id)

    async def pledged(self, source_id: str) -> dict[int, int]:
        query = sa.select(capacity.c.hour, capacity.c.lots).where(
            capacity.c.source_id == source_id, capacity.c.lots > 0
        )
        found = await self.read(lambda c: c.execute(query).all())
        return {row.hour: row.lots for row in found}

    def to_hour(self, hour: int, *, past_s: int = 0) -> None:
        self.clock.advance(s=(hour * MS_PER_HOUR - self.clock.now_ms()) // 1_000 + past_s)

    async def deliver(self, lots: dict[str, int]) -> None:
        """One look at the contracts: id → lots that were there."""
        await self.write(lambda tx: contracts.note_samples(tx, lots))

    async def settle(self) -> None:
        while await self.write(lambda tx: contracts.settle(tx, self.outbox)):
            pass
        while await self.outbox.deliver(self.database, billing.CHARGE_SUBSCRIBER):
            pass

    async def check(self) -> None:
        """The books are right, and nothing is held that no order, listing or contract asks for."""
        assert await self.read(reports.verify) == []
        signed = [one for one in await self.contracts() if one.state is ContractState.SIGNED]
        query = sa.select(sa.func.coalesce(sa.func.sum(accounts.c.held), 0))
        held = int(await self.read(lambda c: c.execute(query).scalar_one()))
        assert held >= sum(one.buyer_held + one.rent_held + one.seller_held for one in signed)


def buy(
    lots: int, yuan: float | None, stay: Stay = Stay.REST, key: str | None = None
) -> OrderGiven:
    limit = None if yuan is None else int(yuan * YUAN)
    return OrderGiven(Side.BUY, lots, limit, stay, key=key)


def sell(
    of: Supply | str, lots: int, yuan: float | None, stay: Stay = Stay.REST, key: str | None = None
) -> OrderGiven:
    source = of if isinstance(of, str) else of.source_id
    limit = None if yuan is None else int(yuan * YUAN)
    return OrderGiven(Side.SELL, lots, limit, stay, source, key)
