"""Folders and files to the platform: only what it has not got, and on from where it stopped.

A folder's files are hashed first, then the server says which of them it lacks. Small files travel
many in one body, large ones resumably; an interrupted upload, started again, sends the rest.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from suanwang.edge.client.ignore import NAME, Ignore
from suanwang.edge.client.transport import TROUBLE, Transport, call, call_json, unreachable
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import Conflict, InvalidInput, TransientError, Unavailable

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""(bytes done, bytes in all); called from several threads, one at a time."""

PARALLEL = 4
ASK_AT_ONCE = 10_000
BATCH_BYTES = 4 << 20
READ_BYTES = 1 << 20
TRIES = 4


@dataclass(frozen=True, slots=True)
class Uploaded:
    """`sent_bytes`: content that the server lacked."""

    digest: str
    total_bytes: int
    sent_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    digest: str
    size: int


class Meter:
    """Counts and tells."""

    def __init__(self, total: int, tell: Progress | None) -> None:
        self._total = total
        self._done = 0
        self._tell = tell
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._tell is not None:
                self._tell(self._done, self._total)


def upload_folder(
    transport: Transport,
    folder: Path,
    *,
    progress: Progress | None = None,
    parallel: int = PARALLEL,
) -> Uploaded:
    """Make a tree of the folder, without what its `.suanignore` names; returns the tree's digest.

    Raises InvalidInput for what no tree may have (a link out of the folder, a socket), naming it.
    """
    paths, links, empty = scan(folder)
    with ThreadPoolExecutor(parallel) as pool:
        files = list(pool.map(lambda path: hashed(folder, path), paths))
    kept, dropped = trees.usable_links([*paths, *empty], links)
    if dropped:
        link, reason = dropped[0]
        raise InvalidInput(
            reason,
            f"{link.path} is a link to {link.target}, which the folder does not contain.",
            hint=f"Copy the file into the folder, or name the link in {NAME}.",
        )
    tree = trees.make(files, kept, empty)
    manifest = trees.encode(tree)
    digest = trees.digest_of(manifest)
    sources = {file.digest: _Source(folder / file.path, file.digest, file.size) for file in files}
    meter = Meter(sum(source.size for source in sources.values()), progress)
    sent = _send(transport, sources, meter, parallel)
    try:
        _register(transport, digest, manifest)
    except Conflict as error:
        if error.reason != "TreeIncomplete":  # something had just expired on the server
            raise
        sent += _send(transport, sources, Meter(0, None), parallel)
        _register(transport, digest, manifest)
    return Uploaded(digest, tree.total_bytes, sent, len(files))


def upload_file(transport: Transport, path: Path, *, progress: Progress | None = None) -> Uploaded:
    """One file as a blob."""
    file = hashed(path.parent, path.name)
    source = _Source(path, file.digest, file.size)
    sent = _send(transport, {file.digest: source}, Meter(file.size, progress), 1)
    return Uploaded(file.digest, file.size, sent, 1)


def scan(folder: Path) -> tuple[list[str], list[trees.TreeLink], list[str]]:
    """Paths of files, links and empty folders, sorted; what is ignored counts as absent."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    files: list[str] = []
    links: list[trees.TreeLink] = []
    empty: list[str] = []
    _scan(folder, "", Ignore(lines), files, links, empty)
    return files, links, empty


def _scan(
    folder: Path,
    prefix: str,
    ignore: Ignore,
    files: list[str],
    links: list[trees.TreeLink],
    empty: list[str],
) -> None:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    if not found and prefix:
        empty.append(prefix.rstrip("/"))
    for entry in found:
        path = prefix + entry.name
        kind = entry.stat(follow_symlinks=False).st_mode
        if ignore.leaves_out(path, is_folder=stat.S_ISDIR(kind)):
            continue
        trees.check_path(path)
        if stat.S_ISLNK(kind):
            links.append(trees.TreeLink(path, os.readlink(entry.path)))
        elif stat.S_ISDIR(kind):
            _scan(Path(entry.path), f"{path}/", ignore, files, links, empty)
        elif stat.S_ISREG(kind):
            files.append(path)
        else:
            raise trees.refused("SpecialFile", f"{path} is neither file, folder nor link.")


def hashed(folder: Path, path: str) -> trees.TreeFile:
    hasher = hashlib.sha256()
    size = 0
    with (folder / path).open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        while piece := file.read(READ_BYTES):
            hasher.update(piece)
            size += len(piece)
    return trees.TreeFile(
        path, 0o755 if mode & 0o100 else 0o644, f"sha256:{hasher.hexdigest()}", size
    )


def missing(transport: Transport, digests: Sequence[str]) -> list[str]:
    """Those that the caller's organisation has not got."""
    found: list[str] = []
    for start in range(0, len(digests), ASK_AT_ONCE):
        part = list(digests[start : start + ASK_AT_ONCE])
        answer = patiently(
            lambda part=part: call_json(  # type: ignore[misc]
                transport, "POST", "/v1/blobs/missing", {"digests": part}
            )
        )
        found += answer["missing"]
    return found


def _send(transport: Transport, sources: dict[str, _Source], meter: Meter, parallel: int) -> int:
    absent = missing(transport, sorted(sources))
    sending = set(absent)
    meter.add(sum(source.size for digest, source in sources.items() if digest not in sending))
    small = [sources[d] for d in absent if sources[d].size <= frames.SMALL_BYTES]
    large = [sources[d] for d in absent if sources[d].size > frames.SMALL_BYTES]

    def send_batch(part: Sequence[_Source]) -> None:
        body = frames.pack((source.digest, _small(source)) for source in part)
        patiently(lambda: call_json_bytes(transport, body))
        meter.add(sum(source.size for source in part))

    def send_large(source: _Source) -> None:
        stands = [0]
        patiently(lambda: _send_large(transport, source, meter, stands), reached=lambda: stands[0])

    works = [lambda part=part: send_batch(part) for part in _batches(small)]
    works += [lambda source=source: send_large(source) for source in large]
    in_parallel(works, parallel)
    return sum(sources[digest].size for digest in absent)


def call_json_bytes(transport: Transport, body: bytes) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    call(transport, "POST", "/v1/blobs/batch", headers=headers, body=body).read()


def _batches(sources: Iterable[_Source]) -> Iterator[list[_Source]]:
    part: list[_Source] = []
    total = 0
    for source in sources:
        part.append(source)
        total += source.size
        if total >= BATCH_BYTES - frames.SMALL_BYTES:
            yield part
            part, total = [], 0
    if part:
        yield part


def _small(source: _Source) -> bytes:
    data = source.path.read_bytes()
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != source.digest:
        raise _changed(source.path)
    return data


def _send_large(transport: Transport, source: _Source, meter: Meter, stands: list[int]) -> None:
    """One try from wherever the server stands, which is left in `stands`."""
    path = f"/v1/blobs/{source.digest}/upload"
    offset = stands[0] = int(call_json(transport, "GET", path)["offset"])
    counted = 0

    def pieces() -> Iterator[bytes]:
        nonlocal counted
        with source.path.open("rb") as file:
            file.seek(offset)
            left = source.size - offset
            while left > 0:
                piece = file.read(min(READ_BYTES, left))
                if not piece:
                    raise _changed(source.path)
                left -= len(piece)
                yield piece
                counted += len(piece)
                meter.add(len(piece))

    meter.add(offset)
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(source.size - offset),
        "Upload-Offset": str(offset),
        "Upload-Length": str(source.size),
    }
    try:
        reply = call(transport, "PATCH", path, headers=headers, body=pieces())
        reply.read()
        if int(reply.headers["Upload-Offset"]) != source.size:
            raise Unavailable("Truncated", "The upload broke off.")
    except Conflict as error:
        meter.add(-offset - counted)
        if error.reason != "OffsetMismatch":
            raise
        raise Unavailable(error.reason, error.message, hint=error.hint) from error
    except TransientError:
        meter.add(-offset - counted)
        raise


def _register(transport: Transport, digest: str, manifest: bytes) -> None:
    if missing(transport, [digest]):
        headers = {"Content-Type": "application/octet-stream"}
        path = f"/v1/blobs/{digest}"
        patiently(lambda: call(transport, "PUT", path, headers=headers, body=manifest).read())
    patiently(lambda: call_json(transport, "POST", f"/v1/trees/{digest}"))


def patiently(
    action: Callable[[], T], *, reached: Callable[[], int] | None = None, tries: int = TRIES
) -> T:
    """Again after trouble of the line or the server, a little later each time.

    As long as `reached` (bytes) moves between two failures, there is no end of tries.
    """
    pause = threading.Event()
    failures, stood_at = 0, -1
    while True:
        try:
            return action()
        except (TransientError, *TROUBLE) as error:
            at = reached() if reached is not None else stood_at
            failures = failures + 1 if at == stood_at else 1
            stood_at = at
            if failures >= tries:
                raise error if isinstance(error, TransientError) else unreachable(error) from error
        pause.wait(0.25 * 2 ** (failures - 1))


def in_parallel(works: Sequence[Callable[[], None]], parallel: int) -> None:
    """A few at once; after the first failure nothing more begins."""
    if parallel == 1 or len(works) == 1:
        for work in works:
            work()
        return
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(work) for work in works]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _changed(path: Path) -> InvalidInput:
    return InvalidInput(
        "FileChanged",
        f"{path} changed while it was being sent.",
        hint="Start the upload again once nothing writes to it.",
    )
