"""The depot moves bytes between callers and the blob store and settles whose they are.

Bytes are received first, outside any transaction. Then `reserve` (the garbage collector keeps
off), publish, `claim` (the organisation owns it): at each point a crash loses time, never data,
and a blob that was claimed is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from suanwang.grid.data import rules, service
from suanwang.grid.data.model import BlobKind, Fact, Limits
from suanwang.kernel import frames, trees
from suanwang.kernel.errors import InvalidInput, TransientError, Unavailable
from suanwang.platform.blobs import BlobStore, check_digest, too_large
from suanwang.platform.database import Database

IDLE_S = 60.0
"""A sender that is silent for so long has gone; what it sent is kept."""
MAX_FETCH = 2_000
_TREE_ENTRIES_KEPT = 400_000
_READ_AT_ONCE = 32


class SenderGone(TransientError):
    """The body broke off: the sender's trouble, not the server's."""

    status = 408


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose bytes arrive, and in which scope unfinished uploads are kept."""

    organisation_id: str
    scope: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload has come; `done`: the blob is the organisation's."""

    offset: int
    done: bool


class Depot:
    """One per process."""

    def __init__(self, database: Database, blobs: BlobStore, limits: Limits | None = None) -> None:
        self.database = database
        self.blobs = blobs
        self.limits = limits or Limits()
        self._arriving: Counter[str] = Counter()
        self._appending: dict[tuple[str, str], asyncio.Task[int]] = {}
        self._trees: OrderedDict[str, frozenset[str]] = OrderedDict()

    async def missing(self, organisation_id: str, digests: Sequence[str]) -> list[str]:
        """Those that must be sent. Who asks relies on the others: their retention begins anew."""
        lacking = await self.database.read(
            lambda conn: service.missing(conn, organisation_id, digests)
        )
        if len(lacking) == len(set(digests)):
            return lacking
        return await self.database.write(lambda tx: service.keep(tx, organisation_id, digests))

    async def fact(self, organisation_id: str, digest: str) -> Fact:
        """NotFound unless the organisation owns it."""
        check_digest(digest)
        return await self.database.read(
            lambda conn: service.require_owned(conn, organisation_id, digest)
        )

    async def put(
        self, sender: Sender, digest: str, length: int | None, pieces: AsyncIterator[bytes]
    ) -> int:
        """A whole blob in one call; returns its size."""
        check_digest(digest)
        size = self._declared(length)
        async with self._room(sender, size):
            await self._reserve([digest])
            got = await self.blobs.write(digest, _until_idle(pieces), size)
        await self._claim(sender, {digest: got})
        return got

    async def progress(self, sender: Sender, digest: str) -> Progress:
        check_digest(digest)
        owned = await self.database.read(
            lambda conn: service.facts(conn, sender.organisation_id, [digest])
        )
        if digest in owned:
            return Progress(owned[digest].size_bytes, True)
        return Progress(await self.blobs.offset(sender.scope, digest), False)

    async def append(
        self,
        sender: Sender,
        digest: str,
        offset: int,
        length: int | None,
        pieces: AsyncIterator[bytes],
    ) -> Progress:
        """Bytes from `offset` of a blob of `length`; the last of them complete it."""
        size = self._declared(length)
        known = await self.progress(sender, digest)
        if known.done:
            return known
        if not 0 <= offset <= size:
            raise InvalidInput(
                "InvalidOffset", f"{offset} is no offset in {size} bytes.", field="Upload-Offset"
            )
        async with self._room(sender, size - offset):
            reached = await self._append(sender.scope, digest, offset, pieces, size)
        if reached < size:
            return Progress(reached, False)
        await self._reserve([digest])
        await self.blobs.finish(sender.scope, digest)
        await self._claim(sender, {digest: size})
        return Progress(size, True)

    async def _append(
        self, scope: str, digest: str, offset: int, pieces: AsyncIterator[bytes], size: int
    ) -> int:
        """The later call wins: its sender has given up the earlier one, whose line is dead."""
        key = (scope, digest)
        earlier = self._appending.get(key)
        if earlier is not None:
            earlier.cancel()
            await asyncio.wait([earlier])
        task = asyncio.create_task(
            self.blobs.append(scope, digest, offset, _until_idle(pieces), size)
        )
        self._appending[key] = task
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                task.cancel()
                await asyncio.wait([task])
                raise
            raise Unavailable(
                "UploadSuperseded", "A later call goes on with this upload."
            ) from None
        finally:
            if self._appending.get(key) is task:
                del self._appending[key]

    async def abandon(self, sender: Sender, digest: str) -> None:
        check_digest(digest)
        await self.blobs.abandon(sender.scope, digest)

    async def put_batch(self, sender: Sender, pieces: AsyncIterator[bytes]) -> int:
        """Many small blobs in one body (see kernel.frames), all or none; returns how many."""
        reader = frames.FrameReader()
        found: dict[str, bytes] = {}
        total = 0
        async for piece in _until_idle(pieces):
            total += len(piece)
            if total > frames.MAX_BODY_BYTES:
                raise too_large(frames.MAX_BODY_BYTES)
            found.update(reader.feed(piece))
        reader.close()
        if not found:
            return 0
        sizes = {digest: len(data) for digest, data in found.items()}
        async with self._room(sender, sum(sizes.values())):
            await self._reserve(list(found))
            await self.blobs.write_small(list(found.items()))
        await self._claim(sender, sizes)
        return len(found)

    def _declared(self, length: int | None) -> int:
        if length is None or length < 0:
            raise InvalidInput(
                "LengthRequired",
                "The size of the blob must be stated beforehand.",
                hint="Send Content-Length, or Upload-Length with a resumable upload.",
            )
        if length > self.limits.blob_bytes:
            raise too_large(self.limits.blob_bytes)
        return length

    async def _reserve(self, digests: Sequence[str]) -> None:
        await self.database.write(lambda tx: service.reserve(tx, digests))

    async def _claim(self, sender: Sender, sizes: dict[str, int]) -> None:
        organisation_id = sender.organisation_id
        await self.database.write(lambda tx: service.claim(tx, organisation_id, sizes, self.limits))

    async def register_tree(self, sender: Sender, digest: str) -> Fact:
        """Check the manifest, which was uploaded as a blob, and make it a tree."""
        fact = await self.fact(sender.organisation_id, digest)
        if fact.kind is BlobKind.TREE:
            return fact
        tree = await self._manifest(digest, fact.size_bytes)
        return await self.database.write(
            lambda tx: service.register_tree(tx, sender.organisation_id, digest, tree)
        )

    async def _manifest(self, digest: str, size_bytes: int) -> trees.Tree:
        if size_bytes > trees.MAX_MANIFEST_BYTES:
            raise trees.refused("TreeTooLarge", "This blob is too large to be a manifest.")
        body = b"".join([piece async for piece in self.blobs.open_read(digest)])
        return await asyncio.to_thread(trees.parse, body)

    async def in_tree(self, organisation_id: str, tree: str, digests: Sequence[str]) -> bool:
        """Whether the organisation's tree has these files. False if it registered no such tree."""
        found = await self.database.read(lambda conn: service.facts(conn, organisation_id, [tree]))
        if tree not in found or found[tree].kind is not BlobKind.TREE:
            return False
        return (await self.files_of(tree)).issuperset(digests)

    async def files_of(self, tree: str) -> frozenset[str]:
        """Digests of a tree's files; who calls has checked that it is one."""
        known = self._trees.get(tree)
        if known is None:
            body = await self._manifest(tree, await self.blobs.size(tree))
            known = self._trees[tree] = frozenset(body.blobs())
            while len(self._trees) > 1 and sum(map(len, self._trees.values())) > _TREE_ENTRIES_KEPT:
                self._trees.popitem(last=False)
        self._trees.move_to_end(tree)
        return known

    async def frames_of(self, sizes: dict[str, int]) -> AsyncIterator[bytes]:
        """Small blobs, framed, in the order given; who calls has checked that they may be read."""
        digests = list(sizes)
        for start in range(0, len(digests), _READ_AT_ONCE):
            part = digests[start : start + _READ_AT_ONCE]
            found = await self.blobs.read_small(part)
            for digest, data in zip(part, found, strict=True):
                if len(data) != sizes[digest]:
                    raise Unavailable("BlobDamaged", f"{digest} has not its {sizes[digest]} bytes.")
            yield frames.pack(zip(part, found, strict=True))

    async def check_room(self, sender: Sender, more_bytes: int) -> None:
        """Raises LimitExceeded (StorageQuotaExceeded) if they do not fit."""
        kept, quota = await self.database.read(
            lambda conn: service.usage(conn, sender.organisation_id, self.limits)
        )
        pending = await self.blobs.pending_bytes(sender.scope)
        arriving = self._arriving[sender.organisation_id]
        rules.check_quota(kept, pending + arriving, more_bytes, quota)

    @asynccontextmanager
    async def _room(self, sender: Sender, size: int) -> AsyncIterator[None]:
        """Room for bytes while they arrive."""
        await self.check_room(sender, size)
        self._arriving[sender.organisation_id] += size
        try:
            yield
        finally:
            self._arriving[sender.organisation_id] -= size
            if not self._arriving[sender.organisation_id]:
                del self._arriving[sender.organisation_id]


async def _until_idle(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces; raises Unavailable (SenderSilent) if none comes for long."""
    iterator = pieces.__aiter__()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await iterator.__anext__()
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise SenderGone(
                "SenderSilent", f"Nothing came for {IDLE_S:g} s.", hint="Resume the upload."
            ) from None
        if piece:
            yield piece
