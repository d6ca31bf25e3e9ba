"""A site's cache of blobs, bounded, least recently used first out.

Runs get copies (shared by the file system where it can: `copy_file_range` makes reflinks on XFS
and Btrfs), never hard links: a run may be of the same Unix user as the agent, and a write through
a hard link would change the cache. A cached file has no write bit and a fixed modification time;
one that has another size or time was touched and is dropped.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

STAMP_NS = 978_307_200 * 1_000_000_000
"""Modification time of everything in the cache: 2001-01-01."""
_COPY_BYTES = 8 << 20


PARTIAL_LIFETIME_MS = 2 * 86_400_000
UNFLUSHED_MS = 120_000
"""Kernels write back within half a minute; what was used this long before a machine went down
may have its name and no bytes."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class _Entry:
    size: int
    used: int


@dataclass(slots=True)
class Copies:
    """Which inputs came and went; see protocol.blobs.CopiesReport."""

    kept: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    forget_others: bool = True
    transfers: list[tuple[int, int]] = field(default_factory=list)


class SiteCache:
    """One per agent. `files/ab/<hex>` are whole blobs, `partial/<hex>` what has arrived so far."""

    def __init__(
        self, folder: Path, max_bytes: int, wall_ms: Callable[[], int], *, boot_id: str = ""
    ) -> None:
        """`boot_id` changes when the machine restarts; "" is this machine's."""
        self._files = folder / "files"
        self.partial = folder / "partial"
        self._files.mkdir(parents=True, exist_ok=True)
        self.partial.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.max_bytes = max_bytes
        self._wall_ms = wall_ms
        self._entries: dict[str, _Entry] = {}
        self._total = 0
        self._pins: Counter[str] = Counter()
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._inputs: dict[str, frozenset[str]] = {}
        self._copies = Copies()
        self._scan()
        self._after_boot(folder / "boot", boot_id or _BOOT_ID.read_text(encoding="ascii").strip())

    def _after_boot(self, note: Path, boot_id: str) -> None:
        """Flushing each file would cost more than fetching the newest again after a restart."""
        known = note.read_text(encoding="ascii") if note.exists() else ""
        if known == boot_id:
            return
        newest = max((entry.used for entry in self._entries.values()), default=0)
        for digest in [d for d, e in self._entries.items() if e.used > newest - UNFLUSHED_MS]:
            self._drop(digest)
        with suppress(OSError):  # a full disk does not end the agent
            note.write_text(boot_id, encoding="ascii")

    def _scan(self) -> None:
        stale_ns = (self._wall_ms() - PARTIAL_LIFETIME_MS) * 1_000_000
        for left in os.scandir(self.partial):
            if left.stat(follow_symlinks=False).st_mtime_ns < stale_ns:
                os.unlink(left.path)
        for bucket in os.scandir(self._files):
            for entry in os.scandir(bucket.path):
                status = entry.stat(follow_symlinks=False)
                known = _Entry(status.st_size, status.st_atime_ns // 1_000_000)
                self._entries[f"sha256:{entry.name}"] = known
                self._total += status.st_size

    @property
    def total_bytes(self) -> int:
        return self._total

    def digests(self) -> list[str]:
        return sorted(self._entries)

    def keep(self, name: str, digests: list[str]) -> None:
        """All blobs of an input are here."""
        if name not in self._inputs:
            self._copies.kept.append(name)
        self._inputs[name] = frozenset(digests)

    def note_transfer(self, size_bytes: int, ms: int) -> None:
        self._copies.transfers.append((size_bytes, ms))

    def take_copies(self) -> Copies:
        """What changed since the last call, for the control plane. Put back what did not arrive."""
        taken, self._copies = self._copies, Copies(forget_others=False)
        return taken

    def put_back(self, copies: Copies) -> None:
        self._copies = Copies(
            [*copies.kept, *self._copies.kept],
            [*copies.dropped, *self._copies.dropped],
            copies.forget_others,
            [*copies.transfers, *self._copies.transfers][-100:],
        )

    def worth_keeping(self, size: int) -> bool:
        """A blob of more than a quarter of the cache would push out too much."""
        return size <= self.max_bytes // 4

    def path_of(self, digest: str) -> Path:
        return self._files / digest[7:9] / digest[7:]

    def find(self, digest: str) -> Path | None:
        """The blob's file, noted as used, if it is here and untouched."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        path = self.path_of(digest)
        try:
            status = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            self._drop(digest)
            return None
        if status.st_size != entry.size or status.st_mtime_ns != STAMP_NS:
            self._drop(digest)
            return None
        self._note_use(digest, path)
        return path

    def _note_use(self, digest: str, path: Path) -> None:
        now_ms = self._wall_ms()
        self._entries[digest].used = now_ms
        os.utime(path, ns=(now_ms * 1_000_000, STAMP_NS))

    def adopt(self, digest: str, source: Path) -> Path:
        """Take a verified file over (it is renamed); makes room first."""
        size = source.stat().st_size
        self._make_room(size)
        path = self.path_of(digest)
        path.parent.mkdir(exist_ok=True)
        source.chmod(0o444)
        source.replace(path)
        old = self._entries.get(digest)
        self._total += size - (old.size if old else 0)
        self._entries[digest] = _Entry(size, 0)
        self._note_use(digest, path)
        return path

    def put(self, digest: str, data: bytes) -> Path:
        """A small blob, verified by who calls."""
        handle, name = tempfile.mkstemp(dir=self.partial)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return self.adopt(digest, Path(name))

    def _make_room(self, size: int) -> None:
        if self._total + size <= self.max_bytes:
            return
        for digest in sorted(self._entries, key=lambda d: (self._entries[d].used, d)):
            if self._total + size <= self.max_bytes * 9 // 10:
                return
            if not self._pins[digest]:
                self._drop(digest)

    def _drop(self, digest: str) -> None:
        self.path_of(digest).unlink(missing_ok=True)
        self._total -= self._entries.pop(digest).size
        for name in [n for n, digests in self._inputs.items() if digest in digests]:
            del self._inputs[name]
            self._copies.dropped.append(name)
            self._copies.kept = [kept for kept in self._copies.kept if kept != name]

    def drop(self, digest: str) -> None:
        """Forget a blob that proved to be wrong."""
        if digest in self._entries:
            self._drop(digest)

    @asynccontextmanager
    async def pinned(self, digests: list[str]) -> AsyncIterator[None]:
        """These are not evicted meanwhile."""
        self._pins.update(digests)
        try:
            yield
        finally:
            self._pins.subtract(digests)
            self._pins += Counter()

    @asynccontextmanager
    async def fetching(self, digest: str) -> AsyncIterator[None]:
        """One fetch of a blob at a time; who comes second finds it in the cache."""
        lock, waiting = self._locks.get(digest, (asyncio.Lock(), 0))
        self._locks[digest] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[digest]
            if waiting == 1:
                del self._locks[digest]
            else:
                self._locks[digest] = (lock, waiting - 1)


def copy_into(source: Path, handle: int) -> None:
    """The source's bytes into an open, empty file, shared by the file system where it can."""
    with source.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        try:
            while left > 0:
                done = os.copy_file_range(file.fileno(), handle, left)
                if done == 0:
                    return
                left -= done
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        file.seek(os.lseek(handle, 0, os.SEEK_CUR))
        while piece := file.read(_COPY_BYTES):
            view = memoryview(piece)
            while view:
                view = view[os.write(handle, view) :]
