"""Whether those who want to trade still can: in good standing, with the capacity there."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, NotFound
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Organisation, OrganisationState, ProjectState
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Party
from suanwang.trade.market.supply import supplies

CAPACITY_GONE = "CapacityGone"
"""Why an offer ended: its source is not what it was."""


def standing_of(conn: Connection, party: Party) -> tuple[bool, bool]:
    """(his organisation is suspended, his project is closed)."""
    owner = tenancy.organisation(conn, party.organisation_id)
    project = tenancy.project(conn, party.project_id)
    return (
        owner.state is OrganisationState.SUSPENDED,
        project.state is not ProjectState.ACTIVE,
    )


def organisation_at(conn: Connection, name_or_id: str, field: str) -> Organisation:
    """Whom a field names. Raises NotFound with that field."""
    try:
        return tenancy.organisation(conn, name_or_id)
    except NotFound as error:
        error.field = field
        raise


def no_capacity() -> Conflict:
    return Conflict(
        CAPACITY_GONE,
        "What was offered is not there any more.",
        hint="Buy from another source; nothing of yours is set aside.",
    )


def key_reused(of: str) -> Conflict:
    return Conflict(
        "KeyReused",
        f"This key has been used for {of}.",
        hint="Give each a key of its own; repeat a key only to try again.",
        field="key",
    )


def capacity_gone(conn: Connection, source_id: str, product: Product, period: Period) -> bool:
    """`gone`, of one."""
    return bool(gone(conn, {source_id: product}, period))


def gone(conn: Connection, offered: Mapping[str, Product], period: Period) -> list[str]:
    """Sources (with the product promised of each) that cannot deliver any more what was pledged of
    them: they left, they shrank, they became another product's, or the contract behind ended."""
    there = supplies(conn, offered)
    most: dict[str, int] = {}
    for (source_id, _), lots in contracts.pledged(conn, sorted(there), period).items():
        most[source_id] = max(lots, most.get(source_id, 0))
    return [
        source_id
        for source_id, product in sorted(offered.items())
        if (found := there.get(source_id)) is None
        or found.product != product
        or found.lots < most.get(source_id, 0)
    ]
