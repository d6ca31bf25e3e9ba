"""Who has one credit code is one; numbers of contracts without their signs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    code = sa.Column("uscc", sa.String(18), nullable=False, server_default="")
    op.add_column("policy_profiles", code)
    op.create_index("ix_policy_profiles_uscc", "policy_profiles", ["uscc"])
    conn = op.get_bind()
    for whose, packed in conn.execute(
        sa.text("SELECT organisation_id, profile FROM policy_profiles")
    ).all():
        known = {"uscc": msgspec.msgpack.decode(packed)["uscc"], "whose": whose}
        conn.execute(
            sa.text("UPDATE policy_profiles SET uscc = :uscc WHERE organisation_id = :whose"), known
        )
    _references(conn)


def _references(conn: sa.Connection) -> None:
    """Two that are one now: the earlier grant keeps the mark."""
    query = sa.text(
        'SELECT "group", subject, grant_id FROM policy_helped '
        "WHERE subject LIKE 'contract:%' ORDER BY grant_id"
    )
    seen: set[tuple[str, str]] = set()
    rows = conn.execute(query).all()
    conn.execute(sa.text("DELETE FROM policy_helped WHERE subject LIKE 'contract:%'"))
    for group, subject, grant_id in rows:
        kind, provider, reference = subject.split(":", 2)
        folded = unicodedata.normalize("NFKC", reference).casefold()
        plain = "".join(sign for sign in folded if sign.isalnum())
        mark = (group, f"{kind}:{provider}:{plain}")
        if mark not in seen:
            conn.execute(
                sa.text(
                    'INSERT INTO policy_helped ("group", subject, grant_id) VALUES (:g, :s, :i)'
                ),
                {"g": mark[0], "s": mark[1], "i": grant_id},
            )
        seen.add(mark)
