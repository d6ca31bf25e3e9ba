"""The schema: whichever way a database came to it, it is the same; nobody gets in another's way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from suanwang.kernel.errors import Conflict
from suanwang.platform import migrations
from suanwang.platform.migrations import VERSION_TABLE, current, head, migrate
from suanwang.platform.migrations.revisions import config, differences

FIRST = "0001"


def _ask(url: str, question: Any) -> Any:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        answer = question(connection)
    engine.dispose()
    return answer


def _do(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def _sqlite_shape(connection: sa.Connection) -> dict[str, Any]:
    shape: dict[str, Any] = {}
    listed = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master")
    for kind, name, table, sql in listed.all():
        if kind == "table":
            columns = connection.exec_driver_sql(f'PRAGMA table_xinfo("{name}")').all()
            links = connection.exec_driver_sql(f'PRAGMA foreign_key_list("{name}")').all()
            shape[name] = (sorted(columns), sorted(links), "WITHOUT ROWID" in sql)
        else:
            columns = connection.exec_driver_sql(f'PRAGMA index_xinfo("{name}")').all()
            where = (sql or "").partition("WHERE")[2].replace(f"{table}.", "")
            shape[name] = (table, columns, "UNIQUE" in (sql or "UNIQUE"), where)
    return shape


_POSTGRES_SHAPE = """
SELECT 'column', table_name, column_name,
       concat_ws('|', data_type, character_maximum_length, is_nullable, collation_name)
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
 WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


def _shape(url: str) -> Any:
    """All that a database keeps of its tables; finer than what Alembic compares."""

    def question(connection: sa.Connection) -> Any:
        if connection.dialect.name == "sqlite":
            return _sqlite_shape(connection)
        return sorted(map(tuple, connection.execute(sa.text(_POSTGRES_SHAPE))))

    return _ask(url, question)


def test_the_newest_revision_is_known_by_its_file() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [head()]


def test_a_new_database_needs_no_revisions(tmp_path: Any) -> None:
    """Loading Alembic would take a tenth of the start."""
    program = (
        "import sys; from suanwang.platform.migrations import migrate; migrate(sys.argv[1]);"
        " migrate(sys.argv[1]); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, f"sqlite:///{tmp_path}/x.db"], check=True)


def test_revisions_lead_to_the_tables_of_the_program(database_url: str) -> None:
    migrate(database_url, to=head())
    assert _ask(database_url, differences) == []


def test_made_at_once_or_step_by_step_it_is_the_same(
    database_url: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    migrate(database_url)
    at_once = _shape(database_url)
    if database_url.startswith("sqlite"):
        other = f"sqlite:///{tmp_path / 'other.db'}"
    else:
        _do(database_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        other = database_url
    migrate(other, to=head())
    assert _shape(other) == at_once


def test_from_every_earlier_schema_rows_and_all(database_url: str) -> None:
    migrate(database_url, to=FIRST)
    assert _ask(database_url, current) == FIRST
    _do(
        database_url,
        "INSERT INTO share_usage (share_id, value, at_ms) VALUES ('org_1', 9007199254740993, 5)",
    )
    migrate(database_url)
    assert _ask(database_url, current) == head() != FIRST
    assert _ask(database_url, differences) == []
    row = _ask(database_url, lambda c: c.exec_driver_sql("SELECT * FROM share_usage").one())
    assert tuple(row) == ("org_1", 9007199254740993, 5)


def test_what_was_known_of_entities_and_contracts_is_kept(database_url: str) -> None:
    """Credit codes come out of the packed profiles; two ways to write one contract become one, of
    the earlier grant."""
    migrate(database_url, to="0017")
    packed = msgspec.msgpack.encode({"organisation_id": "org_1", "uscc": "91350100M000100Y43"})

    def fill(connection: sa.Connection) -> None:
        connection.execute(
            sa.text(
                "INSERT INTO policy_profiles (organisation_id, profile, changed_at_ms) "
                "VALUES ('org_1', :packed, 1)"
            ),
            {"packed": packed},
        )
        mark = "INSERT INTO policy_helped (\"group\", subject, grant_id) VALUES ('g', :s, :i)"
        for subject, grant in (
            ("contract:org_p:ht-2026-001", "gra_1"),
            ("contract:org_p:ht 2026/001", "gra_2"),
            ("entity:org_1", "gra_1"),
        ):
            connection.execute(sa.text(mark), {"s": subject, "i": grant})

    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    migrate(database_url)

    def look(connection: sa.Connection) -> Any:
        codes = connection.execute(sa.text("SELECT uscc FROM policy_profiles")).scalars().all()
        marks = connection.execute(sa.text("SELECT subject, grant_id FROM policy_helped"))
        return codes, sorted(map(tuple, marks))

    assert _ask(database_url, look) == (
        ["91350100M000100Y43"],
        [("contract:org_p:ht2026001", "gra_1"), ("entity:org_1", "gra_1")],
    )


def test_a_schema_from_the_future_is_left_alone(database_url: str) -> None:
    migrate(database_url)
    _do(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    before = _shape(database_url)
    with pytest.raises(Conflict) as refusal:
        migrate(database_url)
    assert refusal.value.reason == "SchemaNewer"
    assert "backup" in refusal.value.hint
    assert _shape(database_url) == before


def test_tables_without_a_mark_are_taken_over_if_they_are_ours(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    migrations.load_tables().create_all(engine)
    engine.dispose()
    migrate(database_url)
    assert _ask(database_url, current) == head()


def test_tables_of_unknown_make_are_refused(database_url: str) -> None:
    _do(database_url, "CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
    with pytest.raises(Conflict) as refusal:
        migrate(database_url)
    assert refusal.value.reason == "SchemaUnknown"
    assert _ask(database_url, current) is None


def test_tables_of_the_operators_own_are_no_business_of_ours(database_url: str) -> None:
    _do(database_url, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")
    migrate(database_url)
    migrate(database_url)
    assert _ask(database_url, differences) == []
    assert _ask(database_url, lambda c: sa.inspect(c).has_table("notes"))


def test_a_failing_upgrade_leaves_the_schema_as_it_was(database_url: str) -> None:
    migrate(database_url, to=FIRST)
    _do(database_url, "CREATE TABLE leaderships (id INTEGER PRIMARY KEY)")  # in 0002's way
    before = _shape(database_url)
    with pytest.raises(Exception, match="leaderships"):
        migrate(database_url)
    assert _ask(database_url, current) == FIRST
    assert _shape(database_url) == before


TOGETHER = """
import os, sys, traceback
import alembic.command
from suanwang.platform.migrations import load_tables, migrate

load_tables()
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        try:
            migrate(sys.argv[1])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
"""Forked once everything is imported: they begin at the same moment."""


@pytest.mark.parametrize("start", [None, FIRST], ids=["empty", "older"])
def test_processes_that_start_together_wait_for_one_another(
    database_url: str, start: str | None
) -> None:
    if start is not None:
        migrate(database_url, to=start)
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, database_url], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0, 0]\n", "")
    assert _ask(database_url, current) == head()
    assert _ask(database_url, differences) == []
