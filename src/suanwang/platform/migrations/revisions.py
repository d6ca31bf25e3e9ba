"""The revisions, and what Alembic says of a database that is neither empty nor current."""

from __future__ import annotations

from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict
from suanwang.platform.migrations import FOLDER, VERSION_TABLE, head, load_tables
from suanwang.platform.schema import metadata


def config() -> Config:
    """Alembic's settings, without a file: everything it needs lies in this package."""
    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return made


def differences(connection: Connection) -> list[Any]:
    """What keeps the database's tables from being those of this program; empty if nothing."""
    return list(compare_metadata(_context(connection), load_tables()))


def upgrade(connection: Connection, found: str | None, to: str) -> None:
    """From the revision that was found to another, in the connection's transaction."""
    if found is not None:
        _check_known(found)
    command.upgrade(_steps(connection), to)


def adopt(connection: Connection, tables: int) -> None:
    """Marks tables that nobody has marked, if they are exactly ours."""
    _check_adoptable(connection, tables)
    command.stamp(_steps(connection), "head")


def _steps(connection: Connection) -> Config:
    steps = config()
    steps.attributes["connection"] = connection
    return steps


def _check_known(found: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found in known:
        return
    raise Conflict(
        "SchemaNewer",
        f"The database has schema {found}; this program knows schemas up to {head()}.",
        hint="Start the version that wrote it, or restore the backup from before that upgrade.",
    )


def _check_adoptable(connection: Connection, tables: int) -> None:
    """Tables without a mark are taken over only if they are exactly ours."""
    missing = differences(connection)
    if missing:
        raise Conflict(
            "SchemaUnknown",
            f"The database has {tables} of our tables but no schema mark, and differs from this "
            f"version in {len(missing)} places.",
            hint="Point the settings at an empty database, or restore a backup.",
        )


def _context(connection: Connection) -> MigrationContext:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "include_object": _ours}
    return MigrationContext.configure(connection, opts=options)


def _ours(_object: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
    """Tables that an operator keeps beside ours are no business of ours."""
    return not (kind == "table" and reflected and name not in metadata.tables)
