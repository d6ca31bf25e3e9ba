"""Blobs in any S3-compatible store, at <prefix>/blobs/<hex>; needs the extra `s3` (boto3).

Bytes go up as a multipart upload, which the store completes only after the digest was verified:
nothing of it can be seen before. Parts of an unfinished upload cannot be read back, so its hash
and its list of parts live in this process: an upload goes on where it stopped as long as it
meets the same process, and begins anew at another one. Run sticky sessions before several.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from suanwang.kernel.errors import NotFound, PermanentError, Unavailable
from suanwang.platform.blobs import (
    CHUNK_BYTES,
    OffsetMismatch,
    absent,
    all_ended,
    check_digest,
    digest_of,
    mismatch,
    too_large,
)

T = TypeVar("T")
PART_BYTES = 8 << 20
"""S3 takes 10,000 parts of at least 5 MiB (but for the last)."""
MAX_PARTS = 10_000
STREAMS_PER_THREAD = 4
"""Downloads under way hold a connection each, also while no thread reads from it."""
MAX_UPLOADS = 256
"""Unfinished ones of this process; each may hold a part in memory."""
_HEADS_AT_ONCE = 64
_ABSENT = ("404", "NoSuchKey", "NotFound")


@dataclass(slots=True)
class _Upload:
    """An unfinished upload: what the store has in parts, and the hash of exactly that."""

    key: str
    upload_id: str
    part_bytes: int
    touched_ms: int
    hasher: Any = field(default_factory=hashlib.sha256)
    parts: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    tail: bytearray = field(default_factory=bytearray)
    """Received, hashed and counted, but less than a part."""
    busy: bool = False


class S3Blobs:
    """Credentials come as boto3 finds them: environment, profile, instance role."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        threads: int = 8,
        client: Any = None,
    ) -> None:
        self.bucket = bucket
        self._root = f"{prefix}/blobs/" if prefix else "blobs/"
        self._client = client or _connect(endpoint, region, threads)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="s3")
        self._uploads: dict[tuple[str, str], _Upload] = {}

    async def _do(self, action: Callable[..., T], **arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, lambda: action(**arguments))
        except Exception as error:
            code = _code(error)
            if code in _ABSENT:
                raise absent(f"sha256:{str(arguments.get('Key', ''))[-64:]}") from error
            if code is None and not type(error).__module__.startswith("botocore"):
                raise
            raise Unavailable(
                "BlobStoreUnavailable",
                f"The S3 store did not take {action.__name__} ({code or type(error).__name__}).",
                hint="Try again shortly; the operator finds the cause in the store's own log.",
            ) from error

    def _key(self, digest: str) -> str:
        return self._root + check_digest(digest)

    async def has(self, digests: Sequence[str]) -> list[str]:
        sizes = await asyncio.gather(*(self._size_or_none(digest) for digest in digests))
        return [d for d, size in zip(digests, sizes, strict=True) if size is not None]

    async def _size_or_none(self, digest: str) -> int | None:
        try:
            return await self.size(digest)
        except NotFound:
            return None

    async def size(self, digest: str) -> int:
        head = await self._do(self._client.head_object, Bucket=self.bucket, Key=self._key(digest))
        return int(head["ContentLength"])

    async def open_read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        size = await self.size(digest)
        stop = size if end is None else min(end, size)
        if start >= stop:
            return
        got = await self._do(
            self._client.get_object,
            Bucket=self.bucket,
            Key=self._key(digest),
            Range=f"bytes={start}-{stop - 1}",
        )
        body = got["Body"]
        try:
            while piece := await self._do(body.read, amt=CHUNK_BYTES):
                yield piece
        finally:
            body.close()

    async def read_small(self, digests: Sequence[str]) -> list[bytes]:
        return list(await asyncio.gather(*(self._read_one(digest) for digest in digests)))

    async def _read_one(self, digest: str) -> bytes:
        return await self._do(self._get_whole, Bucket=self.bucket, Key=self._key(digest))

    def _get_whole(self, Bucket: str, Key: str) -> bytes:
        """In one go: an answer whose body is read later holds a connection until then."""
        body: bytes = self._client.get_object(Bucket=Bucket, Key=Key)["Body"].read()
        return body

    async def write(self, digest: str, pieces: AsyncIterator[bytes], limit: int) -> int:
        upload = await self._begin(digest, limit)
        try:
            await self._pump(upload, pieces, limit)
            return await self._complete(upload, digest)
        except BaseException:
            await self._abort(upload)
            raise

    async def write_small(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        for digest, data in blobs:
            if digest_of(data) != digest:
                raise mismatch(digest, digest_of(data)[7:])
        await all_ended(
            self._do(self._client.put_object, Bucket=self.bucket, Key=self._key(d), Body=data)
            for d, data in blobs
        )

    async def _begin(self, digest: str, limit: int) -> _Upload:
        key = self._key(digest)
        begun = await self._do(self._client.create_multipart_upload, Bucket=self.bucket, Key=key)
        part_bytes = max(PART_BYTES, -(-limit // MAX_PARTS))
        return _Upload(key, begun["UploadId"], part_bytes, _now_ms())

    async def _pump(self, upload: _Upload, pieces: AsyncIterator[bytes], limit: int) -> None:
        async for piece in pieces:
            if upload.size + len(piece) > limit:
                raise too_large(limit)
            upload.tail += piece
            upload.size += len(piece)
            upload.hasher.update(piece)
            while len(upload.tail) >= upload.part_bytes:
                await self._send_part(upload, bytes(upload.tail[: upload.part_bytes]))
                del upload.tail[: upload.part_bytes]

    async def _send_part(self, upload: _Upload, data: bytes) -> None:
        number = len(upload.parts) + 1
        sent = await self._do(
            self._client.upload_part,
            Bucket=self.bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            PartNumber=number,
            Body=data,
        )
        upload.parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        upload.touched_ms = _now_ms()

    async def _complete(self, upload: _Upload, digest: str) -> int:
        if upload.hasher.hexdigest() != check_digest(digest):
            raise mismatch(digest, upload.hasher.hexdigest())
        if not upload.parts:  # less than a part: one plain request, and S3 has no empty parts
            await self._do(
                self._client.put_object,
                Bucket=self.bucket,
                Key=upload.key,
                Body=bytes(upload.tail),
            )
            await self._abort(upload)
            return upload.size
        if upload.tail:
            await self._send_part(upload, bytes(upload.tail))
            upload.tail.clear()
        await self._do(
            self._client.complete_multipart_upload,
            Bucket=self.bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": upload.parts},
        )
        return upload.size

    async def _abort(self, upload: _Upload) -> None:
        try:
            await asyncio.shield(
                self._do(
                    self._client.abort_multipart_upload,
                    Bucket=self.bucket,
                    Key=upload.key,
                    UploadId=upload.upload_id,
                )
            )
        except (NotFound, Unavailable):
            pass  # expire_uploads, or the bucket's own rule, removes it later

    async def offset(self, scope: str, digest: str) -> int:
        upload = self._uploads.get((scope, digest))
        return upload.size if upload else 0

    async def append(
        self, scope: str, digest: str, offset: int, pieces: AsyncIterator[bytes], limit: int
    ) -> int:
        upload = self._uploads.get((scope, digest))
        if upload is not None and upload.busy:
            raise Unavailable(
                "UploadBusy",
                "Another call is adding to this upload.",
                hint="Try again in a moment.",
            )
        if offset != (upload.size if upload else 0):
            raise OffsetMismatch(upload.size if upload else 0)
        if upload is None:
            if len(self._uploads) >= MAX_UPLOADS:
                raise Unavailable(
                    "TooManyUploads",
                    f"{MAX_UPLOADS} uploads are unfinished here.",
                    hint="Finish or abandon some, or try again later.",
                )
            upload = await self._begin(digest, limit)
            if (scope, digest) in self._uploads:
                await self._abort(upload)
                raise OffsetMismatch(self._uploads[(scope, digest)].size)
            self._uploads[(scope, digest)] = upload
        upload.busy = True
        try:
            await self._pump(upload, pieces, limit)
        finally:
            upload.busy = False
        return upload.size

    async def finish(self, scope: str, digest: str) -> int:
        upload = self._uploads.pop((scope, digest), None)
        if upload is None:
            if digest == digest_of(b""):
                await self.write_small([(digest, b"")])
                return 0
            raise absent(digest)
        try:
            return await self._complete(upload, digest)
        except BaseException:
            await self._abort(upload)
            raise

    async def abandon(self, scope: str, digest: str) -> None:
        upload = self._uploads.pop((scope, digest), None)
        if upload is not None:
            await self._abort(upload)

    async def pending_bytes(self, scope: str) -> int:
        return sum(u.size for (owner, _), u in self._uploads.items() if owner == scope)

    async def delete(self, digests: Sequence[str]) -> int:
        freed = 0
        for start in range(0, len(digests), _HEADS_AT_ONCE):
            asked = digests[start : start + _HEADS_AT_ONCE]
            freed += sum(await asyncio.gather(*map(self._size_or_nothing, asked)))
        for start in range(0, len(digests), 1_000):
            keys = [{"Key": self._key(digest)} for digest in digests[start : start + 1_000]]
            await self._do(
                self._client.delete_objects,
                Bucket=self.bucket,
                Delete={"Objects": keys, "Quiet": True},
            )
        return freed

    async def _size_or_nothing(self, digest: str) -> int:
        try:
            return await self.size(digest)
        except NotFound:
            return 0

    async def expire_uploads(self, before_ms: int) -> int:
        """Also those of processes that died."""
        dropped = 0
        for key, upload in list(self._uploads.items()):
            if upload.touched_ms < before_ms and not upload.busy:
                await self.abandon(*key)
                dropped += 1
        known = {upload.upload_id for upload in self._uploads.values()}
        found = await self._do(
            self._client.list_multipart_uploads, Bucket=self.bucket, Prefix=self._root
        )
        for entry in found.get("Uploads", []):
            begun_ms = int(entry["Initiated"].timestamp() * 1_000)
            if begun_ms < before_ms and entry["UploadId"] not in known:
                await self._abort(_Upload(entry["Key"], entry["UploadId"], PART_BYTES, begun_ms))
                dropped += 1
        return dropped

    def close(self) -> None:
        self._executor.shutdown(wait=True)
        self._client.close()


def _connect(endpoint: str | None, region: str | None, threads: int) -> Any:
    try:
        import boto3  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from botocore.config import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            Config,
        )
    except ImportError as error:
        raise PermanentError(
            "S3Missing",
            "The S3 store needs boto3, which is not installed.",
            hint="pip install 'suanwang[s3]', or use folder:///path.",
        ) from error
    config = Config(
        max_pool_connections=threads * STREAMS_PER_THREAD,
        retries={"max_attempts": 4, "mode": "standard"},
        connect_timeout=5,
        read_timeout=60,
    )
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config)


def _code(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
