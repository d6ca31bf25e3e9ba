"""Staying with a job: its output as it comes, its changes, and its exit code in the end.

The job's output goes to stdout and stderr as it was written; our own news go to stderr.
Ctrl-C leaves the job running and says how to come back.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from suanwang.edge.cli import errors, figures, tables
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client
    from suanwang.edge.client.views import Job, Task

WITHOUT_CODE = 125
"""The exit code of a job that ended without one: cancelled, refused, lost, stopped by a limit."""


def watch(client: Client, job_id: str, *, quiet: bool = False) -> tuple[Job, int]:
    """Until the job has ended: it, and its exit code."""
    job = client.job(job_id)
    try:
        last = _watch_array(client, job) if job["array"] else _watch_one(client, job["id"], quiet)
    except KeyboardInterrupt:
        _detached(job["id"])
        raise
    code = code_of(client, last)
    if not quiet:
        _news(_ended(client, last, code))
    return last, code


def _detached(job_id: str) -> None:
    name = figures.short(job_id)
    errors.tell("")
    errors.tell(
        say(
            "Detached; job {id} goes on. Come back: suan logs -f {id} · end it: suan cancel {id}",
            id=name,
        )
    )


def _watch_one(client: Client, job_id: str, quiet: bool) -> Job:
    from suanwang.edge.client.following import Changed, Output, changes, follow

    if quiet:
        *_, ended = changes(client.api, job_id)
        return ended
    outputs = {name: Output(client.api, job_id, name) for name in ("stdout", "stderr")}
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    said = ""
    last: Job | None = None
    for news in follow(client.api, job_id, outputs):
        if isinstance(news, Changed):
            last = news.job
            said = _tell_change(client, news.job, said)
        else:
            streams[news.stream].buffer.write(news.data)
            streams[news.stream].buffer.flush()
    if last is None:
        raise AssertionError("a job's stream of changes is never empty")
    return last


def _tell_change(client: Client, job: Job, said: str) -> str:
    """One line for each new state on the way; returns what was said last."""
    state = job["state"]
    if state == said or state not in ("waiting", "queued", "running", "leased"):
        return said
    if state in ("waiting", "queued"):
        why = _why_waiting(client, job) if state == "queued" and said else ""
        _news(f"{state}{why}")
    else:
        where = place_of(client, job["id"])
        _news(say("{state} at {place}", state=state, place=where) if where else state)
    return state


def _why_waiting(client: Client, job: Job) -> str:
    waiting: dict[str, Any] = client.explain(job["id"]).get("waiting") or {}
    return f": {waiting['detail']}" if waiting.get("detail") else ""


def place_of(client: Client, job_id: str) -> str:
    """'site/pool' of the first task's last attempt."""
    tasks = client.job(job_id)["task_list"]
    if not tasks or not tasks[0]["leases"]:
        return ""
    lease = tasks[0]["leases"][-1]
    return f"{lease['site']}/{lease['pool']}"


def _watch_array(client: Client, job: Job) -> Job:
    from suanwang.edge.cli.progress import ArrayProgress
    from suanwang.edge.client.following import changes

    last = job
    with ArrayProgress(job["name"], job["tasks"]["total"]) as progress:
        for last in changes(client.api, job["id"]):
            progress.show(last["tasks"])
    return last


def _ended(client: Client, job: Job, code: int) -> str:
    took = figures.age(job["created_at"], job["ended_at"])
    if job["state"] == "succeeded":
        return say("succeeded after {took}", took=took)
    failed = first_failed(client, job)
    detail = failed["detail"] if failed else ""
    why = f": {detail}" if detail else ""
    return (
        say("{state} after {took}, exit code {code}", state=job["state"], took=took, code=code)
        + why
    )


def first_failed(client: Client, job: Job) -> Task | None:
    tasks = [task for task in client.tasks(job["id"]) if task["state"] != "succeeded"]
    return next((task for task in tasks if task["state"] == "failed"), tasks[0] if tasks else None)


def code_of(client: Client, job: Job) -> int:
    """The job's: of its first task that failed, 128 and the signal's number for a killed one."""
    if job["state"] != "failed":
        return 0 if job["state"] == "succeeded" else WITHOUT_CODE
    task = first_failed(client, job)
    found = task["exit_code"] if task else None
    if not found:
        return WITHOUT_CODE
    return 128 - found if found < 0 else found & 255


def _news(text: str) -> None:
    errors.tell(tables.styled(f"· {tables.shown(text)}", "dim", sys.stderr))
