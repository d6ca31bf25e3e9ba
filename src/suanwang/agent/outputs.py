"""Outputs out of a run's folder: a file becomes a blob, a folder a tree.

The folder is what a stranger's program left: every file is opened beneath it without following
links out of it (see `beneath`). A file is read twice, once for its digest and once to be sent, for
the server may have it already; one that changes in between is refused by its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from suanwang.agent.beneath import Beneath, walk
from suanwang.agent.blob_http import LeaseHttp, in_parallel
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import PermanentError
from suanwang.protocol.messages import OutputFile, OutputRecord

_READ_BYTES = 1 << 20
_BATCH_BYTES = 4 << 20
_NOTES = 20


@dataclass(slots=True)
class Collected:
    """`missing`: names of required outputs that were not kept. `notes` say what and why."""

    records: list[OutputRecord] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Packed:
    """One output: the files to send and, of a folder, its manifest."""

    files: list[trees.TreeFile]
    manifest: bytes | None
    tree: trees.Tree | None


async def collect_outputs(http: LeaseHttp, outputs: Sequence[OutputFile], work: Path) -> Collected:
    """Send what the run was to leave. Raises TransientError; doing it again goes on from there.

    What cannot be kept of an output (links out of it, sockets) is left out with a note; an
    output that cannot be kept at all is a note and, if required, in `missing`.
    """
    done = Collected()
    with Beneath(work) as root:
        for output in outputs:
            try:
                record = await _collect(http, output, root, done)
            except FileNotFoundError:
                _note(done, f"{output.name}: there is no {output.path!r}")
            except PermanentError as error:
                _note(done, f"{output.name}: {error.reason}: {error.message}")
            except PermissionError as error:
                _note(done, f"{output.name}: {error.filename!r} may not be read")
            else:
                done.records.append(record)
                continue
            if output.required:
                done.missing.append(output.name)
    return done


def _note(done: Collected, text: str) -> None:
    if len(done.notes) < _NOTES:
        done.notes.append(text)


async def _collect(
    http: LeaseHttp, output: OutputFile, root: Beneath, done: Collected
) -> OutputRecord:
    path = "" if output.path in (".", "") else output.path
    packed = await asyncio.to_thread(_pack, root, path, output.name, done)
    await _send(http, packed.files, root)
    if packed.manifest is None or packed.tree is None:
        only = packed.files[0]
        return OutputRecord(output.name, only.digest, only.size)
    digest = trees.digest_of(packed.manifest)
    if await http.missing([digest]):
        await http.upload(digest, len(packed.manifest), partial(_bytes_from, packed.manifest))
    await http.call(f"/agent/v1/trees/{digest}")
    return OutputRecord(output.name, digest, packed.tree.total_bytes, tree=True)


def _pack(root: Beneath, path: str, name: str, done: Collected) -> _Packed:
    """Hash everything. Paths of `files` are beneath the run's folder."""
    handle = root.open(path)
    try:
        kind = os.fstat(handle).st_mode
        if stat.S_ISREG(kind):
            return _Packed([_hashed(path, handle)], None, None)
        if not stat.S_ISDIR(kind):
            raise trees.refused("SpecialFile", f"{path[:120]!r} is neither file nor folder.")
        return _pack_folder(handle, path, name, done)
    finally:
        os.close(handle)


def _pack_folder(folder: int, path: str, name: str, done: Collected) -> _Packed:
    files: list[trees.TreeFile] = []
    links: list[trees.TreeLink] = []
    empty: list[str] = []
    for at, handle, target in walk(folder):
        try:
            trees.check_path(at.rstrip("/"))
        except PermanentError as error:
            _note(done, f"{name}: left out {error.message}")
            continue
        if handle is not None:
            files.append(_hashed(at, handle))
        elif target is not None:
            links.append(trees.TreeLink(at, target))
        elif at.endswith("/"):
            empty.append(at.rstrip("/"))
        else:
            _note(done, f"{name}: left out {at[:120]!r}: SpecialFile or not readable")
        if len(files) + len(links) + len(empty) > trees.MAX_ENTRIES:
            raise trees.refused(
                "TreeTooManyEntries", f"A folder keeps at most {trees.MAX_ENTRIES:,} entries."
            )
    kept, dropped = trees.usable_links([*(file.path for file in files), *empty], links)
    for link, reason in dropped:
        _note(done, f"{name}: left out the link {link.path[:120]!r}: {reason}")
    tree = trees.make(files, kept, empty)
    prefix = f"{path}/" if path else ""
    placed = [trees.TreeFile(prefix + f.path, f.mode, f.digest, f.size) for f in tree.files]
    return _Packed(placed, trees.encode(tree), tree)


def _hashed(path: str, handle: int) -> trees.TreeFile:
    hasher = hashlib.sha256()
    size = 0
    while piece := os.pread(handle, _READ_BYTES, size):
        hasher.update(piece)
        size += len(piece)
    executable = os.fstat(handle).st_mode & 0o100
    return trees.TreeFile(
        path, 0o755 if executable else 0o644, f"sha256:{hasher.hexdigest()}", size
    )


async def _send(http: LeaseHttp, files: Sequence[trees.TreeFile], root: Beneath) -> None:
    by_digest = {file.digest: file for file in files}
    absent = await http.missing(sorted(by_digest))
    small = [d for d in absent if by_digest[d].size <= frames.SMALL_BYTES]
    large = [d for d in absent if by_digest[d].size > frames.SMALL_BYTES]

    async def send_batch(part: Sequence[trees.TreeFile]) -> None:
        body = await asyncio.to_thread(_framed, part, root)
        await http.call("/agent/v1/blobs/batch", body)

    async def send_large(file: trees.TreeFile) -> None:
        await http.upload(file.digest, file.size, partial(_file_from, root, file))

    await in_parallel(partial(send_batch, part) for part in _batches(small, by_digest))
    await in_parallel((partial(send_large, by_digest[d]) for d in large), at_once=2)


def _batches(
    digests: Sequence[str], by_digest: Mapping[str, trees.TreeFile]
) -> Iterator[list[trees.TreeFile]]:
    part: list[trees.TreeFile] = []
    total = 0
    for digest in digests:
        part.append(by_digest[digest])
        total += by_digest[digest].size
        if total >= _BATCH_BYTES - frames.SMALL_BYTES:
            yield part
            part, total = [], 0
    if part:
        yield part


def _framed(part: Sequence[trees.TreeFile], root: Beneath) -> bytes:
    return frames.pack((file.digest, _read_small(root, file)) for file in part)


def _read_small(root: Beneath, file: trees.TreeFile) -> bytes:
    handle = root.open(file.path)
    with os.fdopen(handle, "rb") as opened:
        data = opened.read(file.size + 1)
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != file.digest:
        raise _changed(file.path)
    return data


async def _file_from(root: Beneath, file: trees.TreeFile, offset: int) -> AsyncIterator[bytes]:
    handle = await asyncio.to_thread(root.open, file.path)
    try:
        at = offset
        while at < file.size:
            wanted = min(_READ_BYTES, file.size - at)
            piece = await asyncio.to_thread(os.pread, handle, wanted, at)
            if not piece:
                raise _changed(file.path)
            at += len(piece)
            yield piece
    finally:
        os.close(handle)


async def _bytes_from(data: bytes, offset: int) -> AsyncIterator[bytes]:
    for start in range(offset, len(data), _READ_BYTES):
        yield data[start : start + _READ_BYTES]


def _changed(path: str) -> PermanentError:
    return PermanentError(
        "OutputChanged",
        f"{path[:120]!r} changed while it was being sent.",
        hint="End every process that writes to it before the run ends.",
    )
