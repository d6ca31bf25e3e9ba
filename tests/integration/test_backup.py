"""Backups of a running platform, restored elsewhere, and going on there."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from components.lacking import lacking
from components.postgres import PostgresServer, binaries
from rig import LiveGrid, lines_of, telling
from suanwang import backup
from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.platform.backup import Manifest
from suanwang.platform.migrations import VERSION_TABLE
from suanwang.platform.settings import Settings

pytestmark = pytest.mark.xdist_group("backup")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Name → URL of an empty database ("" for SQLite in the state folder)."""
    if request.param == "sqlite":
        yield lambda _name: ""
        return
    found = binaries().get("debian")
    if found is None:
        lacking("no PostgreSQL with its client programs")
    with PostgresServer(found) as server:

        def make(name: str) -> str:
            engine = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
            engine.dispose()
            return server.url.replace("/suan?", f"/{name}?")

        yield make


def test_a_running_platform_is_backed_up_and_goes_on_elsewhere(
    place: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "monday.backup"
    seen = tmp_path / "seen"
    with LiveGrid(tmp_path / "old", database=place("old")) as grid:
        grid.site("near", nodes=2)
        script = f"{telling(seen)}\necho result > result.txt"
        done = grid.submit(script, outputs={"result": "result.txt"}, secrets={"TOKEN": "s3cret"})
        assert grid.until_state(done) == "succeeded"
        argv = [sys.executable, "-m", "suanwang.backup", "make", str(file), "--with-key"]
        settings = ["--state", grid.settings.state, "--database", grid.settings.database]
        subprocess.run([*argv, *settings], check=True)
        after = grid.submit(telling(tmp_path / "after"))
        assert grid.until_state(after) == "succeeded"
        token = grid.token
    assert file.stat().st_mode & 0o077 == 0
    new = LiveGrid(tmp_path / "new", database=place("new"))
    restored = backup.restore(new.settings, file)
    assert restored.blobs >= 1
    assert restored.blobs_checked == restored.blobs
    with new as grid:
        grid.token = token  # it was in the backup
        assert grid.state(done) == "succeeded"
        assert [item["id"] for item in grid.call("GET", "/v1/jobs")["items"]] == [done]
        site = grid.site("far")
        again = grid.submit(telling(tmp_path / "again"), constraints={"sites": [site.name]})
        assert grid.until_state(again) == "succeeded"
        assert [line.word for line in lines_of(tmp_path / "again")] == ["start", "end"]
        grid.check_books()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a small platform has left behind."""
    with LiveGrid(tmp_path_factory.mktemp("small")) as grid:
        return Path(grid.settings.state)


@pytest.fixture
def made(state: Path, tmp_path: Path) -> tuple[Settings, Path]:
    """A small platform's settings and its backup."""
    settings = Settings(state=str(shutil.copytree(state, tmp_path / "old")))
    file = tmp_path / "file.backup"
    backup.make(settings, file)
    return settings, file


def _rewritten(file: Path, to: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    with tarfile.open(file) as old, tarfile.open(to, "w") as new:
        for member in old:
            body = old.extractfile(member)
            data = change(member.name, body.read() if body else b"")
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    return to


def test_it_is_never_restored_over_something(made: tuple[Settings, Path]) -> None:
    settings, file = made
    with pytest.raises(Conflict) as refusal:
        backup.restore(settings, file)
    assert refusal.value.reason == "PlaceTaken"
    with pytest.raises(Conflict) as refusal:
        backup.make(settings, file)
    assert refusal.value.reason == "FileExists"


def test_a_backup_from_the_future_is_refused_untouched(
    made: tuple[Settings, Path], tmp_path: Path
) -> None:
    def newer(name: str, data: bytes) -> bytes:
        if name != "manifest.json":
            return data
        manifest = msgspec.json.decode(data, type=Manifest)
        return msgspec.json.encode(msgspec.structs.replace(manifest, schema="9999"))

    file = _rewritten(made[1], tmp_path / "newer", newer)
    with pytest.raises(Conflict) as refusal:
        backup.restore(Settings(state=str(tmp_path / "empty")), file)
    assert refusal.value.reason == "BackupNewer"
    assert not (tmp_path / "empty").exists()


def test_half_a_backup_and_other_files_are_told_apart(
    made: tuple[Settings, Path], tmp_path: Path
) -> None:
    half = tmp_path / "half"
    half.write_bytes(made[1].read_bytes()[:20_000])
    other = tmp_path / "other"
    other.write_bytes(b"hello" * 1_000)
    outside = _rewritten(made[1], tmp_path / "outside", lambda _name, data: data)
    with tarfile.open(outside, "a") as archive:
        archive.addfile(tarfile.TarInfo("../escape"))
    for number, file in enumerate((half, other, outside)):
        with pytest.raises(InvalidInput) as refusal:
            backup.restore(Settings(state=str(tmp_path / f"empty{number}")), file)
        assert refusal.value.reason == "NotABackup"
        assert not (tmp_path / f"empty{number}" / "suanwang.db").exists()
    assert not (tmp_path / "escape").exists()


def test_money_that_does_not_add_up_is_found(made: tuple[Settings, Path], tmp_path: Path) -> None:
    settings, _ = made
    engine = sa.create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE accounts SET balance = balance + 1")
    engine.dispose()
    file = tmp_path / "wrong.backup"
    backup.make(settings, file)
    with pytest.raises(Conflict) as refusal:
        backup.restore(Settings(state=str(tmp_path / "empty")), file)
    assert refusal.value.reason == "BackupDamaged"
    assert "ledger" in refusal.value.message


def test_an_older_schema_is_brought_up_to_date(made: tuple[Settings, Path], tmp_path: Path) -> None:
    from suanwang.platform.migrations import current, head, migrate

    old = Settings(state=str(tmp_path / "ancient"))
    Path(old.state).mkdir()
    migrate(old.database_url, to="0001")
    file = tmp_path / "ancient.backup"
    assert backup.make(old, file).schema == "0001"
    restored = backup.restore(Settings(state=str(tmp_path / "fresh")), file)
    assert restored.schema == head()
    engine = sa.create_engine(Settings(state=str(tmp_path / "fresh")).database_url)
    with engine.connect() as connection:
        assert current(connection) == head()
        assert sa.inspect(connection).has_table(VERSION_TABLE)
    engine.dispose()
