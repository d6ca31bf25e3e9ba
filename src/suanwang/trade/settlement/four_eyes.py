"""Four eyes over money that leaves: who proposed or approved a payout does not release it.

An operator of one officer would never pay anybody, so it may allow him to do it alone: by a
setting with its reason, on the audit log, and in force only while there is no second officer.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, Forbidden
from suanwang.platform.database import Tx
from suanwang.tenancy import people
from suanwang.trade.settlement import store
from suanwang.trade.settlement.model import Payout, PayoutRule


@dataclass(frozen=True, slots=True)
class FourEyes:
    """The rule as it holds now."""

    rule: PayoutRule | None
    """None: nobody has ever changed it."""
    officers: int
    """Operators who could act."""

    @property
    def alone_allowed(self) -> bool:
        return self.rule is not None and self.rule.alone and self.officers <= 1


def found(conn: Connection, organisation_id: str) -> FourEyes:
    """Of the operator's organisation."""
    rule = store.find_payout_rule(conn, organisation_id)
    return FourEyes(rule, len(people.operators(conn)))


def keep(tx: Tx, organisation_id: str, *, alone: bool, why: str, by: str) -> FourEyes:
    """Raises Conflict (SecondOfficer) where four eyes are there."""
    before = found(tx.conn, organisation_id)
    if alone and before.officers > 1:
        raise Conflict(
            "SecondOfficer",
            f"There are {before.officers} operators: one can release what another has prepared.",
            hint="Only an operator who is alone may do without; let a second one release it.",
            field="alone",
        )
    store.keep_payout_rule(tx, PayoutRule(organisation_id, alone, why, tx.now_ms, by))
    return found(tx.conn, organisation_id)


def check(payout: Payout, by: str, rule: FourEyes) -> None:
    """Raises Forbidden (FourEyes)."""
    if by not in (payout.proposed_by, payout.approved_by) or rule.alone_allowed:
        return
    did = "proposed" if by == payout.proposed_by else "approved"
    if rule.officers > 1:
        hint = "Another operator, who did neither, enters it as paid; or cancel it and begin anew."
    else:
        hint = "Add a second operator; or, being alone, allow it: `suan payout rule --alone`."
    raise Forbidden("FourEyes", f"You {did} this payout: another must release it.", hint=hint)
