"""A real platform for the command line's tests: `suan up --local-site` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUAN = (sys.executable, "-m", "suanwang.edge.cli.main")
PATIENCE_S = 90.0


def environment(config: Path) -> dict[str, str]:
    """Without what the developer's own shell says of servers and languages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SUAN_", "LC_", "LANG"))
    }
    return {**kept, "SUAN_CONFIG": str(config), "SUAN_LANG": "en"}


@dataclass(frozen=True, slots=True)
class Platform:
    """Where it answers, and the first start's secrets."""

    folder: Path
    told: dict[str, Any]
    process: subprocess.Popen[str]

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def suan(
        self, *words: str, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            [*SUAN, *words],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**environment(self.config), **variables},
            timeout=PATIENCE_S,
            check=False,
        )

    def json(self, *words: str) -> Any:
        """What a command prints with --json; it must have succeeded."""
        done = self.suan(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, *program: str, options: tuple[str, ...] = ()) -> str:
        done = self.suan("run", "--json", *options, "--", *program)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["ids"][0])


@contextmanager
def platform_in(folder: Path, *options: str) -> Iterator[Platform]:
    """Up in `folder`, ready, and stopped by SIGTERM in the end."""
    process = subprocess.Popen(
        [*SUAN, "up", "--port", "0", "--state", str(folder / "state"), "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder / "config.yaml"),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the platform ended before it was ready"
        yield Platform(folder, json.loads(line), process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0
        if process.stdout is not None:
            process.stdout.close()
