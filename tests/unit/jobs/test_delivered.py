"""What a contract has delivered at a look: its own lots of now, and those that it sold on."""

from __future__ import annotations

from contract_world import TERMS
from suanwang.grid.jobs.contracted import Contracted, claims_of
from suanwang.grid.jobs.delivery import delivered
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.catalogue.model import CORE, Period, Product
from suanwang.trade.contracts.model import Contract, ContractState, Origin, Party

HOUR = 500_000
NOW_MS = HOUR * MS_PER_HOUR
PARTY = Party("org", "project", "user")


def signed(
    name: str, lots: int, hours: int, *, begins: int = 0, backing_id: str | None = None
) -> Contract:
    return Contract(
        id=name,
        origin=Origin.BILATERAL,
        reference="deal",
        buyer=PARTY,
        seller=PARTY,
        site_id="site",
        pool_id="pool",
        product=Product(CORE, "henan"),
        period=Period(HOUR + begins, hours),
        lots=lots,
        price=1,
        terms=TERMS,
        state=ContractState.SIGNED,
        signed_at_ms=0,
        ended_at_ms=None,
        settled_hours=0,
        buyer_held=0,
        seller_held=0,
        backing_id=backing_id,
    )


def test_lots_that_are_its_own_only_later_are_not_there_now() -> None:
    first = signed("first", 8, 2)
    sold = signed("sold", 4, 1, backing_id="first")
    resold = {("first", HOUR): 4}
    own = claims_of(first, HOUR, resold, resold)
    claims = [*own, *claims_of(sold, HOUR, {}, {})]
    # two of the buyer's four are missing; what is first's own in an hour is free now, too
    parts = {claim.part_id: (("n1", claim.lots),) for claim in own}
    parts[claims[-1].part_id] = (("n1", 2),)
    bound = Contracted({"pool": claims})
    found = delivered([first, sold], bound, parts, {("pool", "n1")}, NOW_MS)
    assert found == {"first": 6, "sold": 2}
