"""Backups: one file with the database, the blobs of a folder store, and the key if it is wanted.

The database comes first, as of one moment; blobs follow. Blobs never change, and one that nobody
owns any more is kept for days, so whatever the database names is still there when its turn comes.
The server goes on meanwhile. A backup is restored to an empty place only, and looked through
before it counts as restored.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from suanwang.kernel.errors import Conflict, InvalidInput, SuanwangError, Unavailable
from suanwang.platform import migrations
from suanwang.platform.blob_stores import open_blob_store
from suanwang.platform.blobs import BlobStore
from suanwang.platform.settings import Settings

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database"
KEY = "secrets.key"
BLOBS = "blobs"
SAMPLE = 200
"""Blobs whose content is read and hashed after a restore."""
ASKED_AT_ONCE = 1_000
DEBIAN_BINARIES = Path("/usr/lib/postgresql")
FOLDER_SCHEME = "folder://"

Check = Callable[[Connection], Sequence[str]]
"""Finds what is wrong with a restored database; nothing if all is well."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself."""

    format: int
    made_at_ms: int
    version: str
    schema: str
    database: str
    """sqlite or postgresql."""
    blobs: bool
    """False when they are in an object store, which has its own backup."""
    key: bool


class Restored(msgspec.Struct, frozen=True):
    """What a restore found."""

    manifest: Manifest
    schema: str
    """After the upgrade, if one was needed."""
    blobs: int
    blobs_checked: int


def backup(
    settings: Settings, file: Path, *, now_ms: int, version: str, with_key: bool = False
) -> Manifest:
    """Write a new file; it appears under its name only when it is whole."""
    url = sa.make_url(settings.database_url)
    draft = file.with_name(f".{file.name}.part")
    if file.exists():
        raise Conflict("FileExists", f"{file} exists already.", hint="Choose another name.")
    with _told(file), tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder:
        dump = Path(folder) / DATABASE
        _dump(url, dump)
        blobs = _blob_folder(settings)
        manifest = Manifest(
            format=FORMAT,
            made_at_ms=now_ms,
            version=version,
            schema=_schema_of(settings.database_url),
            database=url.get_backend_name(),
            blobs=blobs is not None,
            key=with_key,
        )
        try:
            with draft.open("xb") as handle:
                os.chmod(draft, 0o600)
                with tarfile.open(fileobj=handle, mode="w") as archive:
                    _add_bytes(archive, MANIFEST, msgspec.json.encode(manifest))
                    archive.add(dump, DATABASE)
                    if with_key:
                        archive.add(Path(settings.state) / KEY, KEY)
                    if blobs is not None:
                        _add_blobs(archive, blobs)
                handle.flush()
                os.fsync(handle.fileno())
            draft.rename(file)
        finally:
            draft.unlink(missing_ok=True)
    return manifest


def restore(settings: Settings, file: Path, checks: Sequence[Check] = ()) -> Restored:
    """Fill an empty place; raises without having touched it, or names what the backup lacks."""
    with _told(file), tarfile.open(file, mode="r:") as archive:
        manifest = _manifest(archive, file)
        url = sa.make_url(settings.database_url)
        blobs = _blob_folder(settings)
        _check_fits(manifest, url)
        _check_empty(settings, url)
        Path(settings.state).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=settings.state, prefix=".restore-") as folder:
            for member in archive:
                _unpack(archive, member, Path(folder), settings, blobs)
            _load(url, Path(folder) / DATABASE)
    migrations.migrate(settings.database_url)
    engine = sa.create_engine(settings.database_url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            wrong = [one for check in checks for one in check(connection)]
            found, checked, bad = _look_at_blobs(connection, settings.blobs_url)
    finally:
        engine.dispose()
    if wrong or bad:
        raise Conflict(
            "BackupDamaged",
            f"Restored, but not sound: {'; '.join([*wrong, *bad][:5])}.",
            hint="Do not start the platform on it; restore an earlier backup to an empty place.",
        )
    return Restored(manifest, migrations.head(), found, checked)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Troubles with files in the error tree."""
    try:
        yield
    except SuanwangError:
        raise
    except tarfile.TarError as error:
        raise InvalidInput(
            "NotABackup", f"{file} is not a whole backup: {error}.", hint="Is the file complete?"
        ) from error
    except OSError as error:
        raise Unavailable(
            "BackupFailed", f"{error.filename or file}: {error.strerror}.", hint="Nothing was kept."
        ) from error


def _blob_folder(settings: Settings) -> Path | None:
    if not settings.blobs_url.startswith(FOLDER_SCHEME):
        return None
    return Path(settings.blobs_url.removeprefix(FOLDER_SCHEME)) / BLOBS


def _schema_of(url: str) -> str:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            found = migrations.current(connection)
    finally:
        engine.dispose()
    if found is None:
        raise Conflict("NothingToBackUp", "The database has no tables of ours yet.")
    return found


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _add_blobs(archive: tarfile.TarFile, folder: Path) -> None:
    for path in sorted(folder.glob("??/*")):
        try:
            archive.add(path, f"{BLOBS}/{path.parent.name}/{path.name}", recursive=False)
        except FileNotFoundError:
            continue  # nobody has owned it for days, or it would be there


# --- the database ----------------------------------------------------------------------------


def _dump(url: URL, to: Path) -> None:
    if url.get_backend_name() != "sqlite":
        _postgres("pg_dump", url, "--format=custom", "--no-owner", f"--file={to}")
        return
    if not Path(url.database or "").exists():
        raise Conflict("NothingToBackUp", f"There is no database {url.database}.")
    source = sqlite3.connect(f"file:{url.database}?mode=ro", uri=True)
    target = sqlite3.connect(to)
    try:
        source.backup(target)  # in one step: under WAL a reader stops nobody
    finally:
        target.close()
        source.close()


def _load(url: URL, dump: Path) -> None:
    if not dump.exists():
        raise InvalidInput("NotABackup", "The file holds no database.", hint="Is it complete?")
    if url.get_backend_name() != "sqlite":
        _postgres(
            "pg_restore",
            url,
            "--no-owner",
            "--exit-on-error",
            "--single-transaction",
            f"--dbname={url.database}",
            str(dump),
        )
        return
    with sqlite3.connect(dump) as connection:
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    connection.close()
    if verdict != "ok":
        raise Conflict("BackupDamaged", f"The database in the backup is damaged: {verdict}.")
    place = Path(url.database or "")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(dump, place)


def _postgres(program: str, url: URL, *arguments: str) -> None:
    """The password travels in the environment, where other users do not see it."""
    named = {
        "PGHOST": url.host or url.query.get("host"),
        "PGPORT": str(url.port) if url.port else url.query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        "PGSSLMODE": url.query.get("sslmode"),
    }
    environment = {name: str(value) for name, value in named.items() if value}
    done = subprocess.run(
        [_binary(program), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Unavailable(
            "DatabaseDumpFailed",
            f"{program}: {said[-1]}",
            hint="The client programs must be as new as the server.",
        )


def _binary(program: str) -> str:
    """The newest of the distribution's, for those read every older server; else the path's."""
    versions = sorted(
        DEBIAN_BINARIES.glob(f"*/bin/{program}"), key=lambda path: float(path.parts[-3])
    )
    found = str(versions[-1]) if versions else shutil.which(program)
    if found is None:
        raise Unavailable(
            "DatabaseClientMissing",
            f"{program} is not installed.",
            hint="Install PostgreSQL's client programs (Debian: postgresql-client).",
        )
    return found


# --- restoring -------------------------------------------------------------------------------


def _manifest(archive: tarfile.TarFile, file: Path) -> Manifest:
    first = archive.next()
    body = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if body is None:
        raise InvalidInput("NotABackup", f"{file} is not a backup of this platform.")
    try:
        return msgspec.json.decode(body.read(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise InvalidInput("NotABackup", f"{file}: {error}.") from error


def _check_fits(manifest: Manifest, url: URL) -> None:
    if manifest.format > FORMAT or manifest.schema > migrations.head():
        raise Conflict(
            "BackupNewer",
            f"The backup was made by version {manifest.version} (schema {manifest.schema}).",
            hint="Restore it with that version or a later one.",
        )
    if manifest.database != url.get_backend_name():
        raise Conflict(
            "OtherDatabase",
            f"The backup is of {manifest.database}, the settings name {url.get_backend_name()}.",
            hint="Restore to the same kind of database.",
        )


def _check_empty(settings: Settings, url: URL) -> None:
    if url.get_backend_name() == "sqlite":
        taken = Path(url.database or "").exists()
    else:
        engine = sa.create_engine(settings.database_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            taken = bool(sa.inspect(connection).get_table_names())
        engine.dispose()
    if taken:
        raise Conflict(
            "PlaceTaken",
            "There is a database at the place named by the settings.",
            hint="Restore to an empty state folder or database, then change the settings.",
        )


def _unpack(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    folder: Path,
    settings: Settings,
    blobs: Path | None,
) -> None:
    """By name only: nothing in the file says where it goes."""
    body = archive.extractfile(member)
    parts = member.name.split("/")
    if body is None or not member.isfile() or member.name == MANIFEST:
        return
    if member.name == DATABASE:
        target = folder / DATABASE
    elif member.name == KEY:
        target = Path(settings.state) / KEY
    elif len(parts) == 3 and parts[0] == BLOBS and _is_hex(parts[1], 2) and _is_hex(parts[2], 64):
        if blobs is None:
            return
        target = blobs / parts[1] / parts[2]
        target.parent.mkdir(parents=True, exist_ok=True)
    else:
        raise InvalidInput("NotABackup", f"The file holds {member.name!r}.")
    if target.exists():
        return
    draft = folder / "draft"
    with draft.open("wb") as handle:
        os.chmod(draft, 0o600)
        shutil.copyfileobj(body, handle, 1 << 20)
        handle.flush()
        os.fsync(handle.fileno())
    shutil.move(draft, target)


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef")


def _look_at_blobs(connection: Connection, url: str) -> tuple[int, int, list[str]]:
    """(blobs that the database names, contents read, what is wrong with them)."""
    table = migrations.load_tables().tables["blob_owners"]
    query = sa.select(table.c.digest).distinct().order_by(table.c.digest)
    digests = list(connection.execute(query).scalars())
    if not digests:
        return 0, 0, []
    sample = digests[:: max(1, len(digests) // SAMPLE)]
    return len(digests), len(sample), asyncio.run(_wrong_in_store(url, digests, sample))


async def _wrong_in_store(url: str, digests: Sequence[str], sample: Sequence[str]) -> list[str]:
    store = open_blob_store(url)
    try:
        there: set[str] = set()
        for start in range(0, len(digests), ASKED_AT_ONCE):
            there.update(await store.has(digests[start : start + ASKED_AT_ONCE]))
        wrong = [f"{digest} is missing" for digest in digests if digest not in there]
        for digest in sample:
            if digest in there and await _digest_in_store(store, digest) != digest:
                wrong.append(f"{digest} has other content")
    finally:
        store.close()
    return wrong


async def _digest_in_store(store: BlobStore, digest: str) -> str:
    hasher = hashlib.sha256()
    async for piece in store.open_read(digest):
        hasher.update(piece)
    return f"sha256:{hasher.hexdigest()}"
