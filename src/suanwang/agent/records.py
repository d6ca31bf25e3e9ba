"""What the agent keeps in its state folder: identity, credential, and a folder for each run.

STATE/instance       random identity of this agent
STATE/credential     the site's credential, mode 0600
STATE/sequence       count of reconciliations
STATE/cache/         inputs by digest
STATE/runs/LEASE/    order.msgpack, work/, stdout.log, stderr.log and the driver's own records
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from suanwang.agent.port import PreparedRun
from suanwang.protocol.messages import (
    InputFile,
    LogChunk,
    OutputFile,
    OutputRecord,
    RunSpec,
    decode,
    encode,
)

log = logging.getLogger("suanwang.agent")

LOG_CHUNK_BYTES = 256 * 1024
ORDER = "order.msgpack"
FLUSHED_ONE_BY_ONE = 8
"""More orders at once are flushed with their whole file system: two flushes for each are dearer
than to wait once for what else is being written there."""
_libc = ctypes.CDLL(None, use_errno=True)


class Transfer(Protocol):
    """Moves content between the control plane's blob store and a run's folder."""

    async def fetch(self, lease_id: str, inputs: list[InputFile], work: Path) -> None: ...

    async def collect(
        self, lease_id: str, outputs: list[OutputFile], work: Path, succeeded: bool
    ) -> tuple[OutputRecord, ...]: ...


def write_atomically(path: Path, data: bytes, mode: int = 0o600, *, flush: bool = True) -> None:
    """The file is either as before or as given, also after a crash; without `flush` a power cut
    may lose it, until `flush_to_disk`."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)
    if flush:
        flush_to_disk([path.parent])


def flush_to_disk(paths: Iterable[Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file_system(descriptor: int) -> None:
    """Everything on the file system that this open file is on: one wait however many files."""
    if _libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def identity(state: Path) -> str:
    """This agent's random name, made at its first start: tells a restart from a second agent."""
    path = state / "instance"
    if not path.exists():
        write_atomically(path, secrets.token_hex(16).encode())
    return path.read_text(encoding="utf-8").strip()


class FolderRecords:
    """Implements the host's Records on a folder."""

    def __init__(self, state: Path, transfer: Transfer) -> None:
        self._state = state
        self._runs = state / "runs"
        self._runs.mkdir(parents=True, exist_ok=True)
        self._transfer = transfer
        self.instance_id = identity(state)
        self._sequence = 0

    def next_sequence(self) -> int:
        """Goes on in memory while the disk is full: contact must not end with it."""
        path = self._state / "sequence"
        if not self._sequence and path.exists():
            self._sequence = int(path.read_text() or 0)
        self._sequence += 1
        try:
            write_atomically(path, str(self._sequence).encode())
        except OSError as error:
            log.warning("cannot write %s: %s", path, error)
        return self._sequence

    def load(self) -> list[PreparedRun]:
        found = []
        for folder in sorted(self._runs.iterdir()):
            path = folder / ORDER
            try:
                found.append(PreparedRun(decode(path.read_bytes(), RunSpec), folder))
            except (OSError, msgspec.MsgspecError):
                # half-made before a crash: it was never started
                shutil.rmtree(folder, ignore_errors=True)
        return found

    def take(self, spec: RunSpec) -> PreparedRun:
        folder = self._runs / spec.lease_id
        (folder / "work").mkdir(parents=True, exist_ok=True)
        on_disk = msgspec.structs.replace(spec, secrets={}) if spec.secrets else spec
        write_atomically(folder / ORDER, encode(on_disk), flush=False)
        return PreparedRun(spec, folder)

    async def flush(self, runs: Sequence[PreparedRun]) -> None:
        await asyncio.to_thread(self._flush, [run.folder for run in runs])

    def _flush(self, folders: Sequence[Path]) -> None:
        if len(folders) <= FLUSHED_ONE_BY_ONE:
            each = [path for folder in folders for path in (folder / ORDER, folder)]
            flush_to_disk([*each, self._runs])
            return
        descriptor = os.open(self._runs, os.O_RDONLY)
        try:
            sync_file_system(descriptor)
        finally:
            os.close(descriptor)

    async def prepare(self, run: PreparedRun) -> None:
        await self._transfer.fetch(run.spec.lease_id, run.spec.inputs, run.work)

    async def collect(self, run: PreparedRun, succeeded: bool) -> tuple[OutputRecord, ...]:
        return await self._transfer.collect(
            run.spec.lease_id, run.spec.outputs, run.work, succeeded
        )

    def read_logs(self, lease_id: str, offsets: dict[str, int]) -> list[LogChunk]:
        chunks = []
        for path, stream in self._streams(lease_id):
            offset = offsets.get(stream, 0)
            try:
                if path.stat().st_size <= offset:
                    continue
                with path.open("rb") as file:
                    file.seek(offset)
                    data = file.read(LOG_CHUNK_BYTES)
            except OSError:
                continue
            if data:
                chunks.append(LogChunk(lease_id, stream, offset, data))
        return chunks

    def _streams(self, lease_id: str) -> list[tuple[Path, str]]:
        folder = self._runs / lease_id
        return [(folder / "stdout.log", "stdout"), (folder / "stderr.log", "stderr")]

    def forget(self, lease_id: str) -> None:
        shutil.rmtree(self._runs / lease_id, ignore_errors=True)
