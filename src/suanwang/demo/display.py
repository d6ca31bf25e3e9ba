"""What is seen while the jobs run: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suanwang.demo.play import Act, Play, Score

BAR = 24
MOST_NAMES = 6
MARKS = {"succeeded": "done", "refused": "refused", "cancelled": "cancelled", "failed": "FAILED"}


class Display(Protocol):
    def say(self, words: str) -> None:
        """A step of the way."""
        ...

    def show(self, play: Play, changed: Iterable[Act]) -> None: ...

    def close(self) -> None: ...


class Lines:
    """One line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._from_s = time.monotonic()
        self._told: set[str] = set()

    def say(self, words: str) -> None:
        passed = time.monotonic() - self._from_s
        self._console.print(f"{passed:6.1f} s  {words}", highlight=False, markup=False)

    def show(self, play: Play, changed: Iterable[Act]) -> None:
        for act in changed:
            if act.ended and act.case.name not in self._told:
                self._told.add(act.case.name)
                sites = ", ".join(dict.fromkeys(one["site"] for one in act.leases))
                cost = yuan(act.cost_micro_yuan(_now_ms()))
                where = f"at {sites}, about {cost}" if sites else ""
                self.say(f"{act.case.name:<15} {MARKS[act.state]:<9} {where}".rstrip())

    def close(self) -> None:
        pass


class Picture:
    """Bars of the whole and of each site, what runs there, the cost so far."""

    def __init__(self, console: Console) -> None:
        self._from_s = time.monotonic()
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, words: str) -> None:
        passed = time.monotonic() - self._from_s
        self._live.console.print(f"[dim]{passed:6.1f} s[/]  {words}", highlight=False)

    def show(self, play: Play, changed: Iterable[Act]) -> None:
        self._live.update(self._drawn(play.acts, play.scores()), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _drawn(self, acts: list[Act], scores: list[Score]) -> RenderableType:
        now_ms = _now_ms()
        ended = sum(act.ended for act in acts)
        cost = sum(act.cost_micro_yuan(now_ms) for act in acts)
        whole = Table.grid(padding=(0, 1))
        whole.add_row(
            Text("all jobs ", style="bold"),
            ProgressBar(total=len(acts), completed=ended, width=BAR),
            f"{ended}/{len(acts)}",
            Text(f"about {yuan(cost)}", style="bold yellow"),
        )
        for one in scores:
            names = ", ".join(one.running[:MOST_NAMES])
            more = f" +{len(one.running) - MOST_NAMES}" if len(one.running) > MOST_NAMES else ""
            whole.add_row(
                f"{one.name}",
                ProgressBar(total=one.cores, completed=one.busy_cores, width=BAR),
                f"{one.busy_cores:g}/{one.cores:g} cores",
                Text(f"{one.done:>3} ended  ") + Text(names + more, style="cyan"),
            )
        return Group(Text(), whole)


def make_display(console: Console, plain: bool) -> Display:
    return Lines(console) if plain or not console.is_terminal else Picture(console)


def yuan(micro_yuan: int) -> str:
    return f"¥{micro_yuan / 1_000_000:.6f}"


def _now_ms() -> int:
    return round(time.time() * 1000)
