"""Blobs and trees into local files; started again, it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from suanwang.edge.client.transfer import (
    BATCH_BYTES,
    PARALLEL,
    READ_BYTES,
    Meter,
    Progress,
    hashed,
    in_parallel,
    patiently,
)
from suanwang.edge.client.transport import TROUBLE, Transport, call, unreachable
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import InvalidInput, Unavailable

PARTIAL = ".suan-partial"
"""Folder beside what is being downloaded; holds what has come of large files."""
SEGMENT_BYTES = 2 << 20
SEGMENTS = 5
"""In flight: enough for 1 Gbit/s over 50 ms, little to send again after a kill."""
BATCH_BLOBS = 1_000


def download_tree(
    transport: Transport, digest: str, folder: Path, *, progress: Progress | None = None
) -> int:
    """Unpack a tree into a folder; returns its bytes. Files that are there and right stay."""
    manifest = _whole(transport, digest, trees.MAX_MANIFEST_BYTES)
    if trees.digest_of(manifest) != digest:
        raise _wrong(digest)
    tree = trees.parse(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / PARTIAL
    meter = Meter(tree.total_bytes, progress)
    wanted = [file for file in tree.files if not _is_there(folder, file)]
    meter.add(tree.total_bytes - sum(file.size for file in wanted))
    by_digest: dict[str, list[trees.TreeFile]] = {}
    for file in wanted:
        by_digest.setdefault(file.digest, []).append(file)
    small = [d for d, files in by_digest.items() if files[0].size <= frames.SMALL_BYTES]

    def fetch_batch(part: list[str]) -> None:
        left = list(part)

        def once() -> None:
            for found, data in _framed(transport, left):
                for file in by_digest[found]:
                    _put(folder, file, data)
                    meter.add(file.size)
                left.remove(found)

        patiently(once, reached=lambda: -len(left))

    sizes = {d: files[0].size for d, files in by_digest.items()}
    works = [lambda part=part: fetch_batch(part) for part in _batches(small, sizes)]
    in_parallel(works, PARALLEL)
    for found, files in by_digest.items():
        if files[0].size > frames.SMALL_BYTES:
            _fetch_large(transport, found, files, folder, partial, meter)
    for path in tree.folders:
        _parent(folder, f"{path}/x").mkdir(exist_ok=True)
    for link in tree.links:
        _replace_link(folder, link)
    shutil.rmtree(partial, ignore_errors=True)
    return tree.total_bytes


def download_blob(
    transport: Transport, digest: str, path: Path, *, progress: Progress | None = None
) -> int:
    """A blob into a file; returns its bytes."""
    reply = call(transport, "HEAD", f"/v1/blobs/{digest}")
    reply.read()
    size = int(reply.headers["Content-Length"])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / PARTIAL
    meter = Meter(size, progress)
    _download(transport, digest, size, partial, meter).replace(path)
    path.chmod(0o644)
    shutil.rmtree(partial, ignore_errors=True)
    return size


def _fetch_large(
    transport: Transport,
    digest: str,
    files: Sequence[trees.TreeFile],
    folder: Path,
    partial: Path,
    meter: Meter,
) -> None:
    path = _download(transport, digest, files[0].size, partial, meter)
    for file in files[1:]:
        to = _parent(folder, file.path) / file.path.rpartition("/")[2]
        shutil.copyfile(path, to)
        to.chmod(file.mode)
        meter.add(file.size)
    first = files[0]
    path.chmod(first.mode)
    path.replace(_parent(folder, first.path) / first.path.rpartition("/")[2])


def _download(transport: Transport, digest: str, size: int, partial: Path, meter: Meter) -> Path:
    """In ranges, several at once, hashed in order; what has come is a prefix of the file."""
    partial.mkdir(exist_ok=True)
    path = partial / digest[7:]
    hasher = hashlib.sha256()
    had = 0
    with path.open("a+b") as file, ThreadPoolExecutor(SEGMENTS) as pool:
        if file.tell() > size:
            file.truncate(0)
        file.seek(0)
        while piece := file.read(READ_BYTES):
            hasher.update(piece)
            had += len(piece)
        meter.add(had)
        starts = iter(range(had, size, SEGMENT_BYTES))
        flying: deque[Future[bytes]] = deque()

        def launch() -> None:
            start = next(starts, None)
            if start is not None:
                end = min(size, start + SEGMENT_BYTES)
                flying.append(pool.submit(_range, transport, digest, start, end))

        for _ in range(SEGMENTS):
            launch()
        try:
            while flying:
                piece = flying.popleft().result()
                launch()
                file.write(piece)
                hasher.update(piece)
                meter.add(len(piece))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if f"sha256:{hasher.hexdigest()}" != digest:
        path.unlink()
        raise _wrong(digest)
    return path


def _range(transport: Transport, digest: str, start: int, end: int) -> bytes:
    got = bytearray()

    def once() -> None:
        at = start + len(got)
        headers = {"Range": f"bytes={at}-{end - 1}"}
        reply = call(transport, "GET", f"/v1/blobs/{digest}", headers=headers)
        try:
            if reply.status == 200 and at > 0:
                raise Unavailable("RangeIgnored", "Something on the way ignores ranges.")
            while len(got) < end - start and (piece := reply.read(READ_BYTES)):
                got.extend(piece[: end - start - len(got)])
        except TROUBLE as error:
            raise unreachable(error) from error
        finally:
            reply.close()
        if len(got) < end - start:
            raise Unavailable("Truncated", "The answer broke off.")

    patiently(once, reached=lambda: len(got))
    return bytes(got)


def _whole(transport: Transport, digest: str, limit: int) -> bytes:
    def once() -> bytes:
        reply = call(transport, "GET", f"/v1/blobs/{digest}")
        data = reply.read(limit + 1)
        reply.close()
        if len(data) > limit:
            raise InvalidInput("BlobTooLarge", f"{digest} is larger than expected.")
        return data

    return patiently(once)


def _framed(transport: Transport, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    body = json.dumps({"digests": digests}).encode()
    headers = {"Content-Type": "application/json"}
    reply = call(transport, "POST", "/v1/blobs/fetch", headers=headers, body=body)
    reader = frames.FrameReader(frames.SMALL_BYTES)
    try:
        while piece := reply.read(READ_BYTES):
            yield from reader.feed(piece)
    except TROUBLE as error:
        raise unreachable(error) from error
    finally:
        reply.close()


def _batches(digests: Sequence[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    part: list[str] = []
    total = 0
    for digest in digests:
        part.append(digest)
        total += sizes[digest]
        if total >= BATCH_BYTES or len(part) >= BATCH_BLOBS:
            yield part
            part, total = [], 0
    if part:
        yield part


def _is_there(folder: Path, file: trees.TreeFile) -> bool:
    path = folder / file.path
    try:
        status = path.lstat()
    except OSError:
        return False
    right = stat.S_ISREG(status.st_mode) and status.st_size == file.size
    return right and hashed(folder, file.path) == file


def _parent(folder: Path, path: str) -> Path:
    """The folder of a path, made; refuses to go through links that lie in the way."""
    at = folder
    for name in path.split("/")[:-1]:
        at = at / name
        if at.is_symlink():
            raise InvalidInput(
                "LinkInTheWay",
                f"{at} is a link; nothing is written through it.",
                hint="Download into an empty folder.",
            )
        at.mkdir(exist_ok=True)
    return at


def _put(folder: Path, file: trees.TreeFile, data: bytes) -> None:
    path = _parent(folder, file.path) / file.path.rpartition("/")[2]
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(handle, "wb") as opened:
        opened.write(data)


def _replace_link(folder: Path, link: trees.TreeLink) -> None:
    path = _parent(folder, link.path) / link.path.rpartition("/")[2]
    path.unlink(missing_ok=True)
    path.symlink_to(link.target)


def _wrong(digest: str) -> InvalidInput:
    return InvalidInput(
        "DigestMismatch",
        f"What came under {digest} is not it.",
        hint="Try again; tell the platform's operator if it happens twice.",
    )
