"""The life of a grant: what is applied for, reviewed, granted, redeemed, paid, audited, reclaimed.

    application (申领)     submitted ──▶ granted      review (审核) says yes: grant (发放)
                              ├───────▶ refused
                              └───────▶ withdrawn

    grant (发放)           active ◀─▶ spent           by redemption (核销) or payout (兑付);
                              │                       back when a charge that it paid is undone
                              ├─────▶ expired         what is left goes back to the budget
                              └─────▶ reclaimed       after an audit (审计): clawback (追回)
                           spent, expired ─▶ reclaimed

But for a spent grant that gets something back, both only move forward; the transitions are the
two tables below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from suanwang.kernel.errors import Conflict
from suanwang.trade.policy.model import Item, Mode, Request


class ApplicationState(StrEnum):
    SUBMITTED = "submitted"
    GRANTED = "granted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class GrantState(StrEnum):
    ACTIVE = "active"
    SPENT = "spent"
    EXPIRED = "expired"
    RECLAIMED = "reclaimed"


class Finding(StrEnum):
    """Of an audit."""

    CLEAN = "clean"
    BREACH = "breach"


APPLICATION_MOVES: Mapping[ApplicationState, tuple[ApplicationState, ...]] = {
    ApplicationState.SUBMITTED: (
        ApplicationState.GRANTED,
        ApplicationState.REFUSED,
        ApplicationState.WITHDRAWN,
    ),
    ApplicationState.GRANTED: (),
    ApplicationState.REFUSED: (),
    ApplicationState.WITHDRAWN: (),
}
GRANT_MOVES: Mapping[GrantState, tuple[GrantState, ...]] = {
    GrantState.ACTIVE: (GrantState.SPENT, GrantState.EXPIRED, GrantState.RECLAIMED),
    GrantState.SPENT: (GrantState.ACTIVE, GrantState.RECLAIMED),
    GrantState.EXPIRED: (GrantState.RECLAIMED,),
    GrantState.RECLAIMED: (),
}


def check_application_move(before: ApplicationState, after: ApplicationState) -> None:
    if after not in APPLICATION_MOVES[before]:
        raise Conflict(
            "ApplicationDecided",
            f"This application is {before.value}; it cannot become {after.value}.",
            hint="Apply again if something has changed.",
        )


def check_grant_move(before: GrantState, after: GrantState) -> None:
    if after not in GRANT_MOVES[before]:
        raise Conflict(
            "GrantEnded",
            f"This grant is {before.value}; it cannot become {after.value}.",
            hint="Look at its history; a reclaimed grant stays so.",
        )


@dataclass(frozen=True, slots=True)
class Application:
    id: str
    programme_id: str
    programme_version: int
    organisation_id: str
    project_id: str
    user_id: str
    request: Request
    state: ApplicationState
    submitted_at_ms: int
    decided_at_ms: int | None = None
    decided_by: str | None = None
    remark: str = ""
    """The reviewer's words."""
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """An amount for a project. At a charge `percent_*` of it is paid, until nothing is left."""

    id: str
    application_id: str
    programme_id: str
    programme_version: int
    organisation_id: str
    project_id: str
    mode: Mode
    item: Item
    year: int
    amount_micro_yuan: int
    redeemed_micro_yuan: int
    percent_domestic: int
    percent_other: int
    state: GrantState
    granted_at_ms: int
    expires_at_ms: int | None = None
    reclaimed_micro_yuan: int = 0
    audited_at_ms: int | None = None
    finding: Finding | None = None
    remark: str = ""

    @property
    def left_micro_yuan(self) -> int:
        return self.amount_micro_yuan - self.redeemed_micro_yuan


@dataclass(frozen=True, slots=True)
class Budget:
    """Of a programme in a year. committed ≤ pool, whoever writes at once; what was redeemed is the
    sum of its grants."""

    programme_id: str
    year: int
    pool_micro_yuan: int
    committed_micro_yuan: int
    redeemed_micro_yuan: int

    @property
    def left_micro_yuan(self) -> int:
        return self.pool_micro_yuan - self.committed_micro_yuan
