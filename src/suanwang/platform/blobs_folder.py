"""Blobs in a folder: blobs/ab/<hex>, uploads/<scope>/<hex>, incoming/<random>.

A file is synchronised to disk, then renamed into its place, then the folder is synchronised: a
crash leaves a whole blob or none. Two writers of one blob write two files of the same content;
the later rename changes nothing that can be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from suanwang.kernel.errors import Unavailable
from suanwang.platform.blobs import (
    CHUNK_BYTES,
    OffsetMismatch,
    absent,
    all_ended,
    check_digest,
    mismatch,
    too_large,
)

T = TypeVar("T")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEMBERED_HASHES = 1_024


@contextmanager
def _storage() -> Iterator[None]:
    """Troubles of the disk in the error tree."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable(
                "DiskFull",
                "The blob store has no disk space left.",
                hint="Free space on the server's disk; nothing was kept of this upload.",
            ) from error
        if error.errno == errno.EIO:
            raise Unavailable(
                "BlobStoreUnavailable",
                "The blob store's disk does not answer.",
                hint="Look at the server's disk, then try again.",
            ) from error
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class _Sink:
    """An open file and the hash of all that was written to it."""

    def __init__(self, handle: int, hasher: Any, size: int, limit: int) -> None:
        self.handle = handle
        self.hasher = hasher
        self.size = size
        self.limit = limit

    def take(self, piece: bytes) -> None:
        if self.size + len(piece) > self.limit:
            raise too_large(self.limit)
        _write_all(self.handle, piece)
        self.hasher.update(piece)
        self.size += len(piece)


class FolderBlobs:
    """`durable=False` leaves out the synchronisation to disk: for tests and throw-away servers."""

    def __init__(self, root: Path, *, durable: bool = True, threads: int = 8) -> None:
        self.root = root
        self._durable = durable
        self._threads = threads
        self._blobs = root / "blobs"
        self._uploads = root / "uploads"
        self._incoming = root / "incoming"
        with _storage():
            for folder in (self._blobs, self._uploads, self._incoming):
                folder.mkdir(parents=True, exist_ok=True)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="blobs")
        self._hashes: OrderedDict[Path, tuple[int, Any]] = OrderedDict()

    async def _do(self, action: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, action, *arguments)

    def path_of(self, digest: str) -> Path:
        name = check_digest(digest)
        return self._blobs / name[:2] / name

    def _upload_path(self, scope: str, digest: str) -> Path:
        name = check_digest(digest)
        return self._scope_folder(scope) / name

    def _scope_folder(self, scope: str) -> Path:
        return self._uploads / hashlib.sha256(scope.encode()).hexdigest()[:40]

    async def has(self, digests: Sequence[str]) -> list[str]:
        return await self._do(lambda: [d for d in digests if self.path_of(d).exists()])

    async def size(self, digest: str) -> int:
        try:
            return (await self._do(os.stat, self.path_of(digest))).st_size
        except FileNotFoundError:
            raise absent(digest) from None

    async def open_read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        try:
            handle = await self._do(os.open, self.path_of(digest), os.O_RDONLY)
        except FileNotFoundError:
            raise absent(digest) from None
        try:
            at = start
            while end is None or at < end:
                wanted = CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at)
                piece = await self._do(os.pread, handle, wanted, at)
                if not piece:
                    return
                at += len(piece)
                yield piece
        finally:
            os.close(handle)

    async def read_small(self, digests: Sequence[str]) -> list[bytes]:
        return await self._do(lambda: [self._read_one(digest) for digest in digests])

    def _read_one(self, digest: str) -> bytes:
        try:
            return self.path_of(digest).read_bytes()
        except FileNotFoundError:
            raise absent(digest) from None

    async def write(self, digest: str, pieces: AsyncIterator[bytes], limit: int) -> int:
        final = self.path_of(digest)
        with _storage():
            handle, name = await self._do(tempfile.mkstemp, "", "", self._incoming)
            path = Path(name)
            sink = _Sink(handle, hashlib.sha256(), 0, limit)
            try:
                await self._pump(sink, pieces)
                if sink.hasher.hexdigest() != final.name:
                    raise mismatch(digest, sink.hasher.hexdigest())
                await self._do(self._publish, handle, path, final)
            finally:
                os.close(handle)
                path.unlink(missing_ok=True)
        return sink.size

    async def write_small(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        for digest, data in blobs:
            got = hashlib.sha256(data).hexdigest()
            if got != check_digest(digest):
                raise mismatch(digest, got)
        with _storage():
            # several threads at once: the file system joins their synchronisations in one commit
            folders: set[Path] = set()
            shares = [blobs[n :: self._threads] for n in range(min(self._threads, len(blobs)))]
            await all_ended(self._do(self._write_share, share, folders) for share in shares)
            if self._durable:
                await all_ended(self._do(_sync_folder, folder) for folder in sorted(folders))

    def _write_share(self, blobs: Sequence[tuple[str, bytes]], folders: set[Path]) -> None:
        """All but the synchronisation of their folders, which are added to `folders`."""
        stem = self._incoming / f"{os.getpid()}-{secrets.token_hex(8)}"
        for number, (digest, data) in enumerate(blobs):
            final = self.path_of(digest)
            if final.exists():
                continue
            path = stem.with_name(f"{stem.name}-{number}")
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_all(handle, data)
                self._place(handle, path, final)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            finally:
                os.close(handle)
            folders.add(final.parent)

    def _publish(self, handle: int, path: Path, final: Path) -> None:
        if final.exists():
            path.unlink(missing_ok=True)
            return
        self._place(handle, path, final)
        if self._durable:
            _sync_folder(final.parent)

    def _place(self, handle: int, path: Path, final: Path) -> None:
        os.fchmod(handle, 0o444)
        if self._durable:
            os.fsync(handle)
        if not final.parent.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            if self._durable:
                _sync_folder(self._blobs)
        path.replace(final)

    async def _pump(self, sink: _Sink, pieces: AsyncIterator[bytes]) -> None:
        """Write and hash one buffer while the next one arrives. What arrived is kept on a break."""
        buffer = bytearray()
        writing: asyncio.Future[None] | None = None
        loop = asyncio.get_running_loop()
        try:
            async for piece in pieces:
                buffer += piece
                if len(buffer) < CHUNK_BYTES:
                    continue
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(self._executor, sink.take, bytes(buffer))
                buffer = bytearray()
        finally:
            if writing is not None:
                await asyncio.shield(writing)
            if buffer:
                await self._do(sink.take, bytes(buffer))

    async def offset(self, scope: str, digest: str) -> int:
        try:
            return (await self._do(os.stat, self._upload_path(scope, digest))).st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def _claimed(self, path: Path, flags: int) -> Iterator[int]:
        """The upload's file, locked against every other process and call."""
        handle = os.open(path, flags, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(
                    "UploadBusy",
                    "Another call is adding to this upload.",
                    hint="Try again in a moment.",
                ) from error
            yield handle
        finally:
            os.close(handle)

    async def append(
        self, scope: str, digest: str, offset: int, pieces: AsyncIterator[bytes], limit: int
    ) -> int:
        path = self._upload_path(scope, digest)
        with _storage():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._claimed(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as handle:
                size = os.fstat(handle).st_size
                if size != offset:
                    raise OffsetMismatch(size)
                hasher = await self._do(self._hash_so_far, path, handle, size)
                sink = _Sink(handle, hasher, size, limit)
                try:
                    await self._pump(sink, pieces)
                except OSError as error:
                    if error.errno in _FULL:
                        self._forget(path)
                    raise
                finally:
                    self._remember(path, sink)
        return sink.size

    def _remember(self, path: Path, sink: _Sink) -> None:
        if os.fstat(sink.handle).st_size == sink.size and path.exists():
            self._hashes[path] = (sink.size, sink.hasher)
            self._hashes.move_to_end(path)
            while len(self._hashes) > _REMEMBERED_HASHES:
                self._hashes.popitem(last=False)

    def _forget(self, path: Path) -> None:
        self._hashes.pop(path, None)
        path.unlink(missing_ok=True)

    def _hash_so_far(self, path: Path, handle: int, size: int) -> Any:
        """From memory; read back only what another process (or an earlier start) had received."""
        known = self._hashes.get(path)
        if known is not None and known[0] == size:
            return known[1].copy()
        hasher = hashlib.sha256()
        at = 0
        while piece := os.pread(handle, CHUNK_BYTES, at):
            hasher.update(piece)
            at += len(piece)
        return hasher

    async def finish(self, scope: str, digest: str) -> int:
        path = self._upload_path(scope, digest)
        return await self._do(self._finish, path, digest)

    def _finish(self, path: Path, digest: str) -> int:
        try:
            with _storage(), self._claimed(path, os.O_RDWR) as handle:
                size = os.fstat(handle).st_size
                got = self._hash_so_far(path, handle, size).hexdigest()
                if got != path.name:
                    self._forget(path)
                    raise mismatch(digest, got)
                self._publish(handle, path, self.path_of(digest))
                self._hashes.pop(path, None)
                return size
        except FileNotFoundError:
            raise absent(digest) from None

    async def abandon(self, scope: str, digest: str) -> None:
        await self._do(self._forget, self._upload_path(scope, digest))

    async def pending_bytes(self, scope: str) -> int:
        return await self._do(_bytes_in, self._scope_folder(scope))

    async def delete(self, digests: Sequence[str]) -> int:
        def unlink() -> int:
            freed = 0
            for digest in digests:
                path = self.path_of(digest)
                with contextlib.suppress(FileNotFoundError):
                    size = path.stat().st_size
                    path.unlink()
                    freed += size
            return freed

        return await self._do(unlink)

    async def expire_uploads(self, before_ms: int) -> int:
        return await self._do(self._expire, before_ms)

    def _expire(self, before_ms: int) -> int:
        dropped = 0
        # incoming: what processes left that died; other processes may be writing there now
        for folder in [self._incoming, *sorted(self._uploads.iterdir())]:
            for path in sorted(folder.iterdir()):
                if path.stat().st_mtime_ns // 1_000_000 < before_ms:
                    self._forget(path)
                    dropped += 1
        return dropped

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def close(self) -> None:
        self._executor.shutdown(wait=True)


def _bytes_in(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return 0
