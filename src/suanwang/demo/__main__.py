"""`python -m suanwang.demo`: three sites, real jobs, the bill. `--exit`, `--keep`, `--stop`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from suanwang.demo import platform, report, stage
from suanwang.demo.books import Accounts
from suanwang.demo.display import Display, make_display
from suanwang.demo.household import RECORD, Household
from suanwang.demo.platform import CONFIG, KNOWN, Running
from suanwang.demo.play import Play
from suanwang.demo.verdicts import judge
from suanwang.kernel.errors import InvalidInput, SuanwangError

WRONG, STOPPED = 1, 130
WIDTH = 230
"""Of the table when nobody looks at it in a terminal."""


def main() -> int:
    options = _parsed()
    return guarded(options, _run)


def guarded(
    options: argparse.Namespace, run: Callable[[argparse.Namespace, Console, Household], bool]
) -> int:
    """Run a demo so that it leaves nothing behind, however it ends; the exit code."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    home = Household(options.state)
    if options.stop:
        count = home.end_all()
        console.print(f"The demo is down: {count} processes ended." if count else "Nothing is up.")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had them ignored
        signal.signal(number, signal.default_int_handler)
    try:
        right = run(options, console, home)
    except KeyboardInterrupt:
        console.print(f"\nStopped: {home.end_all()} processes ended.")
        return STOPPED
    except SuanwangError as error:
        home.end_all()
        print(f"demo: {error.reason}: {error}", file=sys.stderr)
        if error.hint:
            print(f"      {error.hint}", file=sys.stderr)
        return WRONG
    except BaseException:
        home.end_all()
        raise
    return 0 if right else WRONG


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".demo"), help="folder of it all")
    parser.add_argument("--port", type=int, default=8100, help="a free one is taken if it is not")
    parser.add_argument("--exit", action="store_true", help="stop everything at the end")
    parser.add_argument("--keep", action="store_true", help="go on with what is in the folder")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live picture")
    parser.add_argument("--stop", action="store_true", help="end a demo that was left up")
    options = parser.parse_args()
    options.state = options.state.absolute()
    return options


def _run(options: argparse.Namespace, console: Console, home: Household) -> bool:
    from_s = time.monotonic()
    prepare(options.state, home, options.keep, console)
    display = make_display(console, options.plain)
    try:
        running = _start(options, home, display)
        accounts = Accounts(running)
        play = Play(running)
        play.submit()
        display.say(f"{sum(not act.case.after for act in play.acts)} jobs submitted")
        for changed in play.follow():
            display.show(play, changed)
    finally:
        display.close()
    verdicts, together = judge(play, options.state / "answers")
    books = accounts.close(play.acts)
    report.show_table(console, play.acts, verdicts, books)
    report.show_sums(console, play.acts, together, books, time.monotonic() - from_s)
    right = all(one.right for one in (*verdicts.values(), *together)) and not books.troubles
    if options.exit:
        console.print(f"Stopped: {home.end_all()} processes ended.", highlight=False)
    else:
        _farewell(console, options.state, running)
    return right


def prepare(folder: Path, home: Household, keep: bool, console: Console) -> None:
    """A fresh folder, unless told to keep it; a folder that is not a demo's is left alone."""
    if home.end_all():
        console.print("An earlier demo was still up; it has been stopped.")
    ours = any((folder / name).exists() for name in (KNOWN, RECORD, "logs"))
    if folder.exists() and any(folder.iterdir()) and not ours:
        raise InvalidInput(
            "NotADemo",
            f"{folder} holds something else than a demo.",
            hint="Name another folder with --state.",
        )
    if folder.exists() and not keep:
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _start(options: argparse.Namespace, home: Household, display: Display) -> Running:
    running = platform.start_server(home, options.state, options.port)
    display.say(f"the platform answers at {running.address}")
    if not running.address.endswith(f":{options.port}"):
        display.say(f"(port {options.port} is taken; this one was free)")
    isolate, why = stage.isolation()
    if why:
        display.say(f"runs are not sandboxed: {why}")
    platform.start_sites(home, options.state, running, isolate)
    names = ", ".join(site.name for site in stage.SITES)
    display.say(f"three sites have enrolled: {names} (each an agent on this machine)")
    running = platform.admit(options.state, running)
    parties = ", ".join(f"{p.display_name} with ¥{p.yuan}" for p in stage.PARTIES)
    display.say(f"two organisations: {parties}")
    return running


def _farewell(console: Console, folder: Path, running: Running) -> None:
    """The platform stays up: where it is, who may sign in, how it is stopped."""
    where = folder.name if folder.parent == Path.cwd() else str(folder)
    tools = Path(sys.executable).parent
    if tools.is_relative_to(Path.cwd()):
        tools = tools.relative_to(Path.cwd())
    console.print(f"\nThe platform stays up. Portal: [bold]{running.address}[/]", highlight=False)
    people = [("the operator", running.operator)]
    people += [(party.display_name, running.users[party.name]) for party in stage.PARTIES]
    for who, account in people:
        console.print(f"  {account.login:<9} {account.password:<22} {who}", highlight=False)
    console.print(
        f"Command line: export SUAN_CONFIG={where}/{CONFIG} PATH={tools}:$PATH\n"
        f"              suan ls          (as {stage.UNIVERSITY.login}; "
        f"{where}/suan-admin.yaml is the operator's)",
        highlight=False,
        soft_wrap=True,
    )
    stop = "make demo-stop" if where == ".demo" else f"{tools}/python -m suanwang.demo --stop"
    stop += "" if where == ".demo" else f" --state {where}"
    console.print(f"Stop it:      {stop}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
