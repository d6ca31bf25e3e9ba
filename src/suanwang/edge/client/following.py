"""A job as it happens: its changes from the stream of events, its output by offset.

Both survive a broken line: the stream is opened again, and output is asked for from where it was.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from suanwang.edge.client.http import Api, segment
from suanwang.edge.client.views import FINAL_STATES, Job
from suanwang.kernel.errors import SuanwangError, TransientError, Unavailable

PAUSE_S = 0.25
PAUSE_MOST_S = 2.0
RETRY_MOST_S = 15.0
MANY_ATTEMPTS = 10_000
GIVE_UP_AFTER_S = 600.0
"""A server silent for so long is given up; the job itself goes on."""


@dataclass(frozen=True, slots=True)
class Changed:
    job: Job


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes of a task's output."""

    stream: str
    data: bytes


def changes(api: Api, job_id: str) -> Iterator[Job]:
    """The job at once and after every change, the last time when it has ended."""
    path = f"/v1/jobs/{segment(job_id)}/events"
    pause_s, silent_since = PAUSE_S, time.monotonic()
    while True:
        try:
            for job in _events(api, path):
                yield job
                pause_s, silent_since = PAUSE_S, time.monotonic()
                if job["state"] in FINAL_STATES:
                    return
        except TransientError:
            if time.monotonic() - silent_since > GIVE_UP_AFTER_S:
                raise
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() - silent_since > GIVE_UP_AFTER_S:
                raise Unavailable(
                    "ServerUnreachable",
                    f"{api.server} has not answered for ten minutes.",
                    hint=f"The job goes on; come back with `suan logs -f {job_id}`.",
                ) from error
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, RETRY_MOST_S)


def _events(api: Api, path: str) -> Iterator[Job]:
    reply = api.stream(path)
    try:
        rest = b""
        while piece := reply.read_some(65_536):
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                for line in event.splitlines():
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
    finally:
        reply.close()


class Output:
    """One stream of a task's output, read on from where it was.

    Without `attempt` it is that of all attempts, one after the other.
    """

    def __init__(
        self, api: Api, job_id: str, stream: str, task: int = 0, attempt: int | None = None
    ) -> None:
        self._api = api
        self._path = f"/v1/jobs/{segment(job_id)}/logs"
        self._query = {"stream": stream, "task": task}
        self._only = attempt
        self._attempt = attempt or 1
        self._lease = ""
        self._offset = 0

    def more(self) -> bytes:
        """What is there now and was not read yet; empty if nothing."""
        if self._only is not None:
            return self._read(self._only)[0]
        data, latest = self._read(None)
        if latest == self._lease:
            return data
        for _ in range(MANY_ATTEMPTS):  # what is left of earlier attempts comes first
            data, lease = self._read(self._attempt)
            self._lease = lease
            if data or lease == latest:
                return data
            self._attempt, self._offset = self._attempt + 1, 0
        return b""

    def _read(self, attempt: int | None) -> tuple[bytes, str]:
        """(bytes, id of the attempt's lease); moves on only in the attempt being read."""
        query = {**self._query, "attempt": attempt, "offset": self._offset}
        data, headers = self._api.read(self._path, query)
        lease = headers.get("Lease") or ""
        if attempt is None and lease != self._lease:
            return b"", lease
        self._offset = int(headers.get("Next-Offset") or self._offset)
        return data, lease


def follow(api: Api, job_id: str, outputs: dict[str, Output]) -> Iterator[Changed | Written]:
    """Changes and output, as they come, until the job has ended and all of it was read."""
    news: queue.Queue[Job | SuanwangError] = queue.Queue()

    def listen() -> None:
        try:
            for job in changes(api, job_id):
                news.put(job)
        except SuanwangError as error:
            news.put(error)

    threading.Thread(target=listen, daemon=True, name="events").start()
    pause_s = PAUSE_S
    began = ended = False
    while not ended:
        try:
            found = news.get(timeout=pause_s if began else None)
        except queue.Empty:
            found = None
        if isinstance(found, SuanwangError):
            raise found
        if found is not None:
            yield Changed(found)
            ended = found["state"] in FINAL_STATES
            began = began or ended or found["state"] not in ("waiting", "queued")
        wrote = False
        for written in _written(outputs) if began else ():
            wrote = True
            yield written
        pause_s = PAUSE_S if wrote else min(pause_s * 1.5, PAUSE_MOST_S)


def _written(outputs: dict[str, Output]) -> Iterator[Written]:
    for stream, output in outputs.items():
        try:
            while data := output.more():
                yield Written(stream, data)
        except TransientError:
            continue  # the next look begins at the same offset
