"""Progress on stderr: bars on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from suanwang.edge.cli import errors, figures
from suanwang.edge.cli.words import say

LINE_EVERY_S = 10.0
DRAW_EVERY_S = 0.1


class ArrayProgress:
    """How many tasks of an array are done, run and failed."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._bar: Any = None
        self._task: Any = None
        self._said_at_s = 0.0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[counts]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._total, counts="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, counts: Mapping[str, int] | Any) -> None:
        done = sum(counts[s] for s in ("succeeded", "failed", "cancelled", "refused"))
        shown = ("running", "queued", "failed", "cancelled", "refused")
        text = "  ".join(f"{counts[state]} {state}" for state in shown if counts[state])
        if self._bar is not None:
            self._bar.update(self._task, completed=done, counts=text)
        elif done == self._total or time.monotonic() - self._said_at_s > LINE_EVERY_S:
            self._said_at_s = time.monotonic()
            errors.tell(f"{self._name}: {done}/{self._total}  {text}".rstrip())


class BytesProgress:
    """A line that is drawn over: 'uploading data  42 %  12.0 MiB of 28.6 MiB'."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._drawn_at_s = 0.0
        self._drew = False

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty() or not total:
            return
        now_s = time.monotonic()
        if done < total and now_s - self._drawn_at_s < DRAW_EVERY_S:
            return
        self._drawn_at_s = now_s
        filled = 24 * done // total
        bar = "━" * filled + "─" * (24 - filled)
        amount = say("{done} of {total}", done=figures.size(done), total=figures.size(total))
        sys.stderr.write(f"\r\x1b[K{self._what} {bar} {100 * done // total:3d} %  {amount}")
        sys.stderr.flush()
        self._drew = True

    def end(self) -> None:
        if self._drew:
            sys.stderr.write("\n")
