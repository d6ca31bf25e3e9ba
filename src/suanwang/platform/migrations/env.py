"""What Alembic runs: the revisions, on the connection and in the transaction that it is handed."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from suanwang.platform.migrations import VERSION_TABLE, load_tables
from suanwang.platform.schema import Packed


def render(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    """A drafted revision names no class of the program: those change, revisions do not."""
    return "sa.LargeBinary()" if kind == "type" and isinstance(item, Packed) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=load_tables(),
    version_table=VERSION_TABLE,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
