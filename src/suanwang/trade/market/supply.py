"""What a seller may sell from: his organisation's pools, and the contracts that he holds."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.engine import Connection

from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import PoolRow, Site
from suanwang.kernel.errors import InvalidInput
from suanwang.trade.catalogue.cards import class_of
from suanwang.trade.catalogue.model import CORE, Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Party
from suanwang.trade.contracts.service import Source
from suanwang.trade.market.model import Supply

MILLI = 1_000


def of_pool(pool: PoolRow, site: Site) -> Supply:
    card = pool.accelerator
    by_card = card is not None and any(node.capacity.accelerator_milli for node in pool.nodes)
    per_node = [
        node.capacity.accelerator_milli if by_card else node.capacity.cpu_milli
        for node in pool.nodes
    ]
    unit = class_of(card.model, card.memory_mib) if card is not None and by_card else CORE
    return Supply(
        source_id=pool.pool_id,
        organisation_id=site.organisation_id,
        site_id=site.site_id,
        pool_id=pool.pool_id,
        product=Product(unit, site.region),
        lots=sum(milli // MILLI for milli in per_node),
    )


def pools_of(conn: Connection, organisation_id: str | None = None) -> list[Supply]:
    """Every pool that is there: of all organisations, or of one."""
    by_id = {site.site_id: site for site in sites.sites(conn)}
    return [
        of_pool(pool, by_id[pool.site_id])
        for pool in sites.pools(conn)
        if pool.site_id in by_id and organisation_id in (None, by_id[pool.site_id].organisation_id)
    ]


def products(conn: Connection) -> list[Product]:
    """What any pool could deliver."""
    return sorted({one.product for one in pools_of(conn) if one.lots})


def supply(conn: Connection, seller: Party, source_id: str | None) -> Supply:
    """The source as the seller's. Raises InvalidInput."""
    if source_id is None:
        raise InvalidInput(
            "SourceMissing",
            "An offer to sell says what it sells from.",
            hint="Give the id of a pool of yours or of a contract that you hold as `source`.",
            field="source",
        )
    if source_id.startswith(contracts.CONTRACT):
        return _of_contract(conn, seller, source_id)
    found = supplies(conn, [source_id]).get(source_id)
    if found is None or found.organisation_id != seller.organisation_id:
        raise _not_yours(source_id)
    return found


def supplies(conn: Connection, source_ids: Collection[str]) -> dict[str, Supply]:
    """Those of the sources that are there, whosever they are."""
    held = contracts.by_ids(
        conn, sorted(one for one in source_ids if one.startswith(contracts.CONTRACT))
    )
    found = {one.id: resold(one) for one in held if one.state is ContractState.SIGNED}
    pools = sites.pools_by_id(conn, sorted(set(source_ids) - set(found)))
    places: dict[str, Site | None] = {}
    for pool in pools:
        if pool.site_id not in places:
            places[pool.site_id] = sites.site_if_there(conn, pool.site_id)
        site = places[pool.site_id]
        if site is not None:
            found[pool.pool_id] = of_pool(pool, site)
    return found


def _of_contract(conn: Connection, seller: Party, contract_id: str) -> Supply:
    held = contracts.by_ids(conn, [contract_id])
    if not held or held[0].buyer.project_id != seller.project_id:
        raise _not_yours(contract_id)
    contract = held[0]
    if contract.state is not ContractState.SIGNED:
        raise InvalidInput(
            "ContractEnded",
            f"The contract {contract_id} is {contract.state.value}.",
            hint="Sell from a pool or from another contract.",
            field="source",
        )
    return resold(contract)


def resold(contract: Contract) -> Supply:
    """What its buyer may sell on."""
    return Supply(
        source_id=contract.id,
        organisation_id=contract.buyer.organisation_id,
        site_id=contract.site_id,
        pool_id=contract.pool_id,
        product=contract.product,
        lots=contract.lots,
        period=contract.period,
    )


def _not_yours(source_id: str) -> InvalidInput:
    return InvalidInput(
        "NotYourSource",
        f"You cannot sell from {source_id}.",
        hint="Sell from a pool of your organisation, or from a contract of this project.",
        field="source",
    )


def require_known(conn: Connection, product: Product) -> None:
    """Raises unless some pool delivers it."""
    if product not in products(conn):
        raise InvalidInput(
            "UnknownProduct",
            f"Nobody delivers {product}.",
            hint="See what is delivered: GET /v1/market/products.",
            field="instrument",
        )


def require_covers(found: Supply, product: Product, period: Period) -> None:
    """Raises unless the source delivers that product all the time."""
    if found.product != product:
        raise InvalidInput(
            "OtherProduct",
            f"{found.source_id} delivers {found.product}, not {product}.",
            hint="Sell what the pool has.",
            field="source",
        )
    if found.period is not None and not found.period.covers(period):
        raise InvalidInput(
            "OutsideContract",
            f"The contract {found.source_id} does not cover all of these hours.",
            hint="Sell hours within the contract.",
            field="source",
        )


def source_of(found: Supply) -> Source:
    return Source(found.source_id, found.lots)
