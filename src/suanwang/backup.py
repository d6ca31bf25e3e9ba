"""`python -m suanwang.backup make FILE` and `… restore FILE`: backups for operators.

Above the platform's mechanics, because a restored ledger is verified before it counts as restored.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sqlalchemy.engine import Connection

import suanwang
from suanwang.kernel.errors import SuanwangError
from suanwang.platform import backup as mechanics
from suanwang.platform.backup import Manifest, Restored
from suanwang.platform.clock import SystemClock
from suanwang.platform.settings import Settings, load_settings
from suanwang.trade.billing import reports


def _ledger(connection: Connection) -> list[str]:
    return [f"ledger: {one}" for one in reports.verify(connection)]


def make(settings: Settings, file: Path, *, with_key: bool = False) -> Manifest:
    """Back up a platform, running or not."""
    now_ms = SystemClock().now_ms()
    return mechanics.backup(
        settings, file, now_ms=now_ms, version=suanwang.__version__, with_key=with_key
    )


def restore(settings: Settings, file: Path) -> Restored:
    """Fill the empty place that the settings name, and verify what came."""
    return mechanics.restore(settings, file, [_ledger])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m suanwang.backup", description=__doc__)
    parser.add_argument("action", choices=["make", "restore"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--settings", type=Path, help="suanwang.yaml")
    parser.add_argument("--state", help="the platform's state folder")
    parser.add_argument("--database", help="the database's URL")
    parser.add_argument("--with-key", action="store_true", help="put secrets.key into the file")
    given = parser.parse_args(argv)
    try:
        settings = load_settings(given.settings, state=given.state, database=given.database)
        if given.action == "make":
            made = make(settings, given.file, with_key=given.with_key)
            print(f"{given.file}: schema {made.schema}, {given.file.stat().st_size} bytes")
            if not made.blobs:
                store = settings.blobs_url.partition("?")[0]
                print(f"The blobs are in {store} and not in this file: keep every version of them")
                print("there, or a copy of the bucket, for as long as you keep this backup.")
            if not made.key:
                print(
                    "The key of sealed secrets (secrets.key) is not in it: keep a copy elsewhere."
                )
        else:
            done = restore(settings, given.file)
            print(f"Restored: schema {done.schema}, {done.blobs} blobs, the ledger is sound.")
    except SuanwangError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
