"""Contracts in a run: some hours of a site's cores for a project, a part of them sold on, one
contract perhaps given up; and what the audit must know of them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from suanwang.grid.jobs.reconciler import ROUND_SIGNAL
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.time import MS_PER_HOUR, hour_of
from suanwang.platform.database import Tx
from suanwang.sim.grid import Grid
from suanwang.sim.ground import PLACES, START_MS, Submitter, submitters
from suanwang.trade.catalogue.model import CORE, Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, Draft, Origin, Party, Terms
from suanwang.trade.contracts.rules import funded
from suanwang.trade.contracts.service import Source
from suanwang.trade.ledger import service as ledger

ONE_IN = 5
"""Seeds, of which one trades."""
FIRST_HOUR_S = 60
"""Into such a run an hour begins: contracts end and begin amid the chaos."""
PRICE = 1_000_000
RENT = 7_001
"""As if every contract came from another zone."""
TERMS = Terms(cancel_hours=0)


def start_ms(seed: int) -> int:
    if seed % ONE_IN:
        return START_MS
    return (hour_of(START_MS) + 1) * MS_PER_HOUR - FIRST_HOUR_S * 1_000


@dataclass(frozen=True, slots=True)
class Deal:
    """So many cores of a site for the hour that has begun, or for the next."""

    at_s: float
    site: str
    lots: int
    begins: int
    sold_on: int
    """Of its lots."""
    given_up_after_s: float | None


def deals(dice: random.Random) -> list[Deal]:
    found = []
    for site, place in PLACES.items():
        cores = sum(node.cpu_milli for node in place.nodes.values()) // 1_000
        for begins in (0, 1):
            lots = dice.randint(2, cores - 2)
            found.append(
                Deal(
                    at_s=dice.random() * 20 + begins * 10,
                    site=site,
                    lots=lots,
                    begins=begins,
                    sold_on=dice.choice([0, 0, lots // 2]),
                    given_up_after_s=dice.choice([None, None, 60 * dice.random()]),
                )
            )
    return sorted(found, key=lambda deal: (deal.at_s, deal.site))


class Traders:
    """The market of a run, as far as it signs contracts."""

    def __init__(self, grid: Grid, seed: int) -> None:
        self._grid = grid
        people = grid.database.read_now(submitters)
        by_name = {(p.project.organisation, p.project.name): p for p in people}
        self._buyer = _party(by_name["firm", "default"])
        self._seller = _party(by_name["henu", "default"])
        self._plan = deals(random.Random(seed)) if seed % ONE_IN == 0 else []

    async def work(self) -> None:
        for deal in self._plan:
            await asyncio.sleep(max(0.0, deal.at_s - self._grid.loop.time()))
            self._grid.spawn(self._trade(deal))

    async def _trade(self, deal: Deal) -> None:
        grid = self._grid
        made = await grid.persist(lambda tx: self._sign(tx, deal), refused=_never)
        if made is None:
            return
        grid.world.signed[made.id] = made
        if deal.sold_on:
            await grid.persist(lambda tx: self._sell_on(tx, made, deal.sold_on), refused=_never)
        grid.notify(ROUND_SIGNAL)
        if deal.given_up_after_s is not None:
            await asyncio.sleep(deal.given_up_after_s)
            await grid.persist(lambda tx: contracts.withdraw(tx, made.id), refused=_ended)

    def _sign(self, tx: Tx, deal: Deal) -> Contract:
        site = sites.find_site(tx.conn, deal.site)
        pools = sites.pools_of_site(tx.conn, site.site_id)
        if not pools:
            raise SuanwangError("NoPool", f"{deal.site} has not come yet.")
        cores = sum(node.cpu_milli for node in PLACES[deal.site].nodes.values()) // 1_000
        return _sign(
            tx,
            Source(pools[0].pool_id, cores),
            Draft(
                origin=Origin.BILATERAL,
                reference="sim",
                buyer=self._buyer,
                seller=self._seller,
                site_id=site.site_id,
                pool_id=pools[0].pool_id,
                product=Product(CORE, PLACES[deal.site].region),
                period=Period(hour_of(tx.now_ms) + deal.begins, 1),
                lots=deal.lots,
                price=PRICE,
                terms=TERMS,
                rent=RENT,
            ),
        )

    def _sell_on(self, tx: Tx, first: Contract, lots: int) -> Contract:
        return _sign(
            tx,
            Source(first.id, first.lots),
            Draft(
                origin=Origin.BILATERAL,
                reference="sim",
                buyer=self._seller,
                seller=self._buyer,
                site_id=first.site_id,
                pool_id=first.pool_id,
                product=first.product,
                period=first.period,
                lots=lots,
                price=2 * PRICE,
                terms=TERMS,
                backing_id=first.id,
            ),
        )


def _sign(tx: Tx, source: Source, draft: Draft) -> Contract:
    draft = funded(draft)
    contracts.pledge(tx, source, draft.period, draft.lots)
    accounts = ledger.project_accounts(tx, [draft.buyer.project_id, draft.seller.project_id])
    ledger.hold(
        tx,
        {
            accounts[draft.buyer.project_id]: draft.worth + draft.whole_rent,
            accounts[draft.seller.project_id]: draft.deposit,
        },
    )
    return contracts.get(tx.conn, contracts.sign(tx, [draft])[0])


def _party(person: Submitter) -> Party:
    owner = person.owner
    return Party(owner.organisation_id, owner.project_id, owner.user_id)


def _never(error: SuanwangError) -> bool:
    return error.reason == "CapacitySold"


def _ended(error: SuanwangError) -> bool:
    return error.reason == "ContractEnded"
