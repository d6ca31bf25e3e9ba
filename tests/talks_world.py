"""What tests of quotations and deals start from, and the check that nothing stays locked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from suanwang.engines.matching.model import Side
from suanwang.grid.sites import service as sites
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import OrganisationState, ProjectState, system_principal
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.tenancy.service import OrganisationChange, ProjectChange
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import store as contracts_store
from suanwang.trade.contracts.model import ContractState, Party
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.store import accounts
from suanwang.trade.market import auction_rules, deals, listings, quotations, quotations_award
from suanwang.trade.market import instruments as naming
from suanwang.trade.market.auction_store import orders as bids
from suanwang.trade.market.auction_store import rounds
from suanwang.trade.market.deals_model import Addressee, Deal, ProposalGiven
from suanwang.trade.market.deals_store import proposals
from suanwang.trade.market.model import Supply
from suanwang.trade.market.orders_store import orders
from suanwang.trade.market.quotations_model import Enquiry, EnquiryGiven, Quote, QuoteGiven
from suanwang.trade.market.quotations_store import enquiries, quotes
from trade_world import YUAN, Bazaar

HOUR_S = 3_600


@dataclass
class Talks(Bazaar):
    """A bazaar in which people ask and propose."""

    box: SecretsBox = field(default_factory=SecretsBox.in_memory)

    def enquiry(self, of: Supply, lots: int = 4, **changes: Any) -> EnquiryGiven:
        """For two hours from five hours on, to be answered within one."""
        given = EnquiryGiven(
            products=(of.product,),
            lots=lots,
            period=Period(self.hour(5), 2),
            deadline_ms=self.clock.now_ms() + HOUR_S * 1_000,
            ceiling=10 * YUAN,
        )
        return replace(given, **changes)

    async def ask(self, buyer: Party, given: EnquiryGiven, **more: Any) -> Enquiry:
        return await self.write(lambda tx: quotations.ask(tx, buyer, given, **more))

    async def quote(
        self, seller: Party, of: Enquiry, source: Supply | str, yuan: float, **more: Any
    ) -> Quote:
        source_id = source if isinstance(source, str) else source.source_id
        given = QuoteGiven(source_id, int(yuan * YUAN), **more)
        return await self.write(lambda tx: quotations.quote(tx, self.box, seller, of.id, given))

    async def sweep(self) -> None:
        """What the leader does again and again."""
        now_ms = self.clock.now_ms()
        for enquiry_id in await self.read(lambda c: quotations.due(c, now_ms)):
            await self.write(lambda tx, of=enquiry_id: quotations_award.award(tx, self.box, of))
        for deal_id in await self.read(lambda c: deals.due(c, now_ms)):
            await self.write(lambda tx, of=deal_id: deals.expire(tx, of))

    async def to_deadline(self) -> None:
        self.clock.advance(s=HOUR_S)
        await self.sweep()

    async def found(self, enquiry: Enquiry) -> Enquiry:
        return await self.read(lambda c: quotations.get(c, enquiry.id))

    async def outcomes(self, enquiry: Enquiry) -> list[tuple[str, str, int]]:
        """(state, why, lots won) of the quotes, in the order they came."""
        found = await self.read(lambda c: quotations.quotes_of(c, enquiry.id))
        return [(one.state.value, one.why, one.won_lots) for one in found]

    def proposal(self, of: Supply, lots: int = 2, yuan: float = 6, **changes: Any) -> ProposalGiven:
        """To buy; valid for an hour."""
        given = ProposalGiven(
            lots=lots,
            period=Period(self.hour(5), 2),
            price=int(yuan * YUAN),
            valid_until_ms=self.clock.now_ms() + HOUR_S * 1_000,
            product=of.product,
        )
        return replace(given, **changes)

    def offer(self, of: Supply, lots: int = 2, yuan: float = 6, **changes: Any) -> ProposalGiven:
        """The same to sell."""
        return self.proposal(of, lots, yuan, product=None, source_id=of.source_id, **changes)

    async def propose(
        self, party: Party, side: Side, to: Party, given: ProposalGiven, **more: Any
    ) -> Deal:
        whom = Addressee(to.organisation_id)
        return await self.write(lambda tx: deals.propose(tx, party, side, whom, given, **more))

    async def remove_pool(self, of: Supply) -> None:
        """Its site reports that it is no more."""
        await self.write(lambda tx: sites.take_inventory(tx, of.site_id, []))

    async def suspend(self, party: Party) -> None:
        change = OrganisationChange(state=OrganisationState.SUSPENDED)
        await self.write(
            lambda tx: tenancy.change_organisation(
                tx, system_principal(), party.organisation_id, change
            )
        )

    async def close(self, party: Party) -> None:
        """His project."""
        change = ProjectChange(state=ProjectState.CLOSED)
        await self.write(
            lambda tx: tenancy.change_project(tx, system_principal(), party.project_id, change)
        )

    async def spend(self, party: Party, yuan: int) -> None:
        """On something else."""
        await self.write(
            lambda tx: ledger.adjust(
                tx, party.project_id, -yuan * YUAN, key="spent", description="spent"
            )
        )

    async def check(self) -> None:
        """To the micro-yuan and the lot: held and pledged is what open things ask for.

        Hours that are over are nobody's capacity any more.
        """
        await super().check()
        first = self.hour(0)
        held, pledged = await self.read(lambda c: _locked(c, first))
        wanted_held, wanted_pledged = await self.read(lambda c: _asked_for(c, first))
        assert held == wanted_held
        assert pledged == wanted_pledged


Locked = tuple[Counter[str], Counter[tuple[str, int]]]


def _locked(conn: sa.Connection, first_hour: int) -> Locked:
    """Project → micro-yuan held, (source, hour) → lots pledged; no zeros."""
    rows = conn.execute(sa.select(accounts.c.owner_id, accounts.c.held).where(accounts.c.held != 0))
    held = Counter({row.owner_id: row.held for row in rows})
    table = contracts_store.capacity
    lots = conn.execute(sa.select(table).where(table.c.lots != 0, table.c.hour >= first_hour))
    of_sources = [row for row in lots if not row.source_id.startswith("lst_")]
    return held, Counter({(row.source_id, row.hour): row.lots for row in of_sources})


def _asked_for(conn: sa.Connection, first_hour: int) -> Locked:
    held: Counter[str] = Counter()
    pledged: Counter[tuple[str, int]] = Counter()

    def promise(source_id: str, period: Period, lots: int) -> None:
        for hour in range(max(first_hour, period.first_hour), period.end_hour):
            pledged[source_id, hour] += lots

    everything = contracts_store.page(
        conn,
        buyers=None,
        sellers=None,
        state=ContractState.SIGNED,
        reference=None,
        before=None,
        limit=10_000,
    )
    for contract in everything:
        held[contract.buyer.project_id] += contract.buyer_held + contract.rent_held
        held[contract.seller.project_id] += contract.seller_held
        promise(contract.backing_id or contract.pool_id, contract.period, contract.lots)
    for one in listings.page(conn, limit=10_000):
        for hour, lots in listings.unsold(conn, [one])[one.id]:
            promise(one.source_id, Period(hour, 1), lots)
    for row in conn.execute(sa.select(orders).where(orders.c.state == "open")):
        held[row.project_id] += row.lots_left * row.held_per_lot
        if row.source_id is not None:
            promise(row.source_id, naming.parse(row.instrument).period, row.lots_left)
    days = {row.id: row.first_hour for row in conn.execute(sa.select(rounds))}
    for row in conn.execute(sa.select(bids)):
        assert row.state == "standing" or row.held == 0, row
        held[row.project_id] += row.held
        if row.state == "standing" and row.bid.side is Side.SELL:
            for at, hours, lots in auction_rules.runs(auction_rules.envelope(row.bid)):
                promise(row.bid.source, Period(days[row.round_id] + at, hours), lots)
    periods = {}
    for row in conn.execute(sa.select(enquiries)):
        periods[row.id] = Period(row.first_hour, row.hours)
        assert (row.held > 0) == (row.state == "open"), row
        held[row.project_id] += row.held
    for row in conn.execute(sa.select(quotes)):
        assert row.state == "sealed" or (row.held, row.sealed) == (0, b""), row
        assert row.state != "sealed" or (row.sealed and row.price is None), row
        held[row.project_id] += row.held
        if row.state == "sealed":
            promise(row.source_id, periods[row.enquiry_id], row.lots)
    for row in conn.execute(sa.select(proposals)):
        assert row.state == "standing" or row.held == 0, row
        held[row.project_id] += row.held
        if row.state == "standing" and row.source_id is not None:
            promise(row.source_id, Period(row.first_hour, row.hours), row.lots)
    return +held, +pledged
