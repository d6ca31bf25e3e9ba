"""The table at the end: job, place, reason, times, usage, charge, answer; then one line of sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from suanwang.demo.books import Books, Charge
from suanwang.demo.display import yuan
from suanwang.demo.play import Act
from suanwang.demo.reasons import why_there
from suanwang.demo.verdicts import Verdict

COLUMNS = ("job", "site", "why there", "wait", "run", "core-s", "GiB-s", "card-s", "charge")
NARROW = 120
"""On such a terminal the columns of usage are left out; `suan bill` has them."""
USAGE = ("core-s", "GiB-s", "card-s")


def show_table(
    console: Console, acts: Sequence[Act], verdicts: Mapping[str, Verdict], books: Books
) -> None:
    narrow = console.width < NARROW
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    left_out = USAGE if narrow else ()
    for name in COLUMNS:
        if name in left_out:
            continue
        right = name not in ("job", "site", "why there")
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    table.add_column("answer", overflow="fold", no_wrap=not console.is_terminal)
    for act in acts:
        verdict = verdicts[act.case.name]
        charge = books.by_job.get(act.job_id, Charge())
        mark = "[green]✔[/]" if verdict.right else "[bold red]✘[/]"
        table.add_row(
            act.case.name,
            ", ".join(dict.fromkeys(one["site"] for one in act.leases)) or "-",
            why_there(act),
            _seconds(act.wait_ms),
            _seconds(act.run_ms if act.leases else None),
            *([] if narrow else _usage(charge)),
            yuan(charge.micro_yuan),
            f"{mark} {verdict.words}",
        )
    console.print()
    console.print(table, highlight=False)


def show_sums(
    console: Console, acts: Sequence[Act], together: Sequence[Verdict], books: Books, took_s: float
) -> None:
    console.print()
    for one in together:
        mark = "[green]✔[/]" if one.right else "[bold red]✘[/]"
        console.print(f"{mark} {one.name}: {one.words}", highlight=False)
    for trouble in books.troubles:
        console.print(f"[bold red]✘[/] {trouble}", highlight=False)
    if not books.troubles:
        console.print(
            "[green]✔[/] charges = fall of the balances = statements = revenue of the sites, "
            "to the micro-yuan",
            highlight=False,
        )
    tasks = sum(len(act.tasks) for act in acts)
    used = [books.by_job.get(act.job_id, Charge()) for act in acts]
    console.print(
        f"\n[bold]{len(acts)} jobs, {tasks} tasks, {sum(one.core_s for one in used):.1f} "
        f"core-seconds, {sum(one.gib_s for one in used):.1f} GiB-seconds, "
        f"{sum(one.card_s for one in used):g} card-seconds: {yuan(books.total)} "
        f"in {took_s:.1f} s[/]",
        highlight=False,
    )


def _seconds(ms: int | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.2f} s"


def _usage(charge: Charge) -> list[str]:
    return [f"{charge.core_s:.1f}", f"{charge.gib_s:.2f}", f"{charge.card_s:g}"]
