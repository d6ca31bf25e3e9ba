"""`python -m suanwang.demo.exchange`: a day of the exchange in about two minutes. `--exit`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from suanwang.demo import platform, stage
from suanwang.demo.__main__ import guarded, prepare
from suanwang.demo.exchange import cast
from suanwang.demo.exchange.day import Day
from suanwang.demo.exchange.desk import Hall, wait_for
from suanwang.demo.household import Household
from suanwang.demo.platform import Running

FAILING = "hami"


def main() -> int:
    return guarded(_parsed(), _run)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo-exchange", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".demo"), help="folder of it all")
    parser.add_argument("--port", type=int, default=8100, help="a free one is taken if it is not")
    parser.add_argument("--exit", action="store_true", help="stop everything at the end")
    parser.add_argument("--stop", action="store_true", help="end a demo that was left up")
    options = parser.parse_args()
    options.state = options.state.absolute()
    return options


def _run(options: argparse.Namespace, console: Console, home: Household) -> bool:
    from_s = time.monotonic()

    def say(words: str) -> None:
        passed = time.monotonic() - from_s
        console.print(f"{passed:6.1f} s  {words}", highlight=False, markup=False)

    prepare(options.state, home, False, console)
    running = platform.start_server(home, options.state, options.port, ["--rehearsal"])
    say(f"a rehearsal of the platform answers at {running.address}: its clock can be put forward")
    running = platform.admit(options.state, running, cast.PARTIES)
    isolate, _ = stage.isolation()
    pids = platform.start_sites(home, options.state, running, isolate, cast.OWNERS)
    say("three providers have enrolled a site each; five buyers have money")
    day = Day(Hall.of(running, cast.PARTIES), say)
    closed, rows, relieved = _play(day, home, pids[FAILING])
    _show(console, day, relieved)
    say(f"{closed} days of the books are closed, they sum to zero in every currency")
    say(f"the FOCUS export of a buyer has {rows} rows, and sums to his statement")
    for one in day.wrong:
        console.print(f"✘ {one}", style="red", highlight=False)
    if not day.wrong:
        console.print("✔ every step was as it must be", style="green", highlight=False)
    if options.exit:
        console.print(f"Stopped: {home.end_all()} processes ended.", highlight=False)
    else:
        _farewell(console, running)
    return not day.wrong


def _play(day: Day, home: Household, failing_pid: int) -> tuple[int, int, int]:
    day.open()
    day.listing()
    day.book()
    enquiry, deadline = day.quotation()
    day.bilateral()
    day.bids()
    day.voucher()
    os.kill(failing_pid, signal.SIGKILL)
    wait_for(lambda: not home.is_alive(failing_pid), f"the agent of {FAILING} is gone")
    day.clear(enquiry, deadline)
    day.deliver(FAILING)
    day.settle()
    relieved = day.redeem()
    return day.close(), day.export(), relieved


def _show(console: Console, day: Day, relieved: int) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("way", "buyer", "seller", "contract"):
        table.add_column(name)
    for name in ("worth", "charged", "voucher", "credit"):
        table.add_column(name, justify="right")
    for deal in day.deals:
        by_voucher = relieved if deal.way == "listing" else 0
        figures = (
            int(deal.told["worth"]["micro_yuan"]),
            deal.micro("charged"),
            by_voucher,
            deal.micro("credited"),
        )
        table.add_row(
            deal.way,
            deal.buyer.display_name,
            deal.seller.display_name,
            deal.contract_id,
            *(f"¥{one / 1_000_000:.3f}" if one else "" for one in figures),
        )
    console.print(table)


def _farewell(console: Console, running: Running) -> None:
    console.print(f"\nThe platform stays up. Portal: [bold]{running.address}[/]", highlight=False)
    people = [("the operator", running.operator)]
    people += [(party.display_name, running.users[party.name]) for party in cast.PARTIES]
    for who, account in people:
        console.print(f"  {account.login:<9} {account.password:<22} {who}", highlight=False)
    console.print("Look at: /market  /market/listings  /auctions  /contracts  /vouchers  /finance")
    console.print("Stop it: make demo-stop", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
