"""`suan ls`, `show`, `logs`, `wait`, `cancel`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json, print_json_line
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.kernel.errors import SuanwangError

if TYPE_CHECKING:
    from suanwang.edge.client.views import Job, JobDetail, Lease, Task

STATES = ("waiting", "queued", "leased", "running", "succeeded", "failed", "cancelled", "refused")
MANY_TASKS = 20


def _ls_options(parser: Parser) -> None:
    parser.common()
    parser.flag("-a", "--all", help="All jobs, not only the newest twenty")
    parser.flag("-o", "--open", help="Only jobs that have not ended")
    parser.option("--state", help="Only jobs in this state", action="append", choices=STATES)
    parser.option("-p", "--project", help="Only this project's jobs", metavar="NAME")
    parser.option("-n", "--limit", help="At most so many", type=int, metavar="N")


def _ls(args: Args) -> int:
    states = list(args.state or ())
    if args.open:
        states += [state for state in STATES[:4] if state not in states]
    limit = args.limit if args.limit is not None else None if args.all else 20
    client = client_of(args)
    jobs = list(client.jobs(states=states, project=args.project, limit=limit))
    if args.json:
        print_json(jobs)
        return 0
    if not jobs:
        errors.tell(say("No jobs. `suan run -- echo hello` submits one."))
        return 0
    headings = [say(h) for h in ("ID", "STATE", "TASKS", "SUBMITTED", "TOOK", "NAME")]
    tables.show(headings, [_row(job) for job in jobs], right=(2, 3, 4), states=1)
    return 0


def _row(job: Job) -> list[str]:
    counts = job["tasks"]
    done = counts["succeeded"] + counts["failed"] + counts["cancelled"] + counts["refused"]
    return [
        figures.short(job["id"]),
        "cancelling" if job["cancelling"] else job["state"],
        f"{done}/{counts['total']}" if job["array"] else "",
        figures.age(job["created_at"]),
        figures.age(job["created_at"], job["ended_at"]) if job["ended_at"] else "",
        job["name"],
    ]


def _id_options(parser: Parser) -> None:
    parser.option("id", help="Id of the job, or the end of it", metavar="ID")
    parser.common()


def _show(args: Args) -> int:
    job = client_of(args).job(args.id)
    if args.json:
        print_json(job)
    else:
        show_job(job)
    return 0


def show_job(job: JobDetail) -> None:
    counts = {name: n for name, n in job["tasks"].items() if n and name != "total"}
    tables.show_fields(
        [
            (say("Job"), f"{job['name']}  ({job['id']})"),
            (say("State"), job["state"]),
            (
                say("Tasks"),
                ", ".join(f"{n} {name}" for name, n in counts.items()) if job["array"] else "",
            ),
            (say("Submitted"), figures.local_time(job["created_at"])),
            (
                say("Ended"),
                f"{figures.local_time(job['ended_at'])}"
                f" ({figures.age(job['created_at'], job['ended_at'])})"
                if job["ended_at"]
                else "",
            ),
            (say("After"), ", ".join(job["depends_on"])),
        ],
        states=say("State"),
    )
    if job["purged_at"]:
        print(say("Its tasks, output and specification are no longer kept."))
        return
    tasks = job["task_list"]
    print()
    headings = [
        say(h) for h in ("TASK", "TRY", "STATE", "WHERE", "RAN", "EXIT", "YUAN/H", "DETAIL")
    ]
    rows = [row for task in tasks[:MANY_TASKS] for row in _attempts(task)]
    tables.show(headings, rows, right=(0, 1, 4, 5, 6), states=2)
    if job["tasks"]["total"] > MANY_TASKS:
        print(say("… {n} more; --json shows a hundred.", n=job["tasks"]["total"] - MANY_TASKS))
    for name, size in _outputs(tasks):
        print(say("Output {name}: {size}", name=name, size=size))


def _attempts(task: Task) -> Iterable[list[str]]:
    if not task["leases"]:
        yield [str(task["index"]), "", task["state"], "", "", "", "", task["detail"]]
    for lease in task["leases"]:
        last = lease is task["leases"][-1]
        yield [
            str(task["index"]) if lease is task["leases"][0] else "",
            str(lease["epoch"]),
            task["state"] if last else lease["outcome"] or lease["state"],
            f"{lease['site']}/{lease['pool']}",
            _ran(lease),
            "" if lease["exit_code"] is None else str(lease["exit_code"]),
            figures.yuan(lease["rate"]),
            _detail(lease, task["detail"] if last else ""),
        ]


def _detail(lease: Lease, of_task: str) -> str:
    detail = lease["detail"] or of_task
    if not lease.get("contract"):
        return detail
    paid = say("on contract {contract}, nothing more to pay", contract=lease["contract"])
    return f"{paid}; {detail}" if detail else paid


def _ran(lease: Lease) -> str:
    if lease["meters"]["duration_ms"]:
        return figures.duration(lease["meters"]["duration_ms"] / 1000)
    return figures.age(lease["started_at"], lease["ended_at"])


def _outputs(tasks: list[Task]) -> Iterable[tuple[str, str]]:
    for task in tasks[:MANY_TASKS]:
        attempts = [lease for lease in task["leases"] if lease["outputs"]]
        for output in attempts[-1]["outputs"] if attempts else ():
            yield output["name"], figures.size(output["size_bytes"])


def _logs_options(parser: Parser) -> None:
    _id_options(parser)
    parser.flag("-f", "--follow", help="Go on until the job has ended")
    parser.option("--task", help="Of this task of an array", type=int, default=0, metavar="N")
    parser.option("--attempt", help="Of this attempt; else of all", type=int, metavar="N")
    parser.flag("--stderr", help="The error output instead of the output")


def _logs(args: Args) -> int:
    client = client_of(args)
    stream = "stderr" if args.stderr else "stdout"
    pieces = client.logs(
        args.id, follow=args.follow, task=args.task, attempt=args.attempt, stream=stream
    )
    if args.json:
        for piece in pieces:
            print_json_line({"stream": stream, "text": piece.decode("utf-8", "replace")})
        return 0
    wrote = False
    for piece in pieces:
        wrote = True
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    if not wrote and not args.follow:
        _why_silent(client.job(args.id), stream)
    return 0


def _why_silent(job: Any, stream: str) -> None:
    if job["state"] in ("waiting", "queued", "leased"):
        text = say(
            "The job is {state}: no output yet. `suan explain {id}` says why.",
            state=job["state"],
            id=figures.short(job["id"]),
        )
        errors.tell(text)
    elif job["state"] == "refused":
        text = say(
            "The job was refused. `suan explain {id}` says why.", id=figures.short(job["id"])
        )
        errors.tell(text)
    elif stream == "stdout":
        errors.tell(say("No output. `--stderr` shows the error output."))


def _wait_options(parser: Parser) -> None:
    parser.option("ids", help="Ids of jobs", nargs="+", metavar="ID")
    parser.common()
    parser.option("--timeout", help="Give up after so many seconds", type=float, metavar="SECONDS")


def _wait(args: Args) -> int:
    from suanwang.edge.cli.waiting import code_of

    client = client_of(args)
    jobs = [client.wait(identity, args.timeout) for identity in args.ids]
    codes = [code_of(client, job) for job in jobs]
    if args.json:
        print_json(jobs)
    else:
        for job in jobs:
            print(f"{figures.short(job['id'])}  {job['state']}")
    return next((code for code in codes if code), 0)


def _cancel_options(parser: Parser) -> None:
    parser.option("ids", help="Ids of jobs", nargs="+", metavar="ID")
    parser.common()


def _cancel(args: Args) -> int:
    """All that can be cancelled are; the first failure decides the exit code."""
    client = client_of(args)
    done: list[Job] = []
    code = 0
    for identity in args.ids:
        try:
            done.append(client.cancel(identity))
        except SuanwangError as error:
            errors.tell_failure(errors.one_line(error))
            code = code or errors.exit_code(error)
    if args.json:
        print_json(done)
    else:
        for job in done:
            print(f"{figures.short(job['id'])}  {_after_cancel(job)}")
    return code


def _after_cancel(job: Job) -> str:
    return "cancelling" if job["cancelling"] else job["state"]


COMMANDS = {
    "ls": Doing(_ls_options, _ls),
    "show": Doing(_id_options, _show),
    "logs": Doing(_logs_options, _logs),
    "wait": Doing(_wait_options, _wait),
    "cancel": Doing(_cancel_options, _cancel),
}
