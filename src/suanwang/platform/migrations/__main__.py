"""Draft the next revision: `python -m suanwang.platform.migrations "what it brings"`.

What the tables of the program have and the last revision has not is written to `versions/`, to be
read and mended by hand: Alembic sees neither renamed columns nor the wheres of indexes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from suanwang.platform import migrations
from suanwang.platform.migrations import revisions


def draft(message: str) -> Path:
    """The new file. The database it is compared with is a fresh one at the last revision."""
    number = f"{int(migrations.head()) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/draft.db"
        migrations.migrate(url, to=migrations.head())
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            steps = revisions.config()
            steps.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
            steps.attributes["connection"] = connection
            made = command.revision(steps, message, autogenerate=True, rev_id=number)
        engine.dispose()
    script = made[0] if isinstance(made, list) else made
    return Path(script.path if script is not None else "")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m suanwang.platform.migrations "what it brings"')
    print(draft(sys.argv[1]))
