"""`suan run`: upload, plan, ask, submit, and stay with the job if wanted."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, specfiles
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client

PLANNED = 3
"""Of a batch, so many candidate tables are shown."""


def _options(parser: Parser) -> None:
    parser.usage = "suan run FILE [options]  |  suan run [options] -- COMMAND …"
    parser.option("file", help="YAML file, or - for stdin", nargs="?", metavar="FILE")
    parser.common()
    parser.flag("-w", "--wait", help="Stay until it has ended; its exit code is ours")
    parser.flag("-y", "--yes", help="Do not ask")
    parser.flag("--plan", help="Show where it would run and end")
    parser.option("--name", help="Name of the job", metavar="TEXT")
    parser.option("-p", "--project", help="Whose money", metavar="NAME")
    parser.option("--cpus", help="Cores of each member", type=float, metavar="N")
    parser.option("--memory", help="Of each member: 512MiB, 8GiB", metavar="SIZE")
    parser.option("--gpus", help="Cards of each member: 1, 0.5, A100:2", metavar="CARDS")
    parser.option(
        "--env", help="A variable; may be repeated", action="append", metavar="NAME=VALUE"
    )
    parser.option(
        "--array", help="So many tasks, told apart by SUAN_ARRAY_INDEX", type=int, metavar="N"
    )
    parser.option("--max-price", help="Yuan an hour at most", type=float, metavar="YUAN")
    parser.option("--max-runtime", help="Stopped after: 90s, 2h, 1d", metavar="TIME")
    parser.option("--priority", help="From -100 to 100", type=int, metavar="N")
    parser.option("--workdir", help="Folder to send and to start in", metavar="FOLDER")
    parser.option(
        "--output", help="Path to keep; may be repeated", action="append", metavar="[NAME=]PATH"
    )
    parser.option("--site", help="Only this site; may be repeated", action="append", metavar="NAME")


def _run(args: Args) -> int:
    specs, base = _specs(args, args.program)
    client = client_of(args)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not (args.yes or args.json)
    ready = _uploaded(client, specs, base)
    plans: list[Any] = []
    if args.plan or not args.json:
        plans = [client.plan(spec) for spec in ready[:PLANNED]]
        if args.plan:
            return _only_plan(client, plans, args.json)
        _show_plans(client, ready, plans)
        if asks and not _agreed(len(ready), all(plan["feasible"] for plan in plans)):
            errors.tell(say("Nothing was submitted."))
            return errors.REFUSED
    ids = client.submit_prepared(ready, key=uuid.uuid4().hex)
    if args.wait:
        return _stay(client, ids, args.json)
    if not args.json:
        _tell_impossible(ready, plans, ids)
    if args.json:
        print_json({"ids": ids})
    elif sys.stdout.isatty():
        _useful_commands(ids)
    else:
        print("\n".join(ids))
    return 0


def _specs(args: Args, program: Sequence[str]) -> tuple[list[dict[str, Any]], Path]:
    if bool(args.file) == bool(program):
        raise InvalidInput(
            "UsageWrong",
            say("suan run takes either a file or a command."),
            hint=say("suan run job.yaml · suan run -- python train.py"),
        )
    if program:
        spec = {"name": Path(program[0]).name or "job", "argv": list(program)}
        return [specfiles.overridden(spec, args)], Path()
    specs, base = specfiles.load(args.file)
    if args.workdir is not None:  # named on the command line: relative to here
        args.workdir = str(Path(args.workdir).absolute())
    return [specfiles.overridden(spec, args) for spec in specs], base


def _uploaded(client: Client, specs: Sequence[dict[str, Any]], base: Path) -> list[dict[str, Any]]:
    """Local files and folders sent; the same folder of several specifications only once."""
    if not any(_names_files(spec) for spec in specs):
        return [client.prepared(spec, base) for spec in specs]
    from suanwang.edge.cli.progress import BytesProgress

    progress = BytesProgress(say("uploading"))
    try:
        return [client.prepared(spec, base, progress) for spec in specs]
    finally:
        progress.end()


def _names_files(spec: dict[str, Any]) -> bool:
    return bool(spec.get("workdir") or spec.get("inputs"))


def _only_plan(client: Client, plans: Sequence[Any], as_json: bool) -> int:
    if as_json:
        print_json({"plans": list(plans)})
        return 0
    from suanwang.edge.cli.candidates import show_candidates

    for plan in plans:
        show_candidates(client, plan["candidates"])
    return 0


def _show_plans(client: Client, specs: Sequence[dict[str, Any]], plans: Sequence[Any]) -> None:
    from suanwang.edge.cli.candidates import show_candidates

    for spec, plan in zip(specs, plans, strict=False):
        if len(specs) > 1:
            errors.tell(f"{spec.get('name', 'job')}:")
        if plan["candidates"]:
            show_candidates(client, plan["candidates"], sys.stderr)
        else:
            errors.tell(say("No site is enrolled yet. `suan site enrol NAME` invites one."))
    if len(specs) > PLANNED:
        errors.tell(say("… and {n} more jobs", n=len(specs) - PLANNED))


def _agreed(jobs: int, feasible: bool) -> bool:
    what = say("Submit?") if jobs == 1 else say("Submit {n} jobs?", n=jobs)
    sys.stderr.write(f"{what} {'[Y/n]' if feasible else '[y/N]'} ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip().lower()
    return answer in ("y", "yes", "是") or (not answer and feasible)


def _stay(client: Client, ids: Sequence[str], as_json: bool) -> int:
    from suanwang.edge.cli.waiting import watch

    ended = [watch(client, job_id, quiet=as_json) for job_id in ids]
    if as_json:
        print_json({"ids": list(ids), "jobs": [job for job, _ in ended]})
    elif sys.stdout.isatty():
        _useful_commands(ids)
    return next((code for _, code in ended if code), 0)


def _tell_impossible(
    specs: Sequence[dict[str, Any]], plans: Sequence[Any], ids: Sequence[str]
) -> None:
    """What was submitted although no pool takes it: the id alone would look like success."""
    for spec, plan, job_id in zip(specs, plans, ids, strict=False):
        if plan["feasible"]:
            continue
        text = (
            "No pool can take it: it waits until one can. See: suan explain {id}"
            if spec.get("on_impossible") == "wait"
            else "No pool can take it: it is refused. See: suan explain {id}"
        )
        errors.tell(f"· {say(text, id=figures.short(job_id))}")


def _useful_commands(ids: Sequence[str]) -> None:
    name = figures.short(ids[0])
    more = "" if len(ids) == 1 else say(" and {n} more", n=len(ids) - 1)
    errors.tell(say("Job {id}{more}. Useful commands:", id=name, more=more))
    for text, what in (
        (f"suan logs -f {name}", say("output as it comes")),
        (f"suan show {name}", say("tasks and attempts")),
        (f"suan explain {name}", say("why it waits, or why it ran there")),
        (f"suan cp {name} .", say("fetch its outputs")),
        (f"suan cancel {name}", say("end it")),
    ):
        errors.tell(f"  {text:<26}{what}")


COMMANDS = {"run": Doing(_options, _run, takes_program=True)}
