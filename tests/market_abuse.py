"""What the surveillance is there for: somebody shows large orders and trades on the other side."""

from __future__ import annotations

from dataclasses import replace

from suanwang.trade.market import watch
from suanwang.trade.market.model import Instrument
from suanwang.trade.market.supply import pools_of
from trade_square import Square
from trade_world import buy, sell


async def suspects(square: Square) -> Instrument:
    """A centre that sells, a firm that buys, and an hour for them."""
    seller, _ = await square.settle_in("centre"), await square.settle_in("firm")
    site = await square.bazaar.site(seller)
    return square.bazaar.instrument(site, 48)


async def bait(square: Square, hour: Instrument) -> None:
    """The firm shows a large order, sells a little meanwhile, and takes the large one back."""
    bazaar = square.bazaar
    centre, firm = square.parties["centre"], square.parties["firm"]
    pools = await bazaar.read(lambda conn: pools_of(conn, centre.organisation_id))
    source = next(one for one in pools if one.lots)
    (large,) = await bazaar.place(firm, hour, buy(500, 4))
    await bazaar.place(firm, hour, buy(1, 5))
    await bazaar.place(centre, hour, sell(source, 1, 5))
    held = (await bazaar.contracts())[-1]
    await bazaar.place(firm, hour, sell(held.id, 1, 6))
    await bazaar.place(centre, hour, buy(1, 6))
    order = large.order
    assert order is not None
    bazaar.clock.advance(s=20)
    await bazaar.write(lambda tx: bazaar.books.cancel(tx, replace(order)))


async def look_over(square: Square) -> None:
    """What the platform does every ten minutes."""
    now_ms = square.bazaar.clock.now_ms()
    found = await square.bazaar.read(lambda conn: watch.look(conn, now_ms))
    await square.bazaar.write(lambda tx: watch.keep(tx, found))
