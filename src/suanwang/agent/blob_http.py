"""The agent's end of the blob routes: one lease's calls, with ranges, resumption and retries.

Trouble of the network or of the server comes out as Unavailable, after a few quick tries here, so
that the host tries again later; a refusal comes out as PermanentError with the server's reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx

from suanwang.agent.link import refusal
from suanwang.kernel import frames
from suanwang.kernel.errors import PermanentError, TransientError, Unavailable
from suanwang.protocol.blobs import (
    LEASE_HEADER,
    FetchRequest,
    MissingReply,
    MissingRequest,
)
from suanwang.protocol.messages import decode, encode

T = TypeVar("T")
TRIES = 3
PAUSE_S = 0.2
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_ASK_AT_ONCE = 10_000

ReadAt = Callable[[int], AsyncIterator[bytes]]
"""Content from an offset to its end."""


@dataclass(frozen=True, slots=True)
class LeaseHttp:
    """`client` has the server's base URL, the credential and the protocol header."""

    client: httpx.AsyncClient
    lease_id: str
    monotonic_ms: Callable[[], int]

    def _headers(self, **more: str) -> dict[str, str]:
        return {LEASE_HEADER: self.lease_id, **{k.replace("_", "-"): v for k, v in more.items()}}

    async def call(
        self, path: str, body: bytes = b"", *, tries: int = TRIES, method: str = "POST"
    ) -> bytes:
        async def once() -> bytes:
            response = await self.client.request(
                method, path, content=body, headers=self._headers(), timeout=TIMEOUT
            )
            await check(response)
            return response.content

        return await _try(once, tries)

    async def missing(self, digests: Sequence[str]) -> list[str]:
        """Those that the lease's organisation has not got."""
        found: list[str] = []
        for start in range(0, len(digests), _ASK_AT_ONCE):
            part = list(digests[start : start + _ASK_AT_ONCE])
            body = await self.call("/agent/v1/blobs/missing", encode(MissingRequest(part)))
            found += decode(body, MissingReply).missing
        return found

    async def range(self, digest: str, start: int, end: int, tree: str | None) -> bytes:
        """The bytes [start, end); a broken line costs only what had not come yet."""
        got = bytearray()

        async def once() -> None:
            at = start + len(got)
            headers = self._headers(range=f"bytes={at}-{end - 1}")
            async with self.client.stream(
                "GET", _path(digest, tree), headers=headers, timeout=TIMEOUT
            ) as response:
                await check(response)
                if response.status_code == 200 and at > 0:
                    raise Unavailable("RangeIgnored", "Something on the way ignores ranges.")
                async for piece in response.aiter_raw():
                    got.extend(piece[: end - start - len(got)])
            if len(got) < end - start:
                raise Unavailable("Truncated", "The answer broke off.")

        await _try(once, TRIES, lambda: len(got))
        return bytes(got)

    async def whole(self, digest: str, limit: int, tree: str | None = None) -> bytes:
        """A blob of unknown size, at most `limit` bytes."""
        found = bytearray()

        async def once() -> None:
            found.clear()
            async with self.client.stream(
                "GET", _path(digest, tree), headers=self._headers(), timeout=TIMEOUT
            ) as response:
                await check(response)
                async for piece in response.aiter_raw():
                    found.extend(piece)
                    if len(found) > limit:
                        raise PermanentError("BlobTooLarge", f"{digest} is larger than expected.")

        await _try(once, TRIES)
        return bytes(found)

    async def framed(
        self, digests: Sequence[str], tree: str | None
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Small blobs as they come, each verified. Raises Unavailable where the line breaks."""
        reader = frames.FrameReader(frames.SMALL_BYTES)
        body = encode(FetchRequest(list(digests), tree))
        try:
            async with self.client.stream(
                "POST",
                "/agent/v1/blobs/fetch",
                content=body,
                headers=self._headers(),
                timeout=TIMEOUT,
            ) as response:
                await check(response)
                async for piece in response.aiter_raw():
                    for blob in reader.feed(piece):
                        yield blob
        except httpx.RequestError as error:
            raise unreachable(error) from error

    async def upload(self, digest: str, size: int, read_at: ReadAt) -> None:
        """Send a blob from wherever the server stands."""
        offset = 0

        async def once() -> None:
            nonlocal offset
            path = f"/agent/v1/blobs/{digest}/upload"
            stands = await self.client.get(path, headers=self._headers(), timeout=TIMEOUT)
            await check(stands)
            offset = int(stands.headers["upload-offset"])
            headers = self._headers(
                upload_offset=str(offset),
                upload_length=str(size),
                content_length=str(size - offset),
            )
            response = await self.client.patch(
                path, content=read_at(offset), headers=headers, timeout=TIMEOUT
            )
            if response.status_code == 409 and "upload-offset" in response.headers:
                raise Unavailable("OffsetMismatch", "The upload stands elsewhere by now.")
            await check(response)
            if int(response.headers["upload-offset"]) != size:
                raise Unavailable("Truncated", "The upload broke off.")

        await _try(once, TRIES, lambda: offset)


def _path(digest: str, tree: str | None) -> str:
    return f"/agent/v1/blobs/{digest}" + (f"?tree={tree}" if tree else "")


async def _try(
    once: Callable[[], Awaitable[T]], tries: int, reached: Callable[[], int] | None = None
) -> T:
    """Again after trouble; as long as `reached` (bytes) moves between failures, without end."""
    failures, stood_at = 0, -1
    while True:
        try:
            return await once()
        except (TransientError, httpx.RequestError) as error:
            at = reached() if reached is not None else stood_at
            failures = failures + 1 if at == stood_at else 1
            stood_at = at
            if failures >= tries:
                raise error if isinstance(error, TransientError) else unreachable(error) from error
        await asyncio.sleep(PAUSE_S * 2 ** (failures - 1))


async def in_parallel(works: Iterable[Callable[[], Awaitable[None]]], at_once: int = 4) -> None:
    """A few at once; the first failure ends the rest."""
    gate = asyncio.Semaphore(at_once)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await work()

    tasks = [asyncio.create_task(one(work)) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def unreachable(error: Exception) -> Unavailable:
    return Unavailable(
        "ServerUnreachable",
        f"The line to the control plane broke: {type(error).__name__}.",
        hint="It is tried again; look at the network if this lasts.",
    )


async def check(response: httpx.Response) -> None:
    """Raises the server's refusal: TransientError or PermanentError by its status."""
    if response.status_code < 400:
        return
    await response.aread()
    raise refusal(response.status_code, response.content)
