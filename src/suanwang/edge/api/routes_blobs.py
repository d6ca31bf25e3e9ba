"""Blobs and trees over HTTP: upload whole, resumably or in batches; download with ranges.

Bodies stream between the socket and the store. A resumable upload asks for its offset (GET or
HEAD …/upload), then sends the rest (PATCH with Upload-Offset and Upload-Length), as often as the
line breaks; the idea is tus's (https://tus.io/protocols/resumable-upload), cut down to that.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from suanwang.edge.api import problems
from suanwang.edge.api.auth import Caller
from suanwang.edge.api.blob_bodies import (
    blob_response,
    content,
    framed_response,
    length_of,
    small_body,
    upload_headers,
)
from suanwang.edge.api.context import Context
from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.views import json_response
from suanwang.grid.data import service
from suanwang.grid.data.depot import Depot, Sender
from suanwang.grid.data.model import GIB, Limits
from suanwang.kernel.errors import Forbidden
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.blobs import OffsetMismatch
from suanwang.tenancy.model import Principal, Role, Scope

router = APIRouter(prefix="/v1", tags=["data"], route_class=DirectRoute)
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0)]
Length = Annotated[int, Header(alias="Upload-Length", ge=0)]
_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Digests(BaseModel):
    model_config = ConfigDict(extra="forbid")

    digests: list[str] = Field(max_length=service.MAX_DIGESTS)


_DIGESTS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Digests.model_json_schema()}},
    }
}


def depot_of(request: Request) -> Depot:
    """The application's depot, made at its first call from `app.state.context`."""
    state = request.app.state
    depot: Depot | None = getattr(state, "depot", None)
    if depot is None:
        context: Context = state.context
        depot = state.depot = Depot(context.database, context.blobs, limits_of(context))
    return depot


def limits_of(context: Context) -> Limits:
    settings = context.settings
    return Limits(
        blob_bytes=settings.max_blob_gib * GIB,
        organisation_bytes=settings.storage_quota_gib * GIB,
        retention_ms=settings.blob_retention_days * MS_PER_DAY,
    )


def _reader(principal: Principal) -> str:
    if Scope.JOBS_READ not in principal.scopes:
        raise Forbidden(
            "ScopeMissing", "This token lacks the scope jobs:read.", hint="Make one that has it."
        )
    return principal.organisation_id


def _sender(principal: Principal) -> Sender:
    """Who may submit jobs may send what they need."""
    if Scope.JOBS_WRITE not in principal.scopes:
        raise Forbidden(
            "ScopeMissing", "This token lacks the scope jobs:write.", hint="Make one that has it."
        )
    if principal.suspended or principal.role is Role.VIEWER:
        raise Forbidden(
            "ReadOnly",
            "You may read your organisation's data, but send none.",
            hint="Ask an admin of your organisation.",
        )
    return Sender(principal.organisation_id, principal.organisation_id)


async def _digests(request: Request) -> list[str]:
    """The body of a route that is exempt from the application's own limit."""
    return Digests.model_validate_json(await small_body(request)).digests


@router.post("/blobs/missing", openapi_extra=_DIGESTS)
async def missing(request: Request, principal: Caller) -> Response:
    """Which of these the organisation has not got; what others have makes no difference."""
    found = await depot_of(request).missing(_reader(principal), await _digests(request))
    return json_response({"missing": found})


@router.post("/blobs/batch", status_code=201, openapi_extra=_BYTES)
async def put_batch(request: Request, principal: Caller) -> Response:
    """Many small blobs in one body of at most 8 MiB: for each, 32 bytes of SHA-256, 8 of length."""
    stored = await depot_of(request).put_batch(_sender(principal), content(request))
    return json_response({"stored": stored}, status=201)


@router.post("/blobs/fetch", openapi_extra=_DIGESTS)
async def fetch(request: Request, principal: Caller) -> Response:
    """Many small blobs (at most 2,000) in one answer, framed as in a batch."""
    depot = depot_of(request)
    return await framed_response(depot, _reader(principal), await _digests(request))


@router.get("/blobs/{digest}")
@router.head("/blobs/{digest}", include_in_schema=False)
async def get(request: Request, principal: Caller, digest: str) -> Response:
    """The bytes; `Range` is understood."""
    depot = depot_of(request)
    fact = await depot.fact(_reader(principal), digest)
    return blob_response(depot, request, digest, fact.size_bytes)


@router.put("/blobs/{digest}", status_code=201, openapi_extra=_BYTES)
async def put(request: Request, principal: Caller, digest: str) -> Response:
    """A whole blob; its digest is verified on the way."""
    size = await depot_of(request).put(
        _sender(principal), digest, length_of(request), content(request)
    )
    return json_response({"digest": digest, "size_bytes": size}, status=201)


@router.get("/blobs/{digest}/upload")
@router.head("/blobs/{digest}/upload", include_in_schema=False)
async def progress(request: Request, principal: Caller, digest: str) -> Response:
    """How many bytes have arrived of an upload; 0 if it has not begun."""
    found = await depot_of(request).progress(_sender(principal), digest)
    body = {"offset": found.offset, "complete": found.done}
    return json_response(body, headers=upload_headers(found))


@router.patch("/blobs/{digest}/upload", openapi_extra=_BYTES)
async def append(
    request: Request, principal: Caller, digest: str, offset: Offset, length: Length
) -> Response:
    """Bytes from Upload-Offset on; the blob is complete, and verified, at Upload-Length.

    409 OffsetMismatch answers with the right Upload-Offset.
    """
    depot, sender = depot_of(request), _sender(principal)
    try:
        found = await depot.append(sender, digest, offset, length, content(request))
    except OffsetMismatch as error:
        refusal = problems.of_error(error)
        refusal.headers["Upload-Offset"] = str(error.offset)
        return refusal
    body = {"offset": found.offset, "complete": found.done}
    return json_response(body, status=201 if found.done else 200, headers=upload_headers(found))


@router.delete("/blobs/{digest}/upload", status_code=204)
async def abandon(request: Request, principal: Caller, digest: str) -> Response:
    """Drop what has arrived of an unfinished upload."""
    await depot_of(request).abandon(_sender(principal), digest)
    return Response(status_code=204)


@router.post("/trees/{digest}", status_code=201)
async def register_tree(request: Request, principal: Caller, digest: str) -> Response:
    """Make an uploaded manifest a folder; all of its files must be uploaded."""
    fact = await depot_of(request).register_tree(_sender(principal), digest)
    return json_response({"digest": digest, "total_bytes": fact.total_bytes}, status=201)


@router.get("/blobs")
async def usage(request: Request, principal: Caller) -> Response:
    """What the organisation keeps, and its quota."""
    depot, organisation_id = depot_of(request), _reader(principal)
    kept, quota = await depot.database.read(
        lambda conn: service.usage(conn, organisation_id, depot.limits)
    )
    return json_response({"blobs": kept.blobs, "size_bytes": kept.size_bytes, "quota_bytes": quota})
