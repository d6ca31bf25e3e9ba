"""Inputs into a run's folder before it starts, outputs out of it after it ended.

Large blobs come in ranges, several at once, and are hashed in order as they come; what has come
stays in the cache's `partial` folder, so a restarted agent goes on there. Small files of a tree
come many in one answer. Everything is verified before it has a name in the run's folder.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from suanwang.agent.beneath import Beneath
from suanwang.agent.blob_http import LeaseHttp, in_parallel
from suanwang.agent.cache import SiteCache, copy_into
from suanwang.agent.outputs import Collected, collect_outputs
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import InvalidInput, PermanentError, Unavailable
from suanwang.protocol.blobs import CopiesReport
from suanwang.protocol.messages import InputFile, encode

__all__ = ["Collected", "LeaseHttp", "collect_outputs", "fetch_inputs", "report_copies"]

SEGMENT_BYTES = 2 << 20
AT_ONCE = 5
"""Ranges of a blob in flight: enough for 1 Gbit/s over 50 ms, little to send again if killed."""
BATCH_BYTES = 4 << 20
BATCH_BLOBS = 1_000
_READ_BYTES = 4 << 20


async def fetch_inputs(
    http: LeaseHttp, inputs: Sequence[InputFile], work: Path, cache: SiteCache
) -> None:
    """Fill `work`. Doing it again after a failure is safe and keeps what had come.

    Raises TransientError (try again later) or PermanentError (the run cannot start).
    """
    with _disk(), Beneath(work) as root:
        for item in inputs:
            base = "" if item.path in (".", "") else item.path
            if base:
                trees.check_path(base)
            if item.tree:
                await _fetch_tree(http, item.digest, base, root, cache)
            else:
                wanted = trees.TreeFile(base, item.mode & 0o777, item.digest, item.size_bytes)
                await _fetch_files(http, [wanted], None, root, cache)
                if cache.worth_keeping(item.size_bytes):
                    cache.keep(item.digest, [item.digest])


async def report_copies(http: LeaseHttp, cache: SiteCache) -> None:
    """Tell the control plane what changed in the cache; call it now and then."""
    copies = cache.take_copies()
    if not (copies.kept or copies.dropped or copies.transfers or copies.forget_others):
        return
    report = CopiesReport(copies.kept, copies.dropped, copies.forget_others, copies.transfers)
    try:
        await http.call("/agent/v1/blobs/copies", encode(report), tries=1)
    except Unavailable:
        cache.put_back(copies)
        raise


async def _fetch_tree(
    http: LeaseHttp, digest: str, base: str, root: Beneath, cache: SiteCache
) -> None:
    tree = await _manifest(http, digest, cache)
    prefix = f"{base}/" if base else ""
    os.close(root.make_folder(base))
    placed = [trees.TreeFile(prefix + f.path, f.mode, f.digest, f.size) for f in tree.files]
    contents = tree.blobs()
    async with cache.pinned([digest, *contents]):
        await _fetch_files(http, placed, digest, root, cache)
        if all(cache.worth_keeping(size) for size in contents.values()):
            cache.keep(digest, [digest, *contents])
    for folder in tree.folders:
        os.close(root.make_folder(prefix + folder))
    for link in tree.links:  # last, so that nothing is ever written through one
        root.link(prefix + link.path, link.target)


async def _manifest(http: LeaseHttp, digest: str, cache: SiteCache) -> trees.Tree:
    path = cache.find(digest)
    if path is not None:
        body = await asyncio.to_thread(path.read_bytes)
    else:
        body = await http.whole(digest, trees.MAX_MANIFEST_BYTES)
    if trees.digest_of(body) != digest:
        cache.drop(digest)
        raise _wrong(digest)
    tree = await asyncio.to_thread(trees.parse, body)
    if path is None:
        cache.put(digest, body)
    return tree


async def _fetch_files(
    http: LeaseHttp,
    files: Sequence[trees.TreeFile],
    tree: str | None,
    root: Beneath,
    cache: SiteCache,
) -> None:
    """Everything into the cache, then into the run's folder; what is too large passes it by."""
    sizes = dict(sorted({(file.digest, file.size) for file in files}))
    async with cache.pinned(list(sizes)):
        absent = {d: size for d, size in sizes.items() if cache.find(d) is None}
        small = [d for d, size in absent.items() if size <= frames.SMALL_BYTES]
        large = [d for d, size in absent.items() if size > frames.SMALL_BYTES]
        began_ms = http.monotonic_ms()
        passing: dict[str, Path] = {}
        batches = _batches(small, sizes)
        await in_parallel(partial(_fetch_batch, http, part, tree, cache) for part in batches)
        for digest in large:
            async with cache.fetching(digest):
                if cache.find(digest) is not None:
                    continue
                path = await _download(http, digest, sizes[digest], tree, cache)
                if cache.worth_keeping(sizes[digest]):
                    cache.adopt(digest, path)
                else:  # under a name of this run's own: another run may want the blob, too
                    passing[digest] = path.replace(path.with_suffix(f".{http.lease_id}"))
        if absent:
            cache.note_transfer(sum(absent.values()), http.monotonic_ms() - began_ms)
        await asyncio.to_thread(_place, files, passing, root, cache)


def _place(
    files: Sequence[trees.TreeFile], passing: dict[str, Path], root: Beneath, cache: SiteCache
) -> None:
    uses = Counter(file.digest for file in files if file.digest in passing)
    for file in files:
        source = passing.get(file.digest)
        if source is not None:
            uses[file.digest] -= 1
            if not uses[file.digest] and root.adopt(file.path, source, file.mode):
                continue
        else:
            source = cache.path_of(file.digest)
        with root.create(file.path, file.mode) as handle:
            copy_into(source, handle)
    for source in passing.values():
        source.unlink(missing_ok=True)


def _batches(digests: Iterable[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    part: list[str] = []
    total = 0
    for digest in digests:
        if part and (total + sizes[digest] > BATCH_BYTES or len(part) >= BATCH_BLOBS):
            yield part
            part, total = [], 0
        part.append(digest)
        total += sizes[digest]
    if part:
        yield part


async def _fetch_batch(
    http: LeaseHttp, digests: Sequence[str], tree: str | None, cache: SiteCache
) -> None:
    left = list(digests)
    for last in (False, False, True):
        got: list[tuple[str, bytes]] = []
        try:
            async for blob in http.framed(left, tree):
                got.append(blob)
        except Unavailable:
            if last:
                raise
        finally:
            for digest, data in got:
                cache.put(digest, data)
        come = {digest for digest, _ in got}
        left = [digest for digest in left if digest not in come]
        if not left:
            return
    raise Unavailable("Truncated", "The answer broke off.", hint="It is tried again.")


async def _download(
    http: LeaseHttp, digest: str, size: int, tree: str | None, cache: SiteCache
) -> Path:
    """The verified blob as a file in the cache's `partial` folder."""
    path = cache.partial / digest[7:]
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        had = os.fstat(handle).st_size
        if had > size:
            os.ftruncate(handle, 0)
            had = 0
        hasher = hashlib.sha256()
        await asyncio.to_thread(_hash_file, handle, hasher)
        os.lseek(handle, had, os.SEEK_SET)
        flying: deque[asyncio.Task[bytes]] = deque()
        starts = iter(range(had, size, SEGMENT_BYTES))

        def launch() -> None:
            start = next(starts, None)
            if start is not None:
                end = min(size, start + SEGMENT_BYTES)
                flying.append(asyncio.create_task(http.range(digest, start, end, tree)))

        try:
            for _ in range(AT_ONCE):
                launch()
            while flying:
                piece = await flying[0]
                flying.popleft()
                launch()
                await asyncio.to_thread(_append, handle, hasher, piece)
        finally:
            await _cancel(flying)
    finally:
        os.close(handle)
    if f"sha256:{hasher.hexdigest()}" != digest:
        path.unlink()
        if had:  # what an earlier try had left may have been damaged: begin anew
            raise Unavailable("DigestMismatch", f"What was kept of {digest} was damaged.")
        raise _wrong(digest)
    return path


def _hash_file(handle: int, hasher: hashlib._Hash) -> None:
    at = 0
    while piece := os.pread(handle, _READ_BYTES, at):
        hasher.update(piece)
        at += len(piece)


def _append(handle: int, hasher: hashlib._Hash, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(handle, view) :]
    hasher.update(piece)


async def _cancel(tasks: Iterable[asyncio.Task[bytes]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _wrong(digest: str) -> PermanentError:
    return InvalidInput(
        "DigestMismatch",
        f"What came under {digest} is not it.",
        hint="The store or the line damages content; tell the platform's operator.",
    )


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Unavailable(
                "SiteDiskFull",
                "The site has no disk space left for inputs.",
                hint="Free space in the agent's state folder, or make its cache smaller.",
            ) from error
        raise
