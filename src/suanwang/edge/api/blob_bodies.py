"""Answers that carry blobs, for users' and agents' routes alike."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from suanwang.grid.data import service
from suanwang.grid.data.depot import MAX_FETCH, Depot, Progress, SenderGone
from suanwang.kernel import frames
from suanwang.kernel.errors import InvalidInput, LimitExceeded, NotFound
from suanwang.platform.blobs import check_digest

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
OCTETS = "application/octet-stream"
SMALL_BODY_BYTES = 4 << 20


async def small_body(request: Request) -> bytes:
    """The whole body of a call that carries a list, not content."""
    body = bytearray()
    async for piece in content(request):
        body += piece
        if len(body) > SMALL_BODY_BYTES:
            raise LimitExceeded(
                "BodyTooLarge",
                f"This call takes at most {SMALL_BODY_BYTES:,} bytes.",
                hint="Split the list.",
            )
    return bytes(body)


async def content(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; raises Unavailable (SenderGone) where it breaks off."""
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect as error:
        raise SenderGone("SenderGone", "The body broke off.", hint="Resume it.") from error


def length_of(request: Request) -> int | None:
    """Content-Length, if stated."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of a single range; the whole if none or one that we do not know.

    None: not satisfiable (RFC 9110, section 14.1.2).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return 0, size
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) > 0 else None
    start = int(first)
    if last and int(last) < start:
        return 0, size
    return (start, min(size, int(last) + 1) if last else size) if start < size else None


def blob_response(depot: Depot, request: Request, digest: str, size: int) -> Response:
    """A blob never changes, so its digest is its entity tag and caches may keep it for ever."""
    headers = {
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    asked = request.headers.get("range")
    span = range_of(asked, size)
    if span is None:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(status_code=416, headers=headers)
    start, end = span
    partial = (start, end) != (0, size)
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    status = 206 if partial else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=OCTETS)
    body = depot.blobs.open_read(digest, start, end)
    return StreamingResponse(body, status_code=status, headers=headers, media_type=OCTETS)


async def framed_response(
    depot: Depot, organisation_id: str, digests: Sequence[str]
) -> StreamingResponse:
    """Small blobs of the organisation, one after the other."""
    if len(digests) > MAX_FETCH:
        raise InvalidInput(
            "TooManyDigests", f"One call fetches at most {MAX_FETCH:,} blobs.", field="digests"
        )
    for digest in digests:
        check_digest(digest)
    found = await depot.database.read(lambda conn: service.facts(conn, organisation_id, digests))
    absent = [digest for digest in digests if digest not in found]
    if absent:
        raise NotFound("BlobNotFound", f"Your organisation has no blob {absent[0]}.")
    sizes = {digest: found[digest].size_bytes for digest in digests}
    if any(size > frames.SMALL_BYTES for size in sizes.values()):
        raise InvalidInput(
            "FrameTooLarge",
            f"Blobs of more than {frames.SMALL_BYTES:,} bytes are fetched one by one.",
            field="digests",
        )
    return StreamingResponse(depot.frames_of(sizes), media_type=OCTETS)


def upload_headers(progress: Progress) -> dict[str, str]:
    return {"Upload-Offset": str(progress.offset), "Cache-Control": "no-store"}
