"""Whether those who want to trade still can: in good standing, with the capacity there."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import OrganisationState, ProjectState
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Party
from suanwang.trade.market.supply import supply


def standing_of(conn: Connection, party: Party) -> tuple[bool, bool]:
    """(his organisation is suspended, his project is closed)."""
    owner = tenancy.organisation(conn, party.organisation_id)
    project = tenancy.project(conn, party.project_id)
    return (
        owner.state is OrganisationState.SUSPENDED,
        project.state is not ProjectState.ACTIVE,
    )


def key_reused(of: str) -> Conflict:
    return Conflict(
        "KeyReused",
        f"This key has been used for {of}.",
        hint="Give each a key of its own; repeat a key only to try again.",
        field="key",
    )


def capacity_gone(
    conn: Connection, seller: Party, source_id: str, product: Product, period: Period
) -> bool:
    """Whether a source cannot deliver any more what was pledged of it: it left, it shrank, it
    became another product's, or the contract behind it ended."""
    try:
        found = supply(conn, seller, source_id)
    except InvalidInput:
        return True
    most = max(contracts.pledged(conn, [source_id], period).values(), default=0)
    return found.product != product or found.lots < most
