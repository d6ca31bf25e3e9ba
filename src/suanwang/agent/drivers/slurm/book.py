"""What the driver keeps on disk, on the file system it shares with the nodes.

    instance                 marks our jobs in Slurm's comment field
    contact                  when the control plane was last heard (its mtime)
    batch.<digest>.sh        the batch script
    submissions/<name>.json  one per sbatch, written before it: which leases it carries
    submissions/<name>.map   lease per line, for the elements of an array job
    specs/<lease>.sh         what to run
    records/<lease>.*        claim, start, exit: written on the node; stop, end: written here

Everything is written aside and renamed. A submission is flushed to the disk before `sbatch`,
so that whatever crashes, a job is never in Slurm without its leases being written here.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from suanwang.agent.drivers.slurm import script
from suanwang.agent.port import Observation
from suanwang.protocol.messages import FailureClass, Quantity

log = logging.getLogger("suanwang.agent")
T = TypeVar("T")
_KINDS = ("claim", "start", "exit", "stop", "end")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Entry(msgspec.Struct):
    """One lease within a submission."""

    lease_id: str
    epoch: int
    folder: str
    longest_s: int = 0
    """max_runtime and grace: past that the batch script has ended it, whatever Slurm believes."""
    members: int = 1
    quantity: Quantity = Quantity()
    stop_after_s: int | None = None


class Submission(msgspec.Struct):
    """One sbatch: a job, or an array job with an element per lease."""

    name: str
    pool: str
    created_wall_ms: int
    entries: dict[int, Entry]
    """By array index; a single job has index 0."""
    array: bool = False
    job_id: str = ""
    """"" until Slurm's answer is written down; the job may exist all the same."""


class Stop(msgspec.Struct):
    """A requested end."""

    failure: FailureClass
    grace_s: int
    wall_ms: int


class Start(msgspec.Struct, frozen=True):
    """The node's record of a beginning; wall time is the node's."""

    wall_ms: int
    nodes: tuple[str, ...]
    tasks: tuple[int, ...]


class Exit(msgspec.Struct, frozen=True):
    """The node's record of an end; the duration is from the node's monotonic clock."""

    cause: str
    code: int | None
    detail: str
    wall_ms: int
    duration_ms: int
    cpu_ms: int
    rss_mib: int
    oom: bool
    """The kernel killed something of it for lack of memory."""
    nodes: tuple[str, ...]


class End(msgspec.Struct, frozen=True):
    """A verdict once given, so that a restarted agent does not judge anew."""

    observation: Observation
    boot_id: str


class Book:
    """The folder and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance = ""
        self.batch = folder / "batch.sh"
        self._submissions = folder / "submissions"
        self._specs = folder / "specs"
        self._records = folder / "records"
        self._boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    def open(self) -> list[Submission]:
        """Make the folder ready; the submissions it holds."""
        for path in (self.folder, self._submissions, self._specs, self._records):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = self.folder / "instance"
        if not mark.exists():
            _write(mark, secrets.token_hex(6), flush=True)
        self.instance = mark.read_text().strip()
        text = script.batch_text()
        self.batch = self.folder / script.batch_name(text)
        if not self.batch.exists():
            _write(self.batch, text)
        for path in (self.folder, self._submissions, self._specs, self._records):
            for aside in path.glob(".*.*"):
                with suppress(OSError):  # of an agent that was killed while it wrote
                    aside.unlink()
        found = []
        for path in sorted(self._submissions.glob("*.json")):
            known = _decoded(path, Submission)
            if known is not None:
                found.append(known)
            else:
                log.error("%s cannot be read; its jobs are cancelled as nobody's", path)
                path.replace(path.with_suffix(".unreadable"))
        return found

    def write_submission(self, submission: Submission, specs: Mapping[str, str]) -> None:
        """Before sbatch: specs and map first, then the entry that makes them count."""
        for lease_id, text in specs.items():
            _write(self._specs / f"{lease_id}.sh", text)
        if submission.array:
            order = [submission.entries[index].lease_id for index in sorted(submission.entries)]
            _write(self._submissions / f"{submission.name}.map", "\n".join([*order, ""]))
        self.save(submission)

    def save(self, submission: Submission, *, flush: bool = True) -> None:
        path = self._submissions / f"{submission.name}.json"
        _write(path, msgspec.json.encode(submission).decode(), flush=flush)

    def drop_submission(self, submission: Submission) -> None:
        """Without its map a late job of this name finds nothing to run."""
        for suffix in ("json", "map"):
            (self._submissions / f"{submission.name}.{suffix}").unlink(missing_ok=True)

    def drop_lease(self, lease_id: str) -> None:
        (self._specs / f"{lease_id}.sh").unlink(missing_ok=True)
        for kind in _KINDS:
            (self._records / f"{lease_id}.{kind}").unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Names of all records: one listing tells what is new about all runs."""
        with os.scandir(self._records) as entries:
            return {entry.name for entry in entries}

    def claimed_by(self, lease_id: str) -> str:
        """The Slurm job that came first for this lease."""
        try:
            return os.readlink(self._records / f"{lease_id}.claim").partition(".")[0]
        except OSError:
            return ""

    def start_of(self, lease_id: str) -> Start | None:
        pairs = self._pairs(lease_id, "start")
        if pairs is None:
            return None
        return Start(
            _number(pairs.get("wall_ms")),
            _words(pairs.get("nodes")),
            tuple(_number(word) for word in _words(pairs.get("tasks"))),
        )

    def exit_of(self, lease_id: str) -> Exit | None:
        pairs = self._pairs(lease_id, "exit")
        if pairs is None:
            return None
        code = pairs.get("code", "")
        return Exit(
            pairs.get("cause", ""),
            int(code) if code.isdigit() else None,
            pairs.get("detail", ""),
            _number(pairs.get("wall_ms")),
            _number(pairs.get("duration_ms")),
            _number(pairs.get("cpu_ms")),
            _number(pairs.get("rss_mib")),
            pairs.get("oom") == "1",
            _words(pairs.get("nodes")),
        )

    def write_exit(self, lease_id: str, cause: str, detail: str, wall_ms: int) -> None:
        """The end of a run that never began, in the words of the node's exit record."""
        line = " ".join(detail.split())
        text = f"cause={cause}\ndetail={line}\nwall_ms={wall_ms}\n"
        _write(self._records / f"{lease_id}.exit", text)

    def stop_of(self, lease_id: str) -> Stop | None:
        return _decoded(self._records / f"{lease_id}.stop", Stop)

    def write_stop(self, lease_id: str, stop: Stop) -> None:
        _write(self._records / f"{lease_id}.stop", msgspec.json.encode(stop).decode())

    def end_of(self, lease_id: str) -> Observation | None:
        """The end as it was told; its instants count until the machine boots again."""
        end = _decoded(self._records / f"{lease_id}.end", End)
        return end.observation if end is not None and end.boot_id == self._boot_id else None

    def write_end(self, observation: Observation) -> None:
        end = End(observation, self._boot_id)
        _write(self._records / f"{observation.lease_id}.end", msgspec.json.encode(end).decode())

    def touch_contact(self, lag_ms: int) -> None:
        """The file's new mtime is "now" on the file server; the content says how old that is."""
        _write(self.folder / "contact", f"{max(0, lag_ms)}\n")

    def has_contact(self) -> bool:
        return (self.folder / "contact").exists()

    def _pairs(self, lease_id: str, kind: str) -> dict[str, str] | None:
        try:
            text = (self._records / f"{lease_id}.{kind}").read_text(errors="replace")
        except FileNotFoundError:
            return None
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _decoded(path: Path, kind: type[T]) -> T | None:
    """None without the file, and for one that a power cut or a newer agent left unreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.warning("%s is left out: %s", path, error)
        return None


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word for word in (text or "").split(",") if word)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _write(path: Path, text: str, *, flush: bool = False) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)
