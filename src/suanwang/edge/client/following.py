"""A job as it happens: its changes from the stream of events, its output by offset.

Both survive a broken line: the stream is opened again, and output is asked for from where it was.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from suanwang.edge.client.http import Api, segment
from suanwang.edge.client.views import FINAL_STATES, Job
from suanwang.kernel.errors import SuanwangError, TransientError, Unavailable

PAUSE_S = 0.25
WAIT_S = 20
"""One long poll; the server answers as soon as there is something."""
RETRY_MOST_S = 15.0
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
        self._offset = 0
        self.over = False
        """Nothing more will come."""

    def more(self, wait_s: int = 0) -> bytes:
        """What is there now and was not read yet, or comes within `wait_s`; else empty.

        After trouble the next call begins at the same byte.
        """
        while not self.over:
            query = {**self._query, "attempt": self._attempt, "offset": self._offset}
            data, headers = self._api.read(self._path, {**query, "wait": wait_s or None})
            self._offset = int(headers["Next-Offset"])
            state = headers["Output"]
            self.over = state == "final" or (state == "over" and self._only is not None)
            if state == "over":
                self._attempt, self._offset = self._attempt + 1, 0
            if data or state == "open":
                return data
        return b""


class _Ended:
    """A reader has read all there was."""


class _Newsroom:
    """What several threads report, in the order in which it comes. Bounded: who reads slowly makes
    the readers wait, and with them the server."""

    def __init__(self) -> None:
        self._news: queue.Queue[Changed | Written | _Ended | SuanwangError] = queue.Queue(64)
        self._closed = threading.Event()

    def send(self, item: Changed | Written | _Ended | SuanwangError) -> bool:
        """False if nobody listens any more."""
        while not self._closed.is_set():
            try:
                self._news.put(item, timeout=1.0)
            except queue.Full:
                continue
            return True
        return False

    def next(self) -> Changed | Written | _Ended:
        found = self._news.get()
        if isinstance(found, SuanwangError):
            raise found
        return found

    def close(self) -> None:
        self._closed.set()

    def start(self, report: Callable[[], None], name: str) -> None:
        def run() -> None:
            try:
                report()
            except SuanwangError as error:
                self.send(error)

        threading.Thread(target=run, daemon=True, name=name).start()

    def report_changes(self, api: Api, job_id: str) -> None:
        for job in changes(api, job_id):
            if not self.send(Changed(job)):
                return

    def report_output(self, stream: str, output: Output) -> None:
        pause_s, silent_since = PAUSE_S, time.monotonic()
        while not output.over:
            try:
                data = output.more(WAIT_S)
            except TransientError:
                if time.monotonic() - silent_since > GIVE_UP_AFTER_S:
                    raise
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MOST_S)
                continue
            pause_s, silent_since = PAUSE_S, time.monotonic()
            if data and not self.send(Written(stream, data)):
                return
        self.send(_Ended())


def follow(api: Api, job_id: str, outputs: dict[str, Output]) -> Iterator[Changed | Written]:
    """Changes and output, as they come, until the job has ended and all of it was read."""
    room = _Newsroom()
    room.start(partial(room.report_changes, api, job_id), "changes")
    for stream, output in outputs.items():
        room.start(partial(room.report_output, stream, output), stream)
    ended, reading = False, len(outputs)
    try:
        while reading or not ended:
            news = room.next()
            if isinstance(news, _Ended):
                reading -= 1
                continue
            ended = ended or (isinstance(news, Changed) and news.job["state"] in FINAL_STATES)
            yield news
    finally:
        room.close()
