"""The audit log: who did what to which object, when, with which credential, from where."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.ids import earliest_id
from suanwang.platform.database import Tx
from suanwang.tenancy import access_store
from suanwang.tenancy.model import Action, AuditEntry, Principal
from suanwang.tenancy.rules import require_may


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call came from; the edge sets it for the time of a request."""

    request_id: str | None = None
    address: str | None = None


NOWHERE = Origin()
origin: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)


def audit(
    tx: Tx,
    principal: Principal,
    action: str,
    target_kind: str,
    target_id: str,
    detail: Mapping[str, object] | None = None,
    *,
    organisation_id: str | None = None,
) -> None:
    """Part of the change itself: both are written or neither is.

    `action` is `kind.verb` (`token.revoke`); `organisation_id` is the owner's of the target,
    by default the actor's own. Never put secrets into `detail`.
    """
    came_from = origin.get()
    access_store.insert_audit(
        tx.conn,
        AuditEntry(
            id=tx.ids.new("aud"),
            at_ms=tx.now_ms,
            actor_user_id=principal.user_id,
            organisation_id=(
                principal.organisation_id if organisation_id is None else organisation_id
            ),
            token_id=principal.token_id,
            action=action,
            target_kind=target_kind,
            target_id=target_id,
            detail=dict(detail or {}),
            request_id=came_from.request_id,
            address=came_from.address,
        ),
    )


def forget_before(tx: Tx, at_ms: int, limit: int) -> bool:
    """Drop the oldest entries, so many at most; True if there may be more."""
    return access_store.forget_audit(tx.conn, earliest_id("aud", at_ms), limit) == limit


def audit_log(
    conn: Connection,
    principal: Principal,
    *,
    organisation_id: str | None = None,
    target_id: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[AuditEntry]:
    """Newest first. An operator who names no organisation sees all of them."""
    if organisation_id is None and not principal.is_operator:
        organisation_id = principal.organisation_id
    require_may(principal, Action.READ_AUDIT, organisation_id or principal.organisation_id)
    return access_store.page_of_audit(conn, organisation_id, target_id, after, limit)


def difference(before: object, after: object) -> dict[str, object]:
    """Field → [old, new], of flat dataclasses, for the audit log."""
    changed: dict[str, object] = {}
    for field in before.__dataclass_fields__:  # type: ignore[attr-defined]
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            changed[field] = [old, new]
    return changed
